//! What keeps a command from giving its result.

use std::path::PathBuf;
use std::process::ExitCode;

use miette::Report;
use serde_json::{Value, json};
use signet_policy::NameError;
use signet_policy_document::{Fault, Faults, IdentityError, TooMany};
use wasm_host::HostError;

use crate::commands::sql::ConnectError;
use crate::commands::status::AskError;
use crate::output::{Format, print_json, tell};

/// Why a command has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file can't be read.
    #[error("{name} cannot be read")]
    Read {
        /// The file, or standard input.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A policy or a file of cases has faults.
    #[error(transparent)]
    Faults(#[from] Box<Faults>),
    /// An argument names no workload.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// An argument isn't a request.
    #[error(
        "--request is `{0}`; a method, a space and a path are accepted, such as 'GET /customers'"
    )]
    Request(String),
    /// A built filter isn't where it is looked for.
    #[error(
        "{file} was not found in {}; build it with `cargo build --profile filters --target \
         wasm32-unknown-unknown -p spiffe-authz -p pg-role`, or name its directory with --wasm-dir",
        listed(looked_in)
    )]
    NoFilter {
        /// The filter's file name.
        file: &'static str,
        /// The directories that were tried.
        looked_in: Vec<PathBuf>,
    },
    /// The filter couldn't run, or gave no answer.
    #[error("the filter gave no decision")]
    Host(#[from] HostError),
    /// The filter's answer doesn't fit what it did.
    #[error("the filter gave no decision: {0}")]
    Contradiction(String),
    /// A claim has no name that a policy could have.
    #[error("claim `{name}`: {error}")]
    Claim {
        /// The name found.
        name: String,
        /// What would be accepted.
        error: NameError,
    },
    /// Roles of a policy may become each other.
    #[error(
        "{} may become each other in a circle, which Postgres refuses; give each rule a login_role that no \
         other rule may act as",
        joined(.0)
    )]
    Circle(Vec<String>),
    /// A name that no line of a file can hold.
    #[error("`{}` can't be written in pg_hba.conf; a name without line breaks is accepted", .0.escape_debug())]
    Unwritable(String),
    /// The group of login roles has the name of one.
    #[error(
        "the policy names a role `{0}`, which is the group of login roles; choose another --map"
    )]
    GroupIsRole(String),
    /// A slice is larger than Kubernetes accepts.
    #[error(
        "the slice of {workload} has {size} bytes, and a ConfigMap holds at most {largest}; have it delivered by \
         sds-server, or cut the policy for fewer workloads"
    )]
    TooLarge {
        /// Whose slice it is.
        workload: String,
        /// Its bytes.
        size: usize,
        /// The most that is accepted.
        largest: usize,
    },
    /// Too much was asked for.
    #[error("{0}; name a workload by --to, or a role by --db-role")]
    TooMany(#[from] TooMany),
    /// The database can't be checked.
    #[error(transparent)]
    Database(#[from] ConnectError),
    /// The server can't be asked.
    #[error(transparent)]
    Server(#[from] AskError),
    /// A start-up packet can't be built.
    #[error("the case has no start-up packet: {0}")]
    Startup(String),
    /// A flag's value isn't `NAME=VALUE` or `NAME: VALUE`.
    #[error(
        "`{flag} {found}` has no `{separator}`; a name, `{separator}` and a value are accepted"
    )]
    Pair {
        /// The flag.
        flag: &'static str,
        /// What stands between name and value.
        separator: char,
        /// The value found.
        found: String,
    },
}

/// A fault or a warning, and its file, line and column.
pub(crate) fn fault_as_json(fault: &Fault, (file, line, column): (&str, usize, usize)) -> Value {
    json!({
        "file": file,
        "line": line,
        "column": column,
        "message": fault.message,
        "help": fault.help,
    })
}

fn joined(roles: &[String]) -> String {
    let names: Vec<_> = roles.iter().map(|role| format!("`{role}`")).collect();
    names.join(" and ")
}

fn listed(directories: &[PathBuf]) -> String {
    let names: Vec<_> = directories.iter().map(|path| path.display().to_string()).collect();
    names.join(" or ")
}

impl From<Faults> for Error {
    fn from(faults: Faults) -> Self {
        Self::Faults(Box::new(faults))
    }
}

impl Error {
    /// Tells the error where the format says, and gives the exit code.
    pub(crate) fn report(self, format: Format, code: u8) -> ExitCode {
        match (format, self) {
            (Format::Json, error) => print_json(&error.to_json()),
            (Format::Text, Self::Faults(faults)) => {
                tell(format_args!("{:?}", Report::new(*faults)));
            }
            (Format::Text, error) => {
                tell(format_args!("error: {}", error.with_causes()));
            }
        }
        ExitCode::from(code)
    }

    /// The error as JSON: `faults` where a document has them, else `error`.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Faults(faults) => {
                let told = faults
                    .positions()
                    .map(|(fault, file, line, column)| fault_as_json(fault, (file, line, column)));
                json!({ "error": faults.to_string(), "faults": told.collect::<Vec<_>>() })
            }
            error => json!({ "error": error.with_causes() }),
        }
    }

    /// The error and what caused it, on one line where the parts are.
    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
