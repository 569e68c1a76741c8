//! What Prometheus is told. One value, cloned into every task; its parts are shared.

mod labels;
mod shown;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use self::labels::{
    DigestLabel, ReasonLabel, ResultLabel, SpiffeIdLabel, StreamLabel, TrustDomainLabel, TypeLabel,
    UnansweredLabel, VersionLabel,
};
use self::shown::Earliest;
pub(crate) use self::shown::ShownIdentities;

/// All metrics of the server, with names that begin with `signet_`.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    svid_expiry: Arc<Earliest<SpiffeIdLabel>>,
    bundle_expiry: Arc<Earliest<TrustDomainLabel>>,
    svid_updates: Family<ResultLabel, Counter>,
    jwt_svid_updates: Family<ResultLabel, Counter>,
    source_connected: Gauge,
    reconnects: Family<ReasonLabel, Counter>,
    processes: Gauge,
    upstream_streams: Gauge,
    attestations: Gauge,
    attestations_max: Gauge,
    streams: Family<StreamLabel, Gauge>,
    pushes: Family<TypeLabel, Counter>,
    acks: Family<TypeLabel, Counter>,
    nacks: Family<TypeLabel, Counter>,
    unanswered: Family<UnansweredLabel, Counter>,
    push_to_ack: Histogram,
    rejected: Family<ReasonLabel, Counter>,
    policy: Family<DigestLabel, Gauge>,
    policy_loads: Family<ResultLabel, Counter>,
    config_loads: Family<ResultLabel, Counter>,
    withdrawn_slices: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("signet");
        let mut add = Adder(&mut registry);
        let metrics = Self {
            svid_expiry: Earliest::in_(add.one(
                "svid_expiry_timestamp_seconds",
                "When each served SVID expires, in seconds since 1970",
            )),
            bundle_expiry: Earliest::in_(add.one(
                "bundle_expiry_timestamp_seconds",
                "When the last authority of each served bundle expires, in seconds since 1970",
            )),
            svid_updates: add
                .one("svid_updates", "SVIDs served, held back, refused, withdrawn, expired"),
            jwt_svid_updates: add.one("jwt_svid_updates", "JWT-SVIDs fetched, failed, expired"),
            source_connected: add
                .one("workload_api_connected", "1 while the identity source is connected"),
            reconnects: add.one(
                "workload_api_reconnects",
                "Ends of the stream to the identity source, and failed attempts to open it",
            ),
            processes: add.one("node_processes", "Processes that are served their own identities"),
            upstream_streams: add
                .one("node_upstream_streams", "Open streams to the agent, one for each process"),
            attestations: add
                .one("attestations_in_flight", "Streams that are being opened to the agent"),
            attestations_max: add
                .one("attestations_in_flight_max", "The most that there were at once"),
            streams: add.one("xds_streams", "Streams of Envoys that are open"),
            pushes: add.one("xds_pushes", "Responses sent to Envoys"),
            acks: add.one("xds_acks", "Responses that Envoy accepted"),
            nacks: add.one("xds_nacks", "Responses that Envoy refused"),
            unanswered: add.one(
                "xds_unanswered_names",
                "Names asked for and not served: for 10 s, or for ever",
            ),
            push_to_ack: {
                let histogram = Histogram::new(exponential_buckets(0.0005, 2.0, 14));
                add.0.register(
                    "xds_push_to_ack_seconds",
                    "Time from a response to Envoy's answer",
                    histogram.clone(),
                );
                histogram
            },
            rejected: add.one("xds_rejected", "Connections and requests refused"),
            policy: add.one("policy_info", "1 for the policy that is in force"),
            config_loads: add.one(
                "config_load",
                "New versions of the configuration's file: accepted or rejected",
            ),
            policy_loads: add.one("policy_load", "Policy files read: accepted or rejected"),
            withdrawn_slices: add.one(
                "withdrawn_slices",
                "Filter configurations that came to deny everything for a withdrawn identity",
            ),
            registry: Arc::default(),
        };
        let build: Family<VersionLabel, Gauge> =
            add.one("build_info", "The version of this program");
        build.get_or_create(&VersionLabel { version: env!("CARGO_PKG_VERSION") }).set(1);
        Self { registry: Arc::new(registry), ..metrics }
    }
}

struct Adder<'a>(&'a mut Registry);

impl Adder<'_> {
    fn one<M: prometheus_client::registry::Metric + Clone + Default>(
        &mut self,
        name: &str,
        help: &str,
    ) -> M {
        let metric = M::default();
        self.0.register(name, help, metric.clone());
        metric
    }
}

impl Metrics {
    /// Everything, as `application/openmetrics-text`.
    pub fn render(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).map_or_else(|_| String::new(), |()| out)
    }

    /// What one custody holds is shown by the returned value, as long as it lives.
    pub(crate) fn show_identities(&self) -> ShownIdentities {
        ShownIdentities::new(&self.svid_expiry, &self.bundle_expiry)
    }

    pub(crate) fn count_svid_update(&self, result: &'static str) {
        self.svid_updates.get_or_create(&ResultLabel { result }).inc();
    }

    pub(crate) fn count_jwt_svid_update(&self, result: &'static str) {
        self.jwt_svid_updates.get_or_create(&ResultLabel { result }).inc();
    }

    /// The stream to the Workload API counts for as long as the returned value lives.
    pub(crate) fn open_workload_api(&self) -> OpenStream {
        OpenStream::of(&self.source_connected)
    }

    /// A stream of one process' identities counts for as long as the returned value lives.
    pub(crate) fn open_upstream(&self) -> OpenStream {
        OpenStream::of(&self.upstream_streams)
    }

    /// Whether a stream of any process is open.
    pub(crate) fn has_upstream(&self) -> bool {
        self.upstream_streams.get() > 0
    }

    /// A process that is looked after counts for as long as the returned value lives.
    pub(crate) fn open_process(&self) -> OpenStream {
        OpenStream::of(&self.processes)
    }

    /// A process is being attested for as long as the returned value lives.
    pub(crate) fn begin_attestation(&self) -> OpenStream {
        let begun = OpenStream::of(&self.attestations);
        self.attestations_max.inner().fetch_max(self.attestations.get(), Ordering::Relaxed);
        begun
    }

    pub(crate) fn is_source_connected(&self) -> bool {
        self.source_connected.get() > 0
    }

    pub(crate) fn count_reconnect(&self, reason: &'static str) {
        self.reconnects.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts a stream for as long as the returned value lives.
    pub(crate) fn open_stream(&self, r#type: &'static str, transport: &'static str) -> OpenStream {
        OpenStream::of(&self.streams.get_or_create_owned(&StreamLabel { r#type, transport }))
    }

    pub(crate) fn count_push(&self, r#type: &'static str) {
        self.pushes.get_or_create(&TypeLabel { r#type }).inc();
    }

    pub(crate) fn count_ack(&self, r#type: &'static str, after: Duration) {
        self.acks.get_or_create(&TypeLabel { r#type }).inc();
        self.push_to_ack.observe(after.as_secs_f64());
    }

    pub(crate) fn count_nack(&self, r#type: &'static str) {
        self.nacks.get_or_create(&TypeLabel { r#type }).inc();
    }

    pub(crate) fn count_unanswered(&self, r#type: &'static str, reason: &'static str) {
        self.unanswered.get_or_create(&UnansweredLabel { r#type, reason }).inc();
    }

    pub(crate) fn count_rejected(&self, reason: &'static str) {
        self.rejected.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(crate) fn count_policy_load(&self, result: &'static str) {
        self.policy_loads.get_or_create(&ResultLabel { result }).inc();
    }

    pub(crate) fn count_withdrawn_slice(&self) {
        self.withdrawn_slices.inc();
    }

    pub(crate) fn count_config_load(&self, result: &'static str) {
        self.config_loads.get_or_create(&ResultLabel { result }).inc();
    }

    pub(crate) fn show_policy(&self, digest: &str) {
        self.policy.clear();
        self.policy.get_or_create(&DigestLabel { digest: digest.to_owned() }).set(1);
    }
}

/// Something that counts in a gauge until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenStream(Gauge<i64, AtomicI64>);

impl OpenStream {
    fn of(gauge: &Gauge<i64, AtomicI64>) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests;
