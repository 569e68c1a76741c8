//! `signet policy test`

use std::process::ExitCode;

use serde_json::{Value, json};
use signet_policy_document::{Case, PolicyDocument};

use crate::OutputArguments;
use crate::decision::{Decision, Expected};
use crate::error::Error;
use crate::filters::{FilterArguments, Filters};
use crate::input::{PolicyArgument, read_text, shown};
use crate::output::{Format, print, print_json, success_if};

/// Run a policy's tests, and more of them from files, through the filters.
///
/// Each case is decided by the very .wasm that Envoy runs. A file of cases is a list with the keys
/// of `tests:`. What a case doesn't say isn't compared; `rule: null` means that no rule decides.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  signet policy test policy.yaml
  signet policy test policy.yaml cases/*.yaml

  A case:
    - { from: client, to: api, request: GET /customers/7, expect: allow, db_role: customers_reader }
    - { from: api, to: db, database: customers, user: postgres, expect: deny }

Exit codes: 0 all cases hold, 1 some don't, or there are faults")]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: PolicyArgument,
    /// Files with more cases
    #[arg(value_name = "CASES")]
    cases: Vec<String>,
    #[command(flatten)]
    filters: FilterArguments,
    #[command(flatten)]
    output: OutputArguments,
}

/// One case, and what came of it.
struct Outcome {
    case: Case,
    decision: Result<Decision, Error>,
}

impl Outcome {
    fn holds(&self) -> bool {
        match (&self.decision, &self.case.expect) {
            (Ok(decision), Some(expected)) => decision.fits(expected),
            _ => false,
        }
    }

    fn found(&self) -> String {
        match &self.decision {
            Ok(decision) => decision.to_string(),
            Err(error) => error.with_causes(),
        }
    }

    fn expected(&self) -> String {
        self.case.expect.as_ref().map(|expected| Expected(expected).to_string()).unwrap_or_default()
    }
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let format = arguments.output.output;
    let document = match arguments.policy.read() {
        Ok(document) => document,
        Err(error) => return error.report(format, 1),
    };
    let cases = match cases(arguments, document) {
        Ok(cases) => cases,
        Err(error) => return error.report(format, 1),
    };
    let mut filters = Filters::new(&arguments.filters, document);
    if format == Format::Text {
        print(&format!("running {} tests\n", cases.len()));
    }
    let mut outcomes = Vec::with_capacity(cases.len());
    for case in cases {
        let decision = filters.decide(&case);
        // A filter that isn't there is missing for every case alike.
        if let Err(error @ Error::NoFilter { .. }) = decision {
            return error.report(format, 1);
        }
        let outcome = Outcome { case, decision };
        if format == Format::Text {
            let word = if outcome.holds() { "ok" } else { "FAILED" };
            print(&format!("test {} ... {word}\n", outcome.case.title));
        }
        outcomes.push(outcome);
    }
    match format {
        Format::Text => print(&summary(&outcomes)),
        Format::Json => print_json(&as_json(&outcomes, filters.digest())),
    }
    success_if(outcomes.iter().all(Outcome::holds))
}

/// All cases: the policy's own, then those of the files.
fn cases(arguments: &Arguments, document: &PolicyDocument) -> Result<Vec<Case>, Error> {
    let mut cases = document.tests().to_vec();
    for file in &arguments.cases {
        cases.extend(document.parse_cases(shown(file), &read_text(file)?)?);
    }
    Ok(cases)
}

fn summary(outcomes: &[Outcome]) -> String {
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.holds()).collect();
    let passed = outcomes.len() - failed.len();
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    let head = if failed.is_empty() { "" } else { "\nfailures:\n" };
    let failures = failed.iter().map(|outcome| {
        let Outcome { case, .. } = outcome;
        let (expected, found) = (outcome.expected(), outcome.found());
        let place = format!("{}:{}: {}", case.file, case.line, case.title);
        format!("\n  {place}\n    expected  {expected}\n    found     {found}\n")
    });
    let tail = format!("\ntest result: {word}. {passed} passed; {} failed\n", failed.len());
    std::iter::once(head.to_owned()).chain(failures).chain([tail]).collect()
}

fn as_json(outcomes: &[Outcome], digest: &str) -> Value {
    let cases: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            let decision = match &outcome.decision {
                Ok(decision) => json!(decision),
                Err(error) => error.to_json(),
            };
            json!({
                "file": outcome.case.file,
                "line": outcome.case.line,
                "title": outcome.case.title,
                "ok": outcome.holds(),
                "expected": outcome.expected(),
                "found": decision,
            })
        })
        .collect();
    let passed = outcomes.iter().filter(|outcome| outcome.holds()).count();
    json!({
        "passed": passed,
        "failed": outcomes.len() - passed,
        "policy_digest": digest,
        "cases": cases,
    })
}
