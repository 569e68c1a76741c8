//! `signet policy who`

use std::process::ExitCode;

use serde_json::{Value, json};
use signet_policy_document::Access;

use crate::OutputArguments;
use crate::error::Error;
use crate::input::PolicyArgument;
use crate::output::{Format, print, print_json};

/// Tell everyone who can reach a workload or a role, and through which rules.
///
/// Callers are told as the policy has them, patterns included. Those about whom a deny or a heavier
/// rule always decides are left out; where that isn't known, since rules overlap in too many ways,
/// they are told as perhaps. Shadow rules let nobody in. Of long lists of paths and the like the first
/// entries are told.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  signet policy who policy.yaml --to api
  signet policy who policy.yaml --db-role customers_writer
  signet policy who policy.yaml --to db --db-role customers_writer -o json

Exit codes: 0 told, 1 faults, or too many to be told")]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: PolicyArgument,
    /// The workload that is reached: a name of the policy, /… or a SPIFFE ID
    #[arg(long, value_name = "WORKLOAD", required_unless_present = "db_role")]
    to: Option<String>,
    /// The role: told to an API, or taken in Postgres
    #[arg(long, value_name = "ROLE")]
    db_role: Option<String>,
    #[command(flatten)]
    output: OutputArguments,
}

/// Behind an access for which the search gave up.
const DOUBT: &str = "\n    (perhaps: whether others always decide about it isn't known, they overlap in too many ways)";

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let format = arguments.output.output;
    match who(arguments) {
        Ok(found) => {
            match format {
                Format::Text => print(&in_words(&found)),
                Format::Json => print_json(&found.iter().map(as_json).collect::<Vec<_>>()),
            }
            ExitCode::SUCCESS
        }
        Err(error) => error.report(format, 1),
    }
}

fn who(arguments: &Arguments) -> Result<Vec<Access>, Error> {
    let document = arguments.policy.read()?;
    let to = arguments.to.as_deref().map(|to| document.identity(to)).transpose()?;
    Ok(document.who(to.as_deref(), arguments.db_role.as_deref())?)
}

fn in_words(found: &[Access]) -> String {
    if found.is_empty() {
        return "nobody\n".to_owned();
    }
    let line = |access: &Access| {
        let Access { from, to, rule, what, roles, is_proven } = access;
        let doubt = if *is_proven { "" } else { DOUBT };
        let roles = if roles.is_empty() { "no role".to_owned() } else { roles.join(" or ") };
        format!("{from} → {to}\n    {what}, as {roles}, by {rule}{doubt}\n")
    };
    found.iter().map(line).collect()
}

fn as_json(access: &Access) -> Value {
    let Access { from, to, rule, what, roles, is_proven } = access;
    json!({ "from": from, "to": to, "rule": rule, "what": what, "roles": roles, "proven": is_proven })
}
