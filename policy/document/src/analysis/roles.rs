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
    rules: &'d Rules<'d>,
    neighbours: &Neighbours<'d>,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut usable: HashMap<(&IdPattern, &RoleName), bool> = HashMap::new();
    for (addressed, rule) in document.http_rules().iter().zip(&rules.http) {
        let (Some(role), Some(place)) = (&addressed.rule.db_role, &addressed.db_role) else {
            continue;
        };
        let mut told = Vec::new();
        let near = LazyCell::new(|| neighbours.near(rule, rule.mode == Mode::Shadow));
        let effort = Effort::for_questions(addressed.to.len());
        for (to, destination) in addressed.to.iter().enumerate() {
            let can_act = usable.entry((destination, role)).or_insert_with(|| {
                let caller = rule.destination_as_caller(to);
                can_act_as(document, neighbours, &caller, role)
            });
            if !*can_act {
                match allowed(&effort, &near, rule, to) {
                    // A rule that never allows is told about already.
                    Ok(None) => {}
                    found => told.push((to, found)),
                }
            }
        }
        let Some((first, request)) = told.first() else { continue };
        let request = request.as_ref().ok().and_then(Option::as_ref).map(|point| {
            Witness::new(point, Verdict::Allow, Some(rule.name), rule.mode == Mode::Shadow)
        });
        let session = session(document, neighbours, &rule.destination_as_caller(*first), role);
        let destinations: Vec<_> = told.iter().map(|(to, _)| addressed.to[*to].as_str()).collect();
        let fault = Fault::at_place(
            place,
            format!("no postgres rule lets {} act as `{role}`", destinations.join(", ")),
            "told, and of no use",
            "name it as `login_role` or under `may_act_as` of a postgres rule whose `from` is this `to`",
        );
        warnings.push(Warning { fault, witnesses: request.into_iter().chain(session).collect() });
    }
    warnings
}

/// A request to one of its destinations that the rule allows.
fn allowed(
    effort: &Effort,
    near: &[&Rule<'_>],
    rule: &Rule<'_>,
    to: usize,
) -> Result<Option<Point>, GaveUp> {
    let bounds = rule.only_to(rule.to[to].clone());
    Search::find_within(effort, &[Region::whole(&bounds), Region::whole(rule)], |point| {
        match decider(near, point) {
            Decider::Allowed(region) if region.rule.index == rule.index => Step::Found,
            decider => {
                Step::Split { outside: decider.region().into_iter().collect(), inside: Vec::new() }
            }
        }
    })
}

/// Whether some connection of the caller becomes the role. Where the search took too many steps it
/// may: who isn't told of can't.
fn can_act_as(
    document: &PolicyDocument,
    neighbours: &Neighbours<'_>,
    caller: &Rule<'_>,
    role: &RoleName,
) -> bool {
    let grants = |rule: &PostgresRule| {
        rule.login_role == *role
            || rule.may_act_as.as_ref().is_some_and(|roles| roles.contains(role))
    };
    neighbours
        .near_connections(caller)
        .into_iter()
        .filter(|rule| grants(&document.postgres_rules()[rule.index].rule))
        .any(|rule| !matches!(connection(neighbours, caller, rule), Ok(None)))
}

/// A connection of the caller about which this rule decides.
fn connection(
    neighbours: &Neighbours<'_>,
    caller: &Rule<'_>,
    rule: &Rule<'_>,
) -> Result<Option<Point>, GaveUp> {
    let near = neighbours.near(rule, false);
    Search::find(&[Region::whole(rule), Region::whole(caller)], |point| {
        match decider(&near, point).region() {
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
    neighbours: &Neighbours<'_>,
    caller: &Rule<'_>,
    role: &RoleName,
) -> Option<Witness> {
    neighbours.near_connections(caller).into_iter().find_map(|rule| {
        let point = connection(neighbours, caller, rule).ok()??;
        let decides = &document.postgres_rules()[rule.index].rule;
        let (verdict, becomes) = match decides.may_act_as {
            Some(_) => (Verdict::Deny, None),
            None => (Verdict::Allow, Some(decides.login_role.to_string())),
        };
        let ask = Ask::Postgres(PostgresAsk {
            database: point.database.clone()?,
            user: Some(role.to_string()),
            parameters: Vec::new(),
        });
        let rule = Some(Some(rule.name.to_owned()));
        let expect = Some(Expectation { verdict, rule, role: Some(becomes) });
        Some(Witness { case: Case { ask, expect, ..point.case() }.retitled(), shadow: false })
    })
}
