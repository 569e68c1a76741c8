//! What is remembered of one live stream.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::{Protocol, Registry, cut, locked};
use crate::metrics::OpenStream;
use crate::xds::event::Event;
use crate::xds::resource::{Kind, Version};

/// The stream's own end of the registry. Dropping it takes the stream out.
#[derive(Debug)]
pub(crate) struct Line {
    id: u64,
    pub(super) peer: Arc<str>,
    pub(super) node: Box<str>,
    cluster: Box<str>,
    record: Arc<Mutex<Record>>,
    registry: Arc<Registry>,
    _counted: OpenStream,
}

/// A stream and its resources.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) peer: Arc<str>,
    pub(super) node: Box<str>,
    pub(super) cluster: Box<str>,
    pub(super) transport: &'static str,
    pub(super) protocol: Protocol,
    pub(super) since: SystemTime,
    pub(super) entries: BTreeMap<(Kind, Box<str>), Entry>,
    /// Resources that there was no place for.
    pub(super) uncounted: usize,
}

/// How it stands with one resource.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) sent: Option<(Version, SystemTime)>,
    pub(super) acknowledged: Option<(Version, SystemTime)>,
    pub(super) refused: Option<Refused>,
    /// Since when nothing answers, and why.
    pub(super) waiting: Option<(SystemTime, Box<str>)>,
}

#[derive(Debug)]
pub(super) struct Refused {
    pub(super) version: Version,
    pub(super) at: SystemTime,
    pub(super) reason: Box<str>,
    /// The peer has said since that it accepts these bytes, which is not so.
    pub(super) disbelieved: bool,
}

impl Record {
    pub(super) fn new(peer: Arc<str>, transport: &'static str, protocol: Protocol) -> Self {
        Self {
            peer,
            node: Box::default(),
            cluster: Box::default(),
            transport,
            protocol,
            since: SystemTime::now(),
            entries: BTreeMap::new(),
            uncounted: 0,
        }
    }
}

impl Line {
    pub(super) fn new(
        id: u64,
        peer: Arc<str>,
        record: Arc<Mutex<Record>>,
        registry: Arc<Registry>,
        counted: OpenStream,
    ) -> Self {
        let (node, cluster) = (Box::default(), Box::default());
        Self { id, peer, node, cluster, record, registry, _counted: counted }
    }

    /// Takes in what the peer calls itself.
    pub(crate) fn named(&mut self, node: &str, cluster: &str) {
        if *self.node == *node && *self.cluster == *cluster {
            return;
        }
        (self.node, self.cluster) = (node.into(), cluster.into());
        let mut record = locked(&self.record);
        (record.node, record.cluster) = (cut(node), cut(cluster));
    }

    /// Takes in what happened on the stream: logs, counts and remembers it.
    pub(crate) fn hear(&self, event: &Event) {
        event.tell(&self.registry.metrics, &self.peer, &self.node);
        let now = SystemTime::now();
        match event {
            Event::Pushed { kind, name, version, policy } => {
                if let Some(digest) = policy {
                    self.registry.note_policy(version, digest);
                }
                self.change(*kind, name, |entry| {
                    entry.sent = Some((version.clone(), now));
                    entry.waiting = None;
                });
            }
            Event::Holds { kind, name, version, policy } => {
                if let Some(digest) = policy {
                    self.registry.note_policy(version, digest);
                }
                self.change(*kind, name, |entry| {
                    entry.waiting = None;
                    // Of what was sent on this stream its answer is awaited, or known.
                    if entry.sent.is_none() {
                        entry.acknowledged = Some((version.clone(), now));
                    }
                });
            }
            Event::Acked { kind, name, version, believed, .. } => {
                self.change(*kind, name, |entry| {
                    if *believed {
                        entry.acknowledged = Some((version.clone(), now));
                        entry.refused = None;
                    } else if let Some(refused) = &mut entry.refused {
                        refused.disbelieved = true;
                    }
                });
            }
            Event::Nacked { kind, name, version, reason } => {
                self.change(*kind, name, |entry| {
                    entry.refused = Some(Refused {
                        version: version.clone(),
                        at: now,
                        reason: cut(reason),
                        disbelieved: false,
                    });
                });
            }
            Event::Withheld { kind, name, version, reason } => {
                self.change(*kind, name, |entry| {
                    // On the stream of the refusal the reason is known already.
                    if entry.refused.as_ref().is_none_or(|refused| refused.version != *version) {
                        entry.refused = Some(Refused {
                            version: version.clone(),
                            at: now,
                            reason: cut(reason),
                            disbelieved: false,
                        });
                    }
                });
            }
            Event::Unanswered { kind, name, absence } => {
                let reason = absence.to_string();
                self.registry.miss(self, (*kind, name), (absence.class(), &reason));
                let reason = cut(&reason);
                self.change(*kind, name, |entry| entry.waiting = Some((now, reason)));
            }
            Event::Unsubscribed { kind, name } | Event::Gone { kind, name } => {
                self.forget(*kind, name);
            }
            Event::GoneAnswered { .. } | Event::StaleNonce { .. } | Event::Ignored { .. } => {}
        }
    }

    fn change(&self, kind: Kind, name: &str, change: impl FnOnce(&mut Entry)) {
        let mut record = locked(&self.record);
        let key = (kind, cut(name));
        if let Some(entry) = record.entries.get_mut(&key) {
            return change(entry);
        }
        if self.registry.reserve() {
            change(record.entries.entry(key).or_default());
        } else {
            record.uncounted += 1;
        }
    }

    fn forget(&self, kind: Kind, name: &str) {
        if locked(&self.record).entries.remove(&(kind, cut(name))).is_some() {
            self.registry.release(1);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.registry.close(self.id);
        self.registry.release(locked(&self.record).entries.len());
    }
}
