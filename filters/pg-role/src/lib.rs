//! Envoy network filter in front of Postgres: maps the peer's SPIFFE ID to a Postgres role by rewriting the start-up packet.
//!
//! `tcp_proxy` behind the filter is configured for the cluster `deny`, whose echo sends back what it gets. The filter makes
//! it wait (`Pause`), reads the start-up, and either names the cluster `postgres` and passes a rewritten packet on, or lets
//! the echo return an `ErrorResponse` to the client. So a missing or broken filter denies too.
//!
//! Every callback but `on_upstream_data` answers `Pause` and resumes by hand: only so does the client's buffer stay
//! writable from the timer, which ends sessions whose reason has ended.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod cancel_keys;
mod configuration;
mod metrics;
mod session;
mod startup;
mod timer;
mod vm;

host_calls::export_network_filter!(vm::PgRole);
