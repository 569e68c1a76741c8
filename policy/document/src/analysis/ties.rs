//! Rules of equal weight that may both match, and differ in what they say.

use std::cell::{LazyCell, OnceCell};

use signet_policy::{
    DatabaseName, Effect, HostPattern, HttpRule, IdPattern, PathPattern, PostgresRule,
};

use super::nearby::Nearby;
use super::pairs::Groups;
use crate::fault::Fault;
use crate::read::Addressed;
use crate::source::Place;
use crate::space::{Effort, GaveUp, Point, Region, Rule, Search, Step, share};

/// Alternatives of a pair of rules that are looked at. The first is nearly always a tie, where the whole rules may have one.
const MOST_TRIED: usize = 1_000;

/// How many times as many keys as patterns a rule may have: others are compared with all rules.
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
    let all = LazyCell::new(|| every(rules, Rule::http));
    let nearby = LazyCell::new(|| Nearby::of(&all));
    let effort = Effort::of_faults();
    let mut groups = Groups::new();
    for (later, Addressed { rule, .. }) in allows() {
        effort.turn_to(1);
        let keys = http_keys(rule);
        let partners = groups.partners(&effort, keys.as_deref(), |than| {
            nearby.near_if_fewer(&effort, &all[later], than)
        });
        let may_tie = |earlier: &usize| {
            let first = &rules[*earlier].rule;
            *earlier < later && first.effect == Effect::Allow && first.db_role != rule.db_role
        };
        let partners = partners.map(|partners| partners.into_iter().filter(may_tie));
        let told = each(&effort, &rules[later].place, partners, |earlier| {
            let first = &rules[earlier];
            if !share_rare(&effort, &first.rule, rule)? {
                return Ok(None);
            }
            let meeting = tie(&effort, prepare(earlier), prepare(later))?;
            Ok(meeting.map(|point| http_fault(first, &rules[later], &point)))
        });
        faults.extend(told.into_iter().take(most - faults.len()));
        if faults.len() == most {
            break;
        }
        groups.add(later, keys);
    }
    faults
}

/// All rules, made ready.
fn every<'d, R>(
    rules: &'d [Addressed<R>],
    prepare: impl Fn(usize, &'d Addressed<R>) -> Rule<'d>,
) -> Vec<Rule<'d>> {
    rules.iter().enumerate().map(|(index, rule)| prepare(index, rule)).collect()
}

/// The faults of a rule with each of its partners; and one where that isn't known.
fn each(
    effort: &Effort,
    place: &Place,
    partners: Result<impl Iterator<Item = usize>, GaveUp>,
    compare: impl Fn(usize) -> Result<Option<Fault>, GaveUp>,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut is_known = partners.is_ok();
    for partner in partners.into_iter().flatten().take_while(|_| effort.check().is_ok()) {
        match compare(partner) {
            Ok(fault) => faults.extend(fault),
            Err(GaveUp) => is_known = false,
        }
    }
    if !(is_known && effort.check().is_ok()) {
        faults.push(Fault::at_place(
            place,
            "whether this rule ties with others isn't known: they overlap in too many ways",
            "searched in vain",
            "shorten their lists, or write a rule for each path or caller",
        ));
    }
    faults
}

/// What two HTTP rules that tie have in common: a path or none, a caller, a host or none, and whether methods are listed.
type HttpKey<'d> = (Option<&'d PathPattern>, &'d IdPattern, Option<&'d HostPattern>, bool);

/// Each path of a rule with each caller and host, unless these are too many.
fn http_keys(rule: &HttpRule) -> Option<Vec<HttpKey<'_>>> {
    fn each<T>(list: Option<&[T]>) -> Vec<Option<&T>> {
        list.map_or(vec![None], |list| list.iter().map(Some).collect())
    }
    let (paths, hosts) = (each(rule.paths.as_deref()), each(rule.hosts.as_deref()));
    let lists = [paths.len(), rule.from.len(), hosts.len()];
    are_few(&lists).then(|| {
        let paths_of = |from| paths.iter().map(move |path| (*path, from));
        let pairs = rule.from.iter().flat_map(paths_of);
        let keys = pairs.flat_map(|(path, from)| {
            hosts.iter().map(move |host| (path, from, *host, rule.methods.is_some()))
        });
        keys.collect()
    })
}

/// Whether the combinations of lists aren't many times as many as what the lists have.
fn are_few(lists: &[usize]) -> bool {
    let combinations = lists.iter().copied().fold(1, usize::saturating_mul);
    combinations <= lists.iter().sum::<usize>().saturating_mul(MAX_GROWTH)
}

/// Whether two rules with a common path, caller and host weigh the same in the rest, and list a common method: a quick
/// look.
fn share_rare(effort: &Effort, a: &HttpRule, b: &HttpRule) -> Result<bool, GaveUp> {
    fn share_if_listed<T: Ord>(a: Option<&Vec<T>>, b: Option<&Vec<T>>) -> bool {
        a.is_some() == b.is_some() && a.zip(b).is_none_or(|(a, b)| share(a, b))
    }
    let lists = [&a.hosts, &b.hosts].map(|list| list.as_ref().map_or(0, Vec::len));
    effort.spend(1 + lists[0].min(lists[1]))?;
    Ok(a.other_conditions() == b.other_conditions()
        && share_if_listed(a.methods.as_ref(), b.methods.as_ref())
        && share_if_listed(a.hosts.as_ref(), b.hosts.as_ref()))
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
fn tie<'d>(effort: &Effort, a: &'d Rule<'d>, b: &'d Rule<'d>) -> Result<Option<Point>, GaveUp> {
    let may_meet = Region::whole(a).may_meet(effort, &Region::whole(b));
    effort.check()?;
    if !may_meet {
        return Ok(None);
    }
    let lists = |rule: &Rule<'_>| {
        let counts = [rule.path_list().map(<[_]>::len), rule.databases.map(<[_]>::len)];
        let counts = counts.into_iter().flatten().sum::<usize>();
        counts + rule.from_patterns.len() + rule.host_patterns.len()
    };
    effort.spend(lists(a) + lists(b))?;
    let callers = common(Some(a.from_patterns), Some(b.from_patterns));
    let paths = common(a.path_list(), b.path_list());
    let hosts = common(a.host_list(), b.host_list());
    let databases = common(a.databases, b.databases);
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
                    let found = meeting(effort, x, y)?;
                    if found.is_some() {
                        return Ok(found);
                    }
                    left -= 1;
                    if left == 0 {
                        return Err(GaveUp);
                    }
                }
            }
        }
    }
    Ok(None)
}

/// A request that two alternatives of equal weight both decide, if there is one.
fn meeting<'d>(effort: &Effort, a: Region<'d>, b: Region<'d>) -> Result<Option<Point>, GaveUp> {
    if a.compare_weight(&b).is_ne() || !a.may_meet(effort, &b) {
        return effort.check().map(|()| None);
    }
    Search::find(effort, &[a, b], |point| {
        let (Some(x), Some(y)) = (a.rule.at(effort, point), b.rule.at(effort, point)) else {
            return Step::Split { outside: Vec::new(), inside: Vec::new() };
        };
        if x.compare_weight(&y).is_eq() {
            return Step::Found;
        }
        // One of them matches by a heavier alternative than the one that ties.
        let outside = if x.compare_weight(&a).is_ne() { x } else { y };
        Step::Split { outside: vec![outside], inside: Vec::new() }
    })
}

fn http_fault(earlier: &Addressed<HttpRule>, later: &Addressed<HttpRule>, point: &Point) -> Fault {
    let role = |rule: &Addressed<HttpRule>| match &rule.rule.db_role {
        Some(role) => format!("`{role}`"),
        None => "no role".to_owned(),
    };
    let (what, caller) = (point.what(), point.caller());
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
    let all = every(rules, Rule::postgres);
    let nearby = LazyCell::new(|| Nearby::of(&all));
    let effort = Effort::of_faults();
    let mut groups = Groups::new();
    let mut faults = Vec::new();
    for (later, rule) in rules.iter().enumerate() {
        effort.turn_to(1);
        let keys = postgres_keys(&rule.rule);
        let partners = groups.partners(&effort, keys.as_deref(), |than| {
            nearby.near_if_fewer(&effort, &all[later], than)
        });
        let partners =
            partners.map(|partners| partners.into_iter().filter(|earlier| *earlier < later));
        let told = each(&effort, &rule.place, partners, |earlier| {
            let meeting = tie(&effort, &all[earlier], &all[later])?;
            Ok(meeting.map(|point| postgres_fault(&rules[earlier], rule, &point)))
        });
        faults.extend(told.into_iter().take(most - faults.len()));
        if faults.len() == most {
            break;
        }
        groups.add(later, keys);
    }
    faults
}

/// Each caller of a rule with each database, unless these are too many: what two rules that tie have in common.
fn postgres_keys(rule: &PostgresRule) -> Option<Vec<(&IdPattern, &DatabaseName)>> {
    let databases = |from| rule.databases.iter().map(move |database| (from, database));
    are_few(&[rule.from.len(), rule.databases.len()])
        .then(|| rule.from.iter().flat_map(databases).collect())
}

fn postgres_fault(
    earlier: &Addressed<PostgresRule>,
    later: &Addressed<PostgresRule>,
    point: &Point,
) -> Fault {
    Fault::at_place(
        &later.place,
        format!(
            "rules `{}` and `{}` tie: both decide about `{}` in {}",
            earlier.rule.name,
            later.rule.name,
            point.caller(),
            point.what().replacen("database ", "database `", 1) + "`",
        ),
        "this rule",
        "make one of them narrower (caller, then database), or unite them in one rule",
    )
    .also(&earlier.place, "and this one")
}
