//! wasmtime as the host of Signet's Envoy filters: it gives a built `.wasm` the host calls that Envoy 1.40 gives it.
//!
//! The command line and the tests decide with the very bytes that Envoy runs. This crate knows nothing of policies: it
//! passes configurations, headers and bytes. It imitates what a filter can observe of Envoy (buffers, filter state, which
//! calls fail when), not Envoy's networking.
//!
//! ```no_run
//! use std::path::Path;
//! use wasm_host::{FilterModule, HttpFilter, HttpRequest, HttpOutcome};
//!
//! let module = FilterModule::load(Path::new("spiffe_authz.wasm"))?;
//! let mut filter = HttpFilter::start(&module, br#"{"format":1,"workload":"spiffe://example.org/api"}"#)?;
//! let exchange = filter.exchange(&HttpRequest {
//!     peer: Some(b"1800000000|spiffe://example.org/ns/client-ns/sa/client".to_vec()),
//!     headers: vec![(b":method".to_vec(), b"GET".to_vec()), (b":path".to_vec(), b"/customers".to_vec())],
//!     ..HttpRequest::default()
//! })?;
//! assert!(matches!(exchange.outcome, HttpOutcome::Forwarded { .. }));
//! # Ok::<(), wasm_host::HostError>(())
//! ```

mod envoy;
mod error;
mod http;
mod imports;
mod module;
mod noted;
mod postgres;
mod vm;

pub use envoy::{Headers, Level, LocalResponse, LogLine};
pub use error::HostError;
pub use http::{Exchange, HttpFilter, HttpOutcome, HttpRequest};
pub use module::FilterModule;
pub use noted::Noted;
pub use postgres::{Connection, PostgresFilter, Progress};
