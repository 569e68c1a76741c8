//! Roles that an API is told and can't take.

use std::cell::LazyCell;
use std::collections::HashMap;

use signet_policy::{IdPattern, Mode, PostgresRule, RoleName};

use super::decider::{Decider, Neighbours, Rules, decider};
use super::{Warning, Witness};
use crate::case::{Ask, Case, Expectation, PostgresAsk, Verdict};
use crate::document::PolicyDocument;
use crate::fault::Fault;
use crate::space::{Effort, GaveUp, Point, Region, Rule, Search, Step};

/// Rules whose `db_role` no Postgres rule lets their destination act as.
pub(super) fn unusable<'d>(
    document: &'d PolicyDocument,
    effort: &Effort,
    rules: &'d Rules<'d>,
    neighbours: &Neighbours<'d>,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut usable: HashMap<(&IdPattern, &RoleName), Result<bool, GaveUp>> = HashMap::new();
    for (addressed, rule) in document.http_rules().iter().zip(&rules.http) {
        let (Some(role), Some(place)) = (&addressed.rule.db_role, &addressed.db_role) else {
            continue;
        };
        effort.turn_to(addressed.to.len());
        let (mut told, mut unknown) = (Vec::new(), Vec::new());
        let near = LazyCell::new(|| neighbours.near(effort, rule, rule.mode == Mode::Shadow));
        for (to, destination) in addressed.to.iter().enumerate() {
            let can_act = usable.entry((destination, role)).or_insert_with(|| {
                let caller = rule.destination_as_caller(to);
                can_act_as(document, effort, neighbours, &caller, role)
            });
            match can_act {
                Ok(true) => {}
                Ok(false) => match allowed(effort, &near, rule, to) {
                    // A rule that never allows is told about already.
                    Ok(None) => {}
                    found => told.push((to, found)),
                },
                Err(GaveUp) => unknown.push(to),
            }
        }
        let names = |to: &mut dyn Iterator<Item = usize>| {
            to.map(|to| addressed.to[to].as_str()).collect::<Vec<_>>().join(", ")
        };
        if !unknown.is_empty() {
            let names = names(&mut unknown.into_iter());
            let fault = Fault::at_place(
                place,
                format!(
                    "whether a postgres rule lets {names} act as `{role}` isn't known: rules overlap in too many ways"
                ),
                "searched in vain",
                "shorten the lists of rules, or write a rule for each caller, and check again",
            );
            warnings.push(Warning { fault, witnesses: Vec::new() });
        }
        let Some((first, request)) = told.first() else { continue };
        let request = request.as_ref().ok().and_then(Option::as_ref).map(|point| {
            Witness::new(point, Verdict::Allow, Some(rule.name), rule.mode == Mode::Shadow)
        });
        let caller = rule.destination_as_caller(*first);
        let session = session(document, effort, neighbours, &caller, role).ok().flatten();
        let names = names(&mut told.iter().map(|(to, _)| *to));
        let fault = Fault::at_place(
            place,
            format!("no postgres rule lets {names} act as `{role}`"),
            "told, and of no use",
            "name it as `login_role` or under `may_act_as` of a postgres rule whose `from` is this `to`",
        );
        warnings.push(Warning { fault, witnesses: request.into_iter().chain(session).collect() });
    }
    warnings
}

/// A request to one of its destinations that the rule allows, where those near it are known.
fn allowed(
    effort: &Effort,
    near: &Result<Vec<&Rule<'_>>, GaveUp>,
    rule: &Rule<'_>,
    to: usize,
) -> Result<Option<Point>, GaveUp> {
    let near = near.as_ref().map_err(|GaveUp| GaveUp)?;
    let bounds = rule.only_to(rule.to.as_slice()[to].clone());
    Search::find(effort, &[Region::whole(&bounds), Region::whole(rule)], |point| {
        match decider(effort, near, point) {
            Decider::Allowed(region) if region.rule.index == rule.index => Step::Found,
            decider => {
                Step::Split { outside: decider.region().into_iter().collect(), inside: Vec::new() }
            }
        }
    })
}

/// Whether some connection of the caller becomes the role.
fn can_act_as(
    document: &PolicyDocument,
    effort: &Effort,
    neighbours: &Neighbours<'_>,
    caller: &Rule<'_>,
    role: &RoleName,
) -> Result<bool, GaveUp> {
    let grants = |rule: &PostgresRule| {
        rule.login_role == *role
            || rule.may_act_as.as_ref().is_some_and(|roles| roles.binary_search(role).is_ok())
    };
    let near = neighbours.near_connections(effort, caller)?;
    for rule in &near {
        if grants(&document.postgres_rules()[rule.index].rule)
            && connection(effort, &near, caller, rule)?.is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A connection of the caller about which this rule decides, of those near the caller.
fn connection(
    effort: &Effort,
    near: &[&Rule<'_>],
    caller: &Rule<'_>,
    rule: &Rule<'_>,
) -> Result<Option<Point>, GaveUp> {
    Search::find(effort, &[Region::whole(caller), Region::whole(rule)], |point| {
        match decider(effort, near, point).region() {
            Some(region) if region.rule.index != rule.index => {
                Step::Split { outside: vec![region], inside: Vec::new() }
            }
            _ => Step::Found,
        }
    })
}

/// What becomes of the caller where it asks Postgres to be the role, if any rule lets it in at all.
fn session(
    document: &PolicyDocument,
    effort: &Effort,
    neighbours: &Neighbours<'_>,
    caller: &Rule<'_>,
    role: &RoleName,
) -> Result<Option<Witness>, GaveUp> {
    let near = neighbours.near_connections(effort, caller)?;
    for rule in &near {
        let Some(point) = connection(effort, &near, caller, rule)? else { continue };
        let decides = &document.postgres_rules()[rule.index].rule;
        let (verdict, becomes) = match decides.may_act_as {
            Some(_) => (Verdict::Deny, None),
            None => (Verdict::Allow, Some(decides.login_role.to_string())),
        };
        let ask = Ask::Postgres(PostgresAsk {
            database: point.database.clone().unwrap_or_default(),
            user: Some(role.to_string()),
            parameters: Vec::new(),
        });
        let rule = Some(Some(rule.name.to_owned()));
        let expect = Some(Expectation { verdict, rule, role: Some(becomes) });
        let case = Case { ask, expect, ..point.case() }.retitled();
        return Ok(Some(Witness { case, shadow: false }));
    }
    Ok(None)
}
