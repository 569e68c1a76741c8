//! A compiled filter module.

use std::path::Path;

use sha2::{Digest, Sha256};
use wasmtime::{Cache, CacheConfig, Config, Engine, Module};

use crate::error::HostError;

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
        let not_a_module = |source| HostError::Module { path: path.to_owned(), source };
        let mut config = Config::new();
        // Without a home directory there is no cache; compiling each time is slower, never wrong.
        config.cache(Cache::new(CacheConfig::new()).ok());
        let engine = Engine::new(&config).map_err(not_a_module)?;
        let module = Module::from_binary(&engine, &bytes).map_err(not_a_module)?;
        let sha256 = hex::encode(Sha256::digest(&bytes));
        Ok(Self { engine, module, sha256 })
    }

    /// SHA-256 of the module's bytes, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}
