//! What one stream knows of one kind of resource, in the state-of-the-world protocol.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::event::Event;
use super::grant::Permitted;
use super::quarantine::{EnvoyId, Quarantine};
use super::resource::{Kind, Resource, Version};
use super::wire::DiscoveryRequest;
use crate::sources::Moment;

/// A name that is unknown for this long is reported.
const UNANSWERED: Duration = Duration::from_secs(10);
/// Responses without an answer that are remembered; a peer that never answers costs no more.
const IN_FLIGHT: usize = 64;

#[derive(Debug)]
pub(super) struct Subscription {
    kind: Kind,
    names: Wanted,
    /// The version that the peer brought along, until it is sent something. It may come before we
    /// know anything.
    claimed: Option<String>,
    /// What the peer holds, by name: the version sent on this stream, or `None` for something from
    /// an earlier stream.
    held: BTreeMap<String, Option<Version>>,
    in_flight: VecDeque<InFlight>,
    /// Names that nothing answers, when that is due to be reported, and whether it was.
    unanswered: BTreeMap<String, (Instant, bool)>,
}

#[derive(Debug)]
enum Wanted {
    /// An empty list on the first request: all that the peer may have.
    All,
    Listed(BTreeSet<String>),
}

#[derive(Debug)]
struct InFlight {
    nonce: String,
    name: String,
    version: Version,
    sent: Instant,
}

impl Subscription {
    /// A subscription from the first request of its kind on a stream.
    ///
    /// A peer that reconnects names the version that it accepted last. Where that is the state that
    /// it would get, and nothing of it was ever refused, nothing is sent; in doubt everything is,
    /// but for refused bytes.
    pub(super) fn open(kind: Kind, request: &DiscoveryRequest) -> Self {
        let (names, claimed) = (&request.resource_names, &request.version_info);
        let held = if claimed.is_empty() { &[] } else { names.as_slice() };
        Self {
            kind,
            names: if names.is_empty() {
                Wanted::All
            } else {
                Wanted::Listed(names.iter().cloned().collect())
            },
            claimed: Some(claimed.clone()).filter(|claimed| !claimed.is_empty()),
            held: held.iter().map(|name| (name.clone(), None)).collect(),
            in_flight: VecDeque::new(),
            unanswered: BTreeMap::new(),
        }
    }

    /// Takes in a later request: an answer, a change of names, or both.
    ///
    /// Requests are ordered, so their names count even where the nonce is stale.
    pub(super) fn receive(
        &mut self,
        request: &DiscoveryRequest,
        quarantine: &mut Quarantine,
        envoy: &EnvoyId,
        now: Moment,
    ) -> Vec<Event> {
        let kind = self.kind;
        let mut events: Vec<_> = self.answer(request, quarantine, envoy, now).into_iter().collect();
        if let Wanted::Listed(names) = &mut self.names {
            let left = names.iter().filter(|name| !request.resource_names.contains(name));
            events.extend(left.map(|name| Event::Unsubscribed { kind, name: name.clone() }));
            *names = request.resource_names.iter().cloned().collect();
            self.held.retain(|name, _| names.contains(name));
            self.unanswered.retain(|name, _| names.contains(name));
        } else if !request.resource_names.is_empty() {
            self.names = Wanted::Listed(request.resource_names.iter().cloned().collect());
        }
        events
    }

    fn answer(
        &mut self,
        request: &DiscoveryRequest,
        quarantine: &mut Quarantine,
        envoy: &EnvoyId,
        now: Moment,
    ) -> Option<Event> {
        if request.response_nonce.is_empty() {
            return None;
        }
        let kind = self.kind;
        let Some(position) =
            self.in_flight.iter().position(|response| response.nonce == request.response_nonce)
        else {
            return Some(Event::StaleNonce { kind });
        };
        let InFlight { name, version, sent, .. } = self.in_flight.remove(position)?;
        // Only the presence of an error makes a NACK; versions say nothing.
        Some(if let Some(error) = &request.error_detail {
            quarantine.record(envoy, kind, &name, &version, now.steady);
            Event::Nacked { kind, name, version, reason: error.message.clone() }
        } else {
            let believed = quarantine.accept(envoy, kind, &name, &version);
            Event::Acked { kind, name, version, after: now.steady - sent, believed }
        })
    }

    /// Compares with what is permitted: withholds what the peer refused before, and notes what nothing
    /// answers.
    pub(super) fn settle(
        &mut self,
        permitted: &Permitted,
        quarantine: &Quarantine,
        envoy: &EnvoyId,
        now: Moment,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let wanted = self.wanted(permitted, now);
        let refused = |resource: &Resource| {
            quarantine.holds(envoy, self.kind, &resource.name, &resource.version)
        };
        if let Some(claimed) = &self.claimed
            && !wanted.iter().any(|resource| refused(resource))
        {
            let state = wanted
                .iter()
                .map(|resource| (resource.name.clone(), Some(resource.version.clone())))
                .collect();
            if *claimed == state_version(&state).as_str() {
                self.held = state;
            }
        }
        for resource in wanted {
            let Some(held) = self
                .held
                .get_mut(&resource.name)
                .filter(|held| held.as_ref() != Some(&resource.version))
            else {
                continue;
            };
            if refused(&resource) {
                *held = Some(resource.version.clone());
                events.push(Event::Withheld {
                    kind: self.kind,
                    name: resource.name.clone(),
                    version: resource.version.clone(),
                });
            }
        }
        if let Wanted::Listed(names) = &self.names {
            let unknown = names.iter().filter_map(|name| {
                let absence = permitted.resolve(self.kind, name).err()?;
                let patience = if absence.is_final() { Duration::ZERO } else { UNANSWERED };
                let known = self.unanswered.get(name).copied();
                Some((name.clone(), known.unwrap_or((now.steady + patience, false))))
            });
            self.unanswered = unknown.collect();
        }
        events
    }

    /// The next response that is due; it counts as sent.
    pub(super) fn next(
        &mut self,
        permitted: &Permitted,
        nonce: &str,
        now: Moment,
    ) -> Option<(String, Arc<Resource>)> {
        let resource = self.due(permitted, now)?;
        self.claimed = None;
        self.held.insert(resource.name.clone(), Some(resource.version.clone()));
        if self.in_flight.len() == IN_FLIGHT {
            self.in_flight.pop_front();
        }
        self.in_flight.push_back(InFlight {
            nonce: nonce.to_owned(),
            name: resource.name.clone(),
            version: resource.version.clone(),
            sent: now.steady,
        });
        Some((state_version(&self.held).as_str().to_owned(), resource))
    }

    /// The first resource, trust before leaves, of which the peer does not hold the version in the
    /// catalogue.
    pub(super) fn due(&self, permitted: &Permitted, now: Moment) -> Option<Arc<Resource>> {
        self.wanted(permitted, now)
            .into_iter()
            .find(|resource| self.held.get(&resource.name) != Some(&Some(resource.version.clone())))
    }

    /// Reports names that have been unknown for too long, each once.
    pub(super) fn overdue(&mut self, permitted: &Permitted, now: Moment) -> Vec<Event> {
        let kind = self.kind;
        let late =
            self.unanswered.iter_mut().filter(|(_, (due, told))| !told && *due <= now.steady);
        late.filter_map(|(name, (_, told))| {
            *told = true;
            let absence = permitted.resolve(kind, name).err()?;
            Some(Event::Unanswered { kind, name: name.clone(), absence })
        })
        .collect()
    }

    /// When [`Subscription::overdue`] will have something to say.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.unanswered.values().filter(|(_, told)| !told).map(|(due, _)| *due).min()
    }

    /// The names that the peer lists.
    pub(super) fn listed(&self) -> impl Iterator<Item = &str> {
        let names = match &self.names {
            Wanted::All => None,
            Wanted::Listed(names) => Some(names),
        };
        names.into_iter().flatten().map(String::as_str)
    }

    fn wanted(&self, permitted: &Permitted, now: Moment) -> Vec<Arc<Resource>> {
        let mut wanted: Vec<_> = match &self.names {
            Wanted::All => permitted.all(self.kind),
            Wanted::Listed(names) => {
                names.iter().filter_map(|name| permitted.find(self.kind, name)).collect()
            }
        };
        wanted.retain(|resource| resource.is_valid(now.wall));
        wanted.sort_by(|a, b| (a.content, &a.name).cmp(&(b.content, &b.name)));
        wanted
    }
}

/// The version of all that a peer holds: one number for a set of resources, from their contents
/// alone.
pub(super) fn state_version(held: &BTreeMap<String, Option<Version>>) -> Version {
    let known = held.iter().filter_map(|(name, version)| Some((name, version.as_ref()?)));
    Version::of(known.flat_map(|(name, version)| [name.as_bytes(), version.as_str().as_bytes()]))
}
