//! What can go wrong between the host and a filter.

use std::path::PathBuf;

/// What makes the filters.
const BUILD: &str =
    "cargo build --profile filters --target wasm32-unknown-unknown -p spiffe-authz -p pg-role";

/// Why a filter gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The module cannot be read.
    #[error("{} cannot be read; `{BUILD}` builds it", path.display())]
    Read {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no module that Envoy would take for a filter.
    #[error(
        "{} is no filter: {found}; accepted is a module of proxy-wasm ABI 0.2.1, which `{BUILD}` builds",
        path.display()
    )]
    NoFilter {
        /// Where it was read.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// No module can be run here.
    #[error("this machine runs no WebAssembly")]
    Engine(#[source] wasmtime::Error),
    /// The module needs an import that Envoy does not give, or lacks an export that Envoy calls.
    #[error("the module does not fit proxy-wasm ABI 0.2.1")]
    Abi(#[source] wasmtime::Error),
    /// The filter trapped. In Envoy the VM would be gone.
    #[error("the filter trapped in {callback}")]
    Trap {
        /// The callback that did not return.
        callback: &'static str,
        /// The trap.
        source: wasmtime::Error,
    },
    /// The filter refused the configuration. Envoy would NACK it.
    #[error("the filter refused its configuration: {log}")]
    ConfigurationRefused {
        /// What it logged.
        log: String,
    },
}
