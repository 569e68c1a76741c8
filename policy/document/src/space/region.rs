//! Parts of rules that have one weight each.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::Range;

use signet_policy::{DatabaseName, Effect, HostPattern, IdPattern, PathPattern};

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
        let hosts = each(rule.hosts.map(<[_]>::len));
        let databases = each(rule.databases.map(<[_]>::len));
        let paths = each(rule.paths.as_ref().map(Vec::len));
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
        let host = |region: &Self| part(region.rule.hosts.unwrap_or_default(), region.host);
        compare(path(self), path(other), PathPattern::compare_weight)
            .then_with(|| compare(from(self), from(other), IdPattern::compare_weight))
            .then_with(|| compare(host(self), host(other), HostPattern::compare_weight))
            .then_with(|| a.methods.is_some().cmp(&b.methods.is_some()))
            .then_with(|| a.other_conditions.cmp(&b.other_conditions))
            .then_with(|| exact(self).cmp(&exact(other)))
    }

    pub(crate) fn callers(&self) -> &'d [Segments<'d>] {
        one_or_all(&self.rule.from, self.from)
    }

    pub(crate) fn paths(&self) -> Option<&'d [Paths<'d>]> {
        self.rule.paths.as_deref().map(|list| one_or_all(list, self.path))
    }

    pub(crate) fn hosts(&self) -> Option<&'d [HostPattern]> {
        self.rule.hosts.map(|list| one_or_all(list, self.host))
    }

    pub(crate) fn databases(&self) -> Option<&'d [DatabaseName]> {
        self.rule.databases.map(|list| one_or_all(list, self.database))
    }
}

/// So few pairs of patterns are compared each with each at once.
const FEW_PAIRS: usize = 10_000;

fn one_or_all<T>(list: &[T], one: Option<usize>) -> &[T] {
    one.and_then(|at| list.get(at..=at)).unwrap_or(list)
}

impl Region<'_> {
    /// Whether two regions may have a point in common: a quick look, that never denies it wrongly.
    pub(crate) fn may_meet(&self, other: &Self) -> bool {
        fn meet_if_listed<T>(
            a: Option<&[T]>,
            b: Option<&[T]>,
            alike: impl Fn(&T, &T) -> bool,
        ) -> bool {
            a.zip(b).is_none_or(|(a, b)| meet(a, b, alike))
        }
        let (a, b) = (self.rule, other.rule);
        // Two denies meet where the host or the port isn't known.
        let denies = a.effect == Effect::Deny && b.effect == Effect::Deny;
        let names = |a: &DatabaseName, b: &DatabaseName| a == b || a.is_any() || b.is_any();
        meet_if_listed(a.methods, b.methods, PartialEq::eq)
            && (denies || meet_if_listed(a.ports, b.ports, PartialEq::eq))
            && a.conditions_may_meet(b)
            && meet_if_listed(self.databases(), other.databases(), names)
            && (denies || meet_if_listed(self.hosts(), other.hosts(), HostPattern::overlaps))
            && patterns_meet(self.callers(), other.callers(), Segments::beginning, Segments::meets)
            && patterns_meet(&a.to, &b.to, Segments::beginning, Segments::meets)
            && self
                .paths()
                .zip(other.paths())
                .is_none_or(|(a, b)| patterns_meet(a, b, Paths::beginning, Paths::meets))
    }
}

fn meet<T>(a: &[T], b: &[T], alike: impl Fn(&T, &T) -> bool) -> bool {
    a.iter().any(|a| b.iter().any(|b| alike(a, b)))
}

/// The same of patterns. Long lists that have nothing in common are told apart in the time that it takes to read them.
fn patterns_meet<'p, T>(
    a: &'p [T],
    b: &'p [T],
    beginning: impl Fn(&'p T) -> Vec<&'p str>,
    alike: impl Fn(&T, &T) -> bool,
) -> bool {
    let few = a.len().saturating_mul(b.len()) <= FEW_PAIRS;
    (few || begin_alike(a, b, beginning)) && meet(a, b, alike)
}

/// Whether what a pattern of one list begins with begins with what one of the other does, or the other way round: else no two
/// of them meet.
fn begin_alike<'p, T>(a: &'p [T], b: &'p [T], beginning: impl Fn(&'p T) -> Vec<&'p str>) -> bool {
    let theirs: HashSet<Vec<&str>> = b.iter().map(&beginning).collect();
    let parts: HashSet<&[&str]> =
        theirs.iter().flat_map(|whole| (0..=whole.len()).map(|end| &whole[..end])).collect();
    a.iter().map(beginning).any(|ours| {
        parts.contains(&ours[..]) || (0..ours.len()).any(|end| theirs.contains(&ours[..end]))
    })
}

#[cfg(test)]
mod tests {
    use signet_policy::IdPattern;

    use super::{Segments, begin_alike};

    #[test]
    fn what_meets_begins_alike() {
        let texts = [
            "**",
            "spiffe://a/**",
            "spiffe://a/*/x",
            "spiffe://a/b",
            "spiffe://a/b/*",
            "spiffe://b/b",
        ];
        let patterns = texts.map(|text| IdPattern::parse(text).unwrap());
        let all: Vec<_> = patterns.iter().map(|one| Segments::of(one.parts(), 1)).collect();
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                let alike = begin_alike(&all[i..=i], &all[j..=j], Segments::beginning);
                assert!(alike || !a.meets(b), "{} {}", texts[i], texts[j]);
                let apart = (j == 5) != (i == 5) && i > 0 && j > 0;
                assert_eq!(alike, !apart, "{} {}", texts[i], texts[j]);
            }
        }
    }
}
