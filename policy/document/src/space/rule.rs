//! Rules as regions of the space of all requests and connections.

use std::collections::BTreeMap;

use signet_policy::{
    DatabaseName, Effect, HeaderCondition, HostPattern, HttpRule, IdPattern, Method, Mode, Part,
    PathPattern, PostgresRule, UpgradeProtocol,
};

use super::dimension::{OTHERS, place};
use super::effort::Effort;
use super::patterns::{Pattern, Patterns};
use super::point::{Point, Target};
use super::region::Region;
use super::segments::Segments;
use crate::read::Addressed;

/// The targets that a path pattern holds.
#[derive(Clone, Debug)]
pub(crate) enum Paths<'p> {
    Asterisk,
    Path(Segments<'p>),
}

/// A rule over HTTP or Postgres, made ready to be reasoned about.
#[derive(Debug)]
pub(crate) struct Rule<'d> {
    pub(crate) index: usize,
    pub(crate) name: &'d str,
    pub(crate) effect: Effect,
    pub(crate) mode: Mode,
    pub(crate) to: Patterns<'d, Segments<'d>>,
    pub(crate) from: Patterns<'d, Segments<'d>>,
    pub(crate) from_patterns: &'d [IdPattern],
    pub(crate) paths: Option<Patterns<'d, Paths<'d>>>,
    pub(super) path_patterns: &'d [PathPattern],
    /// Which of the paths is the target of `OPTIONS *`.
    pub(super) asterisk: Option<usize>,
    /// Labels from right to left.
    pub(crate) hosts: Option<Patterns<'d, Segments<'d>>>,
    pub(crate) host_patterns: &'d [HostPattern],
    pub(crate) methods: Option<&'d [Method]>,
    pub(crate) ports: Option<&'d [u16]>,
    pub(crate) upgrades: Option<&'d [UpgradeProtocol]>,
    /// Conditions on headers and claims, by their kind and name.
    pub(crate) conditions: BTreeMap<(Named, &'d str), &'d HeaderCondition>,
    pub(super) other_conditions: usize,
    /// Of a rule over Postgres.
    pub(crate) databases: Option<&'d [DatabaseName]>,
    /// About how many steps it takes to go through its methods, ports, upgrades and conditions.
    pub(super) steps: usize,
}

/// What has names and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Named {
    Header,
    Claim,
}

/// Entries of a list that are told of a rule.
const MOST_LISTED: usize = 20;

/// The identities that patterns hold.
fn identities(patterns: &[IdPattern]) -> Patterns<'_, Segments<'_>> {
    Patterns::new(patterns.iter().map(|pattern| Segments::of(pattern.parts(), 1)).collect())
}

/// The hosts that patterns hold.
fn hosts(patterns: &[HostPattern]) -> Patterns<'_, Segments<'_>> {
    Patterns::new(patterns.iter().map(|pattern| Segments::of(pattern.parts(), 1)).collect())
}

/// About how many steps it takes to go through what a rule lists besides patterns.
fn steps(rule: &HttpRule) -> usize {
    let condition = |(name, condition): (&str, &HeaderCondition)| match condition {
        HeaderCondition::Equals(list) => {
            list.iter().map(|value| 1 + value.len() / 64).sum::<usize>() + name.len() / 64
        }
        _ => 1 + name.len() / 64,
    };
    let headers = rule.headers.iter().map(|(name, c)| condition((name.as_str(), c)));
    let claims = rule.jwt.iter().map(|(name, c)| condition((name.as_str(), c)));
    let upgrades = rule.upgrades.iter().flatten().map(|name| 1 + name.as_str().len() / 64);
    let plain = rule.methods.as_ref().map_or(0, Vec::len) + rule.ports.as_ref().map_or(0, Vec::len);
    1 + plain + headers.chain(claims).chain(upgrades).sum::<usize>()
}

impl<'d> Rule<'d> {
    pub(crate) fn http(index: usize, addressed: &'d Addressed<HttpRule>) -> Self {
        let rule = &addressed.rule;
        let paths = |pattern: &'d PathPattern| match pattern.parts() {
            None => Paths::Asterisk,
            Some(parts) => Paths::Path(Segments::of(parts, 0)),
        };
        let headers = rule.headers.iter().map(|(n, c)| ((Named::Header, n.as_str()), c));
        let claims = rule.jwt.iter().map(|(n, c)| ((Named::Claim, n.as_str()), c));
        Self {
            index,
            name: rule.name.as_str(),
            effect: rule.effect,
            mode: rule.mode,
            to: identities(&addressed.to),
            from: identities(&rule.from),
            from_patterns: &rule.from,
            paths: rule.paths.as_ref().map(|list| Patterns::new(list.iter().map(paths).collect())),
            path_patterns: rule.paths.as_deref().unwrap_or_default(),
            asterisk: rule.paths.iter().flatten().position(|path| path.parts().is_none()),
            hosts: rule.hosts.as_deref().map(hosts),
            host_patterns: rule.hosts.as_deref().unwrap_or_default(),
            methods: rule.methods.as_deref(),
            ports: rule.ports.as_deref(),
            upgrades: rule.upgrades.as_deref(),
            conditions: headers.chain(claims).collect(),
            other_conditions: rule.other_conditions(),
            databases: None,
            steps: steps(rule),
        }
    }

    pub(crate) fn postgres(index: usize, addressed: &'d Addressed<PostgresRule>) -> Self {
        let rule = &addressed.rule;
        let (to, from) = (identities(&addressed.to), identities(&rule.from));
        Self {
            index,
            from_patterns: &rule.from,
            databases: Some(&rule.databases),
            ..Self::between(rule.name.as_str(), Effect::Allow, to, from)
        }
    }

    /// A rule about all that these ask those.
    fn between(
        name: &'d str,
        effect: Effect,
        to: Patterns<'d, Segments<'d>>,
        from: Patterns<'d, Segments<'d>>,
    ) -> Self {
        Self {
            index: usize::MAX,
            name,
            effect,
            mode: Mode::Enforce,
            to,
            from,
            from_patterns: &[],
            paths: None,
            path_patterns: &[],
            asterisk: None,
            hosts: None,
            host_patterns: &[],
            methods: None,
            ports: None,
            upgrades: None,
            conditions: BTreeMap::new(),
            other_conditions: 0,
            databases: None,
            steps: 1,
        }
    }

    /// Whether some request surely fits all clauses: a path and a method that goes with it. All other clauses don't
    /// depend on each other.
    pub(crate) fn matches_something(&self) -> bool {
        let is_path = |path: &Paths<'_>| matches!(path, Paths::Path(_));
        self.paths.as_ref().is_none_or(|list| list.as_slice().iter().any(is_path))
            && self
                .methods
                .is_none_or(|list| list.iter().any(|method| method.as_str() != "CONNECT"))
    }

    /// The patterns of its paths, if it lists any.
    pub(crate) fn path_list(&self) -> Option<&'d [PathPattern]> {
        self.paths.as_ref().map(|_| self.path_patterns)
    }

    /// The patterns of its hosts, if it lists any.
    pub(crate) fn host_list(&self) -> Option<&'d [HostPattern]> {
        self.hosts.as_ref().map(|_| self.host_patterns)
    }

    /// Whether what the rule asks for is known only when a request is there.
    pub(crate) fn looks_at_values(&self) -> bool {
        !self.conditions.is_empty()
    }

    /// The heaviest region of the rule that holds a point, if any does.
    pub(crate) fn at(&self, effort: &Effort, point: &Point) -> Option<Region<'_>> {
        let whole = Region::whole(self);
        effort.spend(OTHERS.len() + self.conditions.len()).ok()?;
        if !(OTHERS.iter().all(|dimension| whole.holds(effort, dimension, point))
            && self.conditions.keys().all(|key| whole.holds_condition(effort, *key, point)))
        {
            return None;
        }
        let heaviest_from = whole
            .callers()
            .holding(effort, &point.from)
            .max_by(|a, b| self.from_patterns[*a].compare_weight(&self.from_patterns[*b]))?;
        let path = match (whole.paths(), &point.target) {
            (None, _) => None,
            (Some(_), Target::Asterisk) => Some(self.asterisk?),
            (Some(paths), Target::Path(path)) => {
                Some(paths.holding(effort, path).max_by(|a, b| {
                    self.path_patterns[*a].compare_weight(&self.path_patterns[*b])
                })?)
            }
        };
        let host = match (whole.hosts(), point.host_labels()) {
            (Some(hosts), Some(asked)) => {
                Some(hosts.holding(effort, &asked).max_by(|a, b| {
                    self.host_patterns[*a].compare_weight(&self.host_patterns[*b])
                })?)
            }
            (Some(_), None) if self.effect == Effect::Allow => return None,
            _ => None,
        };
        let database = match (self.databases, &point.database) {
            (None, _) => None,
            (Some(names), asked) => {
                let place_of = |name: &str| place(names, DatabaseName::as_str, name);
                Some(asked.as_deref().and_then(place_of).or_else(|| place_of("*"))?)
            }
        };
        Some(Region { rule: self, from: Some(heaviest_from), path, host, database })
    }
}

impl<'d> Pattern<'d> for Paths<'d> {
    fn segments(&self) -> Option<&Segments<'d>> {
        match self {
            Self::Asterisk => None,
            Self::Path(segments) => Some(segments),
        }
    }
}

impl<'d> Rule<'d> {
    /// Everything whose caller is one of this rule's destinations.
    pub(crate) fn destination_as_caller(&self, to: usize) -> Self {
        let from = self.to.as_slice().get(to).cloned().into_iter().collect();
        self.bounds(vec![Segments::anyone()], from)
    }

    /// Everything whose destination is this.
    pub(crate) fn only_to(&self, to: Segments<'d>) -> Self {
        self.bounds(vec![to], vec![Segments::anyone()])
    }

    /// Everything whose caller is in one of these trust domains.
    pub(crate) fn from_trust_domains(domains: &'d [String]) -> Self {
        let to = Patterns::new(vec![Segments::anyone()]);
        Self::between("", Effect::Deny, to, all_of(domains))
    }

    /// Everything whose destination is in one of these trust domains.
    pub(crate) fn to_trust_domains(domains: &'d [String]) -> Self {
        let from = Patterns::new(vec![Segments::anyone()]);
        Self::between("", Effect::Deny, all_of(domains), from)
    }

    /// Everything between these: a deny, since an allow doesn't hold upgrades.
    fn bounds(&self, to: Vec<Segments<'d>>, from: Vec<Segments<'d>>) -> Self {
        Self::between(self.name, Effect::Deny, Patterns::new(to), Patterns::new(from))
    }

    /// What the rule is about, in words; of long lists the first.
    pub(crate) fn what(&self) -> String {
        fn list<T: ToString>(items: &[T]) -> String {
            let mut words: Vec<String> = items.iter().take(MOST_LISTED).map(T::to_string).collect();
            if items.len() > MOST_LISTED {
                words.push(format!("{} more", items.len() - MOST_LISTED));
            }
            words.join(", ")
        }
        if let Some(databases) = self.databases {
            return format!("database {}", list(databases));
        }
        let methods = self.methods.map_or("any method".to_owned(), list);
        let paths = self.paths.as_ref().map_or("any path".to_owned(), |_| list(self.path_patterns));
        let mut words = format!("{methods} of {paths}");
        let conditions =
            self.conditions.keys().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
        for (key, value) in [
            ("hosts", self.hosts.as_ref().map(|_| list(self.host_patterns))),
            ("ports", self.ports.map(list)),
            ("upgrades", self.upgrades.map(list)),
            ("if", (!conditions.is_empty()).then_some(conditions)),
        ] {
            if let Some(value) = value {
                words = format!("{words}; {key} {value}");
            }
        }
        words
    }
}

/// Every identity of these trust domains.
fn all_of(domains: &[String]) -> Patterns<'_, Segments<'_>> {
    let of = |domain| Segments::of([Part::Literal(domain), Part::Rest].into_iter(), 1);
    Patterns::new(domains.iter().map(String::as_str).map(of).collect())
}
