//! The dimensions of the space: what rules ask about, and whether a point is what they ask for.

use signet_policy::{DatabaseName, Effect, HeaderCondition, Method, UpgradeProtocol};

use super::effort::Effort;
use super::point::{Point, Target};
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
    pub(super) fn holds(&self, effort: &Effort, dimension: &Dimension, point: &Point) -> bool {
        let rule = self.rule;
        let denies = rule.effect == Effect::Deny;
        match dimension {
            Dimension::To => rule.to.all().holds(effort, &point.to),
            Dimension::From => self.callers().holds(effort, &point.from),
            Dimension::Target => match (self.paths(), &point.target) {
                (None, _) => true,
                (Some(paths), Target::Path(path)) => paths.holds(effort, path),
                (Some(_), Target::Asterisk) => self.has_asterisk(),
            },
            Dimension::Method => {
                rule.methods.is_none_or(|list| lists(list, Method::as_str, &point.method))
            }
            Dimension::Host => match (self.hosts(), point.host_labels()) {
                (None, _) => true,
                (Some(hosts), Some(asked)) => hosts.holds(effort, &asked),
                (Some(_), None) => denies,
            },
            Dimension::Port => match (rule.ports, point.port) {
                (None, _) => true,
                (Some(ports), Some(port)) => ports.binary_search(&port).is_ok(),
                (Some(_), None) => denies,
            },
            Dimension::Upgrades => {
                let listed = |protocol: &String| {
                    effort.spend(1).is_ok()
                        && rule
                            .upgrades
                            .is_some_and(|list| lists(list, UpgradeProtocol::as_str, protocol))
                };
                if denies {
                    rule.upgrades.is_none() || point.upgrades.iter().any(listed)
                } else {
                    point.upgrades.iter().all(listed)
                }
            }
            Dimension::Values(kind, name) => self.holds_condition(effort, (*kind, name), point),
            Dimension::Database => self.databases().is_none_or(|names| {
                let database = point.database.as_deref();
                lists(names, DatabaseName::as_str, "*")
                    || database.is_some_and(|name| lists(names, DatabaseName::as_str, name))
            }),
        }
    }

    /// Whether the target of `OPTIONS *` is one of the paths that the region lists.
    pub(super) fn has_asterisk(&self) -> bool {
        let asterisk = self.rule.asterisk;
        asterisk.is_some() && (self.path.is_none() || self.path == asterisk)
    }

    /// Whether a condition on a header or claim holds.
    pub(super) fn holds_condition(
        &self,
        effort: &Effort,
        key: (Named, &str),
        point: &Point,
    ) -> bool {
        let Some(condition) = self.rule.conditions.get(&key) else { return true };
        let values = point.values(key);
        effort.spend(values.len()).is_ok() && satisfied(condition, self.rule.effect, key.0, values)
    }
}

/// Whether a sorted list has a name.
pub(super) fn lists<T>(list: &[T], text: impl Fn(&T) -> &str, name: &str) -> bool {
    place(list, text, name).is_some()
}

/// Where a name stands in a sorted list.
pub(super) fn place<T>(list: &[T], text: impl Fn(&T) -> &str, name: &str) -> Option<usize> {
    list.binary_search_by(|one| text(one).cmp(name)).ok()
}

impl Rule<'_> {
    /// Whether some headers and claims satisfy the conditions of both rules, as far as each of them alone says.
    pub(super) fn conditions_may_meet(&self, effort: &Effort, other: &Rule<'_>) -> bool {
        self.conditions.iter().all(|(key, condition)| {
            effort.spend(1).is_ok()
                && other.conditions.get(key).is_none_or(|theirs| {
                    let (ours, theirs) = ((*condition, self.effect), (*theirs, other.effect));
                    may_meet(effort, key.0, ours, theirs)
                })
        })
    }
}

/// Whether some values satisfy two conditions on one header or claim.
fn may_meet(
    effort: &Effort,
    kind: Named,
    (a, a_effect): (&HeaderCondition, Effect),
    (b, b_effect): (&HeaderCondition, Effect),
) -> bool {
    use HeaderCondition::{Absent, Equals, Present};
    let one_of = |list: &[String], condition, effect| {
        list.iter()
            .take_while(|_| effort.spend(1).is_ok())
            .any(|value| satisfied(condition, effect, kind, std::slice::from_ref(value)))
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
    let listed = |list: &[String], value: &str| lists(list, String::as_str, value);
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
