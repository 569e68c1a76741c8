//! What the control socket understands and answers: a line of JSON each.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::svid::Variant;

/// What can be asked, on the command line and on the socket (`{"command": "rotate", "workload": "client"}`).
#[derive(Clone, Debug, clap::Subcommand, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Command {
    /// Print the state: SVIDs, serial numbers, open streams
    Status,
    /// Issue new SVIDs at once, and go on rotating by itself
    Rotate {
        /// One workload; all when absent
        #[arg(long)]
        #[serde(default)]
        workload: Option<String>,
    },
    /// Serve SVIDs that have expired, or will soon; no rotation until `rotate`
    Expire {
        /// One workload; all when absent
        #[arg(long)]
        #[serde(default)]
        workload: Option<String>,
        /// Whole seconds until they expire, such as 5s; expired a second ago when absent
        #[arg(long = "in", value_parser = whole_seconds, default_value = "0s")]
        #[serde(default)]
        seconds: u64,
    },
    /// Serve a forged SVID; no rotation until `rotate`
    Forge {
        #[arg(long)]
        workload: String,
        /// What is wrong with it
        #[arg(long)]
        variant: Variant,
        /// The second identity, for the variants that have one; any text
        #[arg(long)]
        #[serde(default)]
        other: Option<String>,
    },
    /// Write an SVID, its key and the bundle as PEM, for tests that speak TLS by themselves; serve nothing
    Mint {
        #[arg(long)]
        workload: String,
        /// What is wrong with it
        #[arg(long, default_value = "valid")]
        #[serde(default)]
        variant: Variant,
        /// The second identity, for the variants that have one; any text
        #[arg(long)]
        #[serde(default)]
        other: Option<String>,
        /// Its life in whole seconds, such as 10m; `--svid-ttl` when absent
        #[arg(long, value_parser = whole_seconds)]
        #[serde(default)]
        ttl: Option<u64>,
        /// The directory for svid.pem, `svid_key.pem`, `svid_bundle.pem`; made with mode 0700, the files with 0600
        #[arg(long)]
        #[serde(skip)]
        out: PathBuf,
    },
    /// Withdraw a workload's identities: every call is refused, as for a stranger
    Revoke {
        #[arg(long)]
        workload: String,
    },
    /// Give a revoked workload its identities back
    Grant {
        #[arg(long)]
        workload: String,
    },
    /// Accept calls and never answer, leave open streams silent, until `resume`
    Hang,
    /// Close every connection
    Drop {
        /// And remove the sockets until `resume`
        #[arg(long)]
        #[serde(default)]
        stay_away: bool,
    },
    /// End `hang` and `drop --stay-away`
    Resume,
    /// Trust a foreign trust domain, with a CA made up for it
    Federate {
        #[arg(long, value_name = "NAME")]
        trust_domain: String,
    },
    /// Trust a foreign trust domain no more
    Unfederate {
        #[arg(long, value_name = "NAME")]
        trust_domain: String,
    },
    /// Take a step of a CA rollover; SVIDs change with the next rotation only
    Ca {
        #[arg(value_enum)]
        step: CaStep,
    },
}

/// The steps of a CA rollover, in their order.
#[derive(Clone, Copy, Debug, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CaStep {
    /// Make a new CA and trust it
    Prepare,
    /// Sign with it from now on
    Activate,
    /// Stop trusting the one before
    Retire,
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// The state after the change.
    Done(Status),
    /// PEM of an SVID that is not served.
    Minted { chain: String, key: String, bundle: String },
    /// Nothing was changed.
    Refused(String),
}

/// What the agent does at this moment.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) answering: bool,
    pub(crate) listening: bool,
    pub(crate) workloads: BTreeMap<String, WorkloadStatus>,
}

/// One workload at this moment.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkloadStatus {
    /// Open streams and calls.
    pub(crate) subscribers: usize,
    /// Empty when withdrawn.
    pub(crate) svids: Vec<SvidStatus>,
}

/// One SVID.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SvidStatus {
    pub(crate) spiffe_id: String,
    /// Hexadecimal, lower-case.
    pub(crate) serial: String,
    /// Seconds since the epoch.
    pub(crate) not_after: i64,
}

fn whole_seconds(text: &str) -> Result<u64, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.subsec_nanos() == 0 {
        Ok(duration.as_secs())
    } else {
        Err("accepted: whole seconds".to_owned())
    }
}
