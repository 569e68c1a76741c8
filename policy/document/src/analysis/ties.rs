//! Rules of equal weight that may both match, and differ in what they say.

use std::collections::{BTreeSet, HashMap};

use signet_policy::{Effect, HttpRule, IdPattern, PathPattern, PostgresRule, RuleName};

use crate::fault::Fault;
use crate::read::Addressed;
use crate::space::{GaveUp, Point, Region, Rule, Search, Step};

/// Finds pairs of HTTP allows of equal weight that may both match and tell different roles, of many pairs the
/// first `most`.
///
/// Patterns of equal weight that match a common request are the same pattern: weights compare what
/// kind each segment is, and of the same kinds only equal literals meet. So a tie needs a path and a
/// caller that both rules list, and rules can be sorted by these instead of being compared each with
/// each. Whether the two meet with these is then decided exactly.
pub(crate) fn http_ties(rules: &[Addressed<HttpRule>], most: usize) -> Vec<Fault> {
    let contested = contested(rules);
    let prepared: Vec<Rule<'_>> =
        contested.into_iter().map(|index| Rule::http(index, &rules[index])).collect();
    let mut faults = Vec::new();
    let mut seen: HashMap<_, Vec<(usize, Region<'_>)>> = HashMap::new();
    for prepared in &prepared {
        let later = prepared.index;
        let rule = &rules[later].rule;
        let mut told: Vec<usize> = Vec::new();
        for region in Region::alternatives(prepared) {
            let path = region.path.and_then(|at| rule.paths.as_ref()?.get(at));
            let Some(from) = region.from.and_then(|at| rule.from.get(at)) else { continue };
            let group = seen.entry((path, from)).or_default();
            for (earlier, other) in group.iter() {
                let first = &rules[*earlier];
                if *earlier == later || told.contains(earlier) || first.rule.db_role == rule.db_role
                {
                    continue;
                }
                if let Some(meeting) = meeting(*other, region) {
                    told.push(*earlier);
                    faults.push(http_fault(first, &rules[later], &meeting));
                    if faults.len() == most {
                        return faults;
                    }
                }
            }
            group.push((later, region));
        }
    }
    faults
}

/// The allows that share a path and a caller with one that tells another role, in order.
fn contested(rules: &[Addressed<HttpRule>]) -> BTreeSet<usize> {
    let roles: BTreeSet<_> = rules.iter().map(|rule| &rule.rule.db_role).collect();
    if roles.len() < 2 {
        return BTreeSet::new();
    }
    let mut sharing: HashMap<(Option<&PathPattern>, &IdPattern), Vec<usize>> = HashMap::new();
    for (index, Addressed { rule, .. }) in rules.iter().enumerate() {
        if rule.effect == Effect::Deny {
            continue;
        }
        let paths: Vec<Option<&PathPattern>> =
            rule.paths.as_ref().map_or(vec![None], |list| list.iter().map(Some).collect());
        for path in paths {
            for from in &rule.from {
                sharing.entry((path, from)).or_default().push(index);
            }
        }
    }
    let role = |index: &usize| &rules[*index].rule.db_role;
    let differ = |group: &Vec<usize>| group.iter().any(|index| role(index) != role(&group[0]));
    sharing.into_values().filter(differ).flatten().collect()
}

/// A request that two alternatives of equal weight both decide, if there is one.
fn meeting<'d>(a: Region<'d>, b: Region<'d>) -> Option<Result<Point, GaveUp>> {
    if a.compare_weight(&b).is_ne() || !a.may_meet(&b) {
        return None;
    }
    let found = Search::find(&[a, b], |point| {
        let (Some(x), Some(y)) = (a.rule.at(point), b.rule.at(point)) else {
            return Step::Split { outside: Vec::new(), inside: Vec::new() };
        };
        if x.compare_weight(&y).is_eq() {
            return Step::Found;
        }
        // One of them matches by a heavier alternative than the one that ties.
        let outside = if x.compare_weight(&a).is_ne() { x } else { y };
        Step::Split { outside: vec![outside], inside: Vec::new() }
    });
    found.transpose()
}

/// What both rules decide, where the search found it.
fn shared(meeting: &Result<Point, GaveUp>) -> (String, String) {
    match meeting {
        Ok(point) => (point.what(), point.caller()),
        Err(GaveUp) => ("some request".to_owned(), "some caller".to_owned()),
    }
}

fn http_fault(
    earlier: &Addressed<HttpRule>,
    later: &Addressed<HttpRule>,
    meeting: &Result<Point, GaveUp>,
) -> Fault {
    let role = |rule: &Addressed<HttpRule>| match &rule.rule.db_role {
        Some(role) => format!("`{role}`"),
        None => "no role".to_owned(),
    };
    let (what, caller) = shared(meeting);
    Fault::at_place(
        &later.place,
        format!(
            "rules `{}` and `{}` tie: `{what}` of `{caller}` would get {} or {}",
            earlier.rule.name,
            later.rule.name,
            role(earlier),
            role(later),
        ),
        "this rule",
        "make one of them narrower (path, caller, host, method, then other conditions), or give both \
         the same `db_role`",
    )
    .also(&earlier.place, "and this one")
}

/// Finds pairs of Postgres rules of equal weight that may both match, of many pairs the first `most`.
pub(crate) fn postgres_ties(rules: &[Addressed<PostgresRule>], most: usize) -> Vec<Fault> {
    let prepared: Vec<Rule<'_>> =
        rules.iter().enumerate().map(|(index, rule)| Rule::postgres(index, rule)).collect();
    let mut faults = Vec::new();
    let mut seen: HashMap<&IdPattern, Vec<(usize, Region<'_>)>> = HashMap::new();
    for (later, prepared) in prepared.iter().enumerate() {
        let mut told: Vec<&RuleName> = Vec::new();
        for region in Region::alternatives(prepared) {
            let Some(from) = region.from.and_then(|at| rules[later].rule.from.get(at)) else {
                continue;
            };
            let group = seen.entry(from).or_default();
            for (earlier, other) in group.iter() {
                let first = &rules[*earlier];
                if *earlier == later || told.contains(&&first.rule.name) {
                    continue;
                }
                let Some(meeting) = meeting(*other, region) else { continue };
                told.push(&first.rule.name);
                let (what, caller) = shared(&meeting);
                let fault = Fault::at_place(
                    &rules[later].place,
                    format!(
                        "rules `{}` and `{}` tie: both decide about `{caller}` in {}",
                        first.rule.name,
                        rules[later].rule.name,
                        what.replacen("database ", "database `", 1) + "`",
                    ),
                    "this rule",
                    "make one of them narrower (caller, then database), or unite them in one rule",
                );
                faults.push(fault.also(&first.place, "and this one"));
                if faults.len() == most {
                    return faults;
                }
            }
            group.push((later, region));
        }
    }
    faults
}
