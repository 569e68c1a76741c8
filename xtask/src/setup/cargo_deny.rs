//! cargo-deny, for `cargo xtask check`.

use std::path::PathBuf;

use anyhow::Result;

use super::tools;
use crate::{build::version_of, command};

const VERSION: &str = "0.20.2";

/// The program that [`install`] leaves.
pub(crate) fn program() -> PathBuf {
    tools().join("cargo-deny/bin/cargo-deny")
}

pub(super) fn found() -> Option<String> {
    let version = version_of(&program()).ok()?;
    version.ends_with(VERSION).then(|| format!("{version} in .tools/cargo-deny"))
}

pub(super) fn install() -> Result<()> {
    command::cargo()
        .args(["install", "cargo-deny", "--locked", "--quiet", "--version", VERSION, "--root"])
        .arg(tools().join("cargo-deny"))
        .succeed()
}
