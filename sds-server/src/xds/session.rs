//! What one stream knows, as a pure value: requests and catalogues in, responses and events out.
//!
//! Responses are pulled, one resource each, when the peer can take them. So a slow peer gets the
//! latest state only, and a refusal concerns one resource.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::catalogue::Catalogue;
use super::event::Event;
use super::grant::{Grant, Permitted};
use super::peer::Peer;
use super::quarantine::{EnvoyId, Quarantine};
use super::resource::{Kind, Resource};
use super::status::Refusal;
use super::subscription::{Subscription, state_version};
use super::wire::{DiscoveryRequest, DiscoveryResponse};
use crate::sources::Moment;
use crate::sources::jwt::Want;

/// The state of one stream that serves one kind of resource.
#[derive(Debug)]
pub(crate) struct Session {
    kind: Kind,
    names_limit: usize,
    envoy: EnvoyId,
    permitted: Permitted,
    subscriptions: BTreeMap<Kind, Subscription>,
    responses: u64,
    /// For the names that are made on demand only.
    wants: Vec<Want>,
}

impl Session {
    /// A stream of `kind` that was opened by `peer`, which may have what `grant` permits.
    pub(crate) fn new(
        kind: Kind,
        peer: &Peer,
        names_limit: usize,
        grant: Arc<Grant>,
        catalogue: Arc<Catalogue>,
    ) -> Self {
        let envoy = EnvoyId { account: peer.account(), node: String::new() };
        let permitted = Permitted { catalogue, grant };
        Self {
            kind,
            names_limit,
            envoy,
            permitted,
            subscriptions: BTreeMap::new(),
            responses: 0,
            wants: Vec::new(),
        }
    }

    /// Takes in a request.
    pub(crate) fn receive(
        &mut self,
        request: &DiscoveryRequest,
        quarantine: &mut Quarantine,
        now: Moment,
    ) -> Result<Vec<Event>, Refusal> {
        let kind = accepted_kind(self.kind, request, self.names_limit)?;
        if let Some(node) = &request.node {
            self.envoy.node.clone_from(&node.id);
        }
        let mut events = Vec::new();
        if let Some(subscription) = self.subscriptions.get_mut(&kind) {
            events = subscription.receive(request, quarantine, &self.envoy, now);
        } else {
            self.subscriptions.insert(kind, Subscription::open(kind, request));
        }
        events.extend(self.settle(quarantine, now));
        Ok(events)
    }

    /// Takes in a new catalogue.
    pub(crate) fn update(
        &mut self,
        catalogue: Arc<Catalogue>,
        quarantine: &Quarantine,
        now: Moment,
    ) -> Vec<Event> {
        self.permitted.catalogue = catalogue;
        self.settle(quarantine, now)
    }

    /// Takes in what the peer may have from now on. It is not told: a name that it lost is silent.
    pub(crate) fn regrant(
        &mut self,
        grant: Arc<Grant>,
        quarantine: &Quarantine,
        now: Moment,
    ) -> Vec<Event> {
        self.permitted.grant = grant;
        self.settle(quarantine, now)
    }

    fn settle(&mut self, quarantine: &Quarantine, now: Moment) -> Vec<Event> {
        let settled = self.subscriptions.values_mut().flat_map(|subscription| {
            subscription.settle(&self.permitted, quarantine, &self.envoy, now)
        });
        let settled = settled.collect();
        // What is wanted still never goes unwanted in between.
        let wants = self.subscriptions.iter().flat_map(|(kind, subscription)| {
            subscription.listed().filter_map(|name| self.permitted.want(*kind, name))
        });
        self.wants = wants.collect();
        settled
    }

    /// Whether [`Session::next_response`] has one.
    pub(crate) fn is_due(&self, now: Moment) -> bool {
        self.subscriptions
            .values()
            .any(|subscription| subscription.due(&self.permitted, now).is_some())
    }

    /// The next response; it counts as sent. Returns what it carries too.
    pub(crate) fn next_response(
        &mut self,
        now: Moment,
    ) -> Option<(DiscoveryResponse, Arc<Resource>)> {
        let nonce = (self.responses + 1).to_string();
        let (version_info, resource) = self
            .subscriptions
            .values_mut()
            .find_map(|subscription| subscription.next(&self.permitted, &nonce, now))?;
        self.responses += 1;
        let response = DiscoveryResponse {
            version_info,
            resources: vec![resource.encoded.clone()],
            type_url: resource.kind.type_url().into(),
            nonce,
        };
        Some((response, resource))
    }

    /// Reports names that have been unknown for too long, each once.
    pub(crate) fn overdue(&mut self, now: Moment) -> Vec<Event> {
        let permitted = &self.permitted;
        let overdue = self.subscriptions.values_mut();
        overdue.flat_map(|subscription| subscription.overdue(permitted, now)).collect()
    }

    /// When [`Session::overdue`] will have something to say.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.subscriptions.values().filter_map(Subscription::next_deadline).min()
    }
}

/// Answers a single request, all its names in one response; names that are unknown or not permitted are left out.
pub(crate) fn fetch(
    kind: Kind,
    request: &DiscoveryRequest,
    names_limit: usize,
    permitted: &Permitted,
    now: Moment,
) -> Result<DiscoveryResponse, Refusal> {
    let kind = accepted_kind(kind, request, names_limit)?;
    let mut found: BTreeMap<String, Arc<Resource>> = match request.resource_names.as_slice() {
        [] => {
            let all = permitted.all(kind).into_iter();
            all.map(|resource| (resource.name.clone(), resource)).collect()
        }
        names => names
            .iter()
            .filter_map(|name| Some((name.clone(), permitted.find(kind, name)?)))
            .collect(),
    };
    found.retain(|_, resource| resource.is_valid(now.wall));
    if found.is_empty() {
        return Err(Refusal::NothingToFetch { kind });
    }
    let held = found
        .iter()
        .map(|(name, resource)| (name.clone(), Some(resource.version.clone())))
        .collect();
    Ok(DiscoveryResponse {
        version_info: state_version(&held).as_str().into(),
        resources: found.values().map(|resource| resource.encoded.clone()).collect(),
        type_url: kind.type_url().into(),
        nonce: String::new(),
    })
}

/// The kind that a request asks for. A service of one kind needs no type URL, but a wrong one is
/// refused.
fn accepted_kind(
    served: Kind,
    request: &DiscoveryRequest,
    names_limit: usize,
) -> Result<Kind, Refusal> {
    if !request.type_url.is_empty() && Kind::from_type_url(&request.type_url) != Some(served) {
        return Err(Refusal::TypeUrl { found: request.type_url.clone(), accepted: served });
    }
    if request.resource_names.len() > names_limit {
        return Err(Refusal::TooManyNames {
            found: request.resource_names.len(),
            accepted: names_limit,
        });
    }
    Ok(served)
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
