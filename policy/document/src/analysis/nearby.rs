//! Which rules may have something in common, without comparing each with each.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use signet_policy::{Effect, HeaderCondition};

use crate::space::{Beginnings, Effort, GaveUp, Named, Pattern, Patterns, Rule};

/// So few candidates are compared sooner than others are looked for.
const FEW: usize = 4;

/// Rules by how their patterns begin, in several ways.
pub(super) struct Nearby<'d> {
    rules: &'d [Rule<'d>],
    /// The ways in which rules are looked for, each made when it is first wanted.
    by: [(Way<'d>, OnceCell<Beginnings<'d>>); 5],
}

/// What of a rule is looked at.
#[derive(Clone, Copy)]
enum Way<'d> {
    Paths,
    Callers,
    Hosts,
    /// The values that allows list for one header or claim.
    Values(Named, &'d str),
    Destinations,
}

impl<'d> Nearby<'d> {
    pub(super) fn of(rules: &'d [Rule<'d>]) -> Self {
        let (kind, name) = commonest_condition(rules).unwrap_or((Named::Header, ""));
        let ways =
            [Way::Paths, Way::Callers, Way::Hosts, Way::Values(kind, name), Way::Destinations];
        Self { rules, by: ways.map(|way| (way, OnceCell::new())) }
    }

    /// The numbers of the rules that may match what `rule` matches, in order. Too many rather than too
    /// few: found in the one way that leaves the fewest.
    ///
    /// # Errors
    /// Where all effort was spent before they were found.
    pub(super) fn near(&self, effort: &Effort, rule: &Rule<'_>) -> Result<Vec<usize>, GaveUp> {
        self.near_if_fewer(effort, rule, usize::MAX).map(Option::unwrap_or_default)
    }

    /// The same, if they are fewer than so many.
    ///
    /// # Errors
    /// Where all effort was spent before they were found.
    pub(super) fn near_if_fewer(
        &self,
        effort: &Effort,
        rule: &Rule<'_>,
        than: usize,
    ) -> Result<Option<Vec<usize>>, GaveUp> {
        let mut fewest = (usize::MAX, 0, &Beginnings::new(), Vec::new());
        for (way, by) in &self.by {
            let beginnings = way.beginnings(rule);
            effort.spend(beginnings.len())?;
            let all = by.get_or_init(|| by_beginning(self.rules, *way));
            let (mut count, mut steps) = (0, 0);
            for beginning in &beginnings {
                let found = all.look_up(beginning);
                (count, steps) = (count + found.count, steps + found.steps);
            }
            if count < fewest.0 {
                fewest = (count, steps, all, beginnings);
            }
            if count <= FEW {
                break;
            }
        }
        let (count, steps, all, beginnings) = fewest;
        if count >= than {
            return Ok(None);
        }
        effort.spend(steps)?;
        let mut near = Vec::with_capacity(count);
        for beginning in &beginnings {
            all.meeting(beginning, &mut near);
        }
        near.sort_unstable();
        near.dedup();
        Ok(Some(near))
    }
}

/// The header or claim for which most allows list values.
fn commonest_condition<'d>(rules: &'d [Rule<'d>]) -> Option<(Named, &'d str)> {
    let mut counts = BTreeMap::new();
    for rule in rules.iter().filter(|rule| rule.effect == Effect::Allow) {
        for (key, condition) in &rule.conditions {
            if matches!(condition, HeaderCondition::Equals(_)) {
                *counts.entry(*key).or_insert(0_usize) += 1;
            }
        }
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(key, _)| key)
}

/// Rules by their patterns.
fn by_beginning<'d>(rules: &'d [Rule<'d>], way: Way<'_>) -> Beginnings<'d> {
    let mut all = Beginnings::new();
    for rule in rules {
        for beginning in way.beginnings(rule) {
            all.insert(&beginning, rule.index);
        }
    }
    all
}

impl Way<'_> {
    /// How the patterns of a rule begin, where one begins with another the shorter alone. Nothing stands for whatever
    /// may follow.
    fn beginnings<'d>(self, rule: &Rule<'d>) -> Vec<Vec<&'d str>> {
        let mut beginnings = self.each_beginning(rule);
        beginnings.sort_unstable();
        beginnings.dedup_by(|longer, shorter| longer.starts_with(shorter));
        beginnings
    }

    fn each_beginning<'d>(self, rule: &Rule<'d>) -> Vec<Vec<&'d str>> {
        fn of<'d, P: Pattern<'d>>(list: &Patterns<'d, P>) -> Vec<Vec<&'d str>> {
            list.as_slice().iter().map(P::beginning).collect()
        }
        let listed = match self {
            Self::Callers => Some(of(&rule.from)),
            Self::Destinations => Some(of(&rule.to)),
            Self::Paths => rule.paths.as_ref().map(of),
            // A deny also holds requests whose host isn't known, and lines of which others say more.
            Self::Hosts | Self::Values(..) if rule.effect == Effect::Deny => None,
            Self::Hosts => rule.hosts.as_ref().map(of),
            Self::Values(kind, name) => match rule.conditions.get(&(kind, name)) {
                Some(HeaderCondition::Equals(list)) => {
                    Some(list.iter().map(|value| vec![value.as_str()]).collect())
                }
                _ => None,
            },
        };
        listed.unwrap_or_else(|| vec![Vec::new()])
    }
}
