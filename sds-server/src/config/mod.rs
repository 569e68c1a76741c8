//! What the operator configures: one YAML file, read at the start and followed from then on.
//!
//! Every value is parsed into a type that cannot be wrong while the file is read, so that a mistake
//! is reported with its line, what was found and what would be accepted. Unknown keys are mistakes.

mod address;
mod defaults;
mod interval;
mod listen;
mod name_pattern;
mod read;
mod reload;
mod san_matcher;
mod schema;
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signet_policy::{DenialDetail, HeaderNames, PayloadName};
use tokio::sync::watch;

pub use address::{Address, UnixAddress};
pub use interval::Interval;
pub use listen::{AllowedPeers, Listen, PeerPattern, TcpListen};
pub use name_pattern::NamePattern;
pub use read::ConfigError;
pub use reload::{ConfigFault, ConfigFile, LIVE_KEYS, Reloader};
pub use san_matcher::SanMatcher;
pub use schema::schema;
pub use values::{ConfiguredId, FileMode, Sha256Digest};

/// The whole configuration of a server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where SVIDs and bundles come from.
    pub source: Source,
    /// Where Envoys connect.
    pub listen: Listen,
    /// Where probes, Prometheus and `signet status` connect. Left out: nowhere.
    pub admin: Option<Admin>,
    /// The names under which well-known secrets are served.
    #[serde(default)]
    pub names: Names,
    /// Whom a validation context accepts, by the name of its bundle without `.spiffe` or `.x509`: of
    /// those that the bundle vouches for, only those with one of these URI SANs. It holds for both
    /// forms of that name, and for no other name of the same bundle. Left out: all.
    #[serde(default)]
    pub validation: BTreeMap<String, Vec<SanMatcher>>,
    /// Names of secrets that Envoy chooses while a handshake waits, by SNI for instance: a name, or
    /// a part of one with `*` before or after it. In the delta protocol such a name is answered at
    /// once when nothing is known of it, so that the handshake fails instead of hanging, and it is
    /// told when its secret is withdrawn. Left out: none, an unknown name is awaited.
    #[serde(default)]
    pub on_demand: Vec<NamePattern>,
    /// Which SVID is the default one.
    #[serde(default)]
    pub default_svid: DefaultSvid,
    /// How rotations are spread over time.
    #[serde(default)]
    pub rotation: Rotation,
    /// The mesh policy. Left out: the server serves secrets only.
    pub policy: Option<PolicyFile>,
    /// The Wasm filters that receive the policy.
    #[serde(default)]
    pub filters: Filters,
    /// Bounds on what peers may ask of the server.
    #[serde(default)]
    pub limits: Limits,
    /// What the process forbids itself.
    #[serde(default)]
    pub process: Process,
    /// How long open streams may take to end after SIGTERM. Default 5 s.
    #[serde(default = "defaults::drain")]
    pub drain: Interval,
}

/// The configuration in force. Some of it may change while the server runs; readers look at it
/// when they need it.
pub type LiveConfig = watch::Receiver<Arc<Config>>;

/// The place that issues identities.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The SPIFFE Workload API: the server's own identities, for a sidecar in the same pod.
    WorkloadApi(WorkloadApi),
    /// The SPIFFE Broker API (SPIRE 1.15.3 or later, experimental there): each process of this node
    /// that connects gets its own identities.
    Broker(Broker),
    /// SPIRE's Delegated Identity API: the same, but the server can impersonate every workload of
    /// the agent. Choose it only where `broker` is not to be had.
    Delegated(Delegated),
}

impl Source {
    /// Whether each process that connects has identities of its own.
    pub fn is_per_process(&self) -> bool {
        !matches!(self, Self::WorkloadApi(_))
    }
}

/// The Workload API's address.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadApi {
    /// `unix:///run/spire/agent.sock`. It need not exist yet: the server waits for it.
    pub socket: UnixAddress,
}

/// The Broker API's address, and who is who on its channel.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// The agent's broker socket, `unix:///run/spire/broker/broker.sock`. It need not exist yet.
    pub socket: UnixAddress,
    /// The same agent's Workload API, which gives the server the SVID by which the agent knows its
    /// broker.
    pub workload_api: UnixAddress,
    /// The SPIFFE ID of that SVID, where the server has several. Left out: the smallest.
    pub spiffe_id: Option<ConfiguredId>,
    /// The agent's own SPIFFE ID. Left out: any agent of the server's trust domain, that is
    /// `spiffe://DOMAIN/spire/agent/…`.
    pub agent_id: Option<ConfiguredId>,
}

/// The Delegated Identity API's address.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delegated {
    /// The agent's admin socket, `unix:///run/spire/admin/admin.sock`. It need not exist yet.
    pub admin_socket: UnixAddress,
}

/// The listener of `/livez`, `/healthz`, `/readyz`, `/metrics`, and, for people and their programs, of `/`, `/status`
/// and `/logging`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// `127.0.0.1:9902`, or `unix:///path`. Port 0 takes a free one, which is logged.
    pub listen: Address,
}

/// Secret names, those of SPIRE's agent by default.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Names {
    /// The default SVID. Default `default`.
    pub default_svid: String,
    /// The bundle of the default SVID's trust domain. Default `ROOTCA`.
    pub default_bundle: String,
    /// All bundles in one validation context. Default `ALL`.
    pub all_bundles: String,
}

/// The operator's choice among several SVIDs. With neither key: the one chosen first while it
/// lives, else the smallest SPIFFE ID. With either: that SVID or none.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DefaultSvid {
    /// This SPIFFE ID.
    pub spiffe_id: Option<ConfiguredId>,
    /// The SVID that the source gives this hint. Asked when `spiffe_id` is left out or not issued.
    pub hint: Option<String>,
}

impl DefaultSvid {
    /// The configured SPIFFE ID, if any.
    pub fn id(&self) -> Option<&spiffe::SpiffeId> {
        self.spiffe_id.as_ref().map(|configured| &configured.0)
    }
}

/// Make before break.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rotation {
    /// How long a certificate authority must have been in the bundle before a renewed leaf of its
    /// is served, so that every peer can have learned of it. At most half of the old leaf's
    /// remaining life. Default 10 s.
    pub hold: Interval,
    /// How long an identity that the source no longer names is still served, before the filters of
    /// its Envoys deny what comes to it; sources name none for an instant while an entry is
    /// re-created. Default 1 s.
    pub withdrawal_delay: Interval,
}

/// Where the mesh policy is written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Path of the document, or of a directory whose `*.yaml` are one policy. It is watched: a new
    /// version is live at once, a faulty one leaves the last good in force.
    pub file: PathBuf,
}

/// The filters that the server configures by ECDS.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filters {
    /// `signet.http`, the HTTP filter `spiffe_authz.wasm`.
    pub http: Option<Filter>,
    /// `signet.postgres`, the network filter `pg_role.wasm`.
    pub postgres: Option<Filter>,
}

/// One Wasm filter.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The code's path as Envoy sees it.
    pub wasm: PathBuf,
    /// SHA-256 of the code in hex. Checked wherever the server can read the file too; a mismatch
    /// withholds the filter.
    pub sha256: Sha256Digest,
    /// What a denied peer is told: `class` (default), or `rule` for demonstrations. Logs have the
    /// rule always.
    #[serde(default)]
    #[schemars(with = "schema::DenialDetailWords")]
    pub denial_detail: DenialDetail,
    /// Names of the headers that tell the API who called. Default `x-spiffe-id`, `x-db-role`,
    /// `x-signet-rule`.
    #[serde(default)]
    #[schemars(with = "schema::HeaderNameWords")]
    pub headers: HeaderNames,
    /// Where Envoy's `jwt_authn` leaves the claims that it verified: its provider's
    /// `payload_in_metadata`. Default `jwt_payload`.
    #[serde(default)]
    #[schemars(with = "String")]
    pub jwt_payload: PayloadName,
}

/// Bounds on peers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open connections of one peer: of a user, of a process where processes are attested, of a
    /// SPIFFE ID over TCP. Default 16.
    pub connections_per_peer: usize,
    /// Open connections in all. Default 1,024.
    pub connections: usize,
    /// Connections that each socket accepts per second in the long run, before any handshake.
    /// Default 50.
    pub opens_per_second: u32,
    /// Connections accepted at once after a quiet time. Default 200.
    pub opens_burst: u32,
    /// Streams of one connection; without ADS Envoy opens one per secret. Default 1,024.
    pub streams_per_connection: u32,
    /// Streams that a peer may open and reset before they are taken up; a connection with more ends
    /// (CVE-2023-44487). Default 64.
    pub pending_resets: usize,
    /// Streams of a connection that the server may have to reset because the peer broke the rules of
    /// HTTP/2; a connection with more ends. Default 64.
    pub own_resets: usize,
    /// Bytes of a request's headers, continuations and all; gRPC needs a few hundred. From 1 KiB to
    /// 1 MiB. Default 16 KiB.
    pub header_bytes: u32,
    /// Bytes that a peer may send on a connection before anyone reads them, on however many streams
    /// (the windows of HTTP/2). Room is given back in writes of their own, each when a third is used:
    /// with the default after every sixth request with Envoy's node of 61 KB, instead of after each.
    /// From 64 KiB to 1 GiB. Default 1 MiB.
    pub window_bytes: u32,
    /// Names in one request. Default 1,024.
    pub names_per_request: usize,
    /// Different JWT-SVIDs that peers may want at once, over all of them. Default 64.
    pub jwt_svids: usize,
    /// Bytes of one request; Envoy's node alone takes 61 KB. What is kept for the streams of a
    /// connection, of half-received requests and of names, is at most four times as much. Default 1 MiB.
    pub message_bytes: usize,
    /// How long a peer may leave a response unread before its stream is closed. From 100 ms to 1 h. Default 20 s.
    pub slow_reader: Interval,
    /// How often a connection's peer is asked whether it is there (HTTP/2 PING): an Envoy that is frozen
    /// or gone is noticed by it. From 100 ms to 1 h. Default 30 s.
    pub keepalive: Interval,
    /// How long it may take to answer; then the connection is closed. From 100 ms to 1 h. Default 5 s.
    pub keepalive_timeout: Interval,
}

/// What the process forbids itself.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Process {
    /// Whether others of the same user may read the process's memory and whether it may leave core
    /// files. Default false: it holds private keys. An agent of the same user then cannot read
    /// `/proc/PID/exe`, which the selectors `unix:path` and `unix:sha256` need; set true there, or
    /// give the agent `CAP_SYS_PTRACE`.
    pub dumpable: bool,
}
