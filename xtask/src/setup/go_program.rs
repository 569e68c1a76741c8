//! A program of Go modules that its `go.sum` pins.

use std::path::Path;

use anyhow::{Result, bail};

use crate::command::{Run, on_path};

/// Builds the module into one file.
pub(super) fn build(module: &Path, program: &Path) -> Result<()> {
    if !on_path("go") {
        bail!("go is not on the PATH; install Go 1.25 or newer, and run this again");
    }
    Run::new("go")
        .directory(module)
        .env("CGO_ENABLED", "0")
        .args(["build", "-trimpath", "-mod=readonly", "-o"])
        .arg(program)
        .arg(".")
        .succeed()
}
