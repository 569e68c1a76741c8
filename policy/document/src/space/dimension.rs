//! The dimensions of the space: what rules ask about, and whether a point is what they ask for.

use signet_policy::{Effect, HeaderCondition};

use super::point::Point;
use super::region::Region;
use super::rule::{Named, Rule};

/// What rules ask about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dimension {
    To,
    From,
    Target,
    Method,
    Host,
    Port,
    Upgrades,
    Values(Named, String),
    Database,
}

/// The dimensions that have no alternatives of their own weight, besides headers and claims.
pub(super) const OTHERS: [Dimension; 4] =
    [Dimension::To, Dimension::Method, Dimension::Port, Dimension::Upgrades];

impl Region<'_> {
    /// The dimensions in which the region isn't everything.
    pub(super) fn dimensions(&self) -> Vec<Dimension> {
        let rule = self.rule;
        let mut dimensions = vec![Dimension::From, Dimension::To];
        let mut add = |there, dimension| {
            if there {
                dimensions.push(dimension);
            }
        };
        add(rule.paths.is_some(), Dimension::Target);
        add(rule.methods.is_some(), Dimension::Method);
        add(rule.hosts.is_some(), Dimension::Host);
        add(rule.ports.is_some(), Dimension::Port);
        add(
            rule.effect == Effect::Allow && rule.databases.is_none() || rule.upgrades.is_some(),
            Dimension::Upgrades,
        );
        add(rule.databases.is_some(), Dimension::Database);
        for (kind, name) in rule.conditions.keys() {
            add(true, Dimension::Values(*kind, (*name).to_owned()));
        }
        dimensions
    }

    /// Whether the region holds a point, as far as one dimension says.
    pub(super) fn holds(&self, dimension: &Dimension, point: &Point) -> bool {
        let rule = self.rule;
        let denies = rule.effect == Effect::Deny;
        match dimension {
            Dimension::To => rule.to.iter().any(|to| to.holds(&point.to)),
            Dimension::From => self.callers().iter().any(|from| from.holds(&point.from)),
            Dimension::Target => {
                self.paths().is_none_or(|list| list.iter().any(|p| p.holds(&point.target)))
            }
            Dimension::Method => {
                rule.methods.is_none_or(|list| list.iter().any(|m| m.as_str() == point.method))
            }
            Dimension::Host => match (self.hosts(), &point.host) {
                (None, _) => true,
                (Some(hosts), Some(asked)) => hosts.iter().any(|host| host.matches(asked)),
                (Some(_), None) => denies,
            },
            Dimension::Port => match (rule.ports, point.port) {
                (None, _) => true,
                (Some(ports), Some(port)) => ports.contains(&port),
                (Some(_), None) => denies,
            },
            Dimension::Upgrades => {
                let listed = |protocol: &String| {
                    rule.upgrades.unwrap_or_default().iter().any(|name| name.as_str() == protocol)
                };
                if denies {
                    rule.upgrades.is_none() || point.upgrades.iter().any(listed)
                } else {
                    point.upgrades.iter().all(listed)
                }
            }
            Dimension::Values(kind, name) => self.holds_condition((*kind, name), point),
            Dimension::Database => self.databases().is_none_or(|names| {
                let database = point.database.as_deref();
                names
                    .iter()
                    .any(|name| database.map_or(name.is_any(), |database| name.covers(database)))
            }),
        }
    }

    /// Whether a condition on a header or claim holds.
    pub(super) fn holds_condition(&self, key: (Named, &str), point: &Point) -> bool {
        let Some(condition) = self.rule.conditions.get(&key) else { return true };
        satisfied(condition, self.rule.effect, key.0, point.values(key))
    }
}

impl Rule<'_> {
    /// Whether some headers and claims satisfy the conditions of both rules, as far as each of them alone says.
    pub(super) fn conditions_may_meet(&self, other: &Rule<'_>) -> bool {
        self.conditions.iter().all(|(key, condition)| {
            other.conditions.get(key).is_none_or(|theirs| {
                let (ours, theirs) = ((*condition, self.effect), (*theirs, other.effect));
                may_meet(key.0, ours, theirs)
            })
        })
    }
}

/// Whether some values satisfy two conditions on one header or claim.
fn may_meet(
    kind: Named,
    (a, a_effect): (&HeaderCondition, Effect),
    (b, b_effect): (&HeaderCondition, Effect),
) -> bool {
    use HeaderCondition::{Absent, Equals, Present};
    let one_of = |list: &[String], condition, effect| {
        list.iter().any(|value| satisfied(condition, effect, kind, std::slice::from_ref(value)))
    };
    match (a, b) {
        (Absent, _) | (_, Absent) => a == b,
        (Present, _) | (_, Present) => true,
        (Equals(list), _) if a_effect == Effect::Allow => one_of(list, b, b_effect),
        (_, Equals(list)) if b_effect == Effect::Allow => one_of(list, a, a_effect),
        // Each finds its value in a line of its own.
        _ => true,
    }
}

/// Whether values satisfy a condition: in an allow each of them must, in a deny one suffices, and of
/// a header line one element.
pub(super) fn satisfied(
    condition: &HeaderCondition,
    effect: Effect,
    kind: Named,
    values: &[String],
) -> bool {
    let listed = |list: &[String], value: &str| list.iter().any(|l| l == value);
    match (condition, effect) {
        (HeaderCondition::Absent, _) => values.is_empty(),
        (HeaderCondition::Present, _) => !values.is_empty(),
        (HeaderCondition::Equals(list), Effect::Allow) => {
            !values.is_empty() && values.iter().all(|value| listed(list, value))
        }
        (HeaderCondition::Equals(list), Effect::Deny) => values.iter().any(|line| {
            listed(list, line)
                || kind == Named::Header
                    && line.split(',').any(|element| listed(list, element.trim_ascii()))
        }),
    }
}
