//! The project's recipes. `cargo xtask --help` lists them; CI calls the same ones.

mod bench;
mod build;
mod check;
mod command;
mod setup;
mod soak;
mod test;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use setup::Part;
use soak::Soak;

/// The recipes of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    recipe: Recipe,
}

#[derive(Subcommand)]
enum Recipe {
    /// Install what the demo and the tests need: Envoy, Postgres 15 and 18, SPIRE, the wasm target, Chromium, Postgres drivers and pools
    ///
    /// Every step is skipped when its work is done, and can be repeated. Downloads are pinned by
    /// hash and land in `.tools/`; only Debian packages are installed into the system.
    Setup {
        /// Only these parts [default: all but cargo-deny]
        #[arg(value_enum)]
        parts: Vec<Part>,
    },
    /// Build the programs and the Wasm filters
    Build {
        /// Only the filters, into `target/wasm32-unknown-unknown/filters/`
        #[arg(long)]
        filters: bool,
    },
    /// Set up what is missing, build, and tell the story client → api → Postgres with real processes
    ///
    /// Every cell of the table at the end is computed from observed traffic, logs or SQL; a wrong
    /// value makes the exit code 1.
    Demo {
        /// Leave everything running at the end and print how to talk to it (stop with Ctrl-C)
        #[arg(long)]
        keep: bool,
        /// Take the identities from a real SPIRE server and agent instead of dev-agent
        #[arg(long)]
        spire: bool,
        /// Keep the logs of all processes in this directory
        #[arg(long, value_name = "DIR")]
        log_dir: Option<PathBuf>,
    },
    /// Run every test of the workspace, the end-to-end ones with real processes
    Test {
        /// Handed on to `cargo test`, e.g. `-p pgwire` or `-- name_of_a_test`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure ours against its peers, in one run
    Bench {
        #[command(subcommand)]
        what: bench::Bench,
    },
    /// Run the long versions of tests: fuzz, random policies, floods, rotations, reconnects, half-open and silent sessions
    Soak {
        /// Only these parts [default: all]
        #[arg(value_enum)]
        parts: Vec<Soak>,
        /// How many inputs the fuzzers take [default: 1000000]
        #[arg(long)]
        inputs: Option<u64>,
    },
    /// Check format, lints, the rules of the architecture, licences and dependencies
    Check,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().recipe {
        Recipe::Setup { parts } if parts.is_empty() => setup::ensure(Part::FOR_TESTS),
        Recipe::Setup { parts } => setup::ensure(&parts),
        Recipe::Build { filters } => setup::ensure(&[Part::WasmTarget])
            .and_then(|()| if filters { build::filters() } else { build::everything() }),
        Recipe::Demo { keep, spire, log_dir } => demo(keep, spire, log_dir),
        Recipe::Test { arguments } => test::run(&arguments),
        Recipe::Bench { what } => bench::run(&what),
        Recipe::Soak { parts, inputs } => soak::run(&parts, inputs),
        Recipe::Check => check::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(keep: bool, spire: bool, log_dir: Option<PathBuf>) -> anyhow::Result<()> {
    setup::ensure(Part::FOR_DEMO)?;
    if spire {
        setup::ensure(&[Part::Spire])?;
    }
    build::everything()?;
    let mut demo = command::Run::new(build::program("demo"));
    if keep {
        demo = demo.arg("--keep");
    }
    if spire {
        demo = demo.arg("--spire");
    }
    if let Some(directory) = log_dir {
        demo = demo.arg("--log-dir").arg(std::path::absolute(directory)?);
    }
    demo.succeed()
}
