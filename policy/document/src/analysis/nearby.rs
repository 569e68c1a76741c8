//! Which rules may have something in common, without comparing each with each.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};

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

/// Rules by the literals with which a pattern begins, as a tree. Two patterns meet only if one's beginning
/// begins with the other's: on the way from the root to it, or below it.
struct Beginnings<'d> {
    nodes: Vec<Node>,
    /// By the node before and the literal.
    children: HashMap<(usize, &'d str), usize>,
}

#[derive(Default)]
struct Node {
    /// The rules with a pattern that begins with what leads here and no more.
    rules: Vec<usize>,
    next: Vec<usize>,
    /// How many rules stand here and below.
    count: usize,
}

const ROOT: usize = 0;

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
            let count = beginnings.iter().map(|beginning| all.count(beginning)).sum();
            if count < fewest {
                fewest = count;
                near.clear();
                for beginning in &beginnings {
                    all.meeting(beginning, &mut near);
                }
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
        let mut all = Self { nodes: vec![Node::default()], children: HashMap::new() };
        for rule in rules {
            for beginning in way.beginnings(rule) {
                all.insert(&beginning, rule.index);
            }
        }
        all
    }

    fn insert(&mut self, beginning: &[&'d str], rule: usize) {
        let mut at = ROOT;
        self.nodes[at].count += 1;
        for literal in beginning {
            let new = self.nodes.len();
            let next = *self.children.entry((at, literal)).or_insert(new);
            if next == new {
                self.nodes[at].next.push(new);
                self.nodes.push(Node::default());
            }
            at = next;
            self.nodes[at].count += 1;
        }
        self.nodes[at].rules.push(rule);
    }

    /// The nodes from the root to a beginning, as far as there are any, and whether it has one itself.
    fn way_to(&self, beginning: &[&str]) -> (Vec<&Node>, bool) {
        let mut way = vec![&self.nodes[ROOT]];
        let mut at = ROOT;
        for literal in beginning {
            let Some(next) = self.children.get(&(at, *literal)) else { return (way, false) };
            at = *next;
            way.push(&self.nodes[at]);
        }
        (way, true)
    }

    /// How many rules [`meeting`](Self::meeting) finds.
    fn count(&self, beginning: &[&str]) -> usize {
        let (mut way, whole) = self.way_to(beginning);
        let below = way.pop_if(|_| whole).map_or(0, |node| node.count);
        way.iter().map(|node| node.rules.len()).sum::<usize>() + below
    }

    /// Adds the rules whose beginnings begin with this one, or this one with theirs.
    fn meeting(&self, beginning: &[&str], found: &mut Vec<usize>) {
        let (mut way, whole) = self.way_to(beginning);
        let mut below: Vec<&Node> = way.pop_if(|_| whole).into_iter().collect();
        found.extend(way.iter().flat_map(|node| &node.rules));
        while let Some(node) = below.pop() {
            found.extend(&node.rules);
            below.extend(node.next.iter().map(|next| &self.nodes[*next]));
        }
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
    use super::{Beginnings, Way};

    #[test]
    fn beginnings_that_meet() {
        let mut all = Beginnings::of(&[], Way::Paths);
        let patterns: [&[&str]; 6] = [&[], &["a"], &["a", "b"], &["a", "b", "c"], &["ab"], &["b"]];
        for (number, beginning) in patterns.iter().enumerate() {
            all.insert(beginning, number);
        }
        for (beginning, expected) in [
            (&[][..], &[0, 1, 2, 3, 4, 5][..]),
            (&["a"], &[0, 1, 2, 3]),
            (&["a", "b"], &[0, 1, 2, 3]),
            (&["a", "x"], &[0, 1]),
            (&["x"], &[0]),
            (&["b"], &[0, 5]),
        ] {
            let mut found = Vec::new();
            all.meeting(beginning, &mut found);
            assert_eq!(all.count(beginning), found.len(), "{beginning:?}");
            found.sort_unstable();
            assert_eq!(found, expected, "{beginning:?}");
        }
    }
}
