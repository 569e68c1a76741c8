//! Roles that an API is told and can't take.

use std::collections::HashMap;

use signet_policy::{IdPattern, Mode, PostgresRule, RoleName};

use super::decider::{Decider, Neighbours, Rules, decider};
use super::{Warning, Witness};
use crate::case::Verdict;
use crate::document::PolicyDocument;
use crate::fault::Fault;
use crate::space::{Region, Rule, Search, Step};

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
        let can_act = addressed.to.iter().enumerate().all(|(to, destination)| {
            *usable
                .entry((destination, role))
                .or_insert_with(|| can_act_as(document, rules, neighbours, rule, to, role))
        });
        if can_act {
            continue;
        }
        let shadow = rule.mode == Mode::Shadow;
        let near = neighbours.near(rule, shadow);
        let told = Search::find(&[Region::whole(rule)], |point| match decider(&near, point) {
            Decider::Allowed(region) if region.rule.index == rule.index => Step::Found,
            decider => {
                Step::Split { outside: decider.region().into_iter().collect(), inside: Vec::new() }
            }
        });
        let witness = match told {
            Ok(Some(point)) => Some(Witness::new(&point, Verdict::Allow, Some(rule.name), shadow)),
            // A rule that never allows is told about already.
            Ok(None) => continue,
            Err(_) => None,
        };
        let destinations: Vec<String> = addressed.to.iter().map(ToString::to_string).collect();
        let fault = Fault::at_place(
            place,
            format!("no postgres rule lets {} act as `{role}`", destinations.join(", ")),
            "told, and of no use",
            "name it as `login_role` or under `may_act_as` of a postgres rule whose `from` is this `to`",
        );
        warnings.push(Warning { fault, witness });
    }
    warnings
}

/// Whether some connection of a destination becomes the role. Where the search took too many steps it
/// may: who isn't told of can't.
fn can_act_as<'d>(
    document: &PolicyDocument,
    rules: &'d Rules<'d>,
    neighbours: &Neighbours<'d>,
    rule: &'d Rule<'d>,
    to: usize,
    role: &RoleName,
) -> bool {
    let grants = |rule: &PostgresRule| {
        rule.login_role == *role
            || rule.may_act_as.as_ref().is_some_and(|roles| roles.contains(role))
    };
    let granting =
        document.postgres_rules().iter().zip(&rules.postgres).filter(|(r, _)| grants(&r.rule));
    granting.into_iter().any(|(_, granting)| {
        let near = neighbours.near(granting, false);
        let caller = rule.destination_as_caller(to);
        let caller = Region::whole(&caller);
        // The search borrows the caller only while it runs.
        let found = Search::find(&[Region::whole(granting), caller], |point| {
            match decider(&near, point).region() {
                Some(region) if region.rule.index != granting.index => {
                    Step::Split { outside: vec![region], inside: Vec::new() }
                }
                _ => Step::Found,
            }
        });
        !matches!(found, Ok(None))
    })
}
