//! Carries a [`Session`] over a gRPC stream.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tonic::{Status, Streaming};
use tracing::debug;

use super::event::Event;
use super::peer::Peer;
use super::registry::{Line, Protocol};
use super::resource::Kind;
use super::service::Hub;
use super::session::Session;
use super::status::Refusal;
use super::views::View;
use super::wire::{DiscoveryRequest, DiscoveryResponse};
use crate::sources::Moment;

type Inbound = Streaming<DiscoveryRequest>;
type Outbound = mpsc::Sender<Result<DiscoveryResponse, Status>>;

/// Serves one stream until the peer leaves, the server stops, or one of them breaks the rules.
pub(super) async fn carry(
    hub: Arc<Hub>,
    kind: Kind,
    peer: Peer,
    view: View,
    inbound: Inbound,
    out: Outbound,
) {
    let r#type = kind.label();
    debug!(r#type, %peer, "stream opened");
    let mut line = hub.registry.open(&peer, r#type, Protocol::Sotw);
    let ended = converse(&hub, kind, &peer, view, &mut line, inbound, &out).await;
    match &ended {
        Ok(()) | Err(Refusal::Draining) => debug!(r#type, %peer, "stream ended"),
        Err(refusal) => hub.registry.refuse(&peer, refusal.class(), refusal),
    }
    if let Err(refusal) = ended {
        // A peer that does not read will not read this either.
        let _ = out.try_send(Err(refusal.into()));
    }
}

async fn converse(
    hub: &Hub,
    kind: Kind,
    peer: &Peer,
    mut view: View,
    line: &mut Line,
    mut inbound: Inbound,
    out: &Outbound,
) -> Result<(), Refusal> {
    let mut session =
        Session::new(kind, peer, hub.limits().names_per_request, hub.grant(peer)?, view.current());
    let mut blocked_since: Option<Instant> = None;
    let mut config = hub.config.clone();
    loop {
        let due = session.is_due(Moment::now());
        blocked_since = blocked_since.or_else(|| Some(Instant::now())).filter(|_| due);
        let patience = blocked_since.map(|since| since + hub.limits().slow_reader.duration());
        let deadline = session.next_deadline();
        let events = tokio::select! {
            () = hub.stop.cancelled() => return Err(Refusal::Draining),
            request = inbound.message() => match request {
                Ok(Some(request)) => {
                    if let Some(node) = &request.node {
                        line.named(&node.id, &node.cluster);
                    }
                    session.receive(&request, &mut hub.quarantine(), Moment::now())?
                }
                Ok(None) => return Ok(()),
                Err(status) => {
                    debug!(%status, "the peer broke off");
                    return Ok(());
                }
            },
            catalogue = view.changed() => {
                session.update(catalogue?, &hub.quarantine(), Moment::now())
            }
            Ok(()) = config.changed() => {
                session.regrant(hub.grant(peer)?, &hub.quarantine(), Moment::now())
            }
            permit = out.reserve(), if due => {
                let Ok(permit) = permit else { return Ok(()) };
                view.confirm()?;
                blocked_since = None;
                match session.next_response(Moment::now()) {
                    Some((response, resource)) => {
                        permit.send(Ok(response));
                        vec![Event::pushed(&resource)]
                    }
                    None => Vec::new(),
                }
            }
            () = at(patience) => return Err(Refusal::SlowReader),
            () = at(deadline) => session.overdue(Moment::now()),
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
