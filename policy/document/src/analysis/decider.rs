//! Which rule decides about a point: the same order as in the filters.

use std::collections::{BTreeSet, HashMap};

use signet_policy::{Effect, Mode};

use crate::document::PolicyDocument;
use crate::space::{Point, Region, Rule};

/// All rules of a policy, by what they are for.
pub(crate) struct Rules<'d> {
    pub(crate) http: Vec<Rule<'d>>,
    pub(crate) postgres: Vec<Rule<'d>>,
    http_by_destination: Destinations,
    postgres_by_destination: Destinations,
}

/// Rules by the one destination that an entry of `to` names.
#[derive(Default)]
struct Destinations {
    exact: HashMap<String, Vec<usize>>,
    /// Rules that are for a pattern of destinations.
    patterns: Vec<usize>,
}

impl Destinations {
    fn of(rules: &[Rule<'_>]) -> Self {
        let mut destinations = Self::default();
        for rule in rules {
            let exact: Option<Vec<String>> =
                rule.to.iter().map(crate::space::Segments::only).collect();
            match exact {
                Some(exact) => {
                    for id in exact {
                        destinations.exact.entry(id).or_default().push(rule.index);
                    }
                }
                None => destinations.patterns.push(rule.index),
            }
        }
        destinations
    }

    /// The rules that may be for a destination of `rule`, in order.
    fn near(&self, rule: &Rule<'_>, count: usize) -> Vec<usize> {
        let exact: Option<Vec<String>> = rule.to.iter().map(crate::space::Segments::only).collect();
        let Some(exact) = exact else { return (0..count).collect() };
        let mut near: BTreeSet<usize> = self.patterns.iter().copied().collect();
        near.extend(exact.iter().filter_map(|id| self.exact.get(id)).flatten());
        near.into_iter().collect()
    }
}

/// Who decides about a point.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decider<'d> {
    Denied(Region<'d>),
    Allowed(Region<'d>),
    Nobody,
}

impl<'d> Decider<'d> {
    pub(crate) const fn region(&self) -> Option<Region<'d>> {
        match self {
            Self::Denied(region) | Self::Allowed(region) => Some(*region),
            Self::Nobody => None,
        }
    }
}

impl<'d> Rules<'d> {
    pub(crate) fn of(document: &'d PolicyDocument) -> Self {
        let http: Vec<_> =
            document.http_rules().iter().enumerate().map(|(i, r)| Rule::http(i, r)).collect();
        let postgres: Vec<_> = document
            .postgres_rules()
            .iter()
            .enumerate()
            .map(|(i, r)| Rule::postgres(i, r))
            .collect();
        Self {
            http_by_destination: Destinations::of(&http),
            postgres_by_destination: Destinations::of(&postgres),
            http,
            postgres,
        }
    }

    /// The rules, `rule` among them if it is of this policy, that may match what `rule` matches.
    /// Shadow rules only with `shadow`.
    pub(crate) fn near(&'d self, rule: &Rule<'_>, shadow: bool) -> Vec<&'d Rule<'d>> {
        let (all, by_destination) = if rule.databases.is_some() {
            (&self.postgres, &self.postgres_by_destination)
        } else {
            (&self.http, &self.http_by_destination)
        };
        let region = Region::whole(rule);
        by_destination
            .near(rule, all.len())
            .into_iter()
            .map(|index| &all[index])
            .filter(|other| shadow || other.mode == Mode::Enforce)
            .filter(|other| Region::whole(other).may_meet(&region))
            .collect()
    }
}

/// Who of these rules decides about a point.
pub(crate) fn decider<'d>(rules: &[&'d Rule<'d>], point: &Point) -> Decider<'d> {
    let mut heaviest: Option<Region<'d>> = None;
    for rule in rules {
        let Some(region) = rule.at(point) else { continue };
        if rule.effect == Effect::Deny {
            return Decider::Denied(Region::whole(rule));
        }
        let heavier = heaviest.as_ref().is_none_or(|best| {
            region.compare_weight(best).then_with(|| best.rule.name.cmp(region.rule.name)).is_gt()
        });
        if heavier {
            heaviest = Some(region);
        }
    }
    heaviest.map_or(Decider::Nobody, Decider::Allowed)
}

/// The deny that is reported where several match: the heaviest, as in the filters.
pub(crate) fn reported_deny<'d>(rules: &[&'d Rule<'d>], point: &Point) -> Option<&'d str> {
    let denies = rules.iter().filter(|rule| rule.effect == Effect::Deny);
    let matching = denies.filter_map(|rule| rule.at(point));
    let heaviest =
        matching.max_by(|a, b| a.compare_weight(b).then_with(|| b.rule.name.cmp(a.rule.name)));
    heaviest.map(|region| region.rule.name)
}
