//! Which rules may have something in common, without comparing each with each.

use std::collections::BTreeMap;

use crate::space::{Paths, Rule};

/// So few candidates are compared sooner than others are looked for.
const FEW: usize = 4;

/// Rules by how their patterns begin, one way for each of path, caller and destination.
#[derive(Default)]
pub(super) struct Nearby<'d> {
    by: [Beginnings<'d>; 3],
}

/// Rules by the literals with which a pattern begins. Two patterns meet only if one's beginning begins
/// with the other's.
#[derive(Default)]
struct Beginnings<'d>(BTreeMap<Vec<&'d str>, Vec<usize>>);

impl<'d> Nearby<'d> {
    pub(super) fn of(rules: &'d [Rule<'d>]) -> Self {
        let mut nearby = Self::default();
        for rule in rules {
            for (by, beginnings) in nearby.by.iter_mut().zip(beginnings(rule)) {
                for beginning in beginnings {
                    by.0.entry(beginning).or_default().push(rule.index);
                }
            }
        }
        nearby
    }

    /// The numbers of the rules that may match what `rule` matches, in order. Too many rather than too
    /// few: found in the one way that leaves the fewest.
    pub(super) fn near(&self, rule: &Rule<'_>) -> Vec<usize> {
        let beginnings = beginnings(rule);
        let candidates = |way: usize| {
            let (by, beginnings) = (&self.by[way], &beginnings[way]);
            beginnings.iter().flat_map(|beginning| by.meeting(beginning))
        };
        let (mut fewest, mut best) = (usize::MAX, 0);
        for way in 0..self.by.len() {
            let mut count = 0;
            // No list is empty, so this ends soon where there are too many.
            let fewer = candidates(way).all(|list| {
                count += list.len();
                count < fewest
            });
            if fewer {
                (fewest, best) = (count, way);
            }
            if fewest <= FEW {
                break;
            }
        }
        let mut near: Vec<usize> = candidates(best).flatten().copied().collect();
        near.sort_unstable();
        near.dedup();
        near
    }
}

impl Beginnings<'_> {
    fn meeting<'s>(&'s self, beginning: &'s [&'s str]) -> impl Iterator<Item = &'s Vec<usize>> {
        let shorter = (0..beginning.len()).filter_map(|length| self.0.get(&beginning[..length]));
        let longer = self
            .0
            .range::<[&str], _>((std::ops::Bound::Included(beginning), std::ops::Bound::Unbounded));
        let longer = longer.take_while(|(found, _)| found.starts_with(beginning));
        shorter.chain(longer.map(|(_, rules)| rules))
    }
}

fn beginnings<'r>(rule: &'r Rule<'_>) -> [Vec<Vec<&'r str>>; 3] {
    let paths = match &rule.paths {
        None => vec![Vec::new()],
        Some(list) => list.iter().map(Paths::beginning).collect(),
    };
    let of = |list: &'r [crate::space::Segments]| {
        list.iter().map(|pattern| pattern.beginning()).collect()
    };
    [paths, of(&rule.from), of(&rule.to)]
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
