//! psycopg (with libpq 18 in its wheel) and asyncpg, from wheels pinned by their hashes.

use std::path::PathBuf;

use anyhow::Result;

use super::{folder, sources};
use crate::{
    command::{Run, install_debian_packages},
    setup::pin,
};

const FOLDER: &str = "python";

fn requirements() -> [PathBuf; 2] {
    ["psycopg", "asyncpg"].map(|driver| sources(driver).join("requirements.txt"))
}

/// Asks Python as well: a wheel is for one version of it.
pub(super) fn is_there() -> bool {
    let [psycopg, asyncpg] = requirements();
    let importing = || Run::new("python3").args(["-c", "import psycopg, asyncpg"]);
    pin::holds(&folder(FOLDER), &[&psycopg, &asyncpg])
        && importing().env("PYTHONPATH", folder(FOLDER)).output().is_ok()
}

pub(super) fn install() -> Result<()> {
    if Run::new("python3").args(["-m", "pip", "--version"]).output().is_err() {
        install_debian_packages(&["python3", "python3-pip"])?;
    }
    pin::fresh(&folder(FOLDER))?;
    let [psycopg, asyncpg] = requirements();
    Run::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"])
        .args(["--root-user-action", "ignore", "--only-binary", ":all:", "--target"])
        .arg(folder(FOLDER))
        .arg("--requirement")
        .arg(&psycopg)
        .arg("--requirement")
        .arg(&asyncpg)
        .succeed()?;
    pin::stamp(&folder(FOLDER), &[&psycopg, &asyncpg])
}
