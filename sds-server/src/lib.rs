//! The server between SPIFFE and Envoy: SVIDs and bundles over SDS, the mesh policy over ECDS.

pub mod config;
pub mod metrics;
pub mod sources;
