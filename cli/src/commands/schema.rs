//! `signet policy schema`

use std::process::ExitCode;

use signet_policy_document::SCHEMA;

use crate::OutputArguments;
use crate::output::print;

/// Print the JSON Schema of a policy, for editors.
///
/// With the YAML language server, the first line of a policy names it:
/// `# yaml-language-server: $schema=policy.schema.json`
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  signet policy schema > policy.schema.json

Exit codes: 0 printed")]
pub(crate) struct Arguments {
    // It is JSON in either format.
    #[command(flatten)]
    _output: OutputArguments,
}

pub(crate) fn run(_: &Arguments) -> ExitCode {
    print(SCHEMA);
    ExitCode::SUCCESS
}
