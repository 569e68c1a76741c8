//! `/status`: everything that the page shows, as JSON. Keys are only ever added.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use spiffe::SpiffeId;

use super::certificate::Certificate;
use super::{Health, Readiness};
use crate::config::Source;
use crate::logging::LogControl;
use crate::metrics::Metrics;
use crate::policy::PolicyReport;
use crate::sources::{Identities, Pin, Svid, SvidSnapshot};
use crate::time::serialize_utc;
use crate::xds::Attended;
use crate::xds::registry::{EnvoyReport, RefusedPeer, Registry};

/// All that the admin pages read.
#[derive(Debug, Clone)]
pub struct Admin {
    /// What readiness depends on.
    pub health: Health,
    /// Where identities come from.
    pub source: SourceReport,
    /// For `/metrics`.
    pub metrics: Metrics,
    /// Who is connected.
    pub registry: Arc<Registry>,
    /// Who is served its own identities.
    pub attended: Attended,
    /// For `/logging`.
    pub log: LogControl,
    /// When the server was started.
    pub started: SystemTime,
}

/// The answer of `/status`. All times are RFC 3339 in UTC.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Of this program.
    pub version: &'static str,
    /// When it was started.
    #[serde(serialize_with = "serialize_utc")]
    pub started: SystemTime,
    /// When this was written.
    #[serde(serialize_with = "serialize_utc")]
    pub now: SystemTime,
    /// What `/readyz` says.
    #[serde(flatten)]
    pub readiness: Readiness,
    /// Where identities come from.
    pub source: SourceReport,
    /// The server's SVIDs, by SPIFFE ID: those that it serves, but where each process gets its own.
    pub svids: Vec<SvidReport>,
    /// SVIDs that the source has withdrawn and Envoys may hold until they expire, by SPIFFE ID.
    pub withdrawn: Vec<WithdrawnReport>,
    /// The bundles that come with them, by trust domain.
    pub bundles: Vec<BundleReport>,
    /// The processes that are served their own identities, by user and number; empty with the source
    /// `workload_api`.
    pub processes: Vec<ProcessReport>,
    /// The policy; null where none is configured.
    pub policy: Option<PolicyReport>,
    /// Who is connected, by peer and node.
    pub envoys: Vec<EnvoyReport>,
    /// Who was refused lately, the last first.
    pub refused_peers: Vec<RefusedPeer>,
    /// What is logged.
    pub logging: String,
}

/// Where identities come from.
#[derive(Debug, Clone, Serialize)]
pub struct SourceReport {
    /// The configuration's key, as in `workload_api`.
    pub kind: &'static str,
    /// Its address.
    pub address: String,
    /// The API that `connected` and `trouble` tell of. With `broker` that is the Workload API, which gives the
    /// server the SVID by which the broker knows it; how the broker answers is told of each process.
    pub api: &'static str,
    /// Whether it answers now.
    pub connected: bool,
    /// What is wrong with it, or with what it issued.
    pub trouble: Option<String>,
}

/// A process that is served its own identities.
#[derive(Debug, Serialize)]
pub struct ProcessReport {
    /// Who it is: `uid 7 pid 9`, as `envoys[].peer`.
    pub process: String,
    /// Its open streams. Without any it is forgotten after a while.
    pub streams: usize,
    /// Why it has no default SVID, or why nothing newer arrives.
    pub trouble: Option<String>,
    /// Its SVIDs, by SPIFFE ID.
    pub svids: Vec<SvidReport>,
    /// SVIDs that were withdrawn from it and that it may hold until they expire.
    pub withdrawn: Vec<WithdrawnReport>,
    /// Its bundles, by trust domain.
    pub bundles: Vec<BundleReport>,
}

/// A served SVID.
#[derive(Debug, Serialize)]
pub struct SvidReport {
    /// The leaf's URI SAN.
    pub spiffe_id: String,
    /// Whether it is served under the default name.
    pub default: bool,
    /// The source's remark on what it is for.
    pub hint: Option<String>,
    /// Of the leaf, hex in pairs.
    pub serial: String,
    /// Who signed the leaf.
    pub issuer: String,
    /// The signer's key.
    pub issuer_key: Option<String>,
    /// From when on the whole chain is valid.
    #[serde(serialize_with = "serialize_utc")]
    pub not_before: SystemTime,
    /// When the first certificate of the chain expires.
    #[serde(serialize_with = "serialize_utc")]
    pub not_after: SystemTime,
    /// Until `not_after`; 0 from then on.
    pub seconds_left: u64,
}

/// An SVID that is not served any more. No message takes a certificate from an Envoy.
#[derive(Debug, Serialize)]
pub struct WithdrawnReport {
    /// The leaf's URI SAN.
    pub spiffe_id: String,
    /// When the first certificate of the chain expires.
    #[serde(serialize_with = "serialize_utc")]
    pub not_after: SystemTime,
    /// Until `not_after`; 0 from then on.
    pub seconds_left: u64,
}

/// A served bundle.
#[derive(Debug, Serialize)]
pub struct BundleReport {
    /// Whose workloads it vouches for.
    pub trust_domain: String,
    /// Its authorities.
    pub authorities: Vec<AuthorityReport>,
}

/// A certificate authority.
#[derive(Debug, Serialize)]
pub struct AuthorityReport {
    /// Distinguished name.
    pub subject: String,
    /// Hex in pairs.
    pub serial: String,
    /// Its key, which `issuer_key` of SVIDs names.
    pub key: Option<String>,
    /// When it expires.
    #[serde(serialize_with = "serialize_utc")]
    pub not_after: SystemTime,
    /// Until `not_after`; 0 from then on.
    pub seconds_left: u64,
}

impl SourceReport {
    /// Whether each process is served its own identities.
    pub fn is_per_process(&self) -> bool {
        self.kind != "workload_api"
    }

    /// What the server's identity is for where Envoys are not served it.
    pub(crate) fn purpose(&self) -> &'static str {
        match self.kind {
            "broker" => "the server's own SVID, by which the Broker API knows it: ",
            _ => "",
        }
    }

    /// Of a configured source.
    pub fn of(source: &Source) -> Self {
        let (kind, address, api) = match source {
            Source::WorkloadApi(api) => ("workload_api", api.socket.to_string(), "Workload API"),
            Source::Broker(broker) => ("broker", broker.socket.to_string(), "Workload API"),
            Source::Delegated(agent) => {
                ("delegated", agent.admin_socket.to_string(), "Delegated Identity API")
            }
        };
        Self { kind, address, api, connected: false, trouble: None }
    }
}

impl Admin {
    /// Everything as it is now.
    pub fn status(&self) -> Status {
        let now = SystemTime::now();
        let identities = self.health.identities.borrow().clone();
        let policy = self.health.policy.borrow().report();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            started: self.started,
            now,
            readiness: self.health.readiness(),
            svids: svids(&identities.snapshot, now),
            withdrawn: withdrawn(&identities.snapshot, now),
            source: SourceReport {
                connected: self.metrics.is_source_connected(),
                trouble: identities.trouble,
                ..self.source.clone()
            },
            bundles: bundles(&identities.snapshot, now),
            processes: self.attended.tell(|pin, streams, held| process(pin, streams, held, now)),
            policy,
            envoys: self.registry.envoys(),
            refused_peers: self.registry.refused(),
            logging: self.log.filter(),
        }
    }
}

fn process(pin: &Pin, streams: usize, held: &Identities, now: SystemTime) -> ProcessReport {
    ProcessReport {
        process: pin.to_string(),
        streams,
        trouble: held.trouble.clone(),
        svids: svids(&held.snapshot, now),
        withdrawn: withdrawn(&held.snapshot, now),
        bundles: bundles(&held.snapshot, now),
    }
}

fn svids(snapshot: &SvidSnapshot, now: SystemTime) -> Vec<SvidReport> {
    let report = |svid: &Arc<Svid>| {
        let leaf = svid.chain().next().map(Certificate::read).unwrap_or_default();
        SvidReport {
            spiffe_id: svid.id().to_string(),
            default: snapshot.default.as_ref() == Some(svid.id()),
            hint: svid.hint().filter(|hint| !hint.is_empty()).map(str::to_owned),
            serial: svid.serial().to_owned(),
            issuer: leaf.issuer,
            issuer_key: leaf.issuer_key,
            not_before: svid.not_before(),
            not_after: svid.not_after(),
            seconds_left: seconds_left(svid.not_after(), now),
        }
    };
    snapshot.svids.values().map(report).collect()
}

fn withdrawn(snapshot: &SvidSnapshot, now: SystemTime) -> Vec<WithdrawnReport> {
    let report = |(id, expires): (&SpiffeId, &SystemTime)| WithdrawnReport {
        spiffe_id: id.to_string(),
        not_after: *expires,
        seconds_left: seconds_left(*expires, now),
    };
    snapshot.withdrawn.iter().map(report).collect()
}

fn bundles(snapshot: &SvidSnapshot, now: SystemTime) -> Vec<BundleReport> {
    let authority = |der: &[u8]| {
        let read = Certificate::read(der);
        let not_after = read.not_after.unwrap_or(SystemTime::UNIX_EPOCH);
        AuthorityReport {
            subject: read.subject,
            serial: read.serial,
            key: read.key,
            not_after,
            seconds_left: seconds_left(not_after, now),
        }
    };
    let bundles = snapshot.bundles.iter().map(|(domain, bundle)| BundleReport {
        trust_domain: domain.to_string(),
        authorities: bundle.authorities().iter().map(|der| authority(der.as_bytes())).collect(),
    });
    bundles.collect()
}

fn seconds_left(until: SystemTime, now: SystemTime) -> u64 {
    until.duration_since(now).map_or(0, |left| left.as_secs())
}
