//! The built filters.

use std::path::Path;

use wasm_host::FilterModule;

/// Loads a filter from where cargo builds it. A missing one fails the test, with the command that builds it.
pub(crate) fn filter(file: &str) -> FilterModule {
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/wasm32-unknown-unknown/filters");
    FilterModule::load(&directory.join(file)).unwrap_or_else(|error| panic!("{error}"))
}
