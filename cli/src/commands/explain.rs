//! `signet policy explain`

use std::process::ExitCode;

use serde::Serialize;
use signet_policy_document::{Case, Verdict};

use crate::decision::Decision;
use crate::explanation::{Explanation, explain};
use crate::question::{Answer, QuestionArguments};

/// Decide, and tell which rule did, or which came nearest and why it doesn't match.
///
/// The decision is the filter's, the same .wasm that Envoy runs; `reason` is the word that Envoy's response code details,
/// access log and metrics have for it. The explanation is found beside
/// it by asking the policy about each clause of a rule alone; where the two disagree, neither is
/// printed.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
    signet policy explain policy.yaml --from client --to api --request 'POST /customers/7'
    signet policy explain policy.yaml --from api --to db --database customers --user postgres

  Denials of a day, a line of JSON for each:
    signet policy explain policy.yaml --batch denied.jsonl

Exit codes: 0 allow, 1 deny or refuse, 2 no decision; with --batch 0 all decided, 2 some not")]
pub(crate) struct Arguments {
    #[command(flatten)]
    question: QuestionArguments,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    arguments.question.run(|filters, case| {
        let decision = filters.decide(case)?;
        let explanation = explain(filters.document(), case)?;
        explanation.must_fit(&decision)?;
        Ok(Explained { decision, explanation })
    })
}

/// A decision and its explanation.
#[derive(Serialize)]
struct Explained {
    #[serde(flatten)]
    decision: Decision,
    explanation: Explanation,
}

impl Answer for Explained {
    fn verdict(&self) -> Verdict {
        self.decision.verdict
    }

    fn in_words(&self, case: &Case) -> String {
        let Self { decision, explanation } = self;
        let role =
            decision.role.name().map(|role| format!("  {:<8} {role}\n", decision.role.key()));
        let Decision { verdict, reason, .. } = decision;
        let (title, role) = (&case.title, role.unwrap_or_default());
        format!("{verdict}  {title}\n{role}  reason   {reason}\n{explanation}")
    }
}
