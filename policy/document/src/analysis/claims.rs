//! How many JWT claims the rules of one destination look at.

use std::collections::{BTreeSet, HashSet};

use signet_policy::{ClaimName, HttpRule, MAX_CLAIMS};

use crate::fault::Fault;
use crate::read::Addressed;
use crate::space::{Beginnings, Effort, GaveUp, Segments};

/// A fault where the rules that may be for one destination look at more claims than a filter asks Envoy
/// for: it would refuse the slice, so the author is told first.
pub(crate) fn too_many_claims(rules: &[Addressed<HttpRule>]) -> Option<Fault> {
    too_many_within(&Effort::of_faults(), rules)
}

fn too_many_within(effort: &Effort, rules: &[Addressed<HttpRule>]) -> Option<Fault> {
    let looking: Vec<_> = rules.iter().filter(|rule| !rule.rule.jwt.is_empty()).collect();
    let all: BTreeSet<&ClaimName> = looking.iter().flat_map(|rule| rule.rule.jwt.keys()).collect();
    if all.len() <= MAX_CLAIMS {
        return None;
    }
    let named = || looking.iter().flat_map(|rule| rule.to.iter().map(move |to| (*rule, to)));
    let all: Vec<_> = named().map(|(rule, to)| (rule, to, Segments::of(to.parts(), 1))).collect();
    let mut by_beginning = Beginnings::new();
    for (number, (.., to)) in all.iter().enumerate() {
        by_beginning.insert(&to.beginning(), number);
    }
    let mut seen = HashSet::new();
    let mut each = all.iter().filter(|(_, destination, _)| seen.insert(*destination));
    each.find_map(|(rule, destination, to)| {
        let near = near(effort, &by_beginning, to).map(|near| near.into_iter().map(|i| &all[i]));
        let Ok(near) = near else {
            return Some(Fault::at_place(
                &rule.place,
                format!("how many JWT claims decide at `{destination}` isn't known: rules overlap in too many ways"),
                "too many here",
                "write fewer rules with `jwt`, or shorter lists of destinations",
            ));
        };
        let mut claims = BTreeSet::new();
        near.filter(|(.., other)| other.meets(to)).find_map(|(rule, ..)| {
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

/// Steps that it takes to count the claims of a rule.
const OF_A_RULE: usize = 4;

/// The numbers of the destinations that may have something in common with this one, in order.
fn near(
    effort: &Effort,
    by_beginning: &Beginnings<'_>,
    to: &Segments<'_>,
) -> Result<Vec<usize>, GaveUp> {
    effort.turn_to(1);
    let beginning = to.beginning();
    effort.spend(OF_A_RULE * by_beginning.look_up(&beginning).steps)?;
    let mut near = Vec::new();
    by_beginning.meeting(&beginning, &mut near);
    near.sort_unstable();
    Ok(near)
}

#[cfg(test)]
mod tests {
    use super::{Effort, too_many_claims, too_many_within};
    use crate::document::PolicyDocument;

    #[test]
    fn what_takes_too_many_steps_is_told() {
        let rule = |i: usize| {
            format!("  - {{ name: r{i}, from: [/c], to: ['/*/{i}'], jwt: {{ c{i}: x }} }}\n")
        };
        let rules = (0..150).map(rule).collect::<String>();
        let text = format!("version: 1\ntrust_domain: a\nhttp:\n{rules}");
        let document = PolicyDocument::parse("p.yaml", &text).unwrap();
        assert_eq!(too_many_claims(document.http_rules()), None);
        let fault = too_many_within(&Effort::shared(0), document.http_rules()).unwrap();
        assert_eq!(
            (fault.message.as_str(), fault.help.as_str()),
            (
                "how many JWT claims decide at `spiffe://a/*/0` isn't known: rules overlap in too many ways",
                "write fewer rules with `jwt`, or shorter lists of destinations"
            )
        );
    }
}
