//! `signet`: checks, tests and explains the mesh policy, with the very filters that Envoy runs, and
//! tells the status of the server that delivers it.

mod commands;
mod decision;
mod error;
mod explanation;
mod filters;
mod input;
mod output;
mod question;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{check, compile, decide, diff, explain, schema, sql, status, test, who};
use crate::output::Format;

/// Signet: SPIFFE identities and one policy, from Envoy up to and into Postgres.
#[derive(Parser)]
#[command(name = "signet", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check, test and explain a mesh policy
    #[command(subcommand, arg_required_else_help = true)]
    Policy(Policy),
    /// Tell what an sds-server serves, to whom, and who refused what and why
    Status(status::Arguments),
}

#[derive(Subcommand)]
enum Policy {
    /// Tell every fault of a policy, or how many rules and workloads it has
    Check(check::Arguments),
    /// Run a policy's tests, and more of them from files, through the filters
    Test(test::Arguments),
    /// Decide about one request or connection, or about many
    Decide(Box<decide::Arguments>),
    /// Decide, and tell which rule did, or which came nearest and why it doesn't match
    Explain(Box<explain::Arguments>),
    /// Tell which decisions change from one policy to another
    Diff(diff::Arguments),
    /// Tell everyone who can reach a workload or a role
    Who(who::Arguments),
    /// Print the JSON Schema of a policy, for editors
    Schema(schema::Arguments),
    /// Print what the filters of one workload are configured with
    Compile(compile::Arguments),
    /// Print the roles, grants and files that Postgres needs for a policy, or check a server against it
    Sql(sql::Arguments),
}

/// How results are printed.
#[derive(clap::Args)]
struct OutputArguments {
    /// How to print the result
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    output: Format,
}

fn main() -> ExitCode {
    let command = match Cli::parse().command {
        Command::Policy(command) => command,
        Command::Status(arguments) => return status::run(&arguments),
    };
    match command {
        Policy::Check(arguments) => check::run(&arguments),
        Policy::Test(arguments) => test::run(&arguments),
        Policy::Decide(arguments) => decide::run(&arguments),
        Policy::Explain(arguments) => explain::run(&arguments),
        Policy::Diff(arguments) => diff::run(&arguments),
        Policy::Who(arguments) => who::run(&arguments),
        Policy::Schema(arguments) => schema::run(&arguments),
        Policy::Compile(arguments) => compile::run(&arguments),
        Policy::Sql(arguments) => sql::run(&arguments),
    }
}
