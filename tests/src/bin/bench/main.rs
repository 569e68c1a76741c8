//! The benches: ours and its peers in one run, in turn, so that the ratios hold on any machine.

mod cpu;
mod load;
mod machine;
mod policy;
mod proxy;
mod sample;
mod upstream;

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
    Policy(Options),
}

/// How long, and where the figures go.
#[derive(Args)]
pub(crate) struct Options {
    /// Rounds; each measures every case once, and medians are taken over them
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds for which each case is measured in a round
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// One round of a fraction of a second each: whether it all works, not how fast
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    smoke: bool,
    /// Only this case, e.g. `ours-100`; may be repeated. Aims that need other cases are left out
    #[arg(long = "case", value_name = "KEY")]
    cases: Vec<String>,
    /// The directory for the figures as JSON
    #[arg(long, value_name = "DIR")]
    results: PathBuf,
    /// The directory for the table and the plot; none are written without it
    #[arg(long, value_name = "DIR")]
    docs: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("0.1 to 600 are accepted".to_owned()),
    }
}

// One thread: it serves callers and upstream alike with the fewest wake-ups, and leaves the other
// core of a small machine to Envoy.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let What::Policy(options) = Arguments::parse().what;
    match policy::run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
