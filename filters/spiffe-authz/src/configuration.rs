//! What a root context holds.

use signet_policy::{Policy, Slice};

use crate::{
    claims::{self, WantedClaim},
    metrics::Metrics,
    noted::Noted,
    peers::Peers,
    told_headers::Forgeries,
};

/// A policy in force, with what the filter derives from it.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) policy: Policy,
    pub(crate) peers: Peers,
    /// The headers that no client may send.
    pub(crate) forgeries: Forgeries,
    /// Whether any rule looks at the port; else reading it is saved.
    pub(crate) reads_port: bool,
    /// The JWT claims that some rule looks at.
    pub(crate) claims: Vec<WantedClaim>,
    pub(crate) metrics: Metrics,
    pub(crate) noted: Noted,
}

impl Configuration {
    pub(crate) fn new(slice: Slice) -> Self {
        let reads_port = slice.http.iter().any(|rule| rule.ports.is_some());
        let claims = claims::wanted(&slice);
        let metrics = Metrics::define(&slice);
        let policy = Policy::compile_http(slice);
        let forgeries = Forgeries::of(&policy.filter().headers);
        let (peers, noted) = (Peers::default(), Noted::default());
        Self { policy, peers, forgeries, reads_port, claims, metrics, noted }
    }

    /// For a root context without a readable policy.
    pub(crate) fn deny_all() -> Self {
        Self::new(Slice::deny_all(""))
    }
}
