//! Envoy's metrics: `wasmcustom.NAME` in `/stats`.
#![allow(unsafe_code)]

use crate::{
    error::{HostError, check},
    raw,
};

/// A number that only grows. One that Envoy would not define counts nothing: no reason to do anything else.
#[derive(Clone, Copy, Debug)]
pub struct Counter(Option<u32>);

/// A number as it is now. One that Envoy would not define shows nothing.
#[derive(Clone, Copy, Debug)]
pub struct Gauge(Option<u32>);

impl Counter {
    /// Defines it, or finds the one of this name.
    pub fn define(name: &str) -> Self {
        Self(define(0, name).ok())
    }

    /// Counts one.
    pub fn increment(self) {
        if let Some(metric) = self.0 {
            // SAFETY: no pointers.
            unsafe { raw::proxy_increment_metric(metric, 1) };
        }
    }
}

impl Gauge {
    /// Defines it, or finds the one of this name.
    pub fn define(name: &str) -> Self {
        Self(define(1, name).ok())
    }

    /// Sets its value.
    pub fn record(self, value: u64) {
        if let Some(metric) = self.0 {
            // SAFETY: no pointers.
            unsafe { raw::proxy_record_metric(metric, value) };
        }
    }
}

fn define(kind: u32, name: &str) -> Result<u32, HostError> {
    let mut metric = 0;
    // SAFETY: pointer and size are those of `name`; the call writes one u32.
    check(unsafe { raw::proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut metric) })?;
    Ok(metric)
}
