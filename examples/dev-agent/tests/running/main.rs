//! The running program: its API asked by the SPIFFE project's own Rust client, and the process around it.

mod agent;
mod program;
mod workload_api;
