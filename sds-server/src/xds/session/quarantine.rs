//! What each Envoy refused.
//!
//! Envoy 1.40 stores the bytes that it NACKs, ACKs them when they come a second time while the old
//! certificate goes on serving, and then reports their version as its own. So refused bytes are
//! remembered across reconnects: they are not sent again, and that version is not believed.
//!
//! While an Envoy has refused bytes stored, it may refuse another secret that is good: it tries
//! both together, a certificate and the bundle beside it. So what it refuses then is only a
//! suspect. The culprit's good bytes heal it, and the suspects are tried once more. What holds the
//! same as the culprit is no suspect: the same bad certificate has several names, and sent once
//! more Envoy would ACK it. Streams are heard in any order: what was sent before the healing and is heard
//! to be refused after it was refused beside the culprit, too.
//!
//! What one peer refuses concerns no other: it counts for the process or the host that refused it, whatever node others
//! call themselves, and a peer that refuses without end pushes out what it refused itself.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::super::peer::{Account, Place};
use super::super::resource::{Content, Kind, Version};

/// One Envoy, as far as it can be told from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnvoyId {
    pub(crate) account: Account,
    pub(crate) instance: Instance,
}

/// One Envoy of an account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Instance {
    pub(crate) place: Place,
    /// As it calls itself: nobody but it is told less for that.
    pub(crate) node: String,
}

/// The refusals that are remembered. When there are too many, the account that has most loses its oldest.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    shares: HashMap<Account, Share>,
    count: usize,
    /// Whether a stream that withholds something should look again.
    news: bool,
}

/// What the Envoys of one account refused.
#[derive(Debug, Default)]
struct Share {
    /// By kind and name: the name of a bundle can be spelled in many ways, and each be refused.
    envoys: HashMap<Instance, Vec<Refused>>,
    count: usize,
}

#[derive(Debug)]
struct Refused {
    kind: Kind,
    name: String,
    content: Content,
    version: Version,
    /// In the Envoy's words.
    reason: Arc<str>,
    at: Instant,
    times: u8,
    standing: Standing,
    /// When the Envoy accepted the good bytes of before in its place.
    healed: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Refused while the Envoy had nothing of other content stored that it had refused. `heal`: since then it
    /// refused something else.
    Culprit { heal: bool },
    /// Refused while a culprit was stored.
    Suspect,
    /// The Envoy has other bytes of that name by now.
    Replaced,
}

impl Quarantine {
    /// Refusals of all accounts together.
    const CAPACITY: usize = 4096;
    /// What is kept of a reason, in bytes.
    const REASON: usize = 512;
    /// How often an Envoy that has nothing is sent the same refused bytes.
    const TRIES: u8 = 3;

    /// Remembers that `envoy` refused these bytes, and why; not where it did so beside a culprit that was
    /// healed after they were `sent`: they are to be tried once more.
    pub(crate) fn record(
        &mut self,
        envoy: &EnvoyId,
        kind: Kind,
        name: &str,
        (content, version, reason): (Content, &Version, &str),
        (sent, now): (Instant, Instant),
    ) {
        let share = self.shares.entry(envoy.account.clone()).or_default();
        let refusals = share.envoys.entry(envoy.instance.clone()).or_default();
        let before = refusals.len();
        let mut times = 1;
        let mut standing = Standing::Culprit { heal: false };
        refusals.retain_mut(|refused| {
            if !refused.is_of(kind, name) {
                if let Standing::Culprit { heal } = &mut refused.standing
                    && refused.content != content
                {
                    standing = Standing::Suspect;
                    self.news |= !*heal;
                    *heal = true;
                }
                return true;
            }
            let again = refused.version == *version;
            if again {
                times = refused.times.saturating_add(1);
            }
            refused.standing = Standing::Replaced;
            !again
        });
        let beside_healed =
            |other: &Refused| other.content != content && other.healed.is_some_and(|at| sent < at);
        if standing == Standing::Suspect || !refusals.iter().any(beside_healed) {
            let place =
                refusals.partition_point(|other| (other.kind, &*other.name) <= (kind, name));
            let (name, version) = (name.to_owned(), version.clone());
            let reason = reason[..reason.floor_char_boundary(Self::REASON)].into();
            let (at, healed) = (now, None);
            let refused =
                Refused { kind, name, content, version, reason, at, times, standing, healed };
            refusals.insert(place, refused);
        }
        let after = refusals.len();
        share.count = share.count + after - before;
        self.count = self.count + after - before;
        if self.count > Self::CAPACITY {
            self.make_room();
        }
    }

    /// Forgets what all Envoys of `account` refused: they are no more. Returns whether there was anything.
    pub(crate) fn forget(&mut self, account: &Account) -> bool {
        let forgotten = self.shares.remove(account).map_or(0, |share| share.count);
        self.count -= forgotten;
        forgotten > 0
    }

    /// Whether `envoy` refused these bytes and has accepted no newer ones since.
    pub(crate) fn holds(&self, envoy: &EnvoyId, kind: Kind, name: &str, version: &Version) -> bool {
        self.find(envoy, kind, name, version).is_some()
    }

    /// Why `envoy` refused these bytes, on whichever stream.
    pub(crate) fn reason(
        &self,
        envoy: &EnvoyId,
        kind: Kind,
        name: &str,
        version: &Version,
    ) -> Option<Arc<str>> {
        self.find(envoy, kind, name, version).map(|refused| Arc::clone(&refused.reason))
    }

    /// Whether bytes that `envoy` refused may be sent to it because it has nothing else: it may
    /// have been started anew. Not for ever.
    pub(crate) fn may_try(
        &self,
        envoy: &EnvoyId,
        kind: Kind,
        name: &str,
        version: &Version,
    ) -> bool {
        self.find(envoy, kind, name, version).is_none_or(|refused| refused.times < Self::TRIES)
    }

    /// Whether `envoy` refuses other resources since it has these refused bytes.
    pub(crate) fn needs_healing(
        &self,
        envoy: &EnvoyId,
        kind: Kind,
        name: &str,
        version: &Version,
    ) -> bool {
        self.find(envoy, kind, name, version)
            .is_some_and(|refused| refused.standing == Standing::Culprit { heal: true })
    }

    /// Takes in an ACK. Returns whether it can be believed: not where these very bytes were refused
    /// before. `healed`: when the good bytes of before were accepted in place of refused ones, which stay
    /// refused.
    pub(crate) fn accept(
        &mut self,
        envoy: &EnvoyId,
        kind: Kind,
        name: &str,
        version: &Version,
        healed: Option<Instant>,
    ) -> bool {
        if self.holds(envoy, kind, name, version) {
            return false;
        }
        let Some(share) = self.shares.get_mut(&envoy.account) else { return true };
        let Some(refusals) = share.envoys.get_mut(&envoy.instance) else { return true };
        let before = refusals.len();
        refusals.retain_mut(|refused| {
            let same = refused.is_of(kind, name);
            if same {
                refused.standing = Standing::Replaced;
                refused.healed = healed;
            }
            !same || healed.is_some()
        });
        let culprits =
            refusals.iter().any(|refused| matches!(refused.standing, Standing::Culprit { .. }));
        if !culprits {
            refusals.retain(|refused| refused.standing != Standing::Suspect);
        }
        let gone = before - refusals.len();
        if refusals.is_empty() {
            share.envoys.remove(&envoy.instance);
        }
        share.count -= gone;
        if share.count == 0 {
            self.shares.remove(&envoy.account);
        }
        self.count -= gone;
        self.news |= gone > 0;
        true
    }

    /// Whether there is news for streams that withhold something; once.
    pub(crate) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    fn find(&self, envoy: &EnvoyId, kind: Kind, name: &str, version: &Version) -> Option<&Refused> {
        let refusals = self.shares.get(&envoy.account)?.envoys.get(&envoy.instance)?;
        let first =
            refusals.partition_point(|refused| (refused.kind, &*refused.name) < (kind, name));
        let mut of_name = refusals[first..].iter().take_while(|refused| refused.is_of(kind, name));
        of_name.find(|refused| refused.version == *version)
    }

    /// Forgets the oldest of the account that has most.
    fn make_room(&mut self) {
        let Some(share) = self.shares.values_mut().max_by_key(|share| share.count) else { return };
        let all = share.envoys.iter().flat_map(|(envoy, refusals)| {
            refusals
                .iter()
                .enumerate()
                .map(move |(position, refused)| (refused.at, envoy, position))
        });
        let Some((_, envoy, position)) = all.min_by_key(|(at, ..)| *at) else { return };
        let envoy = envoy.clone();
        if let Some(refusals) = share.envoys.get_mut(&envoy) {
            refusals.remove(position);
            if refusals.is_empty() {
                share.envoys.remove(&envoy);
            }
            share.count -= 1;
            self.count -= 1;
        }
        self.shares.retain(|_, share| share.count > 0);
    }
}

impl Refused {
    fn is_of(&self, kind: Kind, name: &str) -> bool {
        self.kind == kind && self.name == name
    }
}

#[cfg(test)]
#[path = "quarantine_tests.rs"]
mod tests;
