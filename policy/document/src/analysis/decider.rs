//! Which rule decides about a point: the same order as in the filters.

use signet_policy::{Effect, Mode};

use super::nearby::Nearby;
use crate::document::PolicyDocument;
use crate::space::{Effort, GaveUp, Point, Region, Rule};

/// All rules of a policy, by what they are for.
pub(crate) struct Rules<'d> {
    pub(crate) http: Vec<Rule<'d>>,
    pub(crate) postgres: Vec<Rule<'d>>,
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
        let http = document.http_rules().iter().enumerate();
        let postgres = document.postgres_rules().iter().enumerate();
        Self {
            http: http.map(|(index, rule)| Rule::http(index, rule)).collect(),
            postgres: postgres.map(|(index, rule)| Rule::postgres(index, rule)).collect(),
        }
    }
}

/// The rules of a policy by what they may have in common.
pub(crate) struct Neighbours<'d> {
    rules: &'d Rules<'d>,
    http: Nearby<'d>,
    postgres: Nearby<'d>,
}

impl<'d> Neighbours<'d> {
    pub(crate) fn of(rules: &'d Rules<'d>) -> Self {
        Self { rules, http: Nearby::of(&rules.http), postgres: Nearby::of(&rules.postgres) }
    }

    /// The rules, `rule` among them if it is of this policy, that may match what `rule` matches.
    /// Shadow rules only with `shadow`.
    ///
    /// # Errors
    /// Where all effort was spent before they were found.
    pub(crate) fn near(
        &self,
        effort: &Effort,
        rule: &Rule<'_>,
        shadow: bool,
    ) -> Result<Vec<&'d Rule<'d>>, GaveUp> {
        if rule.databases.is_some() {
            return self.near_connections(effort, rule);
        }
        let mut near = meeting(effort, &self.rules.http, &self.http, rule)?;
        near.retain(|other| shadow || other.mode == Mode::Enforce);
        Ok(near)
    }

    /// The rules over Postgres that may match what `rule` matches.
    ///
    /// # Errors
    /// Where all effort was spent before they were found.
    pub(crate) fn near_connections(
        &self,
        effort: &Effort,
        rule: &Rule<'_>,
    ) -> Result<Vec<&'d Rule<'d>>, GaveUp> {
        meeting(effort, &self.rules.postgres, &self.postgres, rule)
    }
}

/// Those of `all` that may match what `rule` matches.
fn meeting<'d>(
    effort: &Effort,
    all: &'d [Rule<'d>],
    nearby: &Nearby<'d>,
    rule: &Rule<'_>,
) -> Result<Vec<&'d Rule<'d>>, GaveUp> {
    let region = Region::whole(rule);
    let near = nearby.near(effort, rule)?.into_iter().map(|index| &all[index]);
    let near = near.filter(|other| Region::whole(other).may_meet(effort, &region)).collect();
    effort.check().map(|()| near)
}

/// Whether no other of these rules may decide about anything that the rule matches.
pub(crate) fn is_alone(rule: &Rule<'_>, near: &[&Rule<'_>]) -> bool {
    near.iter().all(|other| other.index == rule.index)
}

/// Who of these rules decides about a point. Nothing is said where all effort is spent.
pub(crate) fn decider<'d>(effort: &Effort, rules: &[&'d Rule<'d>], point: &Point) -> Decider<'d> {
    let mut heaviest: Option<Region<'d>> = None;
    for rule in rules {
        let Some(region) = rule.at(effort, point) else { continue };
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

/// The deny that is reported where several match: the heaviest, as in the filters. Nothing is said where all effort is
/// spent.
pub(crate) fn reported_deny<'d>(
    effort: &Effort,
    rules: &[&'d Rule<'d>],
    point: &Point,
) -> Option<&'d str> {
    let denies = rules.iter().filter(|rule| rule.effect == Effect::Deny);
    let matching = denies.filter_map(|rule| rule.at(effort, point));
    let heaviest =
        matching.max_by(|a, b| a.compare_weight(b).then_with(|| b.rule.name.cmp(a.rule.name)));
    heaviest.map(|region| region.rule.name)
}
