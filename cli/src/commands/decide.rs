//! `signet policy decide`

use std::process::ExitCode;

use signet_policy_document::{Case, Verdict};

use crate::decision::Decision;
use crate::error::Error;
use crate::filters::Filters;
use crate::question::{Answer, QuestionArguments};

/// Decide about one request or connection, or about many.
///
/// The filter itself is asked, the same .wasm that Envoy runs. The request is taken as it is: no
/// normalization, no escaping.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  Over HTTP:
    signet policy decide policy.yaml --from client --to api --request 'GET /customers/7'
    signet policy decide policy.yaml --from client --to api --request 'POST /orders' \\
        --host shop.example.org --header 'x-tenant: acme' --port 8443

  To Postgres; without --user, as the login role:
    signet policy decide policy.yaml --from api --to db --database customers --user postgres
    signet policy decide policy.yaml --from api --to db --database customers \\
        --parameter search_path=public --parameter 'options=-c work_mem=1GB'

  Many at once, a line of JSON for each, with the keys of `tests:`:
    echo '{\"from\":\"client\",\"to\":\"api\",\"request\":\"GET /customers\"}' |
        signet policy decide policy.yaml --batch -

Exit codes: 0 allow, 1 deny or refuse, 2 no decision; with --batch 0 all decided, 2 some not")]
pub(crate) struct Arguments {
    #[command(flatten)]
    question: QuestionArguments,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    arguments.question.run(decide)
}

fn decide(filters: &mut Filters<'_>, case: &Case) -> Result<Decision, Error> {
    filters.decide(case)
}

impl Answer for Decision {
    fn verdict(&self) -> Verdict {
        self.verdict
    }

    fn in_words(&self, case: &Case) -> String {
        let role = self.role.key();
        let rows = [
            ("rule", self.rule.as_deref()),
            (role, self.role.name()),
            ("reason", Some(self.reason.as_str())),
            ("policy digest", Some(self.policy_digest.as_str())),
            ("wasm digest", Some(self.wasm_digest.as_str())),
        ];
        let head = format!("{}  {}\n", self.verdict, case.title);
        let row =
            |(name, value): (&str, Option<&str>)| format!("  {name:<8} {}\n", value.unwrap_or("-"));
        std::iter::once(head).chain(rows.map(row)).collect()
    }
}
