//! Envoy HTTP filter: decides by the caller's SPIFFE ID, and tells the API who called and which Postgres role it may use.
//!
//! A root context decodes the policy slice once. A request gathers plain facts, asks the policy, and performs the answer.
//! Whatever cannot be read or written denies.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod claims;
mod configuration;
mod denial;
mod metrics;
mod noted;
mod peers;
mod request;
mod told_headers;
mod vm;

host_calls::export_http_filter!(vm::SpiffeAuthz);
