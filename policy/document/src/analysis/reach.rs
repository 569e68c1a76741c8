//! Rules that never decide, and rules that let in more than they look like.

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
    rules: &'d Rules<'d>,
    neighbours: &Neighbours<'d>,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut idle_denies = BTreeSet::new();
    // From the last to the first, so that of two denies that say the same the later is told.
    for rule in rules.http.iter().rev() {
        let shadow = rule.mode == Mode::Shadow;
        let near = neighbours.near(rule, shadow);
        if is_alone(rule, &near) && rule.matches_something() {
            continue;
        }
        let place = &document.http_rules()[rule.index].place;
        if rule.effect == Effect::Deny {
            let others: Vec<_> = near
                .iter()
                .copied()
                .filter(|r| {
                    r.effect == Effect::Deny
                        && r.index != rule.index
                        && !idle_denies.contains(&r.index)
                })
                .collect();
            let found = blocked([Region::whole(rule)].into_iter(), rule, &others);
            if let Ok(Some(_)) = found {
                idle_denies.insert(rule.index);
            }
            warnings.extend(told(found, rule, place, &near, shadow));
        } else {
            let found = blocked(Region::alternatives(rule, 0..rule.from.len()), rule, &near);
            warnings.extend(told(found, rule, place, &near, shadow));
        }
    }
    for rule in &rules.postgres {
        let near = neighbours.near(rule, false);
        if is_alone(rule, &near) {
            continue;
        }
        let place = &document.postgres_rules()[rule.index].place;
        let found = blocked(Region::alternatives(rule, 0..rule.from.len()), rule, &near);
        warnings.extend(told(found, rule, place, &near, false));
    }
    warnings
}

/// What is said of a rule whose blockers were searched.
fn told(
    found: Result<Option<BTreeSet<usize>>, GaveUp>,
    rule: &Rule<'_>,
    place: &Place,
    near: &[&Rule<'_>],
    shadow: bool,
) -> Option<Warning> {
    match found {
        Ok(blockers) => Some(idle(rule, place, near, &blockers?, shadow)),
        Err(GaveUp) => Some(unknown(rule, place, "ever decides")),
    }
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
    alternatives: impl Iterator<Item = Region<'d>>,
    rule: &Rule<'_>,
    near: &[&'d Rule<'d>],
) -> Result<Option<BTreeSet<usize>>, GaveUp> {
    let mut blockers = BTreeSet::new();
    let effort = Effort::for_questions(1);
    let found = Search::find_in_any(&effort, alternatives, None, |point| {
        match decider(near, point).region() {
            Some(region) if region.rule.index != rule.index => {
                blockers.insert(region.rule.index);
                Step::Split { outside: vec![region], inside: Vec::new() }
            }
            _ => Step::Found,
        }
    })?;
    Ok(found.is_none().then_some(blockers))
}

fn idle(
    rule: &Rule<'_>,
    place: &Place,
    near: &[&Rule<'_>],
    blockers: &BTreeSet<usize>,
    shadow: bool,
) -> Warning {
    let name = rule.name;
    let example = Search::find(&[Region::whole(rule)], |_| Step::Found);
    let Ok(Some(point)) = example else {
        return Warning {
            fault: Fault::at_place(
                place,
                format!("rule `{name}` matches nothing: its clauses contradict each other"),
                "never decides",
                "`*` goes with OPTIONS; a plain CONNECT is always denied, and an extended one is a GET with `upgrades`",
            ),
            witnesses: Vec::new(),
        };
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
    let (verdict, by) = match decider(near, &point) {
        Decider::Denied(_) => (Verdict::Deny, reported_deny(near, &point)),
        Decider::Allowed(region) => (Verdict::Allow, Some(region.rule.name)),
        Decider::Nobody => (Verdict::Deny, None),
    };
    let fault = Fault::at_place(place, message, "never decides", help);
    Warning { fault, witnesses: vec![Witness::new(&point, verdict, by, shadow)] }
}

/// Allows for `**`, which lets in workloads of every trust domain that the Envoy trusts.
pub(super) fn wide<'d>(
    document: &'d PolicyDocument,
    rules: &'d Rules<'d>,
    neighbours: &Neighbours<'d>,
) -> Vec<Warning> {
    let http = document.http_rules().iter().map(|rule| rule.anyone.as_ref()).zip(&rules.http);
    let postgres =
        document.postgres_rules().iter().map(|rule| rule.anyone.as_ref()).zip(&rules.postgres);
    http.chain(postgres)
        .filter(|(_, rule)| rule.effect == Effect::Allow)
        .filter_map(|(place, rule)| {
            let place = place?;
            let point = match stranger(document, neighbours, rule) {
                Ok(point) => point?,
                Err(GaveUp) => {
                    return Some(unknown(rule, place, "lets in workloads of every trust domain"));
                }
            };
            let fault = Fault::at_place(
                place,
                format!("rule `{}` lets in workloads of every trust domain", rule.name),
                "wider than the trust domain",
                format!("`/**` is everyone in {}", document.trust_domain()),
            );
            let shadow = rule.mode == Mode::Shadow;
            let witness = Witness::new(&point, Verdict::Allow, Some(rule.name), shadow);
            Some(Warning { fault, witnesses: vec![witness] })
        })
        .collect()
}

/// A request of another trust domain that the rule allows.
fn stranger<'d>(
    document: &PolicyDocument,
    neighbours: &Neighbours<'d>,
    rule: &'d Rule<'d>,
) -> Result<Option<Point>, GaveUp> {
    let near = neighbours.near(rule, rule.mode == Mode::Shadow);
    let Some(anyone) = rule.from.iter().position(|from| *from == Segments::anyone()) else {
        return Ok(None);
    };
    let ours = Rule::from_trust_domains(document.trust_domains());
    let alternatives = Region::alternatives(rule, anyone..anyone + 1);
    Search::find_in_any(&Effort::for_questions(1), alternatives, None, |point| {
        match decider(&near, point).region() {
            Some(region) if region.rule.index != rule.index => {
                Step::Split { outside: vec![region], inside: Vec::new() }
            }
            _ if ours.at(point).is_some() => {
                Step::Split { outside: vec![Region::whole(&ours)], inside: Vec::new() }
            }
            _ => Step::Found,
        }
    })
}
