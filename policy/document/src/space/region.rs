//! Parts of rules that have one weight each.

use std::cmp::Ordering;
use std::ops::Range;

use signet_policy::{DatabaseName, Effect, HostPattern, IdPattern, PathPattern};

use super::dimension::lists;
use super::effort::Effort;
use super::patterns::Choice;
use super::rule::{Paths, Rule};
use super::segments::Segments;

/// A rule, or one of its alternatives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region<'d> {
    pub(crate) rule: &'d Rule<'d>,
    /// Which of the rule's callers, paths, hosts and databases; `None` is all of them.
    pub(crate) from: Option<usize>,
    pub(crate) path: Option<usize>,
    pub(crate) host: Option<usize>,
    pub(crate) database: Option<usize>,
}

impl<'d> Region<'d> {
    pub(crate) const fn whole(rule: &'d Rule<'d>) -> Self {
        Self { rule, from: None, path: None, host: None, database: None }
    }

    /// All alternatives of a rule with these of its callers, each of one weight.
    pub(crate) fn alternatives(
        rule: &'d Rule<'d>,
        callers: Range<usize>,
    ) -> impl Iterator<Item = Self> {
        let each = |count: Option<usize>| match count {
            None => vec![None],
            Some(count) => (0..count).map(Some).collect::<Vec<_>>(),
        };
        let hosts = each(rule.hosts.as_ref().map(|_| rule.host_patterns.len()));
        let databases = each(rule.databases.map(<[_]>::len));
        let paths = each(rule.path_list().map(<[_]>::len));
        paths.into_iter().flat_map(move |path| {
            let (hosts, databases) = (hosts.clone(), databases.clone());
            callers.clone().flat_map(move |from| {
                let databases = databases.clone();
                hosts.clone().into_iter().flat_map(move |host| {
                    let from = Some(from);
                    databases.clone().into_iter().map(move |database| Self {
                        rule,
                        from,
                        path,
                        host,
                        database,
                    })
                })
            })
        })
    }

    /// Compares the weights of two alternatives.
    pub(crate) fn compare_weight(&self, other: &Self) -> Ordering {
        fn part<T>(list: &[T], at: Option<usize>) -> Option<&T> {
            at.and_then(|at| list.get(at))
        }
        fn compare<T>(a: Option<&T>, b: Option<&T>, weigh: fn(&T, &T) -> Ordering) -> Ordering {
            match (a, b) {
                (Some(a), Some(b)) => weigh(a, b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            }
        }
        let (a, b) = (self.rule, other.rule);
        let exact = |region: &Self| {
            part(region.rule.databases.unwrap_or_default(), region.database)
                .is_some_and(|name| !name.is_any())
        };
        let path = |region: &Self| part(region.rule.path_patterns, region.path);
        let from = |region: &Self| part(region.rule.from_patterns, region.from);
        let host = |region: &Self| part(region.rule.host_patterns, region.host);
        compare(path(self), path(other), PathPattern::compare_weight)
            .then_with(|| compare(from(self), from(other), IdPattern::compare_weight))
            .then_with(|| compare(host(self), host(other), HostPattern::compare_weight))
            .then_with(|| a.methods.is_some().cmp(&b.methods.is_some()))
            .then_with(|| a.other_conditions.cmp(&b.other_conditions))
            .then_with(|| exact(self).cmp(&exact(other)))
    }

    pub(crate) fn callers(&self) -> Choice<'d, 'd, Segments<'d>> {
        self.rule.from.one_or_all(self.from)
    }

    pub(crate) fn paths(&self) -> Option<Choice<'d, 'd, Paths<'d>>> {
        self.rule.paths.as_ref().map(|list| list.one_or_all(self.path))
    }

    pub(crate) fn hosts(&self) -> Option<Choice<'d, 'd, Segments<'d>>> {
        self.rule.hosts.as_ref().map(|list| list.one_or_all(self.host))
    }

    pub(crate) fn host_patterns(&self) -> &'d [HostPattern] {
        one_or_all(self.rule.host_patterns, self.host)
    }

    /// About how many steps it takes to go through all names that the region lists besides patterns.
    pub(super) fn steps(&self) -> usize {
        let hosts = self.hosts().map_or(0, Choice::steps);
        OF_A_NAME * (self.rule.steps + hosts + self.databases().map_or(0, <[_]>::len))
    }

    pub(crate) fn databases(&self) -> Option<&'d [DatabaseName]> {
        self.rule.databases.map(|list| one_or_all(list, self.database))
    }
}

fn one_or_all<T>(list: &[T], one: Option<usize>) -> &[T] {
    one.and_then(|at| list.get(at..=at)).unwrap_or(list)
}

impl Region<'_> {
    /// Whether two regions may have a point in common: a quick look, that never denies it wrongly, unless all effort is
    /// spent.
    pub(crate) fn may_meet(&self, effort: &Effort, other: &Self) -> bool {
        fn listed<T: Ord>(a: Option<&[T]>, b: Option<&[T]>) -> bool {
            a.zip(b).is_none_or(|(a, b)| share(a, b))
        }
        let (a, b) = (self.rule, other.rule);
        // Two denies meet where the host or the port isn't known.
        let denies = a.effect == Effect::Deny && b.effect == Effect::Deny;
        effort.spend(AT_LEAST).is_ok()
            && listed(a.methods, b.methods)
            && (denies || listed(a.ports, b.ports))
            && a.conditions_may_meet(effort, b)
            && self.databases().zip(other.databases()).is_none_or(|(a, b)| {
                let any = |list| lists(list, DatabaseName::as_str, "*");
                any(a) || any(b) || share(a, b)
            })
            && (denies || self.hosts().zip(other.hosts()).is_none_or(|(a, b)| a.meets(effort, b)))
            && self.callers().meets(effort, other.callers())
            && a.to.all().meets(effort, b.to.all())
            && self.paths().zip(other.paths()).is_none_or(|(a, b)| a.meets(effort, b))
    }
}

/// Steps that it takes to try a name besides comparing it.
const OF_A_NAME: usize = 8;

/// What each comparison of two regions costs.
const AT_LEAST: usize = 5;

/// Whether two sorted lists have something in common.
pub(crate) fn share<T: Ord>(a: &[T], b: &[T]) -> bool {
    let (few, many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    few.iter().any(|one| many.binary_search(one).is_ok())
}
