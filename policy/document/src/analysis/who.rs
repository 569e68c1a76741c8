//! Who can reach a workload, or become a role.

use signet_policy::{Effect, IdPattern, Mode};

use super::decider::{Neighbours, Rules, decider};
use crate::document::PolicyDocument;
use crate::space::{GaveUp, Region, Rule, Search, Segments, Step};

/// Callers that a rule lets reach something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The callers: a SPIFFE ID or a pattern.
    pub from: String,
    /// The destinations: a SPIFFE ID or a pattern.
    pub to: String,
    /// The rule that lets them.
    pub rule: String,
    /// What they may ask for: methods and paths, or databases.
    pub what: String,
    /// The roles that they get: told over HTTP, or theirs in Postgres.
    pub roles: Vec<String>,
    /// Whether the rule does decide about some of it. Else the search for that was given up, since it overlaps others
    /// in too many ways: who isn't told of can't reach it, but who is told of may not either.
    pub is_proven: bool,
}

impl PolicyDocument {
    /// Everyone who can reach the workload `to`, or everyone where that is absent, as the role
    /// `role`, or as any. Callers whom a rule names and others always decide about are left out.
    pub fn who(&self, to: Option<&str>, role: Option<&str>) -> Vec<Access> {
        let rules = Rules::of(self);
        let neighbours = Neighbours::of(&rules);
        let http = self.http_rules().iter().zip(&rules.http).map(|(addressed, rule)| Candidate {
            rule,
            callers: &addressed.rule.from,
            destinations: &addressed.to,
            roles: addressed.rule.db_role.iter().map(ToString::to_string).collect(),
        });
        let postgres =
            self.postgres_rules().iter().zip(&rules.postgres).map(|(addressed, rule)| {
                let others = addressed.rule.may_act_as.iter().flatten();
                let roles = std::iter::once(&addressed.rule.login_role).chain(others);
                Candidate {
                    rule,
                    callers: &addressed.rule.from,
                    destinations: &addressed.to,
                    roles: roles.map(ToString::to_string).collect(),
                }
            });
        let counts = |candidate: &Candidate<'_>| {
            candidate.rule.effect == Effect::Allow
                && candidate.rule.mode == Mode::Enforce
                && role.is_none_or(|role| candidate.roles.iter().any(|found| found == role))
        };
        let mut found = Vec::new();
        for Candidate { rule, callers, destinations, roles } in http.chain(postgres).filter(counts)
        {
            for (at, from) in callers.iter().enumerate() {
                for (place, destination) in destinations.iter().enumerate() {
                    let bounds = match to {
                        Some(to) => Segments::of_id(to),
                        None => rule.to[place].clone(),
                    };
                    if !rule.to[place].meets(&bounds) {
                        continue;
                    }
                    let proof = decides(&neighbours, rule, at, &rule.only_to(bounds));
                    if proof == Ok(false) {
                        continue;
                    }
                    found.push(Access {
                        from: from.to_string(),
                        to: to.map_or_else(|| destination.to_string(), str::to_owned),
                        rule: rule.name.to_owned(),
                        what: rule.what(),
                        roles: roles.clone(),
                        is_proven: proof.is_ok(),
                    });
                }
            }
        }
        found.sort_by(|a, b| (&a.from, &a.to, &a.rule).cmp(&(&b.from, &b.to, &b.rule)));
        found.dedup();
        found
    }
}

/// A rule, and what it would be told of.
struct Candidate<'d> {
    rule: &'d Rule<'d>,
    callers: &'d [IdPattern],
    destinations: &'d [IdPattern],
    roles: Vec<String>,
}

/// Whether a rule decides about something of one of its callers within `bounds`.
fn decides(
    neighbours: &Neighbours<'_>,
    rule: &Rule<'_>,
    from: usize,
    bounds: &Rule<'_>,
) -> Result<bool, GaveUp> {
    let near = neighbours.near(rule, false);
    let mut answer = Ok(false);
    for alternative in Region::alternatives(rule).filter(|it| it.from == Some(from)) {
        let found = Search::find(&[alternative, Region::whole(bounds)], |point| {
            match decider(&near, point).region() {
                Some(region) if region.rule.index != rule.index => {
                    Step::Split { outside: vec![region], inside: Vec::new() }
                }
                _ => Step::Found,
            }
        });
        match found {
            Ok(Some(_)) => return Ok(true),
            Ok(None) => {}
            // Another alternative may still show that it does.
            Err(GaveUp) => answer = Err(GaveUp),
        }
    }
    answer
}
