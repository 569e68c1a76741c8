//! What the policy says about a connection to Postgres.

use std::fmt;

use super::request::StartupRequest;
use crate::names::MAX_POSTGRES_NAME;
use crate::peer::NoIdentity;
use crate::slice::PostgresRule;

/// The decision about one connection.
#[derive(Clone, Copy, Debug)]
pub enum PostgresDecision<'a> {
    /// Let it through to Postgres as the session says.
    Allow(Session<'a>),
    /// Answer with an ErrorResponse and close.
    Deny(PostgresDenial<'a>),
    /// The start-up can't be judged: answer with an ErrorResponse and close.
    Refuse(PostgresRefusal),
}

/// An allowed connection.
#[derive(Clone, Copy, Debug)]
pub struct Session<'a> {
    /// The rule that allows it, with how long it may last.
    pub rule: &'a PostgresRule,
    /// The Postgres role that it logs in as.
    pub role: &'a str,
    /// The database that it asked for.
    pub database: &'a [u8],
    /// Who opened it.
    pub spiffe_id: &'a str,
    pub(crate) request: StartupRequest<'a>,
}

/// Why a connection is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostgresDenial<'a> {
    /// The peer has no identity.
    NoIdentity(NoIdentity),
    /// No rule names the peer.
    NoRule,
    /// The identity of the workload that was called is withdrawn.
    Withdrawn,
    /// Rules name the peer, but none this database.
    Database,
    /// The heaviest rule doesn't let the peer be the user that it asked for.
    User {
        /// The name of that rule.
        rule: &'a str,
    },
    /// The rule doesn't let the client choose this parameter.
    Parameter {
        /// The name of that rule.
        rule: &'a str,
        /// The parameter's name as the client wrote it.
        name: &'a [u8],
    },
}

/// Why a start-up can't be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostgresRefusal {
    /// No user is asked for.
    NoUser,
    /// Postgres would cut the user's name.
    UserTooLong,
    /// Postgres would cut the database's name.
    DatabaseTooLong,
    /// More than [`MAX_PARAMETERS`](super::MAX_PARAMETERS).
    TooManyParameters,
}

impl<'a> PostgresDecision<'a> {
    /// `allow`, `deny` or `refuse`.
    pub const fn verdict(&self) -> &'static str {
        match self {
            Self::Allow(_) => "allow",
            Self::Deny(_) => "deny",
            Self::Refuse(_) => "refuse",
        }
    }

    /// The name of the rule that decided, if one did.
    pub fn rule(&self) -> Option<&'a str> {
        match self {
            Self::Allow(session) => Some(session.rule.name.as_str()),
            Self::Deny(PostgresDenial::User { rule } | PostgresDenial::Parameter { rule, .. }) => {
                Some(rule)
            }
            Self::Deny(_) | Self::Refuse(_) => None,
        }
    }

    /// The Postgres role of an allowed connection.
    pub const fn role(&self) -> Option<&'a str> {
        match self {
            Self::Allow(session) => Some(session.role),
            Self::Deny(_) | Self::Refuse(_) => None,
        }
    }

    /// A short constant name for logs and metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Allow(_) => "allowed",
            Self::Deny(PostgresDenial::NoIdentity(no_identity)) => no_identity.reason(),
            Self::Deny(PostgresDenial::NoRule) => "no_rule",
            Self::Deny(PostgresDenial::Withdrawn) => "identity_withdrawn",
            Self::Deny(PostgresDenial::Database) => "database_not_allowed",
            Self::Deny(PostgresDenial::User { .. }) => "user_not_allowed",
            Self::Deny(PostgresDenial::Parameter { .. }) => "parameter_not_allowed",
            Self::Refuse(PostgresRefusal::NoUser) => "no_user",
            Self::Refuse(PostgresRefusal::UserTooLong) => "user_too_long",
            Self::Refuse(PostgresRefusal::DatabaseTooLong) => "database_too_long",
            Self::Refuse(PostgresRefusal::TooManyParameters) => "too_many_parameters",
        }
    }

    /// The SQLSTATE to answer with, unless it is allowed.
    pub const fn sqlstate(&self) -> Option<&'static str> {
        Some(match self {
            Self::Allow(_) => return None,
            Self::Deny(PostgresDenial::Database) => "3D000",
            Self::Deny(PostgresDenial::Parameter { .. }) => "42501",
            Self::Deny(_) | Self::Refuse(PostgresRefusal::NoUser) => "28000",
            Self::Refuse(_) => "08P01",
        })
    }
}

/// A sentence for the log. It names the rule: not for the peer, unless it may know.
impl fmt::Display for PostgresDecision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow(session) => {
                write!(f, "allowed as `{}` by rule `{}`", session.role, session.rule.name)
            }
            Self::Deny(PostgresDenial::NoIdentity(no_identity)) => no_identity.fmt(f),
            Self::Deny(PostgresDenial::NoRule) => f.write_str("no rule names the peer"),
            Self::Deny(PostgresDenial::Withdrawn) => {
                f.write_str("the identity of the workload that was called is withdrawn")
            }
            Self::Deny(PostgresDenial::Database) => {
                f.write_str("no rule lets the peer use this database")
            }
            Self::Deny(PostgresDenial::User { rule }) => {
                write!(f, "rule `{rule}` doesn't let the peer act as this user")
            }
            Self::Deny(PostgresDenial::Parameter { rule, name }) => {
                // The client chose its length.
                let name = name.get(..MAX_POSTGRES_NAME).unwrap_or(name).escape_ascii();
                write!(f, "rule `{rule}` doesn't let the client set `{name}` at start-up")
            }
            Self::Refuse(PostgresRefusal::NoUser) => f.write_str("the start-up names no user"),
            Self::Refuse(PostgresRefusal::UserTooLong) => {
                write!(f, "the user's name is longer than {MAX_POSTGRES_NAME} bytes")
            }
            Self::Refuse(PostgresRefusal::DatabaseTooLong) => {
                write!(f, "the database's name is longer than {MAX_POSTGRES_NAME} bytes")
            }
            Self::Refuse(PostgresRefusal::TooManyParameters) => {
                write!(f, "the start-up has more than {} parameters", super::MAX_PARAMETERS)
            }
        }
    }
}
