//! `signet policy compile`

use std::process::ExitCode;

use signet_policy::{Slice, SpiffeId};

use crate::OutputArguments;
use crate::error::Error;
use crate::input::PolicyArgument;
use crate::output::print;

/// Print what the filters of one workload are configured with.
///
/// It is the part of the policy that concerns this workload, as canonical JSON, with names,
/// aliases and `/…` expanded: the plugin configuration that sds-server delivers, for those who run
/// without it.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  signet policy compile policy.yaml --workload api
  signet policy compile policy.yaml --workload spiffe://example.org/ns/db/sa/db --filter postgres

Exit codes: 0 printed, 1 faults")]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: PolicyArgument,
    /// The workload whose Envoy decides: a name of the policy, /… or a SPIFFE ID
    #[arg(long, value_name = "WORKLOAD")]
    workload: String,
    /// Only what one filter needs
    #[arg(long, value_enum)]
    filter: Option<Filter>,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Filter {
    /// The HTTP filter
    Http,
    /// The Postgres filter
    Postgres,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match compile(arguments) {
        Ok(slice) => {
            if slice.http.is_empty() && slice.postgres.is_empty() {
                eprintln!("note: no rule is for {}, so everything is denied there", slice.workload);
            }
            print(&(slice.to_json() + "\n"));
            ExitCode::SUCCESS
        }
        Err(error) => error.report(arguments.output.output, 1),
    }
}

fn compile(arguments: &Arguments) -> Result<Slice, Error> {
    let document = arguments.policy.read()?;
    let workload = document.identity(&arguments.workload)?;
    let id = SpiffeId::parse(&workload)
        .map_err(|error| Error::Contradiction(format!("`{workload}`: {error}")))?;
    let slice = document.slice_for(id);
    Ok(match arguments.filter {
        Some(Filter::Http) => slice.http_only(),
        Some(Filter::Postgres) => slice.postgres_only(),
        None => slice,
    })
}
