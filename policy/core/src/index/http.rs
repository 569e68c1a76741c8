//! The index of HTTP rules.

use std::ops::ControlFlow;

use super::{ANY, Alternatives, Hash, Octets, Trie, is_wide, number};
use crate::caller::Caller;
use crate::http::{HttpFacts, PathSegment, Target};
use crate::identity::SpiffeId;
use crate::pattern::PathPattern;
use crate::slice::{Effect, HttpRule, Mode};

/// In place of a path's number: the target of `OPTIONS *`.
const ASTERISK: u32 = ANY - 1;
/// In place of a host's number: denies with `hosts`, for requests whose host isn't known.
const UNKNOWN: u32 = ANY - 1;

/// HTTP rules and their index.
#[derive(Clone, Debug, Default)]
pub(crate) struct HttpRules {
    /// So sorted that of two with the same path, caller and host the one that decides comes first: denies, then by the
    /// rest of the weight, then by name.
    rules: Vec<HttpRule>,
    callers: Trie,
    paths: Trie,
    hosts: Trie,
    /// By path, caller and host.
    alternatives: Alternatives,
    /// The wide rules, by caller alone.
    wide: Alternatives,
    /// Whether a heavier allow may still be denied.
    has_denies: bool,
    /// Whether a second evaluation could differ.
    has_shadows: bool,
}

/// What a request found: the heaviest rule of each effect. With a deny, the allow is not looked for to the end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heaviest {
    pub(crate) deny: Option<u32>,
    pub(crate) allow: Option<u32>,
}

impl HttpRules {
    #[inline]
    pub(crate) fn new(mut rules: Vec<HttpRule>) -> Self {
        rules.sort_unstable_by(|a, b| {
            let rest = |rule: &HttpRule| {
                (rule.effect == Effect::Deny, rule.methods.is_some(), rule.other_conditions())
            };
            rest(b).cmp(&rest(a)).then_with(|| a.name.cmp(&b.name))
        });
        let mut callers = Trie::new(false);
        let mut paths = Trie::new(true);
        let mut hosts = Trie::new(false);
        let mut filed = Vec::with_capacity(rules.len());
        let mut wide = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let length = |list: Option<usize>| list.unwrap_or(1);
            let lengths = [
                rule.from.len(),
                length(rule.paths.as_ref().map(Vec::len)),
                length(rule.hosts.as_ref().map(Vec::len)),
            ];
            let from = rule.from.iter().map(|pattern| callers.insert(pattern.parts()));
            if is_wide(lengths) {
                wide.extend(from.map(|caller| ([ANY, caller, ANY], number(index))));
                continue;
            }
            let mut path_number =
                |path: &PathPattern| path.parts().map_or(ASTERISK, |parts| paths.insert(parts));
            let its_paths: Vec<u32> = match &rule.paths {
                None => vec![ANY],
                Some(list) => list.iter().map(&mut path_number).collect(),
            };
            let its_hosts: Vec<u32> = match &rule.hosts {
                None => vec![ANY],
                Some(list) => {
                    let unknown = (rule.effect == Effect::Deny).then_some(UNKNOWN);
                    list.iter().map(|host| hosts.insert(host.parts())).chain(unknown).collect()
                }
            };
            for caller in from {
                for &path in &its_paths {
                    filed.extend(
                        its_hosts.iter().map(|&host| ([path, caller, host], number(index))),
                    );
                }
            }
        }
        Self {
            callers,
            paths,
            hosts,
            alternatives: Alternatives::new(filed),
            wide: Alternatives::new(wide),
            has_denies: rules.iter().any(|rule| rule.effect == Effect::Deny),
            has_shadows: rules.iter().any(|rule| rule.mode == Mode::Shadow),
            rules,
        }
    }

    /// The rule of a number.
    pub(crate) fn rule(&self, number: u32) -> Option<&HttpRule> {
        self.rules.get(number as usize)
    }

    /// Whether any rule is in shadow mode.
    pub(crate) const fn has_shadows(&self) -> bool {
        self.has_shadows
    }

    /// The heaviest rules, of those that aren't wide, whose path, caller and host match and for which `holds` is true.
    pub(crate) fn heaviest(
        &self,
        caller: Caller<'_>,
        facts: &HttpFacts<'_>,
        holds: impl Fn(&HttpRule) -> bool,
    ) -> Heaviest {
        let mut search = Search { rules: self, caller, facts, holds, found: Heaviest::default() };
        let _ = search.all_paths();
        search.found
    }

    /// Tells the wide rules that name the caller.
    pub(crate) fn each_wide(&self, caller: Caller<'_>, mut tell: impl FnMut(u32)) {
        if self.wide.is_empty() {
            return;
        }
        let _ = self.each_pattern(caller, &mut |pattern| {
            self.wide.rules([ANY, pattern, ANY]).iter().copied().for_each(&mut tell);
            Walk::Continue(())
        });
    }

    /// The numbers of all patterns of callers that hold this ID, the heaviest first.
    pub(crate) fn patterns_of(&self, id: SpiffeId<'_>) -> Vec<u32> {
        let mut patterns = Vec::new();
        let _ = self.each_pattern(id.into(), &mut |pattern| {
            patterns.push(pattern);
            Walk::Continue(())
        });
        patterns
    }

    /// Tells the patterns of callers that hold this one, the heaviest first.
    fn each_pattern(&self, caller: Caller<'_>, tell: &mut dyn FnMut(u32) -> Walk) -> Walk {
        match caller.patterns() {
            Some(patterns) => patterns.iter().try_for_each(|pattern| tell(*pattern)),
            None => self.callers.each_match(caller.id().segments(), &mut |pattern| tell(pattern)),
        }
    }
}

impl Octets for PathSegment<'_> {
    fn octets(self) -> impl Iterator<Item = u8> {
        self.decoded()
    }

    fn is(self, literal: &[u8]) -> bool {
        PathSegment::is(self, literal)
    }

    fn hashed(self, hash: Hash) -> Hash {
        match self.as_literal() {
            Some(literal) => literal.hashed(hash),
            None => self.octets().fold(hash, Hash::byte),
        }
    }
}

/// A label of a host, whose case doesn't matter.
#[derive(Clone, Copy)]
struct Label<'a>(&'a str);

impl Octets for Label<'_> {
    fn octets(self) -> impl Iterator<Item = u8> {
        self.0.bytes().map(|b| b.to_ascii_lowercase())
    }
}

/// One walk through the alternatives, the heaviest first: by path, then caller, then host.
struct Search<'s, F> {
    rules: &'s HttpRules,
    caller: Caller<'s>,
    facts: &'s HttpFacts<'s>,
    holds: F,
    found: Heaviest,
}

/// Breaks when what follows can't change the decision: it is lighter, and a deny beats every allow.
type Walk = ControlFlow<()>;

impl<F: Fn(&HttpRule) -> bool> Search<'_, F> {
    fn all_paths(&mut self) -> Walk {
        let rules = self.rules;
        match self.facts.target {
            Target::Path(path) => {
                rules.paths.each_match(path.segments(), &mut |path| self.callers(path))?;
            }
            Target::Asterisk => self.callers(ASTERISK)?,
            Target::Connect => {}
        }
        self.callers(ANY)
    }

    fn callers(&mut self, path: u32) -> Walk {
        let rules = self.rules;
        rules.each_pattern(self.caller, &mut |pattern| self.hosts(path, pattern))
    }

    fn hosts(&mut self, path: u32, caller: u32) -> Walk {
        let rules = self.rules;
        if !rules.hosts.is_empty() {
            match self.facts.host {
                Some(host) => {
                    let labels = host.rsplit('.').map(Label);
                    rules.hosts.each_match(labels, &mut |host| {
                        self.look_at([path, caller, host]);
                        self.go_on()
                    })?;
                }
                // These weigh as much as those without hosts.
                None => self.look_at([path, caller, UNKNOWN]),
            }
        }
        self.look_at([path, caller, ANY]);
        self.go_on()
    }

    /// Takes the first deny and the first allow, unless heavier ones are there. The one call that may follow with the
    /// same weight (a host that isn't known) brings denies only: of those the smaller number counts.
    fn look_at(&mut self, key: [u32; 3]) {
        for &number in self.rules.alternatives.rules(key) {
            let Some(rule) = self.rules.rule(number) else { continue };
            let place = match rule.effect {
                Effect::Deny => &mut self.found.deny,
                Effect::Allow => &mut self.found.allow,
            };
            if place.is_some_and(|known| rule.effect == Effect::Allow || known < number) {
                return;
            }
            if (self.holds)(rule) {
                *place = Some(number);
                return;
            }
        }
    }

    const fn go_on(&self) -> Walk {
        let Heaviest { deny, allow } = self.found;
        if deny.is_some() || (allow.is_some() && !self.rules.has_denies) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
