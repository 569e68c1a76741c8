//! What one stream knows of one kind of resource.

mod answers;
mod claim;
mod names;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::absence::Absence;
use super::super::event::Event;
use super::super::resource::{Content, Kind, Version};
use super::Context;
use super::entry::{Circumstances, Entry, Held, Verdict, Why};
use super::message::{Request, Response, Says, Wanted};
use super::quarantine::Quarantine;
use super::version::StateVersion;
use crate::sources::Moment;
use crate::sources::jwt::Want;

/// The name that means all there is.
const ALL: &str = "*";
/// Responses without an answer that are remembered, besides one for each name; a peer that never
/// answers costs no more.
const IN_FLIGHT: usize = 64;

/// How soon a name is looked at again for which there was no room among the JWT-SVIDs.
const ROOM: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Subscription {
    kind: Kind,
    /// Whether things are sent more than once, as on an aggregated stream.
    repeats: bool,
    /// Whether the peer wants all that it may have.
    all: bool,
    /// By name.
    entries: Vec<Entry>,
    /// The version that the peer brought along, until it is sent something. It may come before we
    /// know anything.
    claimed: Option<String>,
    /// Of all that the peer holds.
    state: StateVersion,
    in_flight: VecDeque<InFlight>,
    last_nonce: u64,
    /// The names for which something is due, the next one last.
    queue: Vec<usize>,
    withholds: bool,
    deadline: Option<Instant>,
    /// For the names that are made on demand only.
    wants: Vec<Want>,
}

#[derive(Debug)]
struct InFlight {
    nonce: u64,
    name: Arc<str>,
    /// `None` where the name was said to be gone.
    sent_as: Option<(Content, Version)>,
    sent: Instant,
    why: Why,
}

/// What a request came to.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) events: Vec<Event>,
    /// Whether something else may be due now.
    pub(super) changed: bool,
}

impl Subscription {
    /// A subscription from the first request of its kind on a stream. `repeats`: things are
    /// sent more than once.
    ///
    /// In the state-of-the-world protocol a peer that reconnects names the version that it accepted
    /// last. Where that is the state that it would get, and nothing of it was ever refused, nothing
    /// is sent; in doubt everything is, but for refused bytes. In the delta protocol the same goes
    /// for each name.
    pub(super) fn open(kind: Kind, repeats: bool, wanted: Wanted) -> Self {
        let mut opened = Self {
            kind,
            repeats,
            all: false,
            entries: Vec::new(),
            claimed: None,
            state: StateVersion::default(),
            in_flight: VecDeque::new(),
            last_nonce: 0,
            queue: Vec::new(),
            withholds: false,
            deadline: None,
            wants: Vec::new(),
        };
        match wanted {
            Wanted::Exactly { names, version } => {
                opened.all = names.is_empty();
                opened.want_exactly(names, &mut Vec::new());
                if !version.is_empty() {
                    opened.entries.iter_mut().for_each(|entry| entry.held = Held::Something);
                    opened.claimed = Some(version);
                }
            }
            Wanted::Changed { more, fewer, held } => {
                opened.all = more.is_empty() && fewer.is_empty();
                if opened.all {
                    for name in held.keys() {
                        opened.insert(name, false, &held);
                    }
                }
                opened.want_changed(more, &fewer, &held, &mut Vec::new());
            }
        }
        opened
    }

    /// Takes in a later request: an answer, a change of names, or both.
    ///
    /// Requests are ordered, so their names count even where the nonce is stale.
    pub(super) fn receive(
        &mut self,
        request: Request,
        context: &Context,
        quarantine: &mut Quarantine,
        now: Moment,
    ) -> Heard {
        let mut heard = self.hear_answer(&request, context, quarantine, now);
        let events = &mut heard.events;
        let renamed = match request.wanted {
            Wanted::Exactly { names, .. } => self.want_exactly(names, events),
            Wanted::Changed { more, fewer, held } => self.want_changed(more, &fewer, &held, events),
        };
        if renamed {
            // What was claimed was claimed of other names.
            self.claimed = None;
            self.repeat_soon(now.steady);
        }
        heard.changed |= renamed;
        heard
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// How many names are asked for, and how many bytes they have.
    pub(super) fn size(&self) -> (usize, usize) {
        let listed = self.entries.iter().filter(|entry| entry.listed);
        listed.fold((0, 0), |(names, bytes), entry| (names + 1, bytes + entry.name.len()))
    }

    /// Bytes of all names that are kept: a peer that wants all there is may tell of others that it holds.
    pub(super) fn name_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.name.len()).sum()
    }

    fn repeat_soon(&mut self, now: Instant) {
        let held = self.entries.iter_mut().filter(|entry| matches!(entry.held, Held::Version(_)));
        if self.repeats {
            held.for_each(|entry| entry.repeat_soon(now));
        }
    }

    /// Compares with what there is, and notes what is due.
    pub(super) fn settle(&mut self, of: &Circumstances<'_>) -> Vec<Event> {
        let (kind, now) = (self.kind, of.now.steady);
        self.discover(of);
        self.believe_claim(of);
        let mut events = Vec::new();
        let mut due: Vec<(Option<Content>, usize)> = Vec::new();
        let mut crowded = false;
        (self.withholds, self.deadline) = (false, None);
        for (position, entry) in self.entries.iter_mut().enumerate() {
            let verdict = entry.verdict(of);
            let news = entry.note(&verdict, now);
            match verdict {
                Verdict::Content(resource) => {
                    if news {
                        let (name, version) = (entry.name.to_string(), resource.version.clone());
                        let policy = resource.policy.clone();
                        events.push(Event::Holds { kind, name, version, policy });
                    }
                }
                Verdict::Unknown(absence) => {
                    crowded |= matches!(absence, Some(Absence::TooManyTokens(_)));
                    if let Some(absence) = absence.filter(|_| news) {
                        let name = entry.name.to_string();
                        events.push(Event::Unanswered { kind, name, absence });
                    }
                }
                Verdict::Withhold(version) => {
                    self.withholds = true;
                    if news {
                        let reason = of.reason(&entry.name, &version);
                        let name = entry.name.to_string();
                        events.push(Event::Withheld { kind, name, version, reason });
                    }
                }
                Verdict::Say { says: Says::Have(resource), .. } => {
                    due.push((Some(resource.content), position));
                }
                Verdict::Say { says: Says::Gone(_), .. } => due.push((None, position)),
            }
            self.deadline = self.deadline.into_iter().chain(entry.deadline(now)).min();
        }
        if crowded {
            self.deadline = self.deadline.into_iter().chain([now + ROOM]).min();
        }
        // Trust before leaves, so that no peer's leaf arrives first.
        due.sort_unstable_by(|one, other| other.cmp(one));
        self.queue = due.into_iter().map(|(_, position)| position).collect();
        // What is wanted still never goes unwanted in between.
        let listed = self.entries.iter().filter(|entry| entry.listed);
        self.wants =
            listed.filter_map(|entry| of.context.permitted.want(kind, &entry.name)).collect();
        events
    }

    /// Where the peer wants all, makes an entry for each thing there is, and drops those of things
    /// that are no more.
    fn discover(&mut self, of: &Circumstances<'_>) {
        let found = if self.all { of.context.permitted.all(self.kind) } else { Vec::new() };
        if found.is_empty() {
            return;
        }
        let vanished = |entry: &mut Entry| !entry.listed && of.find(&entry.name).is_none();
        let vanished: Vec<Entry> = self.entries.extract_if(.., vanished).collect();
        self.forget(vanished, &mut Vec::new());
        for resource in found {
            if let Err(position) = self.position(&resource.name) {
                let held = if self.claimed.is_some() { Held::Something } else { Held::Nothing };
                self.entries
                    .insert(position, Entry::new(resource.name.as_str().into(), false, held));
            }
        }
    }

    /// Whether [`Subscription::next`] probably has something.
    pub(super) fn is_due(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next response that is due; it counts as sent.
    pub(super) fn next(&mut self, of: &Circumstances<'_>, nonce: u64) -> Option<Response> {
        while let Some(position) = self.queue.pop() {
            let entry = &mut self.entries[position];
            // Time has passed since it was found due, and other streams of this Envoy have spoken.
            let Verdict::Say { says, why } = entry.verdict(of) else { continue };
            entry.sent(why, of.now.steady);
            self.deadline = self.deadline.into_iter().chain(entry.deadline(of.now.steady)).min();
            let name = Arc::clone(&entry.name);
            let sent_as = match &says {
                Says::Have(resource) => Some((resource.content, resource.version.clone())),
                Says::Gone(_) => None,
            };
            let held = sent_as.as_ref().map(|(_, version)| Held::Version(version.clone()));
            self.hold(position, held.unwrap_or(Held::Gone));
            self.claimed = None;
            self.last_nonce = nonce;
            if self.in_flight.len() >= IN_FLIGHT + self.entries.len() {
                self.in_flight.pop_front();
            }
            self.in_flight.push_back(InFlight { nonce, name, sent_as, sent: of.now.steady, why });
            return Some(Response {
                kind: self.kind,
                nonce,
                version: self.state.to_string(),
                says,
            });
        }
        None
    }

    /// Whether refused bytes are held back, so that the quarantine's news are of interest.
    pub(super) fn withholds(&self) -> bool {
        self.withholds
    }

    /// When to settle again even though nothing happened.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}
