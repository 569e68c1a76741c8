//! The filter's counters, `wasmcustom.signet_postgres_…` in Envoy's `/stats`.

use host_calls::Counter;

/// One counter for each thing that may happen to a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metrics {
    pub(crate) allowed: Counter,
    pub(crate) denied: Counter,
    pub(crate) no_identity: Counter,
    /// Start-ups that are not the protocol, or came too late.
    pub(crate) refused: Counter,
    /// Denials that cost a backend, since Postgres had been asked for encryption before.
    pub(crate) denied_after_relay: Counter,
    pub(crate) cancels_passed: Counter,
    pub(crate) cancels_dropped: Counter,
    /// Sessions that the filter ended.
    pub(crate) ended: Counter,
}

impl Metrics {
    pub(crate) fn define() -> Self {
        Self {
            allowed: Counter::define("signet_postgres_allowed"),
            denied: Counter::define("signet_postgres_denied"),
            no_identity: Counter::define("signet_postgres_no_identity"),
            refused: Counter::define("signet_postgres_refused"),
            denied_after_relay: Counter::define("signet_postgres_denied_after_relay"),
            cancels_passed: Counter::define("signet_postgres_cancels_passed"),
            cancels_dropped: Counter::define("signet_postgres_cancels_dropped"),
            ended: Counter::define("signet_postgres_sessions_ended"),
        }
    }
}
