//! How to pick a point in a box, a value in each dimension.

use std::collections::BTreeSet;

use signet_policy::{DatabaseName, Effect, HeaderCondition, Method, UpgradeProtocol};

use super::dimension::{Dimension, lists, satisfied};
use super::effort::{Effort, GaveUp};
use super::patterns::{Choice, Pattern};
use super::point::{Point, Target};
use super::region::Region;
use super::rule::Named;
use super::segments::{Segments, fresh, pick};

/// The sorts of points: which methods go with which targets. In each, dimensions don't depend on
/// each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// A request for a path.
    Path,
    /// `OPTIONS *`.
    Asterisk,
    /// A connection to Postgres.
    Postgres,
}

/// Methods to show people first.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];

/// A box: the regions that hold it, and those that don't in one dimension each.
pub(super) struct Bounds<'a, 'd> {
    pub(super) effort: &'a Effort,
    pub(super) sort: Sort,
    pub(super) all: &'a [Region<'d>],
    pub(super) none: &'a [(Dimension, Region<'d>)],
}

impl<'d> Bounds<'_, 'd> {
    /// A point in the box, if it isn't empty. Nothing is said where all effort is spent.
    pub(super) fn pick(&self) -> Option<Point> {
        self.effort.spend(self.regions().map(Region::steps).sum()).ok()?;
        let to = self.identity(&Dimension::To, |region| region.rule.to.all())?;
        let mut point = Point::between(self.identity(&Dimension::From, Region::callers)?, to);
        if self.sort == Sort::Postgres {
            let names = self.texts(|region| {
                region.databases().unwrap_or_default().iter().map(DatabaseName::as_str)
            });
            let free = fresh("x", names.iter().copied());
            let candidates = names.into_iter().filter(|name| *name != "*").chain([free.as_str()]);
            point.database = Some(self.first(
                &mut point,
                &Dimension::Database,
                candidates.map(str::to_owned),
                |p, name| p.database = Some(name.clone()),
            )?);
            return Some(point);
        }
        point.target = self.target()?;
        let methods =
            self.texts(|region| region.rule.methods.unwrap_or_default().iter().map(Method::as_str));
        let other = fresh("X", methods.iter().copied());
        let methods: Vec<String> = match self.sort {
            Sort::Asterisk => vec!["OPTIONS".to_owned()],
            _ => METHODS
                .into_iter()
                .chain(methods)
                .chain([other.as_str()])
                // A plain one is always denied, and an extended one (RFC 8441) arrives as GET.
                .filter(|method| *method != "CONNECT")
                .map(str::to_owned)
                .collect(),
        };
        self.first(&mut point, &Dimension::Method, methods.into_iter(), |p, method| {
            p.method.clone_from(method);
        })?;
        self.first(&mut point, &Dimension::Host, self.hosts().into_iter(), |p, host| {
            p.host.clone_from(host);
        })?;
        self.first(&mut point, &Dimension::Port, self.ports().into_iter(), |p, port| {
            p.port = *port;
        })?;
        self.first(&mut point, &Dimension::Upgrades, self.upgrades().into_iter(), |p, u| {
            p.upgrades.clone_from(u);
        })?;
        for key in self.value_names() {
            self.spend_on_each().ok()?;
            let dimension = Dimension::Values(key.0, key.1.clone());
            let candidates = self.values(&key);
            self.first(
                &mut point,
                &dimension,
                candidates.into_iter(),
                |p, values: &Vec<String>| p.put_values(&key, values),
            )?;
        }
        Some(point)
    }

    /// The first candidate with which the point is in the box, as far as the dimension says.
    fn first<T>(
        &self,
        point: &mut Point,
        dimension: &Dimension,
        candidates: impl Iterator<Item = T>,
        put: impl Fn(&mut Point, &T),
    ) -> Option<T> {
        for candidate in candidates {
            self.spend_on_each().ok()?;
            put(point, &candidate);
            let holds = |region: &Region<'d>| region.holds(self.effort, dimension, point);
            if self.all.iter().all(holds) && !self.excluded(dimension).any(holds) {
                return Some(candidate);
            }
        }
        None
    }

    /// Looks at each region.
    fn spend_on_each(&self) -> Result<(), GaveUp> {
        self.effort.spend(self.all.len() + self.none.len())
    }

    fn excluded<'s>(&'s self, dimension: &'s Dimension) -> impl Iterator<Item = &'s Region<'d>> {
        self.none.iter().filter(move |(found, _)| found == dimension).map(|(_, region)| region)
    }

    fn regions(&self) -> impl Iterator<Item = &Region<'d>> {
        self.all.iter().chain(self.none.iter().map(|(_, region)| region))
    }

    fn texts<'s, I: Iterator<Item = &'s str>>(
        &'s self,
        of: impl Fn(&'s Region<'d>) -> I,
    ) -> BTreeSet<&'s str> {
        self.regions().flat_map(of).collect()
    }

    /// An identity that is in one of the patterns of each positive region.
    fn identity(
        &self,
        dimension: &Dimension,
        of: impl Fn(&Region<'d>) -> Choice<'d, 'd, Segments<'d>>,
    ) -> Option<Vec<String>> {
        let none: Vec<_> = self.excluded(dimension).map(&of).collect();
        let unions: Vec<_> = self.all.iter().map(of).collect();
        pick_union(self.effort, &unions, &mut Vec::new(), &none, 2)
    }

    fn target(&self) -> Option<Target> {
        let lists_paths = |region: &&Region<'d>| region.paths().is_some();
        let excluded = || self.excluded(&Dimension::Target).filter(lists_paths);
        if self.sort == Sort::Asterisk {
            let fits = self.all.iter().filter(lists_paths).all(Region::has_asterisk)
                && !excluded().any(Region::has_asterisk);
            return fits.then_some(Target::Asterisk);
        }
        let none: Vec<_> = excluded().filter_map(Region::paths).collect();
        let unions: Vec<_> = self.all.iter().filter_map(Region::paths).collect();
        pick_union(self.effort, &unions, &mut Vec::new(), &none, 0).map(Target::Path)
    }

    /// Hosts to try: of each exact pattern that one, of each wildcard one that nothing else names, one
    /// that none holds, and none at all. Where nobody asks, none at all comes first.
    fn hosts(&self) -> Vec<Option<String>> {
        let patterns: BTreeSet<String> =
            self.regions().flat_map(Region::host_patterns).map(ToString::to_string).collect();
        let free = fresh("x", patterns.iter().flat_map(|pattern| pattern.split('.')));
        let mut hosts: Vec<_> = patterns.iter().map(|p| Some(p.replacen('*', &free, 1))).collect();
        hosts.push(Some(free));
        if patterns.is_empty() {
            vec![None]
        } else {
            hosts.push(None);
            hosts
        }
    }

    fn ports(&self) -> Vec<Option<u16>> {
        let listed: BTreeSet<u16> =
            self.regions().flat_map(|r| r.rule.ports.unwrap_or_default()).copied().collect();
        if listed.is_empty() {
            return vec![None];
        }
        let other = (8080..u16::MAX).chain(1..8080).find(|port| !listed.contains(port));
        listed.iter().copied().map(Some).chain(other.map(Some)).chain([None]).collect()
    }

    /// Sets of protocols to try. A larger set satisfies more of "one of these is asked for" and less
    /// of "only these are": so for each bound on what may be asked for, the largest set within it.
    fn upgrades(&self) -> Vec<Vec<String>> {
        let named =
            self.texts(|r| r.rule.upgrades.unwrap_or_default().iter().map(UpgradeProtocol::as_str));
        let other = fresh("x", named.iter().copied());
        let everything: Vec<String> =
            named.into_iter().chain([other.as_str()]).map(str::to_owned).collect();
        let one_each = everything.iter().map(|protocol| vec![protocol.clone()]);
        let may = |protocol: &String| {
            let with = |region: &Region<'d>| {
                let listed = region.rule.upgrades.unwrap_or_default();
                lists(listed, UpgradeProtocol::as_str, protocol)
            };
            self.all.iter().all(|r| r.rule.effect == Effect::Deny || with(r))
                && self
                    .excluded(&Dimension::Upgrades)
                    .all(|r| r.rule.effect == Effect::Allow || !with(r))
        };
        let may = |protocol: &&String| self.spend_on_each().is_ok() && may(protocol);
        let largest: Vec<String> = everything.iter().filter(may).cloned().collect();
        std::iter::once(Vec::new()).chain(one_each).chain([largest]).collect()
    }

    fn value_names(&self) -> BTreeSet<(Named, String)> {
        self.regions()
            .flat_map(|r| r.rule.conditions.keys())
            .map(|(kind, name)| (*kind, (*name).to_owned()))
            .collect()
    }

    /// Values to try for one header or claim: none, each that is named, one that isn't, and the largest
    /// set of lines that nothing forbids.
    fn values(&self, key: &(Named, String)) -> Vec<Vec<String>> {
        let lists = |region: &Region<'d>| match region.rule.conditions.get(&(key.0, key.1.as_str()))
        {
            Some(HeaderCondition::Equals(list)) => list.clone(),
            _ => Vec::new(),
        };
        let named: BTreeSet<String> = self.regions().flat_map(lists).collect();
        let other = fresh("x", named.iter().map(String::as_str));
        let everything: Vec<String> = named.into_iter().chain([other]).collect();
        let dimension = Dimension::Values(key.0, key.1.clone());
        let condition = |region: &Region<'d>| {
            let condition = region.rule.conditions.get(&(key.0, key.1.as_str()))?;
            Some((*condition, region.rule.effect))
        };
        let may = |value: &String| {
            let alone = std::slice::from_ref(value);
            let fits = |(condition, effect): (&HeaderCondition, Effect)| {
                !matches!((condition, effect), (HeaderCondition::Equals(_), Effect::Allow))
                    || satisfied(condition, effect, key.0, alone)
            };
            let spares = |(condition, effect): (&HeaderCondition, Effect)| {
                !matches!((condition, effect), (HeaderCondition::Equals(_), Effect::Deny))
                    || !satisfied(condition, effect, key.0, alone)
            };
            self.all.iter().filter_map(condition).all(fits)
                && self.excluded(&dimension).filter_map(condition).all(spares)
        };
        let may = |value: &&String| self.spend_on_each().is_ok() && may(value);
        let largest: Vec<String> = everything.iter().filter(may).cloned().collect();
        let one_each = everything.iter().map(|value| vec![value.clone()]);
        std::iter::once(Vec::new()).chain(one_each).chain([largest]).collect()
    }
}

/// A list that is in one pattern of each union and in none of `none`.
///
/// Patterns of which any two meet have a list in common, so those that don't meet what is chosen already are left out.
fn pick_union<'s, 'd, P: Pattern<'d>>(
    effort: &Effort,
    unions: &[Choice<'s, 'd, P>],
    chosen: &mut Vec<&'s Segments<'d>>,
    none: &[Choice<'s, 'd, P>],
    min: usize,
) -> Option<Vec<String>> {
    let narrowest = chosen.iter().map(|pattern| pattern.beginning()).max_by_key(Vec::len);
    let beginning = narrowest.unwrap_or_default();
    let near = |choice: &Choice<'s, 'd, P>| choice.near(effort, &beginning);
    let Some((union, rest)) = unions.split_first() else {
        // Of those that are to be avoided, others hold nothing that all of the chosen do.
        let none: Vec<&Segments<'_>> = none.iter().flat_map(near).collect();
        return pick(effort, chosen, &none, min);
    };
    near(union).find_map(|pattern| {
        if !chosen.iter().all(|other| other.meets(pattern)) {
            return None;
        }
        effort.spend(chosen.len() + 1).ok()?;
        chosen.push(pattern);
        let found = pick_union(effort, rest, chosen, none, min);
        chosen.pop();
        found
    })
}
