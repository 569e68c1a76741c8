//! End-to-end tests of Signet: a harness of real processes, and the story they tell.
//!
//! Nothing here is a stand-in: Envoy, Postgres, SPIRE or dev-agent, sds-server and the example
//! programs run as children, in a private directory, on loopback addresses and Unix sockets of
//! their own, and end with the value that holds them. [`Mesh`] puts up the whole flow; [`story`]
//! walks through it and returns what it saw, so that a test can assert it and the demo can print it.

mod accounts;
mod api;
pub mod bootstrap;
mod dev_agent;
mod entry;
mod envoy;
mod fetched;
pub mod http;
mod identity;
pub mod jwt;
mod listener;
mod mesh;
mod pair;
mod policy;
pub mod postgres;
mod process;
mod programs;
pub mod sds;
mod sds_server;
mod site;
mod spire;
mod stage;
pub mod startup;
pub mod story;
pub mod tls;
pub mod usage;
mod wait;
pub mod wire;
mod workload;

pub use accounts::{Account, Accounts};
pub use api::Api;
pub use bootstrap::Bootstrap;
pub use dev_agent::DevAgent;
pub use entry::Entry;
pub use envoy::Envoy;
pub use fetched::FetchedSvid;
pub use identity::{IdentitySource, SourceKind};
pub use listener::{config_source, echo_listener};
pub use mesh::{Mesh, MeshPlan, Sidecar};
pub use pair::{Knocking, Pair, PairPlan};
pub use policy::PolicyFile;
pub use postgres::{Postgres, PostgresFiles, PostgresVersion};
pub use process::{Launch, Process};
pub use programs::Programs;
pub use sds_server::{NodeSource, SdsServer, filter_code};
pub use site::Ops;
pub use spire::Spire;
pub use stage::Stage;
pub use wait::{PATIENCE, until};
pub use workload::{TRUST_DOMAIN, Workload};
