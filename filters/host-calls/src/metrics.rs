//! Envoy's metrics: `wasmcustom.NAME` in `/stats`.
#![allow(unsafe_code)]

use crate::{error::check, raw};

/// A number that only grows. One that Envoy would not define counts nothing: no reason to do anything else.
#[derive(Clone, Copy, Debug)]
pub struct Counter(Option<u32>);

impl Counter {
    /// Defines it, or finds the one of this name.
    pub fn define(name: &str) -> Self {
        const COUNTER: u32 = 0;
        let mut metric = 0;
        // SAFETY: pointer and size are those of `name`; the call writes one u32.
        let status = unsafe {
            raw::proxy_define_metric(COUNTER, name.as_ptr(), name.len(), &raw mut metric)
        };
        Self(check(status).is_ok().then_some(metric))
    }

    /// Counts one.
    pub fn increment(self) {
        if let Some(metric) = self.0 {
            // SAFETY: no pointers.
            unsafe { raw::proxy_increment_metric(metric, 1) };
        }
    }
}
