//! A compiled filter module.

use std::path::Path;

use sha2::{Digest, Sha256};
use wasmtime::{Cache, CacheConfig, Config, Engine, Module};

use crate::error::HostError;

/// What every WebAssembly module begins with.
const MAGIC: &[u8] = b"\0asm";

/// The export by which Envoy knows the ABI that a filter was built for.
const ABI: &str = "proxy_abi_version_0_2_1";

/// Bytes that are shown of a file that is something else.
const SHOWN: usize = 24;

/// A filter's `.wasm`, compiled. Compiled code is kept in the user's cache directory, so that the next process starts at
/// once.
#[derive(Clone, Debug)]
pub struct FilterModule {
    pub(crate) engine: Engine,
    pub(crate) module: Module,
    sha256: String,
}

impl FilterModule {
    /// Reads and compiles a module.
    pub fn load(path: &Path) -> Result<Self, HostError> {
        let bytes = std::fs::read(path)
            .map_err(|source| HostError::Read { path: path.to_owned(), source })?;
        let no_filter = |found| HostError::NoFilter { path: path.to_owned(), found };
        if !bytes.starts_with(MAGIC) {
            return Err(no_filter(beginning(&bytes)));
        }
        let mut config = Config::new();
        // Without a home directory there is no cache; compiling each time is slower, never wrong.
        config.cache(Cache::new(CacheConfig::new()).ok());
        let engine = Engine::new(&config).map_err(HostError::Engine)?;
        let module = Module::from_binary(&engine, &bytes).map_err(|error| {
            no_filter(format!("its WebAssembly can't be compiled, {}", error.root_cause()))
        })?;
        if module.get_export(ABI).is_none() {
            return Err(no_filter(format!("it is WebAssembly that exports no `{ABI}`")));
        }
        let sha256 = hex::encode(Sha256::digest(&bytes));
        Ok(Self { engine, module, sha256 })
    }

    /// SHA-256 of the module's bytes, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// How a file begins that is no WebAssembly.
fn beginning(bytes: &[u8]) -> String {
    match bytes.get(..SHOWN).unwrap_or(bytes) {
        [] => "it is empty".to_owned(),
        first => format!("it begins with `{}`", first.escape_ascii()),
    }
}
