//! Which decisions two policies give differently.

use std::collections::HashSet;

use signet_policy::{Effect, Mode};

use super::decider::{Decider, Rules, decider};
use super::side::{Meanings, Said, Side};
use crate::case::{Case, Verdict};
use crate::document::PolicyDocument;
use crate::space::{Effort, GaveUp, Point, Region, Rule, Search, Step};

/// One way in which decisions differ, with a case that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// A request or connection that is decided differently.
    pub case: Case,
    /// How the old policy decides it.
    pub old: Outcome,
    /// How the new policy decides it.
    pub new: Outcome,
    /// The rule, of either policy, that differs.
    pub rule: String,
}

/// A decision, as far as it is compared: the name of the rule isn't.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// Allow or deny.
    pub verdict: Verdict,
    /// The rule that decides.
    pub rule: Option<String>,
    /// The role that the API is told, or that a connection becomes.
    pub role: Option<String>,
    /// What else a connection to Postgres may do, in words, of long lists the beginning; empty over HTTP.
    pub terms: String,
}

/// All that differs between the decisions of two policies.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// The ways in which decisions differ. None where the policies decide alike.
    pub changes: Vec<Change>,
    /// Settings of the whole policy that differ, in words.
    pub settings: Vec<String>,
    /// Rules about which the search took too many steps: nothing is known of these.
    pub unknown: Vec<String>,
}

impl Difference {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.settings.is_empty() && self.unknown.is_empty()
    }
}

/// The ways in which a decision can differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    NoLonger,
    Newly,
    Otherwise,
}

impl PolicyDocument {
    /// What `new` decides differently. Exact: each way of each rule that differs is searched in the
    /// whole space of requests and connections. Shadow rules decide nothing, so they don't count.
    pub fn difference(&self, new: &Self) -> Difference {
        let mut difference =
            Difference { settings: self.changed_settings(new), ..Difference::default() };
        let (old_rules, new_rules) = (Rules::of(self), Rules::of(new));
        let mut meanings = Meanings::new();
        let old = Side::of(self, &old_rules, &mut meanings);
        let new = Side::of(new, &new_rules, &mut meanings);
        let effort = Effort::of_policy();
        let mut shown = Shown::default();
        for (side, other) in [(&old, &new), (&new, &old)] {
            for rule in side.rules.http.iter().chain(&side.rules.postgres) {
                effort.turn_to(1);
                if rule.mode == Mode::Shadow || other.has_same(side, rule) {
                    continue;
                }
                let found = find_all(&effort, &old, &new, rule, |change| {
                    if shown.is_new(&change) {
                        difference.changes.push(change);
                    }
                });
                if found.is_err() {
                    difference.unknown.push(rule.name.to_owned());
                }
            }
        }
        difference
    }

    fn changed_settings(&self, new: &Self) -> Vec<String> {
        let pairs = [
            ("expiry_grace", self.expiry_grace(), new.expiry_grace()),
            ("session_grace", self.session_grace(), new.session_grace()),
        ];
        let changed = pairs.into_iter().filter(|(_, old, new)| old != new);
        changed.map(|(name, old, new)| format!("{name}: {old}s → {new}s")).collect()
    }
}

/// What changes show so far.
#[derive(Default)]
struct Shown {
    cases: HashSet<Case>,
    outcomes: HashSet<(Outcome, Outcome)>,
}

impl Shown {
    /// Whether a change shows what none that is told showed before it, of a rule of either policy.
    fn is_new(&mut self, change: &Change) -> bool {
        let outcomes = (change.old.clone(), change.new.clone());
        if self.cases.contains(&change.case) || self.outcomes.contains(&outcomes) {
            return false;
        }
        self.cases.insert(change.case.clone());
        self.outcomes.insert(outcomes)
    }
}

/// Cases within `rule` that the two policies decide differently, of each way the first.
fn find_all<'d>(
    effort: &Effort,
    old: &'d Side<'d>,
    new: &'d Side<'d>,
    rule: &'d Rule<'d>,
    mut tell: impl FnMut(Change),
) -> Result<(), GaveUp> {
    let before = old.neighbours.near(effort, rule, false)?;
    let after = new.neighbours.near(effort, rule, false)?;
    let deciders =
        |point: &Point| (decider(effort, &before, point), decider(effort, &after, point));
    let mut answer = Ok(());
    for way in [Way::NoLonger, Way::Newly, Way::Otherwise] {
        let found = Search::find(effort, &[Region::whole(rule)], |point| {
            let (was, is) = deciders(point);
            if way.is_of(old.said_by(&was), new.said_by(&is)) {
                return Step::Found;
            }
            // Elsewhere in this box the two could differ only where one of these doesn't decide, or
            // where another rule, one that says something else, decides in its place.
            let outside = was.region().into_iter().chain(is.region()).collect();
            let mut inside = others(effort, old, &before, &was);
            inside.extend(others(effort, new, &after, &is));
            Step::Split { outside, inside }
        });
        let told = found.and_then(|point| {
            let Some(point) = point else { return Ok(None) };
            let (was, is) = deciders(&point);
            effort.check()?;
            let (case, rule) = (point.case(), rule.name.to_owned());
            Ok(Some(Change { case, old: old.outcome(&was), new: new.outcome(&is), rule }))
        });
        match told {
            Ok(change) => change.into_iter().for_each(&mut tell),
            Err(GaveUp) => answer = Err(GaveUp),
        }
    }
    answer
}

impl Way {
    /// Whether what allows say, or that there is none, differs in this way.
    fn is_of(self, was: Option<&Said>, is: Option<&Said>) -> bool {
        match (was, is) {
            (Some(was), Some(is)) => self == Self::Otherwise && was.number != is.number,
            (Some(_), None) => self == Self::NoLonger,
            (None, Some(_)) => self == Self::Newly,
            (None, None) => false,
        }
    }
}

/// Rules that may decide in the place of the one that does, and say something else.
fn others<'d>(
    effort: &Effort,
    side: &Side<'_>,
    near: &[&'d Rule<'d>],
    decider: &Decider<'_>,
) -> Vec<Region<'d>> {
    // Where a deny matches, nothing else counts.
    if matches!(decider, Decider::Denied(_)) || effort.spend(near.len()).is_err() {
        return Vec::new();
    }
    let decided = decider.region().map(|region| region.rule.index);
    let said = side.said_by(decider).map(|said| said.number);
    let others = near.iter().filter(|rule| match rule.effect {
        // Denied by nobody or by a deny is the same.
        Effect::Deny => said.is_some(),
        Effect::Allow => {
            decided != Some(rule.index) && said.is_none_or(|said| said != side.said(rule).number)
        }
    });
    others.map(|rule| Region::whole(rule)).collect()
}
