//! The only clock of a Wasm filter, and its timer.
#![allow(unsafe_code)]

use crate::{
    error::{HostError, check},
    raw,
};

/// Now, in whole seconds since 1970.
pub fn unix_seconds() -> Result<u64, HostError> {
    let mut nanoseconds = 0;
    // SAFETY: the pointer is valid for the call, which writes one u64.
    check(unsafe { raw::proxy_get_current_time_nanoseconds(&raw mut nanoseconds) })?;
    Ok(nanoseconds / 1_000_000_000)
}

/// Makes Envoy call `on_tick` of the current root context this often; 0 stops it.
pub fn set_tick_period_milliseconds(period: u32) -> Result<(), HostError> {
    // SAFETY: no pointers.
    check(unsafe { raw::proxy_set_tick_period_milliseconds(period) })
}
