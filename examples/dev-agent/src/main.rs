//! An in-memory SPIFFE authority for demos and tests. It attests nobody: never use it for anything real.

mod agent;
mod arguments;
mod authority;
mod command;
mod control;
mod ctl;
mod jwt;
mod keys;
mod proto;
mod serve;
mod subscription;
mod svid;
mod view;
mod workload_api;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::arguments::{Action, Arguments};

const WARNING: &str = "
  *** dev-agent is for development and tests only. ***
  It attests nobody: whoever reaches a socket becomes that workload. Use SPIRE for anything real.
";

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().action {
        Action::Serve(arguments) => {
            eprintln!("{WARNING}");
            let filter =
                EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal())
                .init();
            serve::run(arguments).await
        }
        Action::Ctl { directory, command } => ctl::run(&directory, &command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dev-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}
