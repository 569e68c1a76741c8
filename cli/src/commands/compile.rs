//! `signet policy compile`

mod config_map;

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::process::ExitCode;

use signet_policy::{IdPattern, Slice, SpiffeId};
use signet_policy_document::PolicyDocument;

use self::config_map::config_map;
use crate::error::Error;
use crate::input::PolicyArgument;
use crate::output::{Format, print, tell};

/// Print what the filters of one workload, or of all, are configured with.
///
/// It is the part of the policy that concerns the workload, as canonical JSON, with names, aliases and
/// `/…` expanded: the plugin configuration that sds-server delivers, for those who run without it.
/// With --all it is that of each identity that a rule, or a workload that a rule's pattern fits, names.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  signet policy compile policy.yaml --workload api
  signet policy compile policy.yaml --workload spiffe://example.org/ns/db/sa/db --filter postgres
  signet policy compile policy.yaml --all -o configmaps | kubectl apply --server-side -f -

Each ConfigMap has the slice under `policy.json`, the workload and the policy's digest as annotations, and
the namespace that an ID of the form /ns/NAMESPACE/sa/NAME tells.

Exit codes: 0 printed, 1 faults")]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: PolicyArgument,
    /// The workload whose Envoy decides: a name of the policy, /… or a SPIFFE ID
    #[arg(long, value_name = "WORKLOAD", required_unless_present = "all", conflicts_with = "all")]
    workload: Option<String>,
    /// Every workload for which there is a rule
    #[arg(long)]
    all: bool,
    /// Only what one filter needs
    #[arg(long, value_enum)]
    filter: Option<Filter>,
    /// How to print the result
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Form::Text)]
    output: Form,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Filter {
    /// The HTTP filter
    Http,
    /// The Postgres filter
    Postgres,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// A slice on a line
    Text,
    /// The same
    Json,
    /// Kubernetes' `ConfigMaps`, as documents of YAML
    Configmaps,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let printed = match compile(arguments) {
        Ok(text) => text,
        Err(error) => {
            let json = arguments.output == Form::Json;
            return error.report(if json { Format::Json } else { Format::Text }, 1);
        }
    };
    print(&printed);
    ExitCode::SUCCESS
}

fn compile(arguments: &Arguments) -> Result<String, Error> {
    let document = arguments.policy.read()?;
    let ids = match &arguments.workload {
        Some(workload) => [document.identity(workload)?].into(),
        None => destinations(document),
    };
    let digest = LazyCell::new(|| document.digest());
    let mut text = String::new();
    for id in &ids {
        let slice = slice(document, id, arguments.filter)?;
        if slice.http.is_empty() && slice.postgres.is_empty() {
            if arguments.all {
                continue;
            }
            tell(format_args!("note: no rule is for {id}, so everything is denied there"));
        }
        let slice = slice.to_json();
        match arguments.output {
            Form::Text | Form::Json => text += &(slice + "\n"),
            Form::Configmaps => text += &config_map(id, &slice, &digest)?,
        }
    }
    Ok(text)
}

fn slice(document: &PolicyDocument, id: &str, filter: Option<Filter>) -> Result<Slice, Error> {
    let workload =
        SpiffeId::parse(id).map_err(|error| Error::Contradiction(format!("`{id}`: {error}")))?;
    let slice = document.slice_for(workload);
    Ok(match filter {
        Some(Filter::Http) => slice.http_only(),
        Some(Filter::Postgres) => slice.postgres_only(),
        None => slice,
    })
}

/// The identities that rules are for, as far as the policy names them. Patterns that fit none are told.
fn destinations(document: &PolicyDocument) -> BTreeSet<String> {
    let http = document.http_rules().iter().flat_map(|rule| &rule.to);
    let patterns: BTreeSet<&IdPattern> =
        http.chain(document.postgres_rules().iter().flat_map(|rule| &rule.to)).collect();
    let is_one = |id: &str| SpiffeId::parse(id).is_ok();
    let (written, patterns): (Vec<_>, Vec<_>) =
        patterns.into_iter().partition(|pattern| is_one(pattern.as_str()));
    let named = document.workloads().filter_map(|(name, _)| document.identity(name).ok());
    let written = written.into_iter().map(ToString::to_string);
    let ids: BTreeSet<String> = written.chain(named.filter(|id| is_one(id))).collect();
    for pattern in patterns {
        let fits = |id: &String| SpiffeId::parse(id).is_ok_and(|id| pattern.matches(id));
        if !ids.iter().any(fits) {
            tell(format_args!(
                "note: {pattern} fits no identity that the policy names; compile those with --workload"
            ));
        }
    }
    ids
}
