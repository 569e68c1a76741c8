//! How many JWT claims the rules of one destination look at.

use std::collections::BTreeSet;

use signet_policy::{ClaimName, HttpRule, MAX_CLAIMS};

use crate::fault::Fault;
use crate::read::Addressed;

/// A fault where the rules that may be for one destination look at more claims than a filter asks Envoy
/// for: it would refuse the slice, so the author is told first.
pub(crate) fn too_many_claims(rules: &[Addressed<HttpRule>]) -> Option<Fault> {
    let looking: Vec<_> = rules.iter().filter(|rule| !rule.rule.jwt.is_empty()).collect();
    let all: BTreeSet<&ClaimName> = looking.iter().flat_map(|rule| rule.rule.jwt.keys()).collect();
    if all.len() <= MAX_CLAIMS {
        return None;
    }
    looking.iter().flat_map(|rule| &rule.to).find_map(|destination| {
        let mut claims = BTreeSet::new();
        looking.iter().filter(|rule| rule.to.iter().any(|to| to.overlaps(destination))).find_map(|rule| {
            claims.extend(rule.rule.jwt.keys());
            (claims.len() > MAX_CLAIMS).then(|| {
                Fault::at_place(
                    &rule.place,
                    format!("with rule `{}` {} JWT claims decide at `{destination}`", rule.rule.name, claims.len()),
                    "too many here",
                    format!("the rules for one destination look at {MAX_CLAIMS} claims at most: each is asked for at every request"),
                )
            })
        })
    })
}
