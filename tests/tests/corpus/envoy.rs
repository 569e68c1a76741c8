//! The cases through a real Envoy.

use std::collections::BTreeMap;

use e2e::wire::{Answer, Ingress, Protocol};

use crate::case::Case;

/// Waits until `policy` is in force, if one is named, sends all cases that can be sent over `protocol`, each caller on a connection of its own, and returns what came back.
pub(crate) async fn answers<'c>(
    ingress: &Ingress,
    policy: Option<&str>,
    protocol: Protocol,
    cases: impl Iterator<Item = &'c Case>,
) -> Vec<(&'c Case, Answer)> {
    let name = match protocol {
        Protocol::H1 => "h1",
        Protocol::H2 => "h2",
    };
    let mut by_caller = BTreeMap::<Option<&str>, Vec<&Case>>::new();
    for case in cases.filter(|case| case.goes_over(name)) {
        by_caller.entry(case.from.as_deref()).or_default().push(case);
    }
    let mut answers = Vec::new();
    for (from, cases) in by_caller {
        let mut caller = ingress.caller(from, protocol).unwrap();
        // Nobody and those with two identities reach no rule.
        let somebody = from.is_some_and(|from| !from.contains(','));
        if let Some(policy) = policy.filter(|_| somebody) {
            caller.sees_policy("GET", policy).await.unwrap();
        }
        for case in cases {
            answers.push((case, caller.ask(&case.lines()).await.unwrap()));
        }
    }
    answers
}
