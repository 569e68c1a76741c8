//! What a root context holds, and how VMs learn of a newer one.

use host_calls::{Fingerprint, Level, log, read_shared_data, write_shared_data};
use signet_policy::{Policy, Slice, SliceError};

use crate::metrics::Metrics;

/// The newest accepted slice, for all VMs of this `vm_id` in the Envoy process.
const SLICE: &str = "signet.slice";

/// A policy in force, with the filter's counters.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) policy: Policy,
    pub(crate) metrics: Metrics,
    /// None for a policy that denies for want of one.
    fingerprint: Option<Fingerprint>,
}

impl Configuration {
    pub(crate) fn new(slice: Slice, fingerprint: Fingerprint) -> Self {
        Self {
            policy: Policy::compile_postgres(slice),
            metrics: Metrics::define(),
            fingerprint: Some(fingerprint),
        }
    }

    /// For a root context without a readable policy.
    pub(crate) fn deny_all() -> Self {
        Self { policy: Policy::deny_all(), metrics: Metrics::define(), fingerprint: None }
    }

    /// What another VM has accepted since, if anything. Envoy gives an update to a new VM when it has refused one before,
    /// and the sessions of the old VM must learn of it too.
    pub(crate) fn successor(&self) -> Option<Self> {
        let newest =
            Fingerprint::newest_accepted().filter(|newest| self.fingerprint != Some(*newest))?;
        let slice = read_shared_data(SLICE).ok()??;
        match Slice::postgres_from_json(&slice) {
            Ok(slice) => Some(Self::new(slice, newest)),
            Err(fault) => {
                log(
                    Level::Error,
                    &format!("cannot read the policy that another VM accepted: {fault}"),
                );
                None
            }
        }
    }
}

/// Reads a slice and leaves it for the other VMs.
pub(crate) fn read_and_share(bytes: &[u8]) -> Result<Slice, SliceError> {
    let slice = Slice::postgres_from_json(bytes)?;
    if let Err(error) = write_shared_data(SLICE, bytes) {
        log(Level::Error, &format!("cannot share the policy with other VMs: {error}"));
    }
    Ok(slice)
}
