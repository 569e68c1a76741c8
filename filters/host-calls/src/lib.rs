//! The host functions of a Wasm filter in Envoy (proxy-wasm ABI 0.2.1), and the exports by which Envoy calls the filter.
//!
//! Why not the SDK: it panics on every status that it does not expect, and a panic is a trap that costs all sessions of
//! the VM; it holds a `RefCell` borrow while the filter runs, so that a callback during a host call traps as well; and it
//! exports callbacks that cost time on every request though nobody uses them. Here every call returns a [`Result`], and a
//! filter exports what it implements.
//!
//! This crate has the only unsafe code of the filters. Outside of a Wasm VM each call fails with
//! [`HostError::Unimplemented`], so that the filters' own logic can be tested natively.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod buffers;
mod clock;
mod configuration;
mod error;
pub mod exports;
mod headers;
mod http_call;
mod local_response;
mod log;
mod memory;
mod metrics;
mod properties;
mod raw;
mod shared_data;
mod streams;

pub use buffers::{Buffer, read_buffer, write_buffer};
pub use clock::{set_tick_period_milliseconds, unix_seconds};
pub use configuration::{Configured, Fingerprint, configure};
pub use error::HostError;
pub use exports::{Action, ContextId, HttpFilter, NetworkFilter, Vm};
pub use headers::{HeaderMap, HeaderPairs, add_header, header_pairs, remove_header, reuse_list};
pub use http_call::post;
pub use local_response::{LocalResponse, send_local_response};
pub use log::{Level, log};
pub use memory::{proxy_on_memory_allocate, reuse};
pub use metrics::{Counter, Gauge, record_gauge};
pub use properties::{property, set_envoy_filter_state, set_wasm_property};
pub use shared_data::{
    read_shared_data, read_versioned_shared_data, replace_shared_data, write_shared_data,
};
pub use streams::{close_downstream, resume_downstream, set_effective_context};
