//! What a root context holds.

use signet_policy::{Policy, Slice};

use crate::{
    claims::{self, WantedClaim},
    metrics::Metrics,
};

/// A policy in force, with what the filter derives from it.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) policy: Policy,
    /// Whether any rule looks at the port; else reading it is saved.
    pub(crate) reads_port: bool,
    /// The JWT claims that some rule looks at.
    pub(crate) claims: Vec<WantedClaim>,
    pub(crate) metrics: Metrics,
}

impl Configuration {
    pub(crate) fn new(slice: Slice) -> Self {
        let reads_port = slice.http.iter().any(|rule| rule.ports.is_some());
        let claims = claims::wanted(&slice);
        let metrics = Metrics::define(&slice);
        Self { policy: Policy::compile_http(slice), reads_port, claims, metrics }
    }

    /// For a root context without a readable policy.
    pub(crate) fn deny_all() -> Self {
        Self::new(Slice::deny_all(""))
    }
}
