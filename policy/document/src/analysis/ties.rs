//! Rules of equal weight that may both match, and differ in what they say.

use std::cell::OnceCell;
use std::collections::HashMap;

use signet_policy::{Effect, HttpRule, IdPattern, PathPattern, PostgresRule};

use crate::fault::Fault;
use crate::read::Addressed;
use crate::space::{GaveUp, Point, Region, Rule, Search, Step};

/// Alternatives of a pair of rules that are looked at. The first is nearly always a tie, where the whole rules may have one.
const MOST_TRIED: usize = 1_000;

/// How many times as many pairs as patterns the paths and callers of a rule may have: of others each is compared with
/// all rules.
const MAX_GROWTH: usize = 16;

/// Finds pairs of HTTP allows of equal weight that may both match and tell different roles, of many pairs the
/// first `most`.
///
/// Patterns of equal weight that match a common request are the same pattern: weights compare what
/// kind each segment is, and of the same kinds only equal literals meet. So a tie needs a path and a
/// caller that both rules list, and rules can be sorted by these instead of being compared each with
/// each. Whether the two meet with these is then decided exactly.
pub(crate) fn http_ties(rules: &[Addressed<HttpRule>], most: usize) -> Vec<Fault> {
    let mut faults = Vec::new();
    let allows = || rules.iter().enumerate().filter(|(_, rule)| rule.rule.effect == Effect::Allow);
    let role = |index: usize| &rules[index].rule.db_role;
    if allows().all(|(index, _)| role(index) == &rules[0].rule.db_role) {
        return faults;
    }
    let prepared: Vec<OnceCell<Rule<'_>>> = rules.iter().map(|_| OnceCell::new()).collect();
    let prepare = |index: usize| prepared[index].get_or_init(|| Rule::http(index, &rules[index]));
    let mut by_both: HashMap<(Option<&PathPattern>, &IdPattern), Vec<usize>> = HashMap::new();
    let (mut wide, mut all) = (Vec::new(), Vec::new());
    for (later, Addressed { rule, .. }) in allows() {
        let keys = pairs(rule);
        let mut partners: Vec<usize> = match &keys {
            None => all.clone(),
            Some(keys) => {
                let groups = keys.iter().filter_map(|key| by_both.get(key));
                groups.chain([&wide]).flatten().copied().collect()
            }
        };
        partners.sort_unstable();
        partners.dedup();
        for earlier in partners.into_iter().filter(|earlier| role(*earlier) != role(later)) {
            let first = &rules[earlier];
            if !share_rare(&first.rule, rule) {
                continue;
            }
            if let Some(meeting) = tie(prepare(earlier), prepare(later)) {
                faults.push(http_fault(first, &rules[later], &meeting));
                if faults.len() == most {
                    return faults;
                }
            }
        }
        all.push(later);
        match keys {
            None => wide.push(later),
            Some(keys) => {
                for key in keys {
                    by_both.entry(key).or_default().push(later);
                }
            }
        }
    }
    faults
}

/// Each path of a rule with each caller, unless these are too many.
fn pairs(rule: &HttpRule) -> Option<Vec<(Option<&PathPattern>, &IdPattern)>> {
    let paths: Vec<Option<&PathPattern>> =
        rule.paths.as_ref().map_or(vec![None], |list| list.iter().map(Some).collect());
    let most = (paths.len() + rule.from.len()).saturating_mul(MAX_GROWTH);
    let few = paths.len().saturating_mul(rule.from.len()) <= most;
    few.then(|| paths.iter().flat_map(|p| rule.from.iter().map(|from| (*p, from))).collect())
}

/// Whether two rules with a common path and caller weigh the same in the rest, and list a common host and method: a
/// quick look.
fn share_rare(a: &HttpRule, b: &HttpRule) -> bool {
    a.methods.is_some() == b.methods.is_some()
        && a.other_conditions() == b.other_conditions()
        && !common(a.hosts.as_deref(), b.hosts.as_deref()).is_empty()
        && !common(a.methods.as_deref(), b.methods.as_deref()).is_empty()
}

/// Where two sorted lists have the same items; where neither is there, nowhere is the one place.
fn common<T: Ord>(a: Option<&[T]>, b: Option<&[T]>) -> Vec<(Option<usize>, Option<usize>)> {
    let (a, b) = match (a, b) {
        (Some(a), Some(b)) => (a, b),
        (None, None) => return vec![(None, None)],
        _ => return Vec::new(),
    };
    let mut found = Vec::new();
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        let order = x.cmp(y);
        if order.is_eq() {
            found.push((Some(i), Some(j)));
        }
        i += usize::from(order.is_le());
        j += usize::from(order.is_ge());
    }
    found
}

/// What two rules both decide with equal weight, if anything.
fn tie<'d>(a: &'d Rule<'d>, b: &'d Rule<'d>) -> Option<Result<Point, GaveUp>> {
    if !Region::whole(a).may_meet(&Region::whole(b)) {
        return None;
    }
    let callers = common(Some(a.from_patterns), Some(b.from_patterns));
    let paths = common(a.path_list(), b.path_list());
    let (hosts, databases) = (common(a.hosts, b.hosts), common(a.databases, b.databases));
    let mut left = MOST_TRIED;
    for path in &paths {
        for from in &callers {
            for host in &hosts {
                for database in &databases {
                    let x = Region {
                        rule: a,
                        from: from.0,
                        path: path.0,
                        host: host.0,
                        database: database.0,
                    };
                    let y = Region {
                        rule: b,
                        from: from.1,
                        path: path.1,
                        host: host.1,
                        database: database.1,
                    };
                    let found = meeting(x, y);
                    if found.is_some() {
                        return found;
                    }
                    left -= 1;
                    if left == 0 {
                        return Some(Err(GaveUp));
                    }
                }
            }
        }
    }
    None
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
    let mut by_caller: HashMap<&IdPattern, Vec<usize>> = HashMap::new();
    for (later, rule) in rules.iter().enumerate() {
        let groups = rule.rule.from.iter().filter_map(|from| by_caller.get(from));
        let mut partners: Vec<usize> = groups.flatten().copied().collect();
        partners.sort_unstable();
        partners.dedup();
        for earlier in partners {
            let Some(meeting) = tie(&prepared[earlier], &prepared[later]) else { continue };
            let first = &rules[earlier];
            let (what, caller) = shared(&meeting);
            let fault = Fault::at_place(
                &rule.place,
                format!(
                    "rules `{}` and `{}` tie: both decide about `{caller}` in {}",
                    first.rule.name,
                    rule.rule.name,
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
        for from in &rule.rule.from {
            by_caller.entry(from).or_default().push(later);
        }
    }
    faults
}
