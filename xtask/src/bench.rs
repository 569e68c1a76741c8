//! Ours against its peers, measured in one run. The measuring is done by the bench binary of the
//! tests; here it is built as it is meant to run, and told where the figures go.

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::{
    build,
    command::{Run, cargo, root},
    setup::{self, Part},
};

/// What can be measured.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// The HTTP filter against no filter, Envoy's RBAC, Lua and an empty Wasm filter
    ///
    /// Takes about five minutes on a machine that does nothing else. Writes
    /// `target/bench/policy.json`, `docs/bench/policy.md` and `docs/bench/policy.svg`.
    Policy(Pace),
}

/// How long and how often; the bench knows the defaults and the bounds.
#[derive(Args)]
pub(crate) struct Pace {
    /// Rounds; each measures every case once, and medians are taken over them [default: 5]
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds for which each case is measured in a round [default: 3]
    #[arg(long)]
    seconds: Option<f64>,
    /// Only whether it all works: a fraction of a second for each case, and nothing is written into `docs/`
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    smoke: bool,
}

pub(crate) fn run(bench: &Bench) -> Result<()> {
    let Bench::Policy(pace) = bench;
    setup::ensure(&[Part::WasmTarget, Part::Envoy])?;
    build::filters()?;
    println!("── build: the bench, optimized");
    cargo()
        .args(["build", "--release", "--package", "e2e", "--package", "dev-agent"])
        .args(["--bin", "bench", "--bin", "dev-agent"])
        .succeed()?;
    println!("── bench: policy");
    let mut bench = Run::new(build::release_program("bench")).arg("policy");
    let results = build::target_directory().join("bench");
    if pace.smoke {
        bench = bench.arg("--smoke").arg("--results").arg(results.join("smoke"));
    } else {
        bench = bench.arg("--results").arg(results).arg("--docs").arg(root().join("docs/bench"));
    }
    if let Some(rounds) = pace.rounds {
        bench = bench.arg(format!("--rounds={rounds}"));
    }
    if let Some(seconds) = pace.seconds {
        bench = bench.arg(format!("--seconds={seconds}"));
    }
    bench.succeed()
}
