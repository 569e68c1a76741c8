//! How to pick a point in a box, a value in each dimension.

use std::collections::BTreeSet;

use signet_policy::{DatabaseName, Effect, HeaderCondition};

use super::dimension::{Dimension, satisfied};
use super::effort::Effort;
use super::point::{Point, Target};
use super::region::Region;
use super::rule::{Named, Paths};
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
        let to = self.identity(&Dimension::To, |region| &region.rule.to)?;
        let mut point = Point::between(self.identity(&Dimension::From, Region::callers)?, to);
        if self.sort == Sort::Postgres {
            let names = self.texts(|region| {
                region.databases().unwrap_or_default().iter().map(DatabaseName::as_str)
            });
            let free = fresh("x", |text| names.contains(text));
            let candidates = names.into_iter().filter(|name| *name != "*").chain([free.as_str()]);
            point.database = Some(self.first(
                &mut point,
                &Dimension::Database,
                candidates.map(str::to_owned),
                |p, name| {
                    p.database = Some(name.clone());
                },
            )?);
            return Some(point);
        }
        point.target = self.target()?;
        let methods = self.texts(|region| {
            region.rule.methods.unwrap_or_default().iter().map(signet_policy::Method::as_str)
        });
        let other = fresh("X", |text| methods.contains(text));
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
            put(point, &candidate);
            if self.all.iter().all(|region| region.holds(dimension, point))
                && self.excluded(dimension).all(|region| !region.holds(dimension, point))
            {
                return Some(candidate);
            }
        }
        None
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
        of: impl Fn(&Region<'d>) -> &'d [Segments<'d>],
    ) -> Option<Vec<String>> {
        let none: Vec<&Segments<'_>> = self.excluded(dimension).flat_map(&of).collect();
        let unions: Vec<&[Segments<'_>]> = self.all.iter().map(of).collect();
        pick_union(self.effort, &unions, &mut Vec::new(), &none, 2)
    }

    fn target(&self) -> Option<Target> {
        let constrained = |region: &Region<'d>| region.paths();
        if self.sort == Sort::Asterisk {
            let has = |list: &[Paths<'_>]| list.iter().any(|path| matches!(path, Paths::Asterisk));
            let fits = self.all.iter().filter_map(constrained).all(has)
                && self.excluded(&Dimension::Target).filter_map(constrained).all(|list| !has(list));
            return fits.then_some(Target::Asterisk);
        }
        let only_paths = |list: &'d [Paths<'d>]| -> Vec<Segments<'d>> {
            list.iter()
                .filter_map(|path| match path {
                    Paths::Path(segments) => Some(segments.clone()),
                    Paths::Asterisk => None,
                })
                .collect()
        };
        let none: Vec<Segments<'_>> = self
            .excluded(&Dimension::Target)
            .filter_map(constrained)
            .flat_map(only_paths)
            .collect();
        let unions: Vec<Vec<Segments<'_>>> =
            self.all.iter().filter_map(constrained).map(only_paths).collect();
        let unions: Vec<&[Segments<'_>]> = unions.iter().map(Vec::as_slice).collect();
        let none: Vec<&Segments<'_>> = none.iter().collect();
        pick_union(self.effort, &unions, &mut Vec::new(), &none, 0).map(Target::Path)
    }

    /// Hosts to try: of each exact pattern that one, of each wildcard one that nothing else names, one
    /// that none holds, and none at all. Where nobody asks, none at all comes first.
    fn hosts(&self) -> Vec<Option<String>> {
        let patterns: BTreeSet<String> = self
            .regions()
            .flat_map(|r| r.hosts().unwrap_or_default())
            .map(ToString::to_string)
            .collect();
        let free =
            fresh("x", |label| patterns.iter().any(|p| p.split('.').any(|found| found == label)));
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
        let named = self.texts(|r| {
            r.rule.upgrades.unwrap_or_default().iter().map(signet_policy::UpgradeProtocol::as_str)
        });
        let other = fresh("x", |text| named.contains(text));
        let everything: Vec<String> =
            named.into_iter().chain([other.as_str()]).map(str::to_owned).collect();
        let one_each = everything.iter().map(|protocol| vec![protocol.clone()]);
        let may = |protocol: &String| {
            let with = |region: &Region<'d>| {
                region.rule.upgrades.unwrap_or_default().iter().any(|u| u.as_str() == protocol)
            };
            self.all.iter().all(|r| r.rule.effect == Effect::Deny || with(r))
                && self
                    .excluded(&Dimension::Upgrades)
                    .all(|r| r.rule.effect == Effect::Allow || !with(r))
        };
        let largest: Vec<String> =
            everything.iter().filter(|protocol| may(protocol)).cloned().collect();
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
        let other = fresh("x", |text| named.contains(text));
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
        let largest: Vec<String> = everything.iter().filter(|value| may(value)).cloned().collect();
        let one_each = everything.iter().map(|value| vec![value.clone()]);
        std::iter::once(Vec::new()).chain(one_each).chain([largest]).collect()
    }
}

/// A list that is in one pattern of each union and in none of `none`.
///
/// Patterns of which any two meet have a list in common, so those that don't meet what is chosen already are left out.
fn pick_union<'s>(
    effort: &Effort,
    unions: &[&'s [Segments<'s>]],
    chosen: &mut Vec<&'s Segments<'s>>,
    none: &[&Segments<'_>],
    min: usize,
) -> Option<Vec<String>> {
    let Some((union, rest)) = unions.split_first() else { return pick(chosen, none, min) };
    union.iter().find_map(|pattern| {
        if !chosen.iter().all(|other| other.meets(pattern)) {
            return None;
        }
        effort.spend().ok()?;
        chosen.push(pattern);
        let found = pick_union(effort, rest, chosen, none, min);
        chosen.pop();
        found
    })
}
