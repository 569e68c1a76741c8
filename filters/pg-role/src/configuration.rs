//! What a root context holds.

use signet_policy::{Policy, Slice};

use crate::metrics::Metrics;

/// A policy in force, with the filter's counters.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) policy: Policy,
    pub(crate) metrics: Metrics,
}

impl Configuration {
    pub(crate) fn new(slice: Slice) -> Self {
        Self { policy: Policy::compile(slice), metrics: Metrics::define() }
    }

    /// For a root context without a readable policy.
    pub(crate) fn deny_all() -> Self {
        Self { policy: Policy::deny_all(), metrics: Metrics::define() }
    }
}
