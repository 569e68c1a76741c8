//! `signet policy check`

use std::process::ExitCode;

use serde_json::json;

use crate::OutputArguments;
use crate::input::PolicyArgument;
use crate::output::{Format, print, print_json};

/// Tell every fault of a policy, or how many rules and workloads it has.
///
/// All faults are told at once, each with its place, what was found, what would be accepted, and a
/// likely repair. The digest is of the policy's meaning: order, spelling and comments don't change
/// it.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  signet policy check policy.yaml
  git show HEAD~1:policy.yaml | signet policy check -
  signet policy check policy.yaml -o json | jq -r .policy_digest

Exit codes: 0 no faults, 1 faults")]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: PolicyArgument,
    #[command(flatten)]
    output: OutputArguments,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let document = match arguments.policy.read() {
        Ok(document) => document,
        Err(error) => return error.report(arguments.output.output, 1),
    };
    let (rules, workloads) = (document.rule_count(), document.workloads().count());
    let digest = document.digest();
    match arguments.output.output {
        Format::Text => {
            let name = arguments.policy.name();
            print(&format!("{name}: {rules} rules, {workloads} workloads, digest {digest}\n"));
        }
        Format::Json => print_json(&json!({
            "rules": rules,
            "workloads": workloads,
            "tests": document.tests().len(),
            "policy_digest": digest,
            "faults": [],
        })),
    }
    ExitCode::SUCCESS
}
