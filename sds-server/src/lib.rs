//! The server between SPIFFE and Envoy: SVIDs and bundles over SDS, the mesh policy over ECDS.
//!
//! Values flow one way: a [`sources`] task writes what the agent says, the custodian what may be
//! served, the [`policy`] keeper the last good document, the publisher a catalogue of encoded
//! resources, and the [`xds`] streams read that. Each state has one writer. An Envoy's answers
//! inform logs, metrics and its own session, never a state.

pub mod admin;
pub mod check;
pub mod config;
mod file_watch;
mod hardening;
pub mod herald;
pub mod logging;
pub mod metrics;
pub mod policy;
pub mod server;
pub mod sources;
mod systemd;
mod time;
pub mod xds;
