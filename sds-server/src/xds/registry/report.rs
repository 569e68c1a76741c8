//! The registry as the admin listener tells it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use super::line::{Entry, Record};
use super::{Protocol, Registry, locked};
use crate::time::serialize_utc;
use crate::xds::resource::{Kind, Version};

/// One Envoy: all streams of a peer that call themselves the same node.
#[derive(Debug, Clone, Serialize)]
pub struct EnvoyReport {
    /// Who the listener knows it to be.
    pub peer: String,
    /// What it calls itself: `--service-node`. Not to be believed.
    pub node: Box<str>,
    /// `--service-cluster`. Not to be believed.
    pub cluster: Box<str>,
    /// When the oldest of its streams was opened.
    #[serde(serialize_with = "serialize_utc")]
    pub since: SystemTime,
    /// Its streams, counted by what they are.
    pub streams: Vec<StreamReport>,
    /// The digest of the policy that it has accepted, by the filter's resource; `withdrawn` where that denies
    /// everything because the identity was withdrawn.
    pub policies: BTreeMap<String, String>,
    /// What it was sent, or holds from an earlier stream.
    pub resources: Vec<ResourceReport>,
    /// What it asks for in vain. What stands among `resources` too was served before, and stays with it.
    pub waiting: Vec<WaitingName>,
    /// Resources that are not listed because there are too many.
    pub unlisted: usize,
}

/// Streams of one sort.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct StreamReport {
    /// `unix` or `tcp`.
    pub transport: &'static str,
    /// How they ask.
    pub protocol: Protocol,
    /// How many are open.
    pub open: usize,
}

/// One resource of one Envoy.
#[derive(Debug, Clone, Serialize)]
pub struct ResourceReport {
    /// `secret` or `extension`.
    pub r#type: &'static str,
    /// Its name.
    pub name: Box<str>,
    /// The last version that was sent; `None` where nothing had to be: it came with what is served.
    pub sent: Option<Stamp>,
    /// The last version that was accepted, and is in force. Where nothing was sent, it says itself that it is, since it
    /// connected.
    pub acknowledged: Option<Stamp>,
    /// The version that was refused, while no later one is accepted.
    pub refused: Option<RefusalReport>,
}

/// A version and when.
#[derive(Debug, Clone, Serialize)]
pub struct Stamp {
    /// The hash of the resource.
    pub version: String,
    /// When.
    #[serde(serialize_with = "serialize_utc")]
    pub at: SystemTime,
}

/// A refused version.
#[derive(Debug, Clone, Serialize)]
pub struct RefusalReport {
    /// What was refused and when.
    #[serde(flatten)]
    pub refused: Stamp,
    /// In the Envoy's words. Not to be believed.
    pub reason: Box<str>,
    /// Whether the Envoy has said since that it accepts these very bytes, which is not so: it goes
    /// on with older ones.
    pub disbelieved: bool,
}

/// A name that nothing answers.
#[derive(Debug, Clone, Serialize)]
pub struct WaitingName {
    /// `secret` or `extension`.
    pub r#type: &'static str,
    /// The name.
    pub name: Box<str>,
    /// Since when it has been reported: 10 s after it was asked for, or at once where it can never be.
    #[serde(serialize_with = "serialize_utc")]
    pub since: SystemTime,
    /// Why: there is none now, there can be none, or this peer may not have it. The peer is not
    /// told.
    pub reason: Box<str>,
}

impl Registry {
    /// Every Envoy that is connected, by peer and node.
    pub fn envoys(&self) -> Vec<EnvoyReport> {
        let lines: Vec<_> = locked(&self.lines).values().cloned().collect();
        let mut envoys = BTreeMap::new();
        for line in lines {
            let record = locked(&line);
            let key = (record.peer.to_string(), record.node.clone());
            let envoy = envoys.entry(key).or_insert_with(|| EnvoyReport {
                peer: record.peer.to_string(),
                node: record.node.clone(),
                cluster: record.cluster.clone(),
                since: record.since,
                streams: Vec::new(),
                policies: BTreeMap::new(),
                resources: Vec::new(),
                waiting: Vec::new(),
                unlisted: 0,
            });
            self.add(envoy, &record);
        }
        let mut envoys: Vec<_> = envoys.into_values().collect();
        for envoy in &mut envoys {
            envoy.streams.sort();
            envoy.resources.sort_by(|a, b| (a.r#type, &a.name).cmp(&(b.r#type, &b.name)));
        }
        envoys
    }

    fn add(&self, envoy: &mut EnvoyReport, record: &Record) {
        envoy.since = envoy.since.min(record.since);
        envoy.unlisted += record.uncounted;
        let (transport, protocol) = (record.transport, record.protocol);
        let alike = |stream: &&mut StreamReport| {
            (stream.transport, stream.protocol) == (transport, protocol)
        };
        match envoy.streams.iter_mut().find(alike) {
            Some(stream) => stream.open += 1,
            None => envoy.streams.push(StreamReport { transport, protocol, open: 1 }),
        }
        for ((kind, name), entry) in &record.entries {
            if let Some((version, _)) = &entry.acknowledged
                && let Some(digest) = self.policy_of(*kind, version)
            {
                envoy.policies.insert(name.to_string(), digest.to_string());
            }
            if let Some((since, reason)) = &entry.waiting {
                let r#type = kind.label();
                let (name, since, reason) = (name.clone(), *since, reason.clone());
                envoy.waiting.push(WaitingName { r#type, name, since, reason });
            }
            if entry.waiting.is_none() || entry.sent.is_some() || entry.acknowledged.is_some() {
                envoy.resources.push(resource(*kind, name, entry));
            }
        }
    }
}

fn resource(kind: Kind, name: &str, entry: &Entry) -> ResourceReport {
    let stamp =
        |(version, at): &(Version, SystemTime)| Stamp { version: version.to_string(), at: *at };
    ResourceReport {
        r#type: kind.label(),
        name: name.into(),
        sent: entry.sent.as_ref().map(stamp),
        acknowledged: entry.acknowledged.as_ref().map(stamp),
        refused: entry.refused.as_ref().map(|refused| RefusalReport {
            refused: Stamp { version: refused.version.to_string(), at: refused.at },
            reason: refused.reason.clone(),
            disbelieved: refused.disbelieved,
        }),
    }
}
