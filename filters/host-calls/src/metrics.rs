//! Envoy's metrics: `wasmcustom.NAME` in `/stats`.
#![allow(unsafe_code)]

use crate::{error::check, raw};

/// A number that only grows. One that Envoy would not define counts nothing: no reason to do anything else.
#[derive(Clone, Copy, Debug)]
pub struct Counter(Option<u32>);

impl Counter {
    /// Defines it, or finds the one of this name.
    pub fn define(name: &str) -> Self {
        Self(define(0, name))
    }

    /// Counts one.
    pub fn increment(self) {
        self.add(1);
    }

    /// Counts so many.
    pub fn add(self, many: u32) {
        if let Some(metric) = self.0 {
            // SAFETY: no pointers.
            unsafe { raw::proxy_increment_metric(metric, many.into()) };
        }
    }
}

/// A number that goes up and down, one for the whole Envoy process: all VMs add to it. What a VM that trapped had added
/// stays in it.
#[derive(Clone, Copy, Debug)]
pub struct Gauge(Option<u32>);

impl Gauge {
    /// Defines it, or finds the one of this name.
    pub fn define(name: &str) -> Self {
        Self(define(1, name))
    }

    /// Counts one more.
    pub fn increment(self) {
        self.add(1);
    }

    /// Counts one less.
    pub fn decrement(self) {
        self.add(-1);
    }

    fn add(self, difference: i64) {
        if let Some(metric) = self.0 {
            // SAFETY: no pointers.
            unsafe { raw::proxy_increment_metric(metric, difference) };
        }
    }
}

/// Sets a number that goes up and down, one for the whole Envoy process.
pub fn record_gauge(name: &str, value: u64) {
    if let Some(metric) = define(1, name) {
        // SAFETY: no pointers.
        unsafe { raw::proxy_record_metric(metric, value) };
    }
}

fn define(kind: u32, name: &str) -> Option<u32> {
    let mut metric = 0;
    // SAFETY: pointer and size are those of `name`; the call writes one u32.
    let status =
        unsafe { raw::proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut metric) };
    check(status).is_ok().then_some(metric)
}
