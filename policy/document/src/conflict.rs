//! Rules against each other: ties that no weight decides.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;

use signet_policy::{
    Effect, HeaderCondition, HttpRule, IdPattern, PathPattern, PostgresRule, RuleName,
};

use crate::fault::Fault;
use crate::read::Addressed;

type Http = Addressed<HttpRule>;
type Postgres = Addressed<PostgresRule>;

/// Notes pairs of HTTP allows of equal weight that may both match and tell different roles.
///
/// Patterns of equal weight that match a common request are the same pattern: weights compare what
/// kind each segment is, and of the same kinds only equal literals meet. So a tie needs a path, a
/// caller and a host that both rules list, and rules can be sorted by these instead of being
/// compared each with each.
pub(crate) fn http_ties(rules: &[Http]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut seen: HashMap<(Option<&PathPattern>, &IdPattern), Vec<&Http>> = HashMap::new();
    for later in rules.iter().filter(|rule| rule.rule.effect == Effect::Allow) {
        let mut told: Vec<&RuleName> = Vec::new();
        let paths: Vec<Option<&PathPattern>> = match &later.rule.paths {
            Some(paths) => paths.iter().map(Some).collect(),
            None => vec![None],
        };
        for path in paths {
            for from in &later.rule.from {
                let group = seen.entry((path, from)).or_default();
                for earlier in group.iter() {
                    if told.contains(&&earlier.rule.name) || !http_tie(earlier, later) {
                        continue;
                    }
                    told.push(&earlier.rule.name);
                    faults.push(http_fault(earlier, later, path, from));
                }
                group.push(later);
            }
        }
    }
    faults
}

/// Whether two rules that share a path and a caller tie on all the rest, and differ in what they tell.
fn http_tie(a: &Http, b: &Http) -> bool {
    let (x, y) = (&a.rule, &b.rule);
    x.db_role != y.db_role
        && x.other_conditions() == y.other_conditions()
        && same_in_both(x.methods.as_deref(), y.methods.as_deref())
        && same_in_both(x.hosts.as_deref(), y.hosts.as_deref())
        && x.ports.as_ref().zip(y.ports.as_ref()).is_none_or(|(a, b)| share(a, b))
        && headers_meet(&x.headers, &y.headers)
        && destinations_meet(&a.to, &b.to)
}

/// Whether both are absent, or both list a common value.
fn same_in_both<T: PartialEq>(a: Option<&[T]>, b: Option<&[T]>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => share(a, b),
        _ => false,
    }
}

fn share<T: PartialEq>(a: &[T], b: &[T]) -> bool {
    a.iter().any(|item| b.contains(item))
}

fn destinations_meet(a: &[IdPattern], b: &[IdPattern]) -> bool {
    a.iter().any(|a| b.iter().any(|b| a.overlaps(b)))
}

/// Whether some header lines satisfy both rules' conditions.
fn headers_meet<N: Ord>(
    a: &BTreeMap<N, HeaderCondition>,
    b: &BTreeMap<N, HeaderCondition>,
) -> bool {
    use HeaderCondition::{Absent, Equals, Present};
    a.iter().filter_map(|(name, condition)| Some((condition, b.get(name)?))).all(
        |pair| match pair {
            (Absent, Absent) | (Present, Present | Equals(_)) | (Equals(_), Present) => true,
            (Absent, _) | (_, Absent) => false,
            (Equals(a), Equals(b)) => share(a, b),
        },
    )
}

fn http_fault(earlier: &Http, later: &Http, path: Option<&PathPattern>, from: &IdPattern) -> Fault {
    let method = match (&earlier.rule.methods, &later.rule.methods) {
        (Some(a), Some(b)) => {
            a.iter().find(|method| b.contains(method)).map_or("GET", |m| m.as_str())
        }
        _ => "GET",
    };
    let path = path.map_or_else(|| "/".to_owned(), example);
    let role = |rule: &Http| match &rule.rule.db_role {
        Some(role) => format!("`{role}`"),
        None => "no role".to_owned(),
    };
    Fault::at_place(
        &later.place,
        format!(
            "rules `{}` and `{}` tie: `{method} {path}` of `{}` would get {} or {}",
            earlier.rule.name,
            later.rule.name,
            example(from),
            role(earlier),
            role(later),
        ),
        "this rule",
        "make one of them narrower (path, caller, host, method, then other conditions), or give both \
         the same `db_role`",
    )
    .also(&earlier.place, "and this one")
}

/// Notes pairs of Postgres rules of equal weight that may both match.
pub(crate) fn postgres_ties(rules: &[Postgres]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut seen: HashMap<&IdPattern, Vec<&Postgres>> = HashMap::new();
    for later in rules {
        let mut told: Vec<&RuleName> = Vec::new();
        for from in &later.rule.from {
            let group = seen.entry(from).or_default();
            for earlier in group.iter() {
                let both = |name| later.rule.databases.contains(name);
                let Some(database) = earlier.rule.databases.iter().find(|name| both(name)) else {
                    continue;
                };
                if told.contains(&&earlier.rule.name) || !destinations_meet(&earlier.to, &later.to)
                {
                    continue;
                }
                told.push(&earlier.rule.name);
                faults.push(
                    Fault::at_place(
                        &later.place,
                        format!(
                            "rules `{}` and `{}` tie: both decide about `{}` in database `{database}`",
                            earlier.rule.name,
                            later.rule.name,
                            example(from),
                        ),
                        "this rule",
                        "make one of them narrower (caller, then database), or unite them in one rule",
                    )
                    .also(&earlier.place, "and this one"),
                );
            }
            group.push(later);
        }
    }
    faults
}

/// Something that a pattern matches. Its free segments are `x`, or longer where a literal is that.
fn example(pattern: &impl Display) -> String {
    let text = pattern.to_string();
    let mut free = "x".to_owned();
    while text.split('/').any(|segment| segment == free) {
        free.push('x');
    }
    if text == "**" {
        return "spiffe://x/x".to_owned();
    }
    let segments = text.split('/').map(|segment| match segment {
        "*" | "**" => free.as_str(),
        literal => literal,
    });
    segments.collect::<Vec<_>>().join("/")
}
