//! What the operator configures: one YAML file, read once at the start.
//!
//! Every value is parsed into a type that cannot be wrong while the file is read, so that a mistake
//! is reported with its line, what was found and what would be accepted. Unknown keys are mistakes.

mod address;
mod interval;
mod values;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use signet_policy::{DenialDetail, HeaderNames};

pub use address::{Address, UnixAddress};
pub use configured_id::ConfiguredId;
pub use interval::Interval;
pub use values::{FileMode, Sha256Digest};

/// The whole configuration of a server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where SVIDs and bundles come from.
    pub source: Source,
    /// Where Envoys connect.
    pub listen: Listen,
    /// Where probes and Prometheus connect. Left out: nowhere.
    pub admin: Option<Admin>,
    /// The names under which well-known secrets are served.
    #[serde(default)]
    pub names: Names,
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

/// The place that issues identities.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The SPIFFE Workload API: the server's own identities, for a sidecar in the same pod.
    WorkloadApi(WorkloadApi),
}

/// The Workload API's address.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadApi {
    /// `unix:///run/spire/agent.sock`. It need not exist yet: the server waits for it.
    pub socket: UnixAddress,
}

/// The Unix socket of SDS and ECDS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Absolute path of the socket. A stale socket there is replaced, anything else is not.
    pub path: PathBuf,
    /// Permissions of the socket, octal. Default `"0660"`.
    #[serde(default = "defaults::socket_mode")]
    pub mode: FileMode,
    /// User IDs that may connect (`SO_PEERCRED`). Left out: whomever the permissions let in.
    pub allowed_uids: Option<Vec<u32>>,
}

/// The listener of `/livez`, `/readyz` and `/metrics`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// `127.0.0.1:9902`, or `unix:///path`. Port 0 takes a free one, which is logged.
    pub listen: Address,
}

/// Secret names, those of SPIRE's agent by default.
#[derive(Debug, Clone, Deserialize)]
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
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DefaultSvid {
    /// This SPIFFE ID.
    pub spiffe_id: Option<ConfiguredId>,
    /// The SVID that the source gives this hint. Asked when `spiffe_id` is left out or not issued.
    pub hint: Option<String>,
}

/// Make before break.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rotation {
    /// How long a certificate authority must have been in the bundle before a renewed leaf of its
    /// is served, so that every peer can have learned of it. At most half of the old leaf's
    /// remaining life. Default 10 s.
    pub hold: Interval,
    /// How long an identity that the source no longer names is still served; sources name none for
    /// an instant while an entry is re-created. Default 1 s.
    pub withdrawal_delay: Interval,
}

/// Where the mesh policy is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Path of the document. It is watched: a new version is live at once, a faulty one leaves the
    /// last good in force.
    pub file: PathBuf,
}

/// The filters that the server configures by ECDS.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filters {
    /// `signet.http`, the HTTP filter `spiffe_authz.wasm`.
    pub http: Option<Filter>,
    /// `signet.postgres`, the network filter `pg_role.wasm`.
    pub postgres: Option<Filter>,
}

/// One Wasm filter.
#[derive(Debug, Clone, Deserialize)]
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
    pub denial_detail: DenialDetail,
    /// Names of the headers that tell the API who called. Default `x-spiffe-id`, `x-db-role`,
    /// `x-signet-rule`.
    #[serde(default)]
    pub headers: HeaderNames,
}

/// Bounds on peers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open connections of one user ID. Default 16.
    pub connections_per_peer: usize,
    /// Open connections in all. Default 1,024.
    pub connections: usize,
    /// Connections accepted per second in the long run. Default 50.
    pub opens_per_second: u32,
    /// Connections accepted at once after a quiet time. Default 200.
    pub opens_burst: u32,
    /// Streams of one connection; without ADS Envoy opens one per secret. Default 1,024.
    pub streams_per_connection: u32,
    /// Names in one request. Default 1,024.
    pub names_per_request: usize,
    /// Bytes of one request; Envoy's node alone takes 61 KB. Default 1 MiB.
    pub message_bytes: usize,
    /// How long a peer may leave a response unread before its stream is closed. Default 30 s.
    pub slow_reader: Interval,
}

/// What the process forbids itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Process {
    /// Whether others of the same user may read the process's memory and whether it may leave core
    /// files. Default false: it holds private keys. An agent of the same user then cannot read
    /// `/proc/PID/exe`, which the selectors `unix:path` and `unix:sha256` need; set true there, or
    /// give the agent `CAP_SYS_PTRACE`.
    pub dumpable: bool,
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not a configuration.
    #[error("configuration {}: {fault}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The fault with its line.
        fault: String,
    },
}

impl Config {
    /// Reads and checks a configuration file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
        Self::parse(&text).map_err(|fault| ConfigError::Invalid { path: path.into(), fault })
    }

    /// Checks a configuration's text. The error is meant for people and ends without a line break.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self =
            serde_saphyr::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        config.check_combination()?;
        Ok(config)
    }

    fn check_combination(&self) -> Result<(), String> {
        let filters = self.filters.http.is_some() || self.filters.postgres.is_some();
        match (&self.policy, filters) {
            (Some(_), false) => return Err("policy without filters: name the filter that enforces it under `filters.http` or `filters.postgres`, or leave `policy` out".into()),
            (None, true) => return Err("filters without a policy: name its file under `policy.file`, or leave `filters` out".into()),
            _ => {}
        }
        if !self.listen.path.is_absolute() {
            return Err(format!(
                "listen.path `{}`: a socket needs an absolute path",
                self.listen.path.display()
            ));
        }
        let names = [&self.names.default_svid, &self.names.default_bundle, &self.names.all_bundles];
        for (position, name) in names.iter().enumerate() {
            if name.is_empty() || name.contains("://") || names[..position].contains(name) {
                return Err(format!(
                    "names: `{name}` cannot name a secret: accepted are three different words that are no SPIFFE IDs"
                ));
            }
        }
        Ok(())
    }
}

mod configured_id {
    use serde::Deserialize;

    /// A SPIFFE ID written in the configuration.
    #[derive(Debug, Clone, Deserialize)]
    #[serde(try_from = "String")]
    pub struct ConfiguredId(pub spiffe::SpiffeId);

    impl TryFrom<String> for ConfiguredId {
        type Error = String;

        fn try_from(text: String) -> Result<Self, String> {
            spiffe::SpiffeId::new(&text).map(Self).map_err(|e| {
                format!("SPIFFE ID `{text}`: {e}; accepted is spiffe://trust-domain/path")
            })
        }
    }
}

mod defaults {
    use super::{DefaultSvid, FileMode, Interval, Limits, Names, Process, Rotation};

    pub(super) fn drain() -> Interval {
        Interval::from_seconds(5)
    }

    pub(super) fn socket_mode() -> FileMode {
        FileMode::OWNER_AND_GROUP
    }

    impl Default for Names {
        fn default() -> Self {
            Self {
                default_svid: "default".into(),
                default_bundle: "ROOTCA".into(),
                all_bundles: "ALL".into(),
            }
        }
    }

    impl Default for Rotation {
        fn default() -> Self {
            Self { hold: Interval::from_seconds(10), withdrawal_delay: Interval::from_seconds(1) }
        }
    }

    impl Default for Limits {
        fn default() -> Self {
            Self {
                connections_per_peer: 16,
                connections: 1024,
                opens_per_second: 50,
                opens_burst: 200,
                streams_per_connection: 1024,
                names_per_request: 1024,
                message_bytes: 1 << 20,
                slow_reader: Interval::from_seconds(30),
            }
        }
    }

    #[expect(
        clippy::derivable_impls,
        reason = "the default is a decision, told where the others are"
    )]
    impl Default for Process {
        fn default() -> Self {
            Self { dumpable: false }
        }
    }

    impl DefaultSvid {
        /// The configured SPIFFE ID, if any.
        pub fn id(&self) -> Option<&spiffe::SpiffeId> {
            self.spiffe_id.as_ref().map(|configured| &configured.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    const SMALLEST: &str =
        "source: {workload_api: {socket: unix:///agent.sock}}\nlisten: {path: /sds.sock}\n";

    #[test]
    fn the_smallest_configuration_has_every_default() {
        let config = Config::parse(SMALLEST).expect("valid");
        assert_eq!(config.names.default_bundle, "ROOTCA");
        assert_eq!(config.listen.mode.bits(), 0o660);
        assert!(!config.process.dumpable && config.admin.is_none() && config.policy.is_none());
    }

    #[test]
    fn a_fault_names_the_thing_what_was_found_and_what_is_accepted() {
        for (addition, expected) in [
            ("polcy: {file: /p}", &["unknown field `polcy`", "policy", "line 3"][..]),
            ("drain: soon", &["`soon`", "5s"]),
            ("admin: {listen: everywhere}", &["`everywhere`", "127.0.0.1:9902", "unix:///"]),
            ("policy: {file: /p}", &["policy without filters"]),
            ("filters: {http: {wasm: /w, sha256: abc}}", &["`abc`", "64"]),
            ("names: {default_bundle: ALL}", &["`ALL`"]),
            ("default_svid: {spiffe_id: /ns/x}", &["`/ns/x`", "spiffe://"]),
            ("limits: {connection: 3}", &["unknown field `connection`", "connections_per_peer"]),
        ] {
            let fault = Config::parse(&format!("{SMALLEST}{addition}\n")).expect_err(addition);
            for part in expected {
                assert!(fault.contains(part), "{addition}: `{part}` is missing in: {fault}");
            }
        }
    }

    #[test]
    fn a_source_other_than_those_known_is_refused_by_name() {
        let fault =
            Config::parse("source: {agent: {}}\nlisten: {path: /s}\n").expect_err("unknown source");
        assert!(fault.contains("agent") && fault.contains("workload_api"), "{fault}");
    }
}
