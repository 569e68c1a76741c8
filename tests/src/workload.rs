//! The workloads of the story.

/// The trust domain of all of them.
pub const TRUST_DOMAIN: &str = "example.org";

/// A program with an identity, and a sidecar to speak for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// Asks the API; has no Postgres rule.
    Client,
    /// Serves customers, as a Postgres client whose rule lets it choose among roles.
    Api,
    /// A job that reads Postgres, with one role whatever it asks for.
    Report,
    /// The database.
    Db,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Client, Self::Api, Self::Report, Self::Db];

    /// The name in the policy, in the logs and in the names of files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Api => "api",
            Self::Report => "report",
            Self::Db => "db",
        }
    }

    /// The path of the SPIFFE ID.
    pub fn path(self) -> &'static str {
        match self {
            Self::Client => "/ns/client-ns/sa/client",
            Self::Api => "/ns/api-ns/sa/api",
            Self::Report => "/ns/report-ns/sa/report",
            Self::Db => "/ns/postgres-ns/sa/customer-db",
        }
    }

    /// The whole SPIFFE ID.
    pub fn spiffe_id(self) -> String {
        format!("spiffe://{TRUST_DOMAIN}{}", self.path())
    }
}
