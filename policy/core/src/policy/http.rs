//! The decision about a request.

use std::cmp::Ordering;

use super::Policy;
use crate::caller::Caller;
use crate::http::{HttpDecision, HttpDenial, HttpFacts, HttpRequest, Target};
use crate::identity::SpiffeId;
use crate::index::Heaviest;
use crate::names::{Method, RoleName, UpgradeProtocol};
use crate::pattern::{HostPattern, IdPattern, PathPattern};
use crate::peer::NoIdentity;
use crate::slice::{Effect, HeaderCondition, HttpRule, Mode};

impl Policy {
    /// Decides about a request of the caller `peer`.
    ///
    /// Ambiguous requests are refused before anything else; a caller without identity is denied;
    /// then any matching deny wins over every allow; of the matching allows the heaviest decides
    /// what the API is told; without one, the request is denied.
    pub fn decide_http<'c>(
        &self,
        peer: Result<impl Into<Caller<'c>>, NoIdentity>,
        request: &HttpRequest<'_>,
    ) -> HttpDecision<'_> {
        self.evaluate(peer.map(Into::into), request, false)
    }

    /// What would be decided with the shadow rules enforced, where that differs from
    /// [`decide_http`](Self::decide_http). For counting and logging only.
    pub fn shadow_http<'c>(
        &self,
        peer: Result<impl Into<Caller<'c>>, NoIdentity>,
        request: &HttpRequest<'_>,
    ) -> Option<HttpDecision<'_>> {
        if !self.http.has_shadows() {
            return None;
        }
        let peer = peer.map(Into::into);
        let shadow = self.evaluate(peer, request, true);
        (shadow != self.evaluate(peer, request, false)).then_some(shadow)
    }

    /// See [`KnownPeer`](crate::KnownPeer).
    pub(crate) fn patterns_of(&self, id: SpiffeId<'_>) -> Vec<u32> {
        self.http.patterns_of(id)
    }

    /// Decides by the rules that are enforced, or by those in shadow mode too.
    fn evaluate(
        &self,
        peer: Result<Caller<'_>, NoIdentity>,
        request: &HttpRequest<'_>,
        shadows: bool,
    ) -> HttpDecision<'_> {
        let facts = match HttpFacts::parse(request) {
            Ok(facts) => facts,
            Err(ambiguity) => return HttpDecision::Refuse(ambiguity),
        };
        let caller = match peer {
            Ok(caller) => caller,
            Err(no_identity) => return HttpDecision::Deny(HttpDenial::NoIdentity(no_identity)),
        };
        if facts.target == Target::Connect {
            return HttpDecision::Deny(HttpDenial::Connect);
        }
        let found = self.heaviest(caller, &facts, shadows);
        if let Some(rule) = found.deny.and_then(|number| self.http.rule(number)) {
            return HttpDecision::Deny(HttpDenial::Rule(rule.name.as_str()));
        }
        match found.allow.and_then(|number| self.http.rule(number)) {
            Some(rule) => HttpDecision::Allow {
                rule: rule.name.as_str(),
                db_role: rule.db_role.as_ref().map(RoleName::as_str),
            },
            None if self.withdrawn => HttpDecision::Deny(HttpDenial::Withdrawn),
            None => HttpDecision::Deny(HttpDenial::NoRule),
        }
    }

    /// The heaviest matching rule of each effect.
    fn heaviest(&self, caller: Caller<'_>, facts: &HttpFacts<'_>, shadows: bool) -> Heaviest {
        let counts = |rule: &HttpRule| shadows || rule.mode == Mode::Enforce;
        let holds = |rule: &HttpRule| counts(rule) && conditions_hold(rule, facts);
        let mut best = self.http.heaviest(caller, facts, holds);
        let id = caller.id();
        self.http.each_wide(caller, |number| {
            let Some(rule) = self.http.rule(number) else { return };
            let Some(weight) = counts(rule).then(|| Weight::of_match(rule, id, facts)).flatten()
            else {
                return;
            };
            let place = match rule.effect {
                Effect::Deny => &mut best.deny,
                Effect::Allow => &mut best.allow,
            };
            let known = place.and_then(|known| self.http.rule(known));
            let lighter = known.is_none_or(|known| {
                Weight::of_match(known, id, facts).is_none_or(|known_weight| {
                    weight.compare(&known_weight).then_with(|| known.name.cmp(&rule.name)).is_gt()
                })
            });
            if lighter {
                *place = Some(number);
            }
        });
        best
    }
}

/// How narrowly a rule matches a request: by its heaviest alternative.
struct Weight<'p> {
    path: Option<&'p PathPattern>,
    from: &'p IdPattern,
    host: Option<&'p HostPattern>,
    lists_methods: bool,
    other_conditions: usize,
}

impl<'p> Weight<'p> {
    /// The weight with which `rule` matches, if it does.
    ///
    /// Path, caller, host and method are matched apart, so the heaviest alternative is the
    /// heaviest of each.
    fn of_match(rule: &'p HttpRule, id: SpiffeId<'_>, facts: &HttpFacts<'_>) -> Option<Self> {
        let path = match &rule.paths {
            None => None,
            Some(paths) => Some(
                paths
                    .iter()
                    .filter(|path| path.matches(facts.target))
                    .max_by(|a, b| a.compare_weight(b))?,
            ),
        };
        let from = heaviest_id(&rule.from, id)?;
        let host = match (&rule.hosts, facts.host) {
            (None, _) => None,
            (Some(hosts), Some(asked)) => Some(
                hosts
                    .iter()
                    .filter(|host| host.matches(asked))
                    .max_by(|a, b| a.compare_weight(b))?,
            ),
            // Not known: what isn't shown isn't allowed.
            (Some(_), None) if rule.effect == Effect::Deny => None,
            (Some(_), None) => return None,
        };
        if !conditions_hold(rule, facts) {
            return None;
        }
        let lists_methods = rule.methods.is_some();
        let other_conditions = rule.other_conditions();
        Some(Self { path, from, host, lists_methods, other_conditions })
    }

    fn compare(&self, other: &Self) -> Ordering {
        compare_optional(self.path, other.path, PathPattern::compare_weight)
            .then_with(|| self.from.compare_weight(other.from))
            .then_with(|| compare_optional(self.host, other.host, HostPattern::compare_weight))
            .then_with(|| self.lists_methods.cmp(&other.lists_methods))
            .then_with(|| self.other_conditions.cmp(&other.other_conditions))
    }
}

impl HttpRule {
    /// The number of conditions besides path, caller, host and method: the last part of the weight.
    pub fn other_conditions(&self) -> usize {
        let lists = [self.ports.is_some(), self.upgrades.is_some()];
        let listed = lists.into_iter().filter(|listed| *listed).count();
        self.headers.len().saturating_add(self.jwt.len()).saturating_add(listed)
    }
}

/// The heaviest of the patterns that hold `id`.
pub(super) fn heaviest_id<'p>(
    patterns: &'p [IdPattern],
    id: SpiffeId<'_>,
) -> Option<&'p IdPattern> {
    patterns.iter().filter(|pattern| pattern.matches(id)).max_by(|a, b| a.compare_weight(b))
}

/// Compares two conditions of which an absent one is the lightest.
fn compare_optional<T>(a: Option<&T>, b: Option<&T>, compare: fn(&T, &T) -> Ordering) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => compare(a, b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// Whether all that a rule says besides path, caller and host is true.
fn conditions_hold(rule: &HttpRule, facts: &HttpFacts<'_>) -> bool {
    method_matches(rule, facts)
        && port_matches(rule, facts)
        && upgrade_matches(rule, facts)
        && headers_match(rule, facts)
        && claims_match(rule, facts)
}

fn method_matches(rule: &HttpRule, facts: &HttpFacts<'_>) -> bool {
    let is = |method: &Method| method.as_str().as_bytes() == facts.method;
    rule.methods.as_ref().is_none_or(|list| list.iter().any(is))
}

fn port_matches(rule: &HttpRule, facts: &HttpFacts<'_>) -> bool {
    match (&rule.ports, facts.port) {
        (None, _) => true,
        (Some(ports), Some(port)) => ports.contains(&port),
        // Not known: what isn't shown isn't allowed.
        (Some(_), None) => rule.effect == Effect::Deny,
    }
}

fn upgrade_matches(rule: &HttpRule, facts: &HttpFacts<'_>) -> bool {
    let listed = |protocol: &[u8]| {
        let is = |name: &UpgradeProtocol| protocol.eq_ignore_ascii_case(name.as_str().as_bytes());
        rule.upgrades.iter().flatten().any(is)
    };
    match rule.effect {
        Effect::Allow => !facts.is_upgrade() || facts.upgrades().all(listed),
        Effect::Deny => {
            rule.upgrades.is_none() || (facts.is_upgrade() && facts.upgrades().any(listed))
        }
    }
}

fn headers_match(rule: &HttpRule, facts: &HttpFacts<'_>) -> bool {
    rule.headers.iter().all(|(name, condition)| {
        let values = facts.values(name.as_str());
        match rule.effect {
            Effect::Allow => satisfied(condition, rule.effect, values),
            Effect::Deny => satisfied(condition, rule.effect, values.flat_map(line_and_elements)),
        }
    })
}

/// A header line, then what stands between its commas: a proxy before us may have joined lines.
fn line_and_elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let elements = line.split(|&b| b == b',').map(<[u8]>::trim_ascii);
    std::iter::once(line).chain(elements)
}

fn claims_match(rule: &HttpRule, facts: &HttpFacts<'_>) -> bool {
    rule.jwt
        .iter()
        .all(|(name, condition)| satisfied(condition, rule.effect, facts.claims(name.as_str())))
}

/// Whether the values satisfy the condition: in an allow each of them must, in a deny one suffices.
fn satisfied<'v>(
    condition: &HeaderCondition,
    effect: Effect,
    values: impl Iterator<Item = &'v [u8]>,
) -> bool {
    let mut values = values.peekable();
    let listed = |value: &[u8], list: &[String]| list.iter().any(|l| l.as_bytes() == value);
    match condition {
        HeaderCondition::Absent => values.peek().is_none(),
        HeaderCondition::Present => values.peek().is_some(),
        HeaderCondition::Equals(list) if effect == Effect::Deny => {
            values.any(|value| listed(value, list))
        }
        HeaderCondition::Equals(list) => {
            values.peek().is_some() && values.all(|value| listed(value, list))
        }
    }
}
