//! The filter's counters, `wasmcustom.signet_http_…` in Envoy's `/stats`.

use host_calls::Counter;
use signet_policy::{HttpDecision, HttpDenial};

/// One counter for each kind of decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metrics {
    allowed: Counter,
    denied: Counter,
    no_identity: Counter,
    ambiguous: Counter,
    shadow: Counter,
}

impl Metrics {
    pub(crate) fn define() -> Self {
        Self {
            allowed: Counter::define("signet_http_allowed"),
            denied: Counter::define("signet_http_denied"),
            no_identity: Counter::define("signet_http_no_identity"),
            ambiguous: Counter::define("signet_http_ambiguous"),
            shadow: Counter::define("signet_http_shadow_differs"),
        }
    }

    pub(crate) fn count(self, decision: &HttpDecision<'_>) {
        let counter = match decision {
            HttpDecision::Allow { .. } => self.allowed,
            HttpDecision::Deny(HttpDenial::NoIdentity(_)) => self.no_identity,
            HttpDecision::Deny(_) => self.denied,
            HttpDecision::Refuse(_) => self.ambiguous,
        };
        counter.increment();
    }

    /// The decision would be another one with the shadow rules enforced.
    pub(crate) fn count_shadow(self) {
        self.shadow.increment();
    }
}
