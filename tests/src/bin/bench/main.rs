//! The benches: ours and its peers in one run, in turn, so that the ratios hold on any machine.

mod figures;
mod machine;
mod neighbours;
mod policy;
mod postgres;
mod row;
mod sds;
mod written;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

/// Measures ours against its peers, in one run
#[derive(Parser)]
#[command(name = "bench", version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The HTTP filter: requests per second, latency, CPU and memory of one Envoy worker
    Policy(PolicyOptions),
    /// The SDS server: CPU, time and memory of pushes to many streams, and of their reconnecting at once
    Sds(Options),
    /// The Postgres filter, and what else may stand before Postgres: transactions per second, latency, CPU
    Postgres(PostgresOptions),
    /// Many SDS streams in one process, told what to do by `bench sds`
    #[command(hide = true)]
    Swarm(sds::SwarmOptions),
    /// The least SDS server that tonic makes, started by `bench sds`
    #[command(hide = true)]
    Yardstick(sds::YardstickOptions),
}

/// How often, and where the figures go.
#[derive(Args)]
pub(crate) struct Options {
    /// Rounds; each measures every case once, and medians are taken over them
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// One round as small and short as can be: whether it all works, not how fast
    #[arg(long, conflicts_with = "rounds")]
    smoke: bool,
    /// Only this case, by its key in the JSON; may be repeated. Aims that need other cases are left out
    #[arg(long = "case", value_name = "KEY")]
    cases: Vec<String>,
    /// The directory for the figures as JSON
    #[arg(long, value_name = "DIR")]
    results: PathBuf,
    /// The directory for the table and the plot; none are written without it
    #[arg(long, value_name = "DIR")]
    docs: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct PolicyOptions {
    #[command(flatten)]
    common: Options,
    /// Seconds for which each case is measured in a round
    #[arg(long, default_value_t = 3.0, value_parser = seconds, conflicts_with = "smoke")]
    seconds: f64,
}

#[derive(Args)]
pub(crate) struct PostgresOptions {
    #[command(flatten)]
    common: Options,
    /// Seconds for which each case is measured in a round
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=600), conflicts_with = "smoke")]
    seconds: u32,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("0.1 to 600 are accepted".to_owned()),
    }
}

// One thread: it serves callers and upstream alike with the fewest wake-ups, and leaves the other
// core of a small machine to what is measured.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().what {
        What::Policy(options) => policy::run(&options).await,
        What::Sds(options) => sds::run(&options).await,
        What::Postgres(options) => postgres::run(&options).await,
        What::Swarm(options) => sds::swarm(&options).await,
        What::Yardstick(options) => sds::yardstick(&options).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
