//! Carries a [`Session`] over a gRPC stream.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::budget::Charge;
use super::caller::End;
use super::event::Event;
use super::frames::{Inbound, LastWord, Message, Outbound};
use super::grant::Grant;
use super::peer::Peer;
use super::registry::{self, Line};
use super::service::Hub;
use super::session::{Protocol, Request, Service, Session};
use super::status::Refusal;
use super::views::View;
use crate::sources::Moment;

/// A stream before its first message.
pub(super) struct Stream {
    pub(super) service: Service,
    pub(super) protocol: Protocol,
    pub(super) peer: Peer,
    /// For the names that are asked for.
    pub(super) names: Charge,
    pub(super) view: View,
    /// Of its connection.
    pub(super) end: End,
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
}

/// Serves one stream until the peer leaves, the server stops, or one of them breaks the rules. The `last` word says which.
pub(super) async fn carry(hub: Arc<Hub>, stream: Stream, last: LastWord) {
    let (r#type, peer) = (stream.service.label(), stream.peer.clone());
    debug!(r#type, %peer, "stream opened");
    let end = stream.end.clone();
    let protocol = match (stream.service, stream.protocol) {
        (Service::Of(_), Protocol::StateOfTheWorld) => registry::Protocol::Sotw,
        (Service::Of(_), Protocol::Delta) => registry::Protocol::Delta,
        (Service::Aggregated, Protocol::StateOfTheWorld) => registry::Protocol::AdsSotw,
        (Service::Aggregated, Protocol::Delta) => registry::Protocol::AdsDelta,
    };
    let mut line = hub.registry.open(&peer, r#type, protocol);
    let ended = converse(&hub, stream, &mut line).await;
    match &ended {
        Ok(()) | Err(Refusal::ProcessEnded) => debug!(r#type, %peer, "stream ended"),
        // It is told of the connection.
        Err(_) if end.confirm().is_err() => debug!(r#type, %peer, "stream ended"),
        Err(refusal) => hub.registry.refuse(&peer, refusal.class(), refusal),
    }
    if let Err(refusal) = ended {
        last.say(refusal.into());
    }
}

async fn converse(hub: &Hub, stream: Stream, line: &mut Line) -> Result<(), Refusal> {
    let Stream { service, protocol, peer, mut names, mut view, end, mut inbound, outbound } =
        stream;
    // Who may have nothing any more is about to be disconnected.
    let granted = || hub.grant(&peer).unwrap_or_else(|_| Grant::nothing());
    let (config, grant) = (hub.config(), granted());
    let mut session = Session::new((service, protocol), &peer, config, grant, view.current());
    let mut refusals = hub.quarantine.subscribe();
    let mut blocked_since: Option<Instant> = None;
    let mut config = hub.config.clone();
    loop {
        let due = session.is_due();
        blocked_since = blocked_since.or_else(|| Some(Instant::now())).filter(|_| due);
        let patience =
            blocked_since.map(|since| since + session.config().limits.slow_reader.duration());
        let deadline = session.next_deadline();
        let events = tokio::select! {
            refusal = end.reached() => return Err(refusal),
            message = inbound.next() => {
                let Some(message) = message? else { return Ok(()) };
                let request = Request::decode(protocol, &message)?;
                drop(message);
                if let Some(node) = &request.node {
                    line.named(&node.id, &node.cluster);
                }
                let mut events = Ok(Vec::new());
                hub.quarantine.send_if_modified(|quarantine| {
                    events = session.receive(request, quarantine, Moment::now());
                    quarantine.take_news()
                });
                names.set(session.name_bytes(), session.config().limits.message_bytes)?;
                events?
            }
            catalogue = view.changed() => {
                session.update(catalogue?, &refusals.borrow_and_update(), Moment::now())
            }
            Ok(()) = config.changed() => {
                let (config, grant) = (hub.config(), granted());
                session.reconfigure(config, grant, &refusals.borrow_and_update(), Moment::now())
            }
            permit = outbound.reserve(), if due => {
                let Ok(permit) = permit else { return Ok(()) };
                view.confirm()?;
                end.confirm()?;
                blocked_since = None;
                let response = session.next_response(&refusals.borrow(), Moment::now());
                response.map_or_else(Vec::new, |response| {
                    let sent = Event::sent(&response);
                    permit.send(Ok(Message::new(response.encode(protocol))));
                    vec![sent]
                })
            }
            () = at(patience) => return Err(Refusal::SlowReader),
            () = at(deadline) => session.reconsider(&refusals.borrow_and_update(), Moment::now()),
            Ok(()) = refusals.changed(), if session.withholds() => {
                session.reconsider(&refusals.borrow_and_update(), Moment::now())
            }
        };
        for event in events {
            line.hear(&event);
        }
    }
}

/// Waits until then, or for ever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
