//! Which rules may have something in common, without comparing each with each.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use signet_policy::{Effect, HeaderCondition, HostPattern, Part};

use crate::space::{Named, Paths, Rule, Segments};

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

/// Rules by the literals with which a pattern begins. Two patterns meet only if one's beginning begins
/// with the other's.
#[derive(Default)]
struct Beginnings<'d>(BTreeMap<Vec<&'d str>, Vec<usize>>);

impl<'d> Nearby<'d> {
    pub(super) fn of(rules: &'d [Rule<'d>]) -> Self {
        let (kind, name) = commonest_condition(rules).unwrap_or((Named::Header, ""));
        let ways =
            [Way::Paths, Way::Callers, Way::Hosts, Way::Values(kind, name), Way::Destinations];
        Self { rules, by: ways.map(|way| (way, OnceCell::new())) }
    }

    /// The numbers of the rules that may match what `rule` matches, in order. Too many rather than too
    /// few: found in the one way that leaves the fewest.
    pub(super) fn near(&self, rule: &Rule<'_>) -> Vec<usize> {
        let mut near: Vec<usize> = Vec::new();
        let mut fewest = usize::MAX;
        for (way, by) in &self.by {
            let beginnings = way.beginnings(rule);
            let all = by.get_or_init(|| Beginnings::of(self.rules, *way));
            let candidates = || beginnings.iter().flat_map(|beginning| all.meeting(beginning));
            let mut count = 0;
            // No list is empty, so this ends soon where there are too many.
            let fewer = candidates().all(|list| {
                count += list.len();
                count < fewest
            });
            if fewer {
                fewest = count;
                near.clear();
                near.extend(candidates().flatten());
            }
            if fewest <= FEW {
                break;
            }
        }
        near.sort_unstable();
        near.dedup();
        near
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

impl<'d> Beginnings<'d> {
    fn of(rules: &'d [Rule<'d>], way: Way<'_>) -> Self {
        let mut all = Self::default();
        for rule in rules {
            for beginning in way.beginnings(rule) {
                all.0.entry(beginning).or_default().push(rule.index);
            }
        }
        all
    }

    fn meeting<'s>(&'s self, beginning: &'s [&'s str]) -> impl Iterator<Item = &'s Vec<usize>> {
        let shorter = (0..beginning.len()).filter_map(|length| self.0.get(&beginning[..length]));
        let longer = self
            .0
            .range::<[&str], _>((std::ops::Bound::Included(beginning), std::ops::Bound::Unbounded));
        let longer = longer.take_while(|(found, _)| found.starts_with(beginning));
        shorter.chain(longer.map(|(_, rules)| rules))
    }
}

impl Way<'_> {
    /// How the patterns of a rule begin. Nothing stands for whatever may follow.
    fn beginnings<'r>(self, rule: &'r Rule<'_>) -> Vec<Vec<&'r str>> {
        fn of<'r>(list: &'r [Segments<'_>]) -> Vec<Vec<&'r str>> {
            list.iter().map(Segments::beginning).collect()
        }
        let listed = match self {
            Self::Callers => return of(&rule.from),
            Self::Destinations => return of(&rule.to),
            Self::Paths => {
                let paths = rule.paths.as_ref();
                paths.map(|list| list.iter().map(Paths::beginning).collect())
            }
            // A deny also holds requests whose host isn't known, and lines of which others say more.
            Self::Hosts | Self::Values(..) if rule.effect == Effect::Deny => None,
            Self::Hosts => rule.hosts.map(|list| list.iter().map(labels).collect()),
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

/// The labels that a host has, from right to left.
fn labels(host: &HostPattern) -> Vec<&str> {
    let literal = |part| match part {
        Part::Literal(label) => Some(label),
        Part::One | Part::Rest => None,
    };
    host.parts().map_while(literal).collect()
}

#[cfg(test)]
mod tests {
    use super::Beginnings;

    #[test]
    fn beginnings_that_meet() {
        let mut all = Beginnings::default();
        let patterns: [&[&str]; 6] = [&[], &["a"], &["a", "b"], &["a", "b", "c"], &["ab"], &["b"]];
        for (number, beginning) in patterns.iter().enumerate() {
            all.0.insert(beginning.to_vec(), vec![number]);
        }
        for (beginning, expected) in [
            (&[][..], &[0, 1, 2, 3, 4, 5][..]),
            (&["a"], &[0, 1, 2, 3]),
            (&["a", "b"], &[0, 1, 2, 3]),
            (&["a", "x"], &[0, 1]),
            (&["x"], &[0]),
            (&["b"], &[0, 5]),
        ] {
            let found: Vec<usize> = all.meeting(beginning).flatten().copied().collect();
            assert_eq!(found, expected, "{beginning:?}");
        }
    }
}
