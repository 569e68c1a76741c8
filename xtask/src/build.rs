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
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", flags())
        .args(["--profile", "filters", "--target", wasm_target::TARGET])
        .args(packages)
        .succeed()
}

/// Keeps this machine's folders out of the modules (the places of panics name source files), so that
/// one commit gives one SHA-256 wherever it is built. And SHA-256 itself is not unrolled there: only configurations are
/// hashed, and it would take 7 KB more.
fn flags() -> String {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cargo = std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let remap = |from: PathBuf, to| format!("--remap-path-prefix={}={to}", from.display());
    let small = r#"--cfg=sha2_backend_soft="compact""#.to_owned();
    [remap(command::root(), "signet"), remap(cargo.join("registry/src"), "crates"), small].join(" ")
}

/// Where [`everything`] puts a program.
pub(crate) fn program(name: &str) -> PathBuf {
    target_directory().join("debug").join(name)
}

/// Where `cargo build --release` puts a program.
pub(crate) fn release_program(name: &str) -> PathBuf {
    target_directory().join("release").join(name)
}

/// Where [`filters`] puts a filter.
pub(crate) fn filter(package: &str) -> PathBuf {
    let file = format!("{}.wasm", package.replace('-', "_"));
    target_directory().join(wasm_target::TARGET).join("filters").join(file)
}

/// Where everything that is built or measured goes.
pub(crate) fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| command::root().join("target"), PathBuf::from)
}

/// A program's version line, to tell that it runs on this machine.
pub(crate) fn version_of(program: &std::path::Path) -> Result<String> {
    let printed = Run::new(program).arg("--version").output()?;
    let line = printed.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Ok(line.trim().to_owned())
}
