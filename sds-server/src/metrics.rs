//! What Prometheus is told. One value, cloned into every task; its parts are shared.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::sources::SvidSnapshot;

/// All metrics of the server, with names that begin with `signet_`.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    svid_expiry: Family<SpiffeIdLabel, Gauge<i64, AtomicI64>>,
    bundle_expiry: Family<TrustDomainLabel, Gauge<i64, AtomicI64>>,
    svid_updates: Family<ResultLabel, Counter>,
    source_connected: Gauge,
    reconnects: Family<ReasonLabel, Counter>,
    streams: Family<StreamLabel, Gauge>,
    pushes: Family<TypeLabel, Counter>,
    acks: Family<TypeLabel, Counter>,
    nacks: Family<TypeLabel, Counter>,
    unanswered: Family<UnansweredLabel, Counter>,
    push_to_ack: Histogram,
    rejected: Family<ReasonLabel, Counter>,
    policy: Family<DigestLabel, Gauge>,
    policy_loads: Family<ResultLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SpiffeIdLabel {
    spiffe_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TrustDomainLabel {
    trust_domain: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabel {
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UnansweredLabel {
    r#type: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StreamLabel {
    r#type: &'static str,
    transport: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DigestLabel {
    digest: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabel {
    version: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("signet");
        let mut add = Adder(&mut registry);
        let metrics = Self {
            svid_expiry: add.one("svid_expiry_timestamp_seconds", "When each served SVID expires"),
            bundle_expiry: add.one(
                "bundle_expiry_timestamp_seconds",
                "When the last authority of each served bundle expires",
            ),
            svid_updates: add
                .one("svid_updates", "SVIDs served, held back, refused, withdrawn, expired"),
            source_connected: add
                .one("workload_api_connected", "1 while the identity source is connected"),
            reconnects: add.one(
                "workload_api_reconnects",
                "Ends of the stream to the identity source, and failed attempts to open it",
            ),
            streams: add.one("xds_streams", "Open streams"),
            pushes: add.one("xds_pushes", "Responses sent"),
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
            policy: add.one("policy_info", "The policy in force"),
            policy_loads: add.one("policy_load", "Policy files read: accepted or rejected"),
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

    pub(crate) fn show_identities(&self, snapshot: &SvidSnapshot) {
        self.svid_expiry.clear();
        for (id, svid) in &snapshot.svids {
            self.svid_expiry
                .get_or_create(&SpiffeIdLabel { spiffe_id: id.to_string() })
                .set(unix_seconds(svid.not_after()));
        }
        self.bundle_expiry.clear();
        for (domain, bundle) in &snapshot.bundles {
            let ends = bundle.authorities().iter().filter_map(|authority| {
                let (_, parsed) = x509_parser::parse_x509_certificate(authority.as_bytes()).ok()?;
                Some(parsed.validity().not_after.timestamp())
            });
            self.bundle_expiry
                .get_or_create(&TrustDomainLabel { trust_domain: domain.to_string() })
                .set(ends.max().unwrap_or(0));
        }
    }

    pub(crate) fn count_svid_update(&self, result: &'static str) {
        self.svid_updates.get_or_create(&ResultLabel { result }).inc();
    }

    pub(crate) fn show_source_connected(&self, connected: bool) {
        self.source_connected.set(i64::from(connected));
    }

    pub(crate) fn is_source_connected(&self) -> bool {
        self.source_connected.get() == 1
    }

    pub(crate) fn count_reconnect(&self, reason: &'static str) {
        self.reconnects.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts a stream for as long as the returned value lives.
    pub(crate) fn open_stream(&self, r#type: &'static str, transport: &'static str) -> OpenStream {
        let gauge = self.streams.get_or_create_owned(&StreamLabel { r#type, transport });
        gauge.inc();
        OpenStream(gauge)
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

    pub(crate) fn show_policy(&self, digest: &str) {
        self.policy.clear();
        self.policy.get_or_create(&DigestLabel { digest: digest.to_owned() }).set(1);
    }
}

/// A stream in the gauge.
#[derive(Debug)]
pub(crate) struct OpenStream(Gauge<i64, AtomicI64>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn unix_seconds(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
