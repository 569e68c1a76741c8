//! Who can reach a workload, or become a role.

use std::fmt;

use signet_policy::{Effect, IdPattern, Mode};

use super::decider::{Neighbours, Rules, decider, is_alone};
use crate::document::PolicyDocument;
use crate::fault::shortened;
use crate::space::{Effort, GaveUp, Region, Rule, Search, Segments, Step};

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

/// More pairs of a caller and a destination than are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany(usize);

/// Pairs of a caller and a destination that are told. A hundred thousand rules have one each.
const MOST_TOLD: usize = 200_000;

impl PolicyDocument {
    /// Everyone who can reach the workload `to`, or everyone where that is absent, as the role
    /// `role`, or as any. Callers whom a rule names and others always decide about are left out.
    ///
    /// # Errors
    /// Where they are too many to be told, since each caller of a rule can reach each of its destinations.
    pub fn who(&self, to: Option<&str>, role: Option<&str>) -> Result<Vec<Access>, TooMany> {
        let rules = Rules::of(self);
        let neighbours = Neighbours::of(&rules);
        let effort = Effort::of_policy();
        let http = self.http_rules().iter().zip(&rules.http).map(|(addressed, rule)| Candidate {
            rule,
            callers: &addressed.rule.from,
            destinations: destinations(rule, &addressed.to, to),
            roles: addressed.rule.db_role.iter().map(ToString::to_string).collect(),
        });
        let postgres =
            self.postgres_rules().iter().zip(&rules.postgres).map(|(addressed, rule)| {
                let others = addressed.rule.may_act_as.iter().flatten();
                let roles = std::iter::once(&addressed.rule.login_role).chain(others);
                Candidate {
                    rule,
                    callers: &addressed.rule.from,
                    destinations: destinations(rule, &addressed.to, to),
                    roles: roles.map(ToString::to_string).collect(),
                }
            });
        let counts = |candidate: &Candidate<'_>| {
            candidate.rule.effect == Effect::Allow
                && candidate.rule.mode == Mode::Enforce
                && role.is_none_or(|role| candidate.roles.iter().any(|found| found == role))
        };
        let candidates: Vec<_> = http.chain(postgres).filter(counts).collect();
        let pairs = candidates.iter().map(Candidate::pairs).fold(0, usize::saturating_add);
        if pairs > MOST_TOLD {
            return Err(TooMany(pairs));
        }
        let mut found: Vec<_> =
            candidates.iter().flat_map(|candidate| candidate.told(&effort, &neighbours)).collect();
        found.sort_by(|a, b| (&a.from, &a.to, &a.rule).cmp(&(&b.from, &b.to, &b.rule)));
        Ok(found)
    }
}

/// A rule, and what it would be told of.
struct Candidate<'d> {
    rule: &'d Rule<'d>,
    callers: &'d [IdPattern],
    destinations: Vec<Destination<'d>>,
    roles: Vec<String>,
}

/// A destination that is asked for, as it is told, and what it holds.
type Destination<'d> = (&'d str, Segments<'d>);

/// The destinations of a rule, or the one that is asked for.
fn destinations<'d>(
    rule: &Rule<'d>,
    patterns: &'d [IdPattern],
    to: Option<&'d str>,
) -> Vec<Destination<'d>> {
    match to.map(|to| (to, Segments::of_id(to))) {
        None => {
            patterns.iter().map(IdPattern::as_str).zip(rule.to.as_slice().iter().cloned()).collect()
        }
        Some(one) if rule.to.as_slice().iter().any(|to| to.meets(&one.1)) => vec![one],
        Some(_) => Vec::new(),
    }
}

impl Candidate<'_> {
    /// How many callers with a destination it has.
    fn pairs(&self) -> usize {
        self.callers.len().saturating_mul(self.destinations.len())
    }

    /// Each caller with each destination, but for those about which others always decide.
    fn told(&self, effort: &Effort, neighbours: &Neighbours<'_>) -> Vec<Access> {
        let Self { rule, callers, destinations, roles } = self;
        effort.turn_to(self.pairs());
        let near = neighbours.near(effort, rule, false);
        let alone = |near: &[&Rule<'_>]| is_alone(rule, near) && rule.matches_something();
        let what = shortened(rule.what());
        let mut told = Vec::new();
        for (to, bounds) in destinations {
            let bounds = rule.only_to(bounds.clone());
            for (at, from) in callers.iter().enumerate() {
                let proof = match &near {
                    Ok(near) if alone(near) => Ok(true),
                    Ok(near) => decides(effort, near, rule, at, &bounds),
                    Err(GaveUp) => Err(GaveUp),
                };
                if proof == Ok(false) {
                    continue;
                }
                told.push(Access {
                    from: from.to_string(),
                    to: (*to).to_owned(),
                    rule: rule.name.to_owned(),
                    what: what.clone(),
                    roles: roles.clone(),
                    is_proven: proof.is_ok(),
                });
            }
        }
        told
    }
}

/// Whether a rule decides about something of one of its callers within `bounds`.
fn decides(
    effort: &Effort,
    near: &[&Rule<'_>],
    rule: &Rule<'_>,
    from: usize,
    bounds: &Rule<'_>,
) -> Result<bool, GaveUp> {
    let alternatives = Region::alternatives(rule, from..from + 1);
    let bounds = Some(Region::whole(bounds));
    let found = Search::find_in_any(effort, alternatives, bounds, |point| {
        match decider(effort, near, point).region() {
            Some(region) if region.rule.index != rule.index => {
                Step::Split { outside: vec![region], inside: Vec::new() }
            }
            _ => Step::Found,
        }
    })?;
    Ok(found.is_some())
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(pairs) = self;
        write!(f, "{pairs} pairs of a caller and a destination, and at most {MOST_TOLD} are told")
    }
}

impl std::error::Error for TooMany {}
