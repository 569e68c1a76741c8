//! Who can reach a workload, or become a role.

use signet_policy::{Effect, IdPattern, Mode};

use super::decider::{Neighbours, Rules, decider};
use crate::document::PolicyDocument;
use crate::space::{Region, Rule, Search, Segments, Step};

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
                        Some(to) => Segments::of(to.strip_prefix("spiffe://").unwrap_or(to), 1),
                        None => rule.to[place].clone(),
                    };
                    if !rule.to[place].meets(&bounds)
                        || !decides(&neighbours, rule, at, &rule.only_to(bounds))
                    {
                        continue;
                    }
                    found.push(Access {
                        from: from.to_string(),
                        to: to.map_or_else(|| destination.to_string(), str::to_owned),
                        rule: rule.name.to_owned(),
                        what: rule.what(),
                        roles: roles.clone(),
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

/// Whether a rule decides about something of one of its callers within `bounds`. Where the search
/// took too many steps it may: who isn't told of can't reach it.
fn decides(neighbours: &Neighbours<'_>, rule: &Rule<'_>, from: usize, bounds: &Rule<'_>) -> bool {
    let near = neighbours.near(rule, false);
    Region::alternatives(rule).filter(|alternative| alternative.from == Some(from)).any(
        |alternative| {
            let found =
                Search::find(&[alternative, Region::whole(bounds)], |point| {
                    match decider(&near, point).region() {
                        Some(region) if region.rule.index != rule.index => {
                            Step::Split { outside: vec![region], inside: Vec::new() }
                        }
                        _ => Step::Found,
                    }
                });
            !matches!(found, Ok(None))
        },
    )
}
