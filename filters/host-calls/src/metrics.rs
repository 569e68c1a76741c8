//! Envoy's metrics: `wasmcustom.NAME` in `/stats`.
#![allow(unsafe_code)]

use crate::{
    error::{HostError, check},
    raw,
};

/// A number that only grows.
#[derive(Clone, Copy, Debug)]
pub struct Counter(u32);

/// A number as it is now.
#[derive(Clone, Copy, Debug)]
pub struct Gauge(u32);

impl Counter {
    /// Defines it, or finds the one of this name.
    pub fn define(name: &str) -> Result<Self, HostError> {
        define(0, name).map(Self)
    }

    /// Counts one.
    pub fn increment(self) {
        // SAFETY: no pointers. A metric that Envoy refuses is no reason to do anything else.
        unsafe { raw::proxy_increment_metric(self.0, 1) };
    }
}

impl Gauge {
    /// Defines it, or finds the one of this name.
    pub fn define(name: &str) -> Result<Self, HostError> {
        define(1, name).map(Self)
    }

    /// Sets its value.
    pub fn record(self, value: u64) {
        // SAFETY: no pointers. A metric that Envoy refuses is no reason to do anything else.
        unsafe { raw::proxy_record_metric(self.0, value) };
    }
}

fn define(kind: u32, name: &str) -> Result<u32, HostError> {
    let mut metric = 0;
    // SAFETY: pointer and size are those of `name`; the call writes one u32.
    check(unsafe { raw::proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut metric) })?;
    Ok(metric)
}
