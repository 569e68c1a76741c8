//! The filter's numbers, `wasmcustom.signet_postgres_…` in Envoy's `/stats`.

use host_calls::{Counter, Gauge};

/// One counter for each thing that may happen to a connection, and how many there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metrics {
    /// Connections that the filter holds, in whatever phase.
    pub(crate) connections: Gauge,
    pub(crate) allowed: Counter,
    pub(crate) denied: Counter,
    pub(crate) no_identity: Counter,
    /// Start-ups that are not the protocol, or came too late.
    pub(crate) refused: Counter,
    /// Denials that cost a backend, since Postgres had been asked for encryption before.
    pub(crate) denied_after_relay: Counter,
    /// Start-ups that the policy allowed and Postgres did not.
    pub(crate) refused_by_postgres: Counter,
    pub(crate) cancels_passed: Counter,
    pub(crate) cancels_dropped: Counter,
    /// Sessions that the filter ended.
    pub(crate) ended: Counter,
}

impl Metrics {
    pub(crate) fn define() -> Self {
        Self {
            connections: Gauge::define("signet_postgres_connections"),
            allowed: Counter::define("signet_postgres_allowed"),
            denied: Counter::define("signet_postgres_denied"),
            no_identity: Counter::define("signet_postgres_no_identity"),
            refused: Counter::define("signet_postgres_refused"),
            denied_after_relay: Counter::define("signet_postgres_denied_after_relay"),
            refused_by_postgres: Counter::define("signet_postgres_refused_by_postgres"),
            cancels_passed: Counter::define("signet_postgres_cancels_passed"),
            cancels_dropped: Counter::define("signet_postgres_cancels_dropped"),
            ended: Counter::define("signet_postgres_sessions_ended"),
        }
    }
}
