//! Makes the families of the corpus. What is expected follows from how a request is made: from a small table that a person
//! wrote after reading the policy, and from changes whose meaning is known (a query means nothing, `..` is refused, another
//! caller is denied). No rule is evaluated here.

mod ambiguous;
mod callers;
mod headers;
mod hosts;
mod methods;
mod spellings;
mod targets;
mod weight;

use crate::case::Case;

/// A generated family: the file that holds it, and its cases.
pub(crate) struct Family {
    pub(crate) file: &'static str,
    pub(crate) cases: Vec<Case>,
}

/// All families.
pub(crate) fn families() -> Vec<Family> {
    let family = |file, cases| Family { file, cases };
    let (first, second) = ambiguous::cases();
    vec![
        family("main/ambiguous-inserted.jsonl", first),
        family("main/ambiguous-altered.jsonl", second),
        family("main/spellings.jsonl", spellings::cases()),
        family("main/methods.jsonl", methods::cases()),
        family("main/callers.jsonl", callers::cases()),
        family("main/hosts.jsonl", hosts::cases()),
        family("main/headers.jsonl", headers::cases()),
        family("main/targets.jsonl", targets::cases()),
        family("weight/cases.jsonl", weight::cases()),
    ]
}

/// The policy of the cases about weight: every combination of conditions is a rule.
pub(crate) use weight::policy as weight_policy;

/// A request whose decision by `main/policy.yaml` a person looked up.
pub(crate) struct Known {
    pub(crate) method: &'static str,
    /// Without the leading `/`.
    pub(crate) path: &'static str,
    pub(crate) decision: Decision,
}

#[derive(Clone, Copy)]
pub(crate) enum Decision {
    Allow(&'static str, Option<&'static str>),
    Deny(&'static str),
    Default,
}

use Decision::{Allow, Default as Nothing, Deny};

/// Requests of the client to the host `api`.
pub(crate) const KNOWN: &[Known] = &[
    known("GET", "customers", Allow("customers", Some("customers_reader"))),
    known("POST", "customers", Allow("create", Some("customers_writer"))),
    known("GET", "customers/7", Allow("customer", Some("customers_reader"))),
    known("PUT", "customers/7/orders/9", Allow("orders", Some("orders_writer"))),
    known("GET", "files", Allow("files", Some("files_reader"))),
    known("GET", "files/a/b/c", Allow("files", Some("files_reader"))),
    known("GET", "files/secret/keys", Deny("no-secret-files")),
    known("POST", "audit/2026", Allow("audit", Some("auditor"))),
    known("DELETE", "audit/2026", Deny("audit-stays")),
    known("GET", "a%20b", Allow("text", Some("text_reader"))),
    known("POST", "shop.Orders/Get", Allow("grpc", Some("orders_reader"))),
    known("GET", "public", Allow("public", None)),
    known("GET", "nothing/here", Nothing),
];

const fn known(method: &'static str, path: &'static str, decision: Decision) -> Known {
    Known { method, path, decision }
}

impl Known {
    /// The same decision about another request.
    pub(crate) fn decide(&self, case: Case) -> Case {
        self.decision.about(case)
    }
}

impl Decision {
    pub(crate) fn about(self, case: Case) -> Case {
        match self {
            Allow(rule, db_role) => case.allowed(rule, db_role),
            Deny(rule) => case.denied(rule),
            Nothing => case,
        }
    }
}
