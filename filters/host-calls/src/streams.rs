//! A connection's flow.
#![allow(unsafe_code)]

use crate::{
    error::{HostError, check},
    exports::ContextId,
    raw,
};

const DOWNSTREAM: u32 = 2;

/// Lets what stands in the downstream buffer go on to the next filter.
pub fn resume_downstream() -> Result<(), HostError> {
    // SAFETY: no pointers.
    check(unsafe { raw::proxy_continue_stream(DOWNSTREAM) })
}

/// Closes the client's connection once what is written to it has gone out. Envoy may call `on_downstream_close` before
/// this returns.
pub fn close_downstream() -> Result<(), HostError> {
    // SAFETY: no pointers.
    check(unsafe { raw::proxy_close_stream(DOWNSTREAM) })
}

/// Makes the next calls concern another context than the one that Envoy called, for work in `on_tick`.
pub fn set_effective_context(context: ContextId) -> Result<(), HostError> {
    // SAFETY: no pointers.
    check(unsafe { raw::proxy_set_effective_context(context) })
}
