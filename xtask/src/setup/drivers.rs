//! The Postgres drivers of the matrix that are not Debian's or Rust's, each with what it needs to run
//! the program in `tests/drivers/`. All of them land in `.tools/drivers/`.

mod java;
mod node;
mod pgx;
mod python;

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::tools;
use crate::command::root;

/// One driver, or several that install as one: is it there, and how does it get there?
struct Installation {
    name: &'static str,
    is_there: fn() -> bool,
    install: fn() -> Result<()>,
}

const ALL: [Installation; 4] = [
    Installation {
        name: "psycopg and asyncpg",
        is_there: python::is_there,
        install: python::install,
    },
    Installation { name: "node-postgres", is_there: node::is_there, install: node::install },
    Installation { name: "pgx", is_there: pgx::is_there, install: pgx::install },
    Installation { name: "pgjdbc", is_there: java::is_there, install: java::install },
];

pub(super) fn found() -> Option<String> {
    let names = ALL.map(|driver| driver.name).join(", ");
    ALL.iter().all(|driver| (driver.is_there)()).then(|| format!("{names} in .tools/drivers"))
}

pub(super) fn install() -> Result<()> {
    for driver in ALL.iter().filter(|driver| !(driver.is_there)()) {
        println!("   {}", driver.name);
        (driver.install)().with_context(|| driver.name)?;
    }
    Ok(())
}

/// Where a driver's program and its pins stand.
fn sources(driver: &str) -> PathBuf {
    root().join("tests/drivers").join(driver)
}

/// Where setup puts what they need.
fn folder(name: &str) -> PathBuf {
    tools().join("drivers").join(name)
}
