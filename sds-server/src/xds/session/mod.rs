//! What one stream knows, as a pure value: requests and catalogues in, responses and events out.
//!
//! It is the same for both protocols and for streams of one kind or of several. Responses are
//! pulled, one resource each, when the peer can take them. So a slow peer gets the latest state
//! only, and a refusal concerns one resource.

mod entry;
mod fetch;
mod message;
mod quarantine;
mod subscription;
mod version;

use std::sync::Arc;

use tokio::time::Instant;

use super::catalogue::Catalogue;
use super::event::Event;
use super::grant::{Grant, Permitted};
use super::peer::Peer;
use super::resource::Kind;
use super::status::Refusal;
use crate::config::{Config, Limits};
use crate::sources::Moment;

use self::entry::Circumstances;
use self::message::Wanted;
use self::subscription::Subscription;

pub(crate) use self::fetch::fetch;
pub(crate) use self::message::{Protocol, Request, Response, Says, Service};
pub(crate) use self::quarantine::{EnvoyId, Instance, Quarantine};

/// The state of one stream.
#[derive(Debug)]
pub(crate) struct Session {
    context: Context,
    /// By kind, in the order of sending.
    subscriptions: Vec<Subscription>,
    responses: u64,
}

/// What a stream is about, and with whom.
#[derive(Debug)]
struct Context {
    service: Service,
    protocol: Protocol,
    config: Arc<Config>,
    envoy: EnvoyId,
    permitted: Permitted,
}

impl Context {
    fn at<'a>(&'a self, kind: Kind, quarantine: &'a Quarantine, now: Moment) -> Circumstances<'a> {
        Circumstances { kind, context: self, quarantine, now }
    }
}

impl Session {
    /// A stream that was opened by `peer`, which may have what `grant` permits.
    pub(crate) fn new(
        (service, protocol): (Service, Protocol),
        peer: &Peer,
        config: Arc<Config>,
        grant: Arc<Grant>,
        catalogue: Arc<Catalogue>,
    ) -> Self {
        let instance = Instance { place: peer.place(), node: String::new() };
        let envoy = EnvoyId { account: peer.account(), instance };
        let permitted = Permitted::new(catalogue, grant);
        let context = Context { service, protocol, config, envoy, permitted };
        Self { context, subscriptions: Vec::new(), responses: 0 }
    }

    /// Takes in a request.
    pub(crate) fn receive(
        &mut self,
        request: Request,
        quarantine: &mut Quarantine,
        now: Moment,
    ) -> Result<Vec<Event>, Refusal> {
        let context = &mut self.context;
        if let Some(node) = &request.node {
            context.envoy.instance.node.clone_from(&node.id);
            context.permitted.form = node.form;
        }
        let Some(kind) = context.service.kind_of(&request.type_url)? else {
            return Ok(vec![Event::Ignored { type_url: request.type_url }]);
        };
        context.config.limits.check_request(&request.wanted)?;
        let mut events = Vec::new();
        let position = match self.subscriptions.binary_search_by_key(&kind, Subscription::kind) {
            Ok(position) => {
                let subscription = &mut self.subscriptions[position];
                let heard = subscription.receive(request, context, quarantine, now);
                events = heard.events;
                if !heard.changed {
                    return Ok(events);
                }
                position
            }
            Err(position) => {
                let repeats = context.service == Service::Aggregated;
                self.subscriptions.reserve_exact(1);
                let opened = Subscription::open(kind, repeats, request.wanted);
                self.subscriptions.insert(position, opened);
                position
            }
        };
        let subscription = &mut self.subscriptions[position];
        context.config.limits.check_names(subscription.size())?;
        events.extend(subscription.settle(&context.at(kind, quarantine, now)));
        Ok(events)
    }

    /// Takes in a new catalogue.
    pub(crate) fn update(
        &mut self,
        catalogue: Arc<Catalogue>,
        quarantine: &Quarantine,
        now: Moment,
    ) -> Vec<Event> {
        self.context.permitted.catalogue = catalogue;
        self.reconsider(quarantine, now)
    }

    /// Takes in a new configuration, and what the peer may have from now on. It is not told: a name
    /// that it lost is silent.
    pub(crate) fn reconfigure(
        &mut self,
        config: Arc<Config>,
        grant: Arc<Grant>,
        quarantine: &Quarantine,
        now: Moment,
    ) -> Vec<Event> {
        (self.context.config, self.context.permitted.grant) = (config, grant);
        self.reconsider(quarantine, now)
    }

    /// The configuration that holds for it.
    pub(crate) fn config(&self) -> &Config {
        &self.context.config
    }

    /// Bytes of the names that are kept.
    pub(crate) fn name_bytes(&self) -> usize {
        self.subscriptions.iter().map(Subscription::name_bytes).sum()
    }

    /// Looks again: time has passed, or the quarantine has news.
    pub(crate) fn reconsider(&mut self, quarantine: &Quarantine, now: Moment) -> Vec<Event> {
        let context = &self.context;
        let settled = self.subscriptions.iter_mut().flat_map(|subscription| {
            subscription.settle(&context.at(subscription.kind(), quarantine, now))
        });
        settled.collect()
    }

    /// Whether [`Session::next_response`] probably has one.
    pub(crate) fn is_due(&self) -> bool {
        self.subscriptions.iter().any(Subscription::is_due)
    }

    /// The next response; it counts as sent.
    pub(crate) fn next_response(
        &mut self,
        quarantine: &Quarantine,
        now: Moment,
    ) -> Option<Response> {
        let (context, nonce) = (&self.context, self.responses + 1);
        let response = self.subscriptions.iter_mut().find_map(|subscription| {
            subscription.next(&context.at(subscription.kind(), quarantine, now), nonce)
        })?;
        self.responses = nonce;
        Some(response)
    }

    /// Whether bytes that were refused are held back, so that the quarantine's news are of
    /// interest.
    pub(crate) fn withholds(&self) -> bool {
        self.subscriptions.iter().any(Subscription::withholds)
    }

    /// When to [`Session::reconsider`] though nothing happened.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.subscriptions.iter().filter_map(Subscription::deadline).min()
    }
}

impl Limits {
    fn check_request(&self, wanted: &Wanted) -> Result<(), Refusal> {
        self.check_names((wanted.longest(), 0))
    }

    /// Checks the names of one kind on one stream, and their bytes: they may come in many requests,
    /// but are no more than one could hold.
    fn check_names(&self, (names, bytes): (usize, usize)) -> Result<(), Refusal> {
        if names > self.names_per_request {
            return Err(Refusal::TooManyNames { found: names, accepted: self.names_per_request });
        }
        if bytes > self.message_bytes {
            return Err(Refusal::NamesTooLong { found: bytes, accepted: self.message_bytes });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
