//! Carries a [`Session`] over a gRPC stream.

use std::sync::{Arc, PoisonError};

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

use super::listener::Peer;
use super::quarantine::Quarantine;
use super::resource::Kind;
use super::service::Hub;
use super::session::{Event, Session};
use super::status::Refusal;
use super::wire::{DiscoveryRequest, DiscoveryResponse};
use crate::sources::Moment;

/// What a peer may write into our log with one NACK.
const REASON_BYTES: usize = 1024;

type Outbound = mpsc::Sender<Result<DiscoveryResponse, Status>>;

/// Serves one stream until the peer leaves, the server stops, or one of them breaks the rules.
pub(super) async fn carry(
    hub: Arc<Hub>,
    kind: Kind,
    peer: Peer,
    inbound: Streaming<DiscoveryRequest>,
    out: Outbound,
) {
    let _counted = hub.metrics.open_stream(kind.label(), "unix");
    debug!(r#type = kind.label(), uid = peer.uid, pid = peer.pid, "stream opened");
    let ended = converse(&hub, kind, &peer, inbound, &out).await;
    match &ended {
        Ok(()) | Err(Refusal::Draining) => {
            debug!(r#type = kind.label(), uid = peer.uid, pid = peer.pid, "stream ended");
        }
        Err(refusal) => {
            hub.metrics.count_rejected(refusal.class());
            warn!(r#type = kind.label(), uid = peer.uid, pid = peer.pid, reason = %refusal, "stream closed");
        }
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
    mut inbound: Streaming<DiscoveryRequest>,
    out: &Outbound,
) -> Result<(), Refusal> {
    let mut catalogues = hub.catalogue.clone();
    let catalogue = Arc::clone(&catalogues.borrow_and_update());
    let mut session = Session::new(kind, peer.uid, hub.limits.names_per_request, catalogue);
    let mut blocked_since: Option<Instant> = None;
    loop {
        let due = session.is_due(Moment::now());
        blocked_since = blocked_since.or_else(|| Some(Instant::now())).filter(|_| due);
        let patience =
            blocked_since.unwrap_or_else(Instant::now) + hub.limits.slow_reader.duration();
        let overdue = session.next_deadline();
        let events = tokio::select! {
            () = hub.stop.cancelled() => return Err(Refusal::Draining),
            request = inbound.message() => match request {
                Ok(Some(request)) => with(&hub.quarantine, |quarantine| session.receive(&request, quarantine, Moment::now()))?,
                Ok(None) => return Ok(()),
                Err(status) => {
                    debug!(%status, "the peer broke off");
                    return Ok(());
                }
            },
            changed = catalogues.changed() => {
                if changed.is_err() {
                    return Err(Refusal::Draining);
                }
                let catalogue = Arc::clone(&catalogues.borrow_and_update());
                with(&hub.quarantine, |quarantine| session.update(catalogue, quarantine, Moment::now()))
            }
            permit = out.reserve(), if due => {
                let Ok(permit) = permit else { return Ok(()) };
                if let Some((response, resource)) = session.next_response(Moment::now()) {
                    info!(r#type = kind.label(), name = resource.name, version = %resource.version, node = session.envoy().node, "pushed");
                    hub.metrics.count_push(kind.label());
                    permit.send(Ok(response));
                }
                blocked_since = None;
                Vec::new()
            }
            () = sleep_until(patience), if due => return Err(Refusal::SlowReader),
            () = sleep_until(overdue.unwrap_or_else(Instant::now)), if overdue.is_some() => session.overdue(Moment::now()),
        };
        tell(hub, &session, &events);
    }
}

fn with<T>(
    quarantine: &std::sync::Mutex<Quarantine>,
    work: impl FnOnce(&mut Quarantine) -> T,
) -> T {
    work(&mut quarantine.lock().unwrap_or_else(PoisonError::into_inner))
}

fn tell(hub: &Hub, session: &Session, events: &[Event]) {
    let node = &session.envoy().node;
    for event in events {
        match event {
            Event::Acked { kind, name, version, after, believed } => {
                hub.metrics.count_ack(kind.label(), *after);
                if *believed {
                    debug!(r#type = kind.label(), name, %version, node, "accepted");
                } else {
                    warn!(r#type = kind.label(), name, %version, node, "accepted bytes that it refused before: it serves older ones");
                }
            }
            Event::Nacked { kind, name, version, reason } => {
                hub.metrics.count_nack(kind.label());
                let reason: String =
                    reason.chars().filter(|c| !c.is_control()).take(REASON_BYTES).collect();
                warn!(r#type = kind.label(), name, %version, node, reason, "Envoy refused a resource; what it had before stays in force");
            }
            Event::Withheld { kind, name, version } => {
                warn!(r#type = kind.label(), name, %version, node, "not sent again: Envoy refused these bytes before");
            }
            Event::StaleNonce { kind } => {
                debug!(r#type = kind.label(), node, "an answer to no open response");
            }
            Event::Unanswered { kind, name } => {
                hub.metrics.count_unanswered(kind.label());
                warn!(
                    r#type = kind.label(),
                    name,
                    node,
                    "nothing of this name can be served; its listeners or clusters stay warming"
                );
            }
        }
    }
}
