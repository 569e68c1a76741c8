//! What one stream knows of one name.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::absence::Absence;
use super::super::resource::{Kind, Resource, Version};
use super::Context;
use super::message::{Protocol, Says};
use super::quarantine::Quarantine;
use crate::sources::Moment;

/// A name that is unknown for this long is reported; at once where waiting will not help.
const UNANSWERED: Duration = Duration::from_secs(10);
/// When a resource is sent once more on an aggregated stream, counted from the time before: first
/// after a sign that the Envoy's configuration changed, then as after every ACK.
const AGAIN: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_mins(1),
    Duration::from_mins(5),
];

/// All that the answer for a name depends on, besides what the stream knows of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances<'a> {
    pub(super) kind: Kind,
    pub(super) context: &'a Context,
    pub(super) quarantine: &'a Quarantine,
    pub(super) now: Moment,
}

impl Circumstances<'_> {
    /// The resource of that name, if this peer may be sent it now.
    pub(super) fn find(&self, name: &str) -> Option<Arc<Resource>> {
        self.resolve(name).ok()
    }

    /// The same, or why there is none; what has expired goes within moments, and then has a reason.
    fn resolve(&self, name: &str) -> Result<Arc<Resource>, Option<Absence>> {
        let found = self.context.permitted.resolve(self.kind, name)?;
        if found.is_valid(self.now.wall) { Ok(found) } else { Err(None) }
    }

    /// Whether this Envoy refused those bytes before.
    pub(super) fn refused(&self, resource: &Resource) -> bool {
        let envoy = &self.context.envoy;
        self.quarantine.holds(envoy, self.kind, &resource.name, &resource.version)
    }

    /// Why this Envoy refused those bytes.
    pub(super) fn reason(&self, name: &str, version: &Version) -> Arc<str> {
        let reason = self.quarantine.reason(&self.context.envoy, self.kind, name, version);
        reason.unwrap_or_else(|| "".into())
    }

    /// Whether the peer waits for the name in the midst of a handshake, and can be told that there
    /// is nothing.
    fn hurries(&self, name: &str) -> bool {
        self.context.protocol == Protocol::Delta
            && self.context.config.on_demand.iter().any(|names| names.matches(name))
    }
}

/// A name that the peer wants.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Arc<str>,
    /// Asked for by name; otherwise found because the peer wants all there is.
    pub(super) listed: bool,
    pub(super) held: Held,
    /// What the peer accepted last: good bytes to go back to, as long as the name is served.
    pub(super) accepted: Option<Arc<Resource>>,
    /// Whether the peer refused what it has stored.
    rejected: bool,
    /// The bytes that were refused before and are not sent.
    withheld: Option<Version>,
    unknown: Option<Unknown>,
    again: Option<Again>,
    /// Whether operators know that the peer holds something: it was sent on this stream, or the peer came with it.
    told: bool,
}

/// What a peer has stored under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Held {
    /// Nothing that we know of.
    Nothing,
    /// Something from an earlier stream.
    Something,
    /// These bytes, accepted or not.
    Version(Version),
    /// It was told that there is nothing.
    Gone,
}

#[derive(Debug)]
struct Unknown {
    /// When it is to be told.
    due: Instant,
    told: bool,
}

/// Envoy bug 47309: on an aggregated stream a provider of a secret that is made anew never gets it,
/// for the Envoy does not ask again. Where it has the bytes they change nothing. So the same bytes are sent a few more times, ever more rarely.
#[derive(Debug)]
struct Again {
    step: usize,
    at: Instant,
}

/// What is to be done for a name.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The peer has what there is, which is this.
    Content(Arc<Resource>),
    /// There is nothing to send, for a reason.
    Unknown(Option<Absence>),
    /// What there is was refused before.
    Withhold(Version),
    /// It is to be told.
    Say { says: Says, why: Why },
}

/// Why something is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The peer does not have it.
    News,
    /// Bytes that it refused make it refuse others: these are the good ones of before.
    Healing,
    /// See [`Again`].
    Again,
}

impl Entry {
    pub(super) fn new(name: Arc<str>, listed: bool, held: Held) -> Self {
        Self {
            name,
            listed,
            held,
            accepted: None,
            rejected: false,
            withheld: None,
            unknown: None,
            again: None,
            told: false,
        }
    }

    /// What is to be done now. Asked again right before anything is sent.
    pub(super) fn verdict(&self, of: &Circumstances<'_>) -> Verdict {
        let say = |says, why| Verdict::Say { says, why };
        let resource = match of.resolve(&self.name) {
            Ok(resource) => resource,
            Err(_) if self.held != Held::Gone && of.hurries(&self.name) => {
                return say(Says::Gone(Arc::clone(&self.name)), Why::News);
            }
            Err(absence) => return Verdict::Unknown(absence),
        };
        if of.refused(&resource) {
            let (envoy, Resource { name, version, .. }) = (&of.context.envoy, &*resource);
            if self.held == Held::Nothing && of.quarantine.may_try(envoy, of.kind, name, version) {
                return say(Says::Have(resource), Why::News);
            }
            let good = self.accepted.as_ref().filter(|good| {
                self.held == Held::Version(version.clone())
                    && of.quarantine.needs_healing(envoy, of.kind, name, version)
                    && good.is_valid(of.now.wall)
                    && !of.refused(good)
            });
            return match good {
                Some(good) => say(Says::Have(Arc::clone(good)), Why::Healing),
                None => Verdict::Withhold(version.clone()),
            };
        }
        // What was refused once and is so no longer, the peer has stored but may not use.
        if self.rejected || self.held != Held::Version(resource.version.clone()) {
            return say(Says::Have(resource), Why::News);
        }
        if self.again.as_ref().is_some_and(|again| again.at <= of.now.steady) {
            return say(Says::Have(resource), Why::Again);
        }
        Verdict::Content(resource)
    }

    /// Notes what was found; returns whether that is worth telling, which it is once: what the peer
    /// holds already, bytes that are withheld, and a name that is unknown for too long.
    pub(super) fn note(&mut self, verdict: &Verdict, now: Instant) -> bool {
        match verdict {
            Verdict::Unknown(absence) => {
                self.accepted = None;
                let awaited = self.listed && self.held != Held::Gone;
                let Some(absence) = absence.as_ref().filter(|_| awaited) else { return false };
                let patience = if absence.is_final() { Duration::ZERO } else { UNANSWERED };
                let due = now + patience;
                let unknown = self.unknown.get_or_insert(Unknown { due, told: false });
                let overdue = !unknown.told && unknown.due <= now;
                unknown.told |= overdue;
                return overdue;
            }
            Verdict::Withhold(version) => {
                self.unknown = None;
                let told = self.withheld.replace(version.clone());
                return told.as_ref() != Some(version);
            }
            Verdict::Say { says: Says::Gone(_), .. } => {
                (self.accepted, self.unknown) = (None, None);
            }
            Verdict::Content(_) => {
                let was_missed = self.unknown.take().is_some_and(|unknown| unknown.told);
                return !std::mem::replace(&mut self.told, true) || was_missed;
            }
            Verdict::Say { .. } => self.unknown = None,
        }
        false
    }

    /// When, after `now`, the verdict may change by itself.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let unknown = self.unknown.as_ref().filter(|unknown| !unknown.told);
        let unknown = unknown.map(|unknown| unknown.due);
        let again = self.again.as_ref().map(|again| again.at);
        unknown.into_iter().chain(again).filter(|at| *at > now).min()
    }

    /// That something was sent.
    pub(super) fn sent(&mut self, why: Why, now: Instant) {
        (self.rejected, self.withheld, self.told) = (false, None, true);
        match &mut self.again {
            Some(again) if why == Why::Again => {
                again.step += 1;
                match AGAIN.get(again.step) {
                    Some(pause) => again.at = now + *pause,
                    None => self.again = None,
                }
            }
            again => *again = None,
        }
    }

    /// That the peer refused these bytes: that they are held back need not be told as well.
    pub(super) fn refused(&mut self, version: &Version) {
        self.withheld = Some(version.clone());
        self.rejected = self.held == Held::Version(version.clone());
        self.accepted.take_if(|good| good.version == *version);
    }

    /// That the peer accepted what it was sent on an aggregated stream.
    pub(super) fn repeat(&mut self, now: Instant) {
        self.again = Some(Again { step: 1, at: now + AGAIN[1] });
    }

    /// That the peer's configuration may have changed. A repetition that is near stays so.
    pub(super) fn repeat_soon(&mut self, now: Instant) {
        let soon = now + AGAIN[0];
        let at = self.again.as_ref().map_or(soon, |again| again.at.min(soon));
        self.again = Some(Again { step: 0, at });
    }
}
