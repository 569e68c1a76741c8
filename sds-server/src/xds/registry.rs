//! Who is connected, and how it stands with each: what operators read. Nothing is decided by it.
//!
//! A stream writes what happens into its own [`Line`]; the registry as a whole is locked only while
//! a stream opens or ends, and while its lines are listed. What a peer can make it remember is
//! bounded: names and reasons are cut, entries are counted, refusals are a ring.

mod line;
mod refused;
mod report;
mod thinning;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use spiffe::SpiffeId;
use tokio::time::Instant;
use tracing::{info, warn};

use self::line::Record;
use self::refused::Refusals;
use self::thinning::Thinning;
use super::peer::Peer;
use super::resource::{Kind, Version};
use crate::metrics::Metrics;

pub(crate) use self::line::Line;
pub use self::refused::RefusedPeer;
pub use self::report::{
    EnvoyReport, RefusalReport, ResourceReport, Stamp, StreamReport, WaitingName,
};

/// Resources that are remembered over all streams; further ones are only counted.
const ENTRIES: usize = 1 << 16;
/// Versions of filter configurations whose policy is remembered.
const POLICIES: usize = 1024;
/// Lines a second about refusals of one class. Whoever is refused may try without end.
const REFUSED: u64 = 10;
/// Lines a second about names that nothing answers, for one reason. Many Envoys may miss many when they start, and one may
/// invent them without end.
const UNANSWERED: u64 = 100;
/// What a peer may write into one field, in characters.
const TEXT: usize = 512;

/// The live streams, and who was refused.
#[derive(Debug)]
pub struct Registry {
    metrics: Metrics,
    lines: Mutex<BTreeMap<u64, Arc<Mutex<Record>>>>,
    opened: AtomicU64,
    entries: AtomicUsize,
    refusals: Mutex<Refusals>,
    /// What is logged of refusals.
    refused: Thinning,
    /// What is logged of names.
    unanswered: Thinning,
    policies: Mutex<Policies>,
}

/// Of which policy a filter's configuration is.
#[derive(Debug, Default)]
struct Policies {
    digests: HashMap<Version, Arc<str>>,
    oldest: VecDeque<Version>,
}

impl Policies {
    fn note(&mut self, version: &Version, digest: &Arc<str>) {
        if self.digests.insert(version.clone(), Arc::clone(digest)).is_none() {
            self.oldest.push_back(version.clone());
        }
        if self.oldest.len() > POLICIES
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.digests.remove(&oldest);
        }
    }
}

impl Registry {
    /// An empty registry, which counts in `metrics` what it hears.
    pub fn new(metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            metrics,
            lines: Mutex::default(),
            opened: AtomicU64::default(),
            entries: AtomicUsize::default(),
            refusals: Mutex::default(),
            refused: Thinning::to(REFUSED),
            unanswered: Thinning::to(UNANSWERED),
            policies: Mutex::default(),
        })
    }

    /// Notes a stream of `type` that `peer` opened; `protocol` is how it asks. The note goes when the
    /// line is dropped.
    pub(crate) fn open(
        self: &Arc<Self>,
        peer: &Peer,
        r#type: &'static str,
        protocol: Protocol,
    ) -> Line {
        let id = self.opened.fetch_add(1, Ordering::Relaxed);
        let (peer, transport) = (Arc::<str>::from(peer.to_string()), peer.transport());
        let record = Record::new(Arc::clone(&peer), transport, protocol);
        let record = Arc::new(Mutex::new(record));
        locked(&self.lines).insert(id, Arc::clone(&record));
        let counted = self.metrics.open_stream(r#type, transport);
        Line::new(id, peer, record, Arc::clone(self), counted)
    }

    /// Logs, counts and notes that a peer was refused: a connection, a stream or a request of its.
    /// `class` is the metric's label.
    pub(crate) fn refuse(
        &self,
        peer: &impl fmt::Display,
        class: &'static str,
        reason: &impl fmt::Display,
    ) {
        if let Some(passed_over) = self.refused.admit(class, Instant::now()) {
            warn!(%peer, class, %reason, passed_over, "peer refused");
        }
        self.metrics.count_rejected(class);
        locked(&self.refusals).add(
            &peer.to_string(),
            class,
            &reason.to_string(),
            SystemTime::now(),
        );
    }

    /// Logs and counts that a name has been asked for in vain, for a reason and its class.
    fn miss(&self, line: &Line, (kind, name): (Kind, &str), (class, reason): (&'static str, &str)) {
        let r#type = kind.label();
        self.metrics.count_unanswered(r#type, class);
        if let Some(passed_over) = self.unanswered.admit(class, Instant::now()) {
            let (name, peer, node) = (cut(name), &line.peer, &line.node);
            warn!(r#type, %name, %peer, %node, reason, passed_over, "not served; who needs it waits");
        }
    }

    /// Notes of which policy a filter's configuration is. The same bytes may be of several; the
    /// last noted counts.
    pub(crate) fn note_policy(&self, version: &Version, digest: &Arc<str>) {
        locked(&self.policies).note(version, digest);
    }

    /// Logs and counts that a filter is told to deny everything from now on, because `workload` was withdrawn, or no
    /// longer.
    pub(crate) fn deny_all(&self, name: &str, workload: &SpiffeId, denies: bool) {
        if !denies {
            return info!(name, %workload, "identity issued again: this filter is told its policy");
        }
        self.metrics.count_withdrawn_slice();
        warn!(name, %workload, "identity withdrawn: this filter is told to deny everything");
    }

    /// The peers that were refused, the last first.
    pub fn refused(&self) -> Vec<RefusedPeer> {
        locked(&self.refusals).list()
    }

    fn policy_of(&self, kind: Kind, version: &Version) -> Option<Arc<str>> {
        (kind == Kind::Extension).then(|| locked(&self.policies).digests.get(version).cloned())?
    }

    /// Takes a place for one more resource; false when there is none.
    fn reserve(&self) -> bool {
        let taken = self.entries.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |entries| {
            (entries < ENTRIES).then_some(entries + 1)
        });
        taken.is_ok()
    }

    fn release(&self, entries: usize) {
        self.entries.fetch_sub(entries, Ordering::Relaxed);
    }

    fn close(&self, id: u64) {
        locked(&self.lines).remove(&id);
    }
}

/// How a stream asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// State of the world: each request names everything that is wanted.
    Sotw,
    /// Each request says what is wanted anew.
    Delta,
    /// State of the world, several kinds of resource on one stream.
    AdsSotw,
    /// Delta, several kinds of resource on one stream.
    AdsDelta,
}

impl Protocol {
    /// As people write it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Sotw => "SotW",
            Self::Delta => "delta",
            Self::AdsSotw => "ADS SotW",
            Self::AdsDelta => "ADS delta",
        }
    }
}

/// A text of a peer's, without control characters and cut at [`TEXT`].
fn cut(text: &str) -> Box<str> {
    text.chars().filter(|c| !c.is_control()).take(TEXT).collect::<String>().into()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
