//! `/status` of an sds-server, as far as it is shown. Keys that we don't know are left alone.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(super) struct Report {
    pub(super) version: String,
    pub(super) ready: bool,
    pub(super) reasons: Vec<Reason>,
    pub(super) warnings: Vec<Reason>,
    pub(super) source: Source,
    pub(super) svids: Vec<Svid>,
    pub(super) bundles: Vec<Bundle>,
    /// Older servers do not tell them.
    #[serde(default)]
    pub(super) processes: Vec<Process>,
    pub(super) policy: Option<Policy>,
    pub(super) envoys: Vec<Envoy>,
    pub(super) refused_peers: Vec<RefusedPeer>,
    /// Older servers do not tell them.
    #[serde(default)]
    pub(super) withdrawn: Vec<Withdrawn>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Reason {
    pub(super) guard: String,
    pub(super) reason: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Source {
    pub(super) kind: String,
    pub(super) address: String,
    pub(super) connected: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Process {
    #[serde(rename = "process")]
    pub(super) name: String,
    pub(super) streams: usize,
    pub(super) trouble: Option<String>,
    pub(super) svids: Vec<Svid>,
    #[serde(default)]
    pub(super) withdrawn: Vec<Withdrawn>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Svid {
    pub(super) spiffe_id: String,
    pub(super) default: bool,
    pub(super) hint: Option<String>,
    pub(super) serial: String,
    pub(super) seconds_left: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Bundle {
    pub(super) trust_domain: String,
    pub(super) authorities: Vec<Authority>,
}

/// An SVID that Envoys hold although it is not served any more.
#[derive(Debug, Deserialize)]
pub(super) struct Withdrawn {
    pub(super) spiffe_id: String,
    pub(super) not_after: String,
    pub(super) seconds_left: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Authority {
    pub(super) seconds_left: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Policy {
    pub(super) file: String,
    pub(super) digest: Option<String>,
    pub(super) rules: usize,
}

#[derive(Debug, Deserialize)]
pub(super) struct Envoy {
    pub(super) peer: String,
    pub(super) node: String,
    pub(super) streams: Vec<Streams>,
    pub(super) policies: BTreeMap<String, String>,
    pub(super) resources: Vec<Resource>,
    pub(super) waiting: Vec<Waiting>,
    pub(super) unlisted: usize,
}

#[derive(Debug, Deserialize)]
pub(super) struct Streams {
    pub(super) transport: String,
    pub(super) protocol: String,
    pub(super) open: usize,
}

#[derive(Debug, Deserialize)]
pub(super) struct Resource {
    pub(super) name: String,
    pub(super) sent: Option<Stamp>,
    pub(super) acknowledged: Option<Stamp>,
    pub(super) refused: Option<Refusal>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Stamp {
    pub(super) version: String,
    pub(super) at: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    pub(super) version: String,
    pub(super) at: String,
    pub(super) reason: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Waiting {
    pub(super) name: String,
    pub(super) since: String,
    pub(super) reason: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct RefusedPeer {
    pub(super) peer: String,
    pub(super) reason: String,
    pub(super) count: u64,
    pub(super) last: String,
}
