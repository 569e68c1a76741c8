//! `signet policy diff`

use std::process::ExitCode;

use serde_json::{Value, json};
use signet_policy_document::{Change, Difference, Outcome, Verdict};

use crate::OutputArguments;
use crate::error::Error;
use crate::filters::{FilterArguments, Filters};
use crate::input::read_policy;
use crate::output::{Format, print, print_json, success_if};

/// Tell which decisions change from one policy to another.
///
/// Exact: not texts are compared but what they decide, over all requests and connections there can
/// be. Each way in which a rule changes decisions is shown by one case, which the filter itself has
/// decided with both policies; of thousands the first thousand are told. Names of rules, order,
/// spelling and shadow rules change no decision.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  signet policy diff old.yaml new.yaml
  git show main:policy.yaml | signet policy diff - policy.yaml

Exit codes: 0 the same decisions, 1 they differ, 2 no comparison")]
pub(crate) struct Arguments {
    /// The policy before: a file, a directory, or `-` for standard input
    #[arg(value_name = "OLD")]
    old: String,
    /// The policy after: a file, a directory, or `-` for standard input
    #[arg(value_name = "NEW")]
    new: String,
    #[command(flatten)]
    filters: FilterArguments,
    #[command(flatten)]
    output: OutputArguments,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let format = arguments.output.output;
    match compare(arguments) {
        Ok((difference, count)) => {
            match format {
                Format::Text => print(&in_words(&difference, count)),
                Format::Json => print_json(&as_json(&difference, count)),
            }
            success_if(difference.is_empty())
        }
        Err(error) => error.report(format, 2),
    }
}

/// Most changes that are told.
const MOST_TOLD: usize = 1000;

/// What differs, of the changes those that are told, and how many these are in all.
fn compare(arguments: &Arguments) -> Result<(Difference, usize), Error> {
    let (old, new) = (read_policy(&arguments.old)?, read_policy(&arguments.new)?);
    let mut difference = old.difference(new);
    let count = difference.changes.len();
    difference.changes.truncate(MOST_TOLD);
    let mut before = Filters::new(&arguments.filters, old);
    let mut after = Filters::new(&arguments.filters, new);
    for change in &difference.changes {
        for (filters, outcome) in [(&mut before, &change.old), (&mut after, &change.new)] {
            let decision = filters.decide(&change.case)?;
            let fits = decision.verdict == outcome.verdict
                && (outcome.verdict != Verdict::Allow
                    || decision.role.name() == outcome.role.as_deref());
            if !fits {
                let case = &change.case.title;
                let why = format!(
                    "it decided `{decision}` about {case}, where {} was expected",
                    words(outcome)
                );
                return Err(Error::Contradiction(why));
            }
        }
    }
    Ok((difference, count))
}

fn words(outcome: &Outcome) -> String {
    let mut words = outcome.verdict.to_string();
    if let Some(rule) = &outcome.rule {
        words = format!("{words} by {rule}");
    }
    if let Some(role) = &outcome.role {
        words = format!("{words} as {role}");
    }
    if !outcome.terms.is_empty() {
        words = format!("{words} ({})", outcome.terms);
    }
    words
}

fn in_words(difference: &Difference, count: usize) -> String {
    if difference.is_empty() {
        return "the same decisions\n".to_owned();
    }
    let change = |change: &Change| {
        let sign = match (change.old.verdict, change.new.verdict) {
            (Verdict::Allow, Verdict::Allow) => '~',
            (Verdict::Allow, _) => '-',
            _ => '+',
        };
        let (old, new) = (words(&change.old), words(&change.new));
        format!("{sign} {}\n    old  {old}\n    new  {new}\n", change.case.title)
    };
    let settings = difference.settings.iter().map(|setting| format!("~ {setting}\n"));
    let unknown =
        difference.unknown.iter().map(|rule| format!("? too many cases within rule {rule}\n"));
    let untold = count - difference.changes.len();
    let untold = (untold > 0).then(|| format!("… and {untold} more changes\n"));
    difference.changes.iter().map(change).chain(untold).chain(settings).chain(unknown).collect()
}

fn as_json(difference: &Difference, count: usize) -> Value {
    let outcome = |outcome: &Outcome| {
        json!({
            "decision": outcome.verdict.as_str(),
            "rule": outcome.rule,
            "role": outcome.role,
            "terms": outcome.terms,
        })
    };
    let change = |change: &Change| {
        json!({
            "case": change.case.title,
            "rule": change.rule,
            "old": outcome(&change.old),
            "new": outcome(&change.new),
        })
    };
    json!({
        "same": difference.is_empty(),
        "change_count": count,
        "changes": difference.changes.iter().map(change).collect::<Vec<_>>(),
        "settings": difference.settings,
        "unknown": difference.unknown,
    })
}
