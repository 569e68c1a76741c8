//! The compiled policy.

mod http;
mod postgres;
#[cfg(test)]
mod tests;

use crate::slice::{FilterOptions, HttpRule, Mode, PostgresRule, Slice};

/// A slice made ready for decisions. Never changes; a new policy is a new value.
#[derive(Clone, Debug)]
pub struct Policy {
    workload: String,
    expiry_grace: u64,
    session_grace: u64,
    filter: FilterOptions,
    http: Vec<HttpRule>,
    postgres: Vec<PostgresRule>,
    /// Whether a second evaluation could differ.
    has_shadow_rules: bool,
}

impl Policy {
    /// Compiles a slice. Its types are valid by construction, so nothing can fail.
    pub fn compile(slice: Slice) -> Self {
        let Slice { workload, expiry_grace, session_grace, filter, http, postgres, .. } = slice;
        let has_shadow_rules = http.iter().any(|rule| rule.mode == Mode::Shadow);
        Self { workload, expiry_grace, session_grace, filter, http, postgres, has_shadow_rules }
    }

    /// The policy without rules, which denies everything.
    pub fn deny_all() -> Self {
        Self::compile(Slice::deny_all(""))
    }

    /// The SPIFFE ID of the workload whose policy this is.
    pub fn workload(&self) -> &str {
        &self.workload
    }

    /// Seconds for which a connection outlives its certificate: see
    /// [`Peer::check_expiry`](crate::Peer::check_expiry).
    pub const fn expiry_grace(&self) -> u64 {
        self.expiry_grace
    }

    /// Seconds for which a Postgres session outlives its certificate.
    pub const fn session_grace(&self) -> u64 {
        self.session_grace
    }

    /// The options of the filter.
    pub const fn filter(&self) -> &FilterOptions {
        &self.filter
    }
}
