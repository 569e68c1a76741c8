//! `signet status`

mod ask;
mod report;
mod words;

use std::process::ExitCode;

use serde_json::Value;

use self::ask::Admin;
pub(crate) use self::ask::AskError;
use self::report::Report;
use crate::OutputArguments;
use crate::error::Error;
use crate::output::{Format, print, print_json, success_if};

/// Tell what an sds-server serves, to whom, and who refused what and why.
///
/// Asks the server's admin listener for /status. The JSON of `-o json` is what it says; keys are only
/// ever added to it.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  signet status
  signet status --admin unix:///run/signet/admin.sock
  signet status -o json | jq '.envoys[] | {node, policies}'

Exit codes: 0 ready, 1 not ready, 2 the server cannot be asked")]
pub(crate) struct Arguments {
    /// The server's admin listener: `http://ADDRESS:PORT` or `unix:///path`
    #[arg(long, value_name = "URL", env = "SIGNET_ADMIN", default_value = "http://127.0.0.1:9902")]
    admin: Admin,
    #[command(flatten)]
    output: OutputArguments,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let format = arguments.output.output;
    match told(&arguments.admin) {
        Ok((status, report)) => {
            match format {
                Format::Text => print(&words::told(&report, &arguments.admin.to_string())),
                Format::Json => print_json(&status),
            }
            success_if(report.ready)
        }
        Err(error) => Error::from(error).report(format, 2),
    }
}

/// The status as the server wrote it, and as far as we read it.
fn told(admin: &Admin) -> Result<(Value, Report), AskError> {
    let body = admin.ask("/status")?;
    let status: Value = serde_json::from_str(&body).map_err(|e| admin.strange(&e))?;
    let report = serde_json::from_value(status.clone()).map_err(|e| admin.strange(&e))?;
    Ok((status, report))
}
