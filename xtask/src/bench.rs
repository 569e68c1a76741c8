//! Ours against its peers, measured in one run. The measuring is done by the bench binary of the
//! tests; here it is built as it is meant to run, and told where the figures go.

use std::path::PathBuf;

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
    /// The HTTP filter against no filter, Envoy's RBAC, Lua and an empty Wasm filter; the command line
    ///
    /// Takes about ten minutes on a machine that does nothing else. Writes
    /// `target/bench/policy.json`, `docs/bench/policy.md` and `docs/bench/policy.svg`.
    Policy {
        #[command(flatten)]
        pace: Pace,
        /// Seconds for which each case is measured in a round [default: 3]
        #[arg(long, conflicts_with = "smoke")]
        seconds: Option<f64>,
    },
    /// sds-server against SPIRE agent's own SDS, and a minimal tonic server as the yardstick
    ///
    /// All serve the same SVID of the same SPIRE server to 10, 100 and 1,000 streams (ours to 10,000
    /// on 100 connections too), whose requests are bare or carry the 61 KB that a real Envoy says
    /// about itself. Measured are the CPU of a push, the time from the first stream's secret to the
    /// last one's, memory per stream, and what happens when all connections are opened again at once.
    ///
    /// Takes about fifteen minutes on a machine that does nothing else; others at work meanwhile are
    /// noticed, and told beside the figures. Writes `target/bench/sds.json`, `docs/bench/sds.md` and
    /// `docs/bench/sds.svg`. One case alone is quick: `--rounds 3 --case ours-node-1000`.
    Sds(Pace),
    /// pg-role against the same Envoys without it, direct connections and `PgBouncer`
    ///
    /// pgbench's `-S` and its default, with 1 and 8 clients, on steady connections and with one per
    /// transaction, over each way to one and the same Postgres in turn.
    ///
    /// Takes about twenty minutes on a machine that does nothing else; others at work meanwhile are
    /// noticed, and told beside the figures. Writes `target/bench/postgres.json`,
    /// `docs/bench/postgres.md` and `docs/bench/postgres.svg`. One way or one load alone is quick:
    /// `--case pg-role --case envoys-empty`, `--case select-8-connect`.
    Postgres {
        #[command(flatten)]
        pace: Pace,
        /// Seconds for which each case is measured in a round [default: 2]
        #[arg(long, conflicts_with = "smoke")]
        seconds: Option<u32>,
    },
}

/// How often; the bench knows the defaults and the bounds.
#[derive(Args)]
pub(crate) struct Pace {
    /// Rounds; each measures every case once, and medians are taken over them [default: 5]
    #[arg(long)]
    rounds: Option<u32>,
    /// Only whether it all works, as short and small as can be; nothing is written into `docs/`
    #[arg(long, conflicts_with = "rounds")]
    smoke: bool,
    /// Only this case, by its key in the JSON; may be repeated. Nothing is written into `docs/`
    #[arg(long = "case", value_name = "KEY")]
    cases: Vec<String>,
    /// The directory for the figures as JSON [default: target/bench, and its `smoke`]
    #[arg(long, short = 'o', value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Policy { pace, seconds } => {
            setup::ensure(&[Part::WasmTarget, Part::Envoy])?;
            build::filters()?;
            let seconds = seconds.map(|seconds| format!("--seconds={seconds}"));
            cargo()
                .args(["build", "--release", "--package", "signet-policy", "--example", "measure"])
                .succeed()?;
            start("policy", &["dev-agent", "signet"], pace, seconds)
        }
        Bench::Sds(pace) => {
            setup::ensure(&[Part::Envoy, Part::Spire])?;
            start("sds", &["sds-server"], pace, None)
        }
        Bench::Postgres { pace, seconds } => {
            let parts = [Part::WasmTarget, Part::Envoy, Part::Postgres15, Part::PgBouncer];
            setup::ensure(&parts)?;
            build::filters()?;
            let seconds = seconds.map(|seconds| format!("--seconds={seconds}"));
            start("postgres", &["dev-agent", "sds-server"], pace, seconds)
        }
    }
}

/// The package of a program.
fn package(program: &str) -> &str {
    if program == "signet" { "signet-cli" } else { program }
}

/// Builds the bench and these programs as they are meant to run, and measures.
fn start(
    what: &str,
    programs: &[&str],
    pace: &Pace,
    more: impl IntoIterator<Item = String>,
) -> Result<()> {
    println!("── build: the bench, optimized");
    cargo()
        .args(["build", "--release", "--package", "e2e", "--bin", "bench"])
        .args(programs.iter().flat_map(|program| ["--package", package(program), "--bin", program]))
        .succeed()?;
    println!("── bench: {what}");
    let results = build::target_directory().join("bench");
    let results = if pace.smoke { results.join("smoke") } else { results };
    let results = pace.output.clone().unwrap_or(results);
    let mut bench =
        Run::new(build::release_program("bench")).arg(what).arg("--results").arg(results);
    if pace.smoke {
        bench = bench.arg("--smoke");
    } else if pace.cases.is_empty() {
        bench = bench.arg("--docs").arg(root().join("docs/bench"));
    }
    if let Some(rounds) = pace.rounds {
        bench = bench.arg(format!("--rounds={rounds}"));
    }
    bench = bench.args(pace.cases.iter().map(|case| format!("--case={case}"))).args(more);
    bench.succeed()
}
