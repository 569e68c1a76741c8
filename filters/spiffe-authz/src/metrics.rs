//! The filter's counters, `wasmcustom.signet_http_…` in Envoy's `/stats`.

use host_calls::Counter;
use signet_policy::{HttpDecision, HttpDenial, HttpRule, RuleName, Slice};

/// Most rules with a counter of their own; the decisions of others are counted together.
const MAX_RULES: usize = 200;

/// One counter for each kind of decision, and one for each of the slice's first rules.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    allowed: Counter,
    denied: Counter,
    no_identity: Counter,
    ambiguous: Counter,
    shadow: Counter,
    shadow_denied: Counter,
    /// Sorted by name.
    rules: Vec<(RuleName, Counter)>,
    other_rules: Counter,
}

impl Metrics {
    pub(crate) fn define(slice: &Slice) -> Self {
        let mut rules: Vec<(RuleName, Counter)> = Vec::new();
        for HttpRule { name, .. } in slice.http.iter().take(MAX_RULES) {
            if let Err(place) = rules.binary_search_by(|(known, _)| known.cmp(name)) {
                let counter = Counter::define(&format!("signet_http_rule.{name}"));
                rules.insert(place, (name.clone(), counter));
            }
        }
        Self {
            allowed: Counter::define("signet_http_allowed"),
            denied: Counter::define("signet_http_denied"),
            no_identity: Counter::define("signet_http_no_identity"),
            ambiguous: Counter::define("signet_http_ambiguous"),
            shadow: Counter::define("signet_http_shadow_differs"),
            shadow_denied: Counter::define("signet_http_shadow_denied"),
            rules,
            other_rules: Counter::define("signet_http_other_rules"),
        }
    }

    pub(crate) fn count(&self, decision: &HttpDecision<'_>) {
        let counter = match decision {
            HttpDecision::Allow { .. } => self.allowed,
            HttpDecision::Deny(HttpDenial::NoIdentity(_)) => self.no_identity,
            HttpDecision::Deny(_) => self.denied,
            HttpDecision::Refuse(_) => self.ambiguous,
        };
        counter.increment();
        if let Some(rule) = decision.rule() {
            self.of_rule(rule).increment();
        }
    }

    /// The decision would be another one with the shadow rules enforced.
    pub(crate) fn count_shadow(&self, shadow: &HttpDecision<'_>) {
        self.shadow.increment();
        if matches!(shadow, HttpDecision::Deny(_)) {
            self.shadow_denied.increment();
        }
    }

    fn of_rule(&self, rule: &str) -> Counter {
        let found = self.rules.binary_search_by(|(name, _)| name.as_str().cmp(rule));
        let counter = found.ok().and_then(|at| self.rules.get(at)).map(|(_, counter)| *counter);
        counter.unwrap_or(self.other_rules)
    }
}
