//! Rules that never decide, and rules that let in more than they look like.

use std::cell::LazyCell;
use std::collections::BTreeSet;

use signet_policy::{Effect, Mode};

use super::decider::{Decider, Neighbours, Rules, decider, is_alone, reported_deny};
use super::{Warning, Witness};
use crate::case::Verdict;
use crate::document::PolicyDocument;
use crate::fault::Fault;
use crate::source::Place;
use crate::space::{Effort, GaveUp, Point, Region, Rule, Search, Segments, Step};

/// Rules that decide nothing, since others always do before them.
pub(super) fn unreachable<'d>(
    document: &'d PolicyDocument,
    effort: &Effort,
    rules: &'d Rules<'d>,
    neighbours: &Neighbours<'d>,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut idle_denies = BTreeSet::new();
    // From the last to the first, so that of two denies that say the same the later is told.
    for rule in rules.http.iter().rev() {
        effort.turn_to(1);
        let place = &document.http_rules()[rule.index].place;
        let found = idle(effort, rule, place, neighbours, &idle_denies);
        if rule.effect == Effect::Deny && matches!(found, Ok(Some(_))) {
            idle_denies.insert(rule.index);
        }
        warnings.extend(told(found, rule, place));
    }
    for rule in &rules.postgres {
        effort.turn_to(1);
        let place = &document.postgres_rules()[rule.index].place;
        let found = idle(effort, rule, place, neighbours, &idle_denies);
        warnings.extend(told(found, rule, place));
    }
    warnings
}

/// What is said of a rule where others always decide before it.
fn idle<'d>(
    effort: &Effort,
    rule: &'d Rule<'d>,
    place: &Place,
    neighbours: &Neighbours<'d>,
    idle_denies: &BTreeSet<usize>,
) -> Result<Option<Warning>, GaveUp> {
    let shadow = rule.mode == Mode::Shadow;
    let near = neighbours.near(effort, rule, shadow)?;
    if is_alone(rule, &near) && rule.matches_something() {
        return Ok(None);
    }
    let blockers = if rule.effect == Effect::Deny {
        let others: Vec<_> = near
            .iter()
            .copied()
            .filter(|r| {
                r.effect == Effect::Deny && r.index != rule.index && !idle_denies.contains(&r.index)
            })
            .collect();
        blocked(effort, [Region::whole(rule)].into_iter(), rule, &others)?
    } else {
        blocked(effort, Region::alternatives(rule, 0..rule.from_patterns.len()), rule, &near)?
    };
    let Some(blockers) = blockers else { return Ok(None) };
    warning(effort, rule, place, &near, &blockers, shadow).map(Some)
}

/// What is found of a rule, or that nothing is known.
fn told(found: Result<Option<Warning>, GaveUp>, rule: &Rule<'_>, place: &Place) -> Option<Warning> {
    found.unwrap_or_else(|GaveUp| Some(unknown(rule, place, "ever decides")))
}

/// Says that a search ended without an answer, so that nobody takes silence for proof.
fn unknown(rule: &Rule<'_>, place: &Place, what: &str) -> Warning {
    let fault = Fault::at_place(
        place,
        format!(
            "whether rule `{}` {what} isn't known: it overlaps others in too many ways",
            rule.name
        ),
        "searched in vain",
        "shorten its lists and theirs, or write a rule for each path or caller, and check again",
    );
    Warning { fault, witnesses: Vec::new() }
}

/// The rules that decide about all that `rule` matches; nothing where it decides about something
/// itself.
fn blocked<'d>(
    effort: &Effort,
    alternatives: impl Iterator<Item = Region<'d>>,
    rule: &Rule<'_>,
    near: &[&'d Rule<'d>],
) -> Result<Option<BTreeSet<usize>>, GaveUp> {
    let mut blockers = BTreeSet::new();
    let found = Search::find_in_any(effort, alternatives, None, |point| {
        match decider(effort, near, point).region() {
            Some(region) if region.rule.index != rule.index => {
                blockers.insert(region.rule.index);
                Step::Split { outside: vec![region], inside: Vec::new() }
            }
            _ => Step::Found,
        }
    })?;
    Ok(found.is_none().then_some(blockers))
}

/// What is said of a rule of which these decide about all that it matches.
fn warning(
    effort: &Effort,
    rule: &Rule<'_>,
    place: &Place,
    near: &[&Rule<'_>],
    blockers: &BTreeSet<usize>,
    shadow: bool,
) -> Result<Warning, GaveUp> {
    let name = rule.name;
    let example = Search::find(effort, &[Region::whole(rule)], |_| Step::Found)?;
    let Some(point) = example else {
        return Ok(Warning {
            fault: Fault::at_place(
                place,
                format!("rule `{name}` matches nothing: its clauses contradict each other"),
                "never decides",
                "`*` goes with OPTIONS; a plain CONNECT is always denied, and an extended one is a GET with `upgrades`",
            ),
            witnesses: Vec::new(),
        });
    };
    let others: Vec<&&Rule<'_>> = near.iter().filter(|r| blockers.contains(&r.index)).collect();
    let names: Vec<String> = others.iter().map(|other| format!("`{}`", other.name)).collect();
    let names = names.join(", ");
    let possibly = if rule.looks_at_values() || others.iter().any(|other| other.looks_at_values()) {
        "possibly "
    } else {
        ""
    };
    let denied = others.iter().any(|other| other.effect == Effect::Deny);
    let (message, help) = if rule.effect == Effect::Deny {
        (
            format!(
                "deny `{name}` is {possibly}superfluous: all that it denies is denied by {names}"
            ),
            "remove it, or widen it",
        )
    } else if denied && others.iter().all(|other| other.effect == Effect::Deny) {
        (
            format!(
                "rule `{name}` {possibly}never allows: all that it matches is denied by {names}"
            ),
            "remove it, or narrow the deny: a deny beats every allow",
        )
    } else {
        (
            format!(
                "rule `{name}` is {possibly}unreachable: all that it matches is decided by {names}"
            ),
            "remove it, or make it narrower than those, so that it outweighs them",
        )
    };
    let (verdict, by) = match decider(effort, near, &point) {
        Decider::Denied(_) => (Verdict::Deny, reported_deny(effort, near, &point)),
        Decider::Allowed(region) => (Verdict::Allow, Some(region.rule.name)),
        Decider::Nobody => (Verdict::Deny, None),
    };
    effort.check()?;
    let fault = Fault::at_place(place, message, "never decides", help);
    Ok(Warning { fault, witnesses: vec![Witness::new(&point, verdict, by, shadow)] })
}

/// Where a rule says `**`.
#[derive(Clone, Copy)]
enum Clause {
    From,
    To,
}

impl Clause {
    /// What that makes of the rule.
    const fn told(self) -> &'static str {
        match self {
            Self::From => "lets in workloads of every trust domain",
            Self::To => "holds at workloads of every trust domain",
        }
    }

    fn help(self, trust_domain: &str) -> String {
        match self {
            Self::From => format!("`/**` is everyone in {trust_domain}"),
            Self::To => format!("`/**` is everywhere in {trust_domain}"),
        }
    }
}

/// Allows for `**`, which lets in workloads of every trust domain that the Envoy trusts, or holds in all of them.
pub(super) fn wide<'d>(
    document: &'d PolicyDocument,
    effort: &Effort,
    rules: &'d Rules<'d>,
    neighbours: &Neighbours<'d>,
) -> Vec<Warning> {
    let http = document.http_rules().iter().map(|rule| (&rule.anyone, &rule.anywhere));
    let postgres = document.postgres_rules().iter().map(|rule| (&rule.anyone, &rule.anywhere));
    let domains = document.trust_domains();
    let callers = LazyCell::new(|| Rule::from_trust_domains(domains));
    let destinations = LazyCell::new(|| Rule::to_trust_domains(domains));
    http.zip(&rules.http)
        .chain(postgres.zip(&rules.postgres))
        .filter(|(_, rule)| rule.effect == Effect::Allow)
        .flat_map(|((anyone, anywhere), rule)| {
            [(Clause::From, anyone, rule), (Clause::To, anywhere, rule)]
        })
        .filter_map(|(clause, place, rule)| {
            let place = place.as_ref()?;
            effort.turn_to(1);
            let ours = match clause {
                Clause::From => &*callers,
                Clause::To => &*destinations,
            };
            let point = match stranger(effort, clause, ours, neighbours, rule) {
                Ok(point) => point?,
                Err(GaveUp) => return Some(unknown(rule, place, clause.told())),
            };
            let fault = Fault::at_place(
                place,
                format!("rule `{}` {}", rule.name, clause.told()),
                "wider than the trust domain",
                clause.help(document.trust_domain()),
            );
            let shadow = rule.mode == Mode::Shadow;
            let witness = Witness::new(&point, Verdict::Allow, Some(rule.name), shadow);
            Some(Warning { fault, witnesses: vec![witness] })
        })
        .collect()
}

/// What the rule allows, and has nothing to do with `ours` by this clause.
fn stranger<'d: 'r, 'r>(
    effort: &Effort,
    clause: Clause,
    ours: &'r Rule<'r>,
    neighbours: &Neighbours<'d>,
    rule: &'r Rule<'r>,
) -> Result<Option<Point>, GaveUp> {
    let near: Vec<&'r Rule<'r>> = neighbours.near(effort, rule, rule.mode == Mode::Shadow)?;
    let callers = rule.from.as_slice();
    let callers = match clause {
        Clause::From => {
            let anyone = callers.iter().position(|from| *from == Segments::anyone());
            let Some(anyone) = anyone else { return Ok(None) };
            anyone..anyone + 1
        }
        Clause::To => 0..callers.len(),
    };
    let alternatives = Region::alternatives(rule, callers);
    Search::find_in_any(effort, alternatives, None, |point| {
        match decider(effort, &near, point).region() {
            Some(region) if region.rule.index != rule.index => {
                Step::Split { outside: vec![region], inside: Vec::new() }
            }
            _ if ours.at(effort, point).is_some() => {
                Step::Split { outside: vec![Region::whole(ours)], inside: Vec::new() }
            }
            _ => Step::Found,
        }
    })
}
