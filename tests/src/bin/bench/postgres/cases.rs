//! What is asked of Postgres, and by which way.

use super::{module::Step, settings::Setting};

/// What `pgbench` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) script: Script,
    pub(super) clients: u32,
    /// A connection per transaction (`-C`) instead of one for all.
    pub(super) connects: bool,
}

/// Built into `pgbench`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// `-S`: one row by its key.
    Select,
    /// The default, which resembles TPC-B: three updates, a select and an insert in a transaction.
    TpcB,
}

impl Load {
    /// In the order in which a round takes them.
    pub(super) const ALL: [Self; 8] = [
        Self::new(Script::Select, 1, false),
        Self::new(Script::Select, 8, false),
        Self::new(Script::Select, 1, true),
        Self::new(Script::Select, 8, true),
        Self::new(Script::TpcB, 1, false),
        Self::new(Script::TpcB, 8, false),
        Self::new(Script::TpcB, 1, true),
        Self::new(Script::TpcB, 8, true),
    ];

    /// Under which single settings are measured.
    pub(super) const OF_SETTINGS: [Self; 2] =
        [Self::new(Script::Select, 8, false), Self::new(Script::Select, 8, true)];

    const fn new(script: Script, clients: u32, connects: bool) -> Self {
        Self { script, clients, connects }
    }

    /// For files and JSON.
    pub(super) fn key(self) -> String {
        let script = match self.script {
            Script::Select => "select",
            Script::TpcB => "tpcb",
        };
        let connects = if self.connects { "connect" } else { "steady" };
        format!("{script}-{}-{connects}", self.clients)
    }

    /// For people.
    pub(super) fn title(self) -> String {
        let script = match self.script {
            Script::Select => "select (-S)",
            Script::TpcB => "TPC-B-like",
        };
        let clients = if self.clients == 1 { "client" } else { "clients" };
        let connects = if self.connects { ", a connection per transaction" } else { "" };
        format!("{script}, {} {clients}{connects}", self.clients)
    }
}

/// Between `pgbench` and Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Nothing: TCP on loopback, and nobody asks who it is.
    Tcp,
    /// The same, with a password (SCRAM).
    Password,
    /// Postgres' own TLS, with a client certificate.
    Tls,
    /// Two Envoys with mutual TLS between them, with a worker per core.
    Envoys(Filter),
    /// The same as shipped, but for one setting.
    Tuned(Setting),
    /// `PgBouncer`, with client certificates.
    PgBouncer,
}

/// What stands in the database's Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// Nothing of ours.
    None,
    /// A Wasm module that decides nothing.
    Wasm(Step),
    /// `pg_role.wasm`.
    PgRole,
}

impl Route {
    /// Those that are compared with direct TCP, in the order in which a round takes them.
    pub(super) const ALL: [Self; 9] = [
        Self::Tcp,
        Self::Password,
        Self::Tls,
        Self::Envoys(Filter::None),
        Self::Envoys(Filter::Wasm(Step::Empty)),
        Self::Envoys(Filter::Wasm(Step::Waiting)),
        Self::Envoys(Filter::PgRole),
        Self::Tuned(Setting::OneWorker),
        Self::PgBouncer,
    ];

    /// For files and JSON.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Password => "password",
            Self::Tls => "tls",
            Self::Envoys(Filter::None) => "envoys",
            Self::Envoys(Filter::Wasm(Step::Empty)) => "envoys-empty",
            Self::Envoys(Filter::Wasm(Step::Waiting)) => "envoys-waiting",
            Self::Envoys(Filter::PgRole) => "pg-role",
            Self::Tuned(setting) => setting.key(),
            Self::PgBouncer => "pgbouncer",
        }
    }

    /// For people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Tcp => "direct TCP, trusted",
            Self::Password => "direct TCP, password",
            Self::Tls => "direct TLS, certificate",
            Self::Envoys(Filter::None) => "two Envoys, no filter",
            Self::Envoys(Filter::Wasm(Step::Empty)) => "… + empty Wasm module",
            Self::Envoys(Filter::Wasm(Step::Waiting)) => "… that waits for the start-up",
            Self::Envoys(Filter::PgRole) => "two Envoys, pg-role",
            Self::Tuned(setting) => setting.title(),
            Self::PgBouncer => "PgBouncer, certificate",
        }
    }
}

/// A load on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) load: Load,
    pub(super) route: Route,
}

impl Case {
    /// All of them, in the order in which a round takes them: the routes in turn under each load, and the settings where
    /// there is most to gain.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Load::ALL.into_iter().flat_map(|load| {
            let settings = Setting::ALL.map(Route::Tuned).into_iter();
            let settings = settings.filter(move |route| {
                Load::OF_SETTINGS.contains(&load) && !Route::ALL.contains(route)
            });
            Route::ALL.into_iter().chain(settings).map(move |route| Self { load, route })
        })
    }

    /// For files and JSON.
    pub(super) fn key(self) -> String {
        format!("{}-{}", self.load.key(), self.route.key())
    }

    /// Whether it is meant by a key: its own, or that of its load or its route.
    pub(super) fn is_named(self, key: &str) -> bool {
        self.key() == key || self.load.key() == key || self.route.key() == key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_one_of_its_own() {
        let mut keys: Vec<String> = Case::all().map(Case::key).collect();
        keys.extend(Load::ALL.map(Load::key));
        keys.extend(Route::ALL.map(|route| route.key().to_owned()));
        keys.extend(Setting::ALL[1..].iter().map(|setting| setting.key().to_owned()));
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!((keys.len(), all), (all, 8 * 9 + 2 * 6 + 8 + 9 + 6));
    }
}
