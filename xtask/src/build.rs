//! Builds the programs for this machine and the filters for Envoy.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    command::{self, Run},
    setup::wasm_target,
};

/// The packages that become Wasm.
pub(crate) const FILTERS: [&str; 2] = ["spiffe-authz", "pg-role"];

/// Builds every program, then the filters.
pub(crate) fn everything() -> Result<()> {
    println!("── build: the programs");
    command::cargo().args(["build", "--workspace", "--bins"]).succeed()?;
    filters()
}

/// Builds the Wasm filters into `target/wasm32-unknown-unknown/filters/`.
pub(crate) fn filters() -> Result<()> {
    println!("── build: the Wasm filters");
    let packages = FILTERS.iter().flat_map(|filter| ["--package", filter]);
    wasm_target::cargo_build()?
        .args(["--profile", "filters", "--target", wasm_target::TARGET])
        .args(packages)
        .succeed()
}

/// Where [`everything`] puts a program.
pub(crate) fn program(name: &str) -> PathBuf {
    target_directory().join("debug").join(name)
}

/// Where [`filters`] puts a filter.
pub(crate) fn filter(package: &str) -> PathBuf {
    let file = format!("{}.wasm", package.replace('-', "_"));
    target_directory().join(wasm_target::TARGET).join("filters").join(file)
}

fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| command::root().join("target"), PathBuf::from)
}

/// A program's version line, to tell that it runs on this machine.
pub(crate) fn version_of(program: &std::path::Path) -> Result<String> {
    let printed = Run::new(program).arg("--version").output()?;
    let line = printed.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Ok(line.trim().to_owned())
}
