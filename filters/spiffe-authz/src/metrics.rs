//! The filter's counters, `wasmcustom.signet_http_…` in Envoy's `/stats`.
//!
//! A request adds to numbers in the VM; the timer hands them to Envoy, as does the end of a policy. So a second's counts
//! are lost with a VM or an Envoy that dies.

use std::cell::{Cell, RefCell};

use host_calls::Counter;
use signet_policy::{HttpDecision, HttpDenial, HttpRule, Slice};

/// Most rules with a counter of their own; the decisions of others are counted together.
const MAX_RULES: usize = 200;

/// A counter, and what it has not been told yet.
#[derive(Debug)]
struct Tally {
    counter: Counter,
    untold: Cell<u32>,
}

/// One counter for each kind of decision, one for each reason not to allow, and one for each of the slice's first rules.
#[derive(Debug)]
pub(crate) struct Metrics {
    allowed: Tally,
    denied: Tally,
    no_identity: Tally,
    ambiguous: Tally,
    shadow: Tally,
    shadow_denied: Tally,
    /// Those that were met: [`HttpDecision::reason`] has some two dozen values.
    reasons: RefCell<Vec<(&'static str, Tally)>>,
    /// Sorted by [`place`].
    rules: Vec<(usize, Tally)>,
    other_rules: Tally,
}

impl Tally {
    fn define(name: &str) -> Self {
        Self { counter: Counter::define(name), untold: Cell::default() }
    }

    fn count(&self) {
        self.untold.set(self.untold.get().saturating_add(1));
    }

    fn hand_over(&self) {
        match self.untold.take() {
            0 => {}
            many => self.counter.add(many),
        }
    }
}

impl Metrics {
    /// For the policy that `slice` is compiled to.
    pub(crate) fn define(slice: &Slice) -> Self {
        let mut rules: Vec<(usize, Tally)> = Vec::new();
        for HttpRule { name, .. } in slice.http.iter().take(MAX_RULES) {
            let place = place(name.as_str());
            if let Err(at) = rules.binary_search_by_key(&place, |(known, _)| *known) {
                let counter = Tally::define(&format!("signet_http_rule.{name}"));
                rules.insert(at, (place, counter));
            }
        }
        Self {
            allowed: Tally::define("signet_http_allowed"),
            denied: Tally::define("signet_http_denied"),
            no_identity: Tally::define("signet_http_no_identity"),
            ambiguous: Tally::define("signet_http_ambiguous"),
            shadow: Tally::define("signet_http_shadow_differs"),
            shadow_denied: Tally::define("signet_http_shadow_denied"),
            reasons: RefCell::default(),
            rules,
            other_rules: Tally::define("signet_http_other_rules"),
        }
    }

    pub(crate) fn count(&self, decision: &HttpDecision<'_>) {
        match decision {
            HttpDecision::Allow { .. } => &self.allowed,
            HttpDecision::Deny(HttpDenial::NoIdentity(_)) => &self.no_identity,
            HttpDecision::Deny(_) => &self.denied,
            HttpDecision::Refuse(_) => &self.ambiguous,
        }
        .count();
        if !matches!(decision, HttpDecision::Allow { .. }) {
            self.count_reason(decision.reason());
        }
        if let Some(rule) = decision.rule() {
            self.of_rule(rule).count();
        }
    }

    /// The decision would be another one with the shadow rules enforced.
    pub(crate) fn count_shadow(&self, shadow: &HttpDecision<'_>) {
        self.shadow.count();
        if matches!(shadow, HttpDecision::Deny(_)) {
            self.shadow_denied.count();
        }
    }

    /// Tells Envoy what was counted since the last time.
    pub(crate) fn hand_over(&self) {
        let Self { allowed, denied, no_identity, ambiguous, shadow, shadow_denied, .. } = self;
        [allowed, denied, no_identity, ambiguous, shadow, shadow_denied, &self.other_rules]
            .into_iter()
            .chain(self.rules.iter().map(|(_, tally)| tally))
            .for_each(Tally::hand_over);
        self.reasons.borrow().iter().for_each(|(_, tally)| tally.hand_over());
    }

    fn count_reason(&self, reason: &'static str) {
        let mut reasons = self.reasons.borrow_mut();
        if let Some((_, tally)) = reasons.iter().find(|(known, _)| *known == reason) {
            return tally.count();
        }
        let tally = Tally::define(&format!("signet_http_reason.{reason}"));
        tally.count();
        reasons.push((reason, tally));
    }

    fn of_rule(&self, rule: &str) -> &Tally {
        let found = self.rules.binary_search_by_key(&place(rule), |(place, _)| *place);
        found.ok().and_then(|at| self.rules.get(at)).map_or(&self.other_rules, |(_, tally)| tally)
    }
}

/// Where a rule's name stands in memory. It stays there from the slice into every decision, and numbers are faster to find
/// than names.
fn place(name: &str) -> usize {
    name.as_ptr().addr()
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.hand_over();
    }
}
