//! The compiled policy.

mod http;
mod postgres;
#[cfg(test)]
mod tests;

use crate::index::{HttpRules, PostgresRules};
use crate::slice::{FilterOptions, Slice};

/// A slice made ready for decisions. Never changes; a new policy is a new value.
#[derive(Clone, Debug)]
pub struct Policy {
    workload: String,
    withdrawn: bool,
    expiry_grace: u64,
    session_grace: u64,
    filter: FilterOptions,
    http: HttpRules,
    postgres: PostgresRules,
}

impl Policy {
    /// Compiles a slice. Its types are valid by construction, so nothing can fail.
    #[inline]
    pub fn compile(mut slice: Slice) -> Self {
        let http = HttpRules::new(std::mem::take(&mut slice.http));
        let postgres = PostgresRules::new(std::mem::take(&mut slice.postgres));
        Self::new(slice, http, postgres)
    }

    /// Compiles what the HTTP filter needs: without Postgres rules.
    #[inline]
    pub fn compile_http(mut slice: Slice) -> Self {
        let http = HttpRules::new(std::mem::take(&mut slice.http));
        Self::new(slice, http, PostgresRules::default())
    }

    /// Compiles what the Postgres filter needs: without HTTP rules.
    #[inline]
    pub fn compile_postgres(mut slice: Slice) -> Self {
        let postgres = PostgresRules::new(std::mem::take(&mut slice.postgres));
        Self::new(slice, HttpRules::default(), postgres)
    }

    /// The policy without rules, which denies everything.
    pub fn deny_all() -> Self {
        Self::new(Slice::deny_all(""), HttpRules::default(), PostgresRules::default())
    }

    /// The rules of a withdrawn workload count for nothing.
    #[inline]
    fn new(slice: Slice, mut http: HttpRules, mut postgres: PostgresRules) -> Self {
        let withdrawn = slice.is_withdrawn();
        if withdrawn {
            (http, postgres) = (HttpRules::default(), PostgresRules::default());
        }
        let Slice { workload, expiry_grace, session_grace, filter, .. } = slice;
        Self { workload, withdrawn, expiry_grace, session_grace, filter, http, postgres }
    }

    /// The SPIFFE ID of the workload whose policy this is.
    pub fn workload(&self) -> &str {
        &self.workload
    }

    /// Whether the workload's identity is withdrawn, and everything denied for that.
    pub const fn is_withdrawn(&self) -> bool {
        self.withdrawn
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
