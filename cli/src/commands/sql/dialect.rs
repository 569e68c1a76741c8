//! How the roles and files of one server are written.

/// The choices of whoever runs the server.
#[derive(Clone, Debug)]
pub(super) struct Dialect {
    /// Postgres' major version.
    pub(super) version: u8,
    /// The operating system's user that the Envoy in front of Postgres runs as.
    pub(super) envoy_user: String,
    /// The map of `pg_ident.conf`.
    pub(super) map: String,
    /// Whether applications may still log in by password.
    pub(super) keep_passwords: bool,
}

impl Dialect {
    /// The role that all login roles belong to, for the one line of `pg_ident.conf`. Before 16 there is
    /// none, since that file knows no groups.
    pub(super) fn group(&self) -> Option<String> {
        (self.version >= 16).then(|| format!("{}_logins", self.map))
    }

    /// What a membership by which one role becomes another is granted with.
    pub(super) fn becoming(&self) -> &'static str {
        if self.version >= 16 { " with inherit false, set true" } else { "" }
    }

    /// The versions that this is written for, in words.
    pub(super) fn versions(&self) -> &'static str {
        if self.version >= 16 { "PostgreSQL 16 and later" } else { "PostgreSQL 15" }
    }
}
