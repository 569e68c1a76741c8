//! The gRPC methods.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::routing::post;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use super::caller::Caller;
use super::frames::{Inbound, Message, respond};
use super::grant::{Grant, Permitted};
use super::peer::Peer;
use super::registry::Registry;
use super::resource::Kind;
use super::session::{Protocol, Quarantine, Request as Asked, Service, fetch};
use super::status::Refusal;
use super::stream::{Stream, carry};
use super::views::{View, Views};
use crate::config::{Config, LiveConfig};
use crate::sources::Moment;

/// Bytes of a request of the health service, which holds a service's name: half-received ones are kept for each stream, and
/// by default they may have 4 MiB.
const HEALTH_BYTES: usize = 1 << 10;

/// What all streams share.
#[derive(Debug)]
pub struct Hub {
    views: Views,
    pub(super) quarantine: watch::Sender<Quarantine>,
    pub(super) registry: Arc<Registry>,
    pub(super) config: LiveConfig,
    pub(super) stop: CancellationToken,
    pub(super) streams: TaskTracker,
    health: HealthReporter,
}

impl Hub {
    /// A hub whose streams end with `stop`.
    pub fn new(
        views: Views,
        registry: Arc<Registry>,
        config: LiveConfig,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            quarantine: views.quarantine(),
            views,
            registry,
            config,
            stop,
            streams: TaskTracker::new(),
            health: HealthReporter::new(),
        })
    }

    /// What `peer` may have at this moment.
    pub(super) fn grant(&self, peer: &Peer) -> Result<Arc<Grant>, Refusal> {
        Grant::of(peer, &self.config.borrow().listen).map_err(Refusal::NotAdmitted)
    }

    /// What the gRPC health service says.
    pub fn health(&self) -> HealthReporter {
        self.health.clone()
    }

    /// The configuration of this moment.
    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }

    /// What a caller sees.
    fn view(&self, caller: &Caller) -> Result<View, Refusal> {
        caller.end.confirm()?;
        self.views.open(&caller.peer)
    }
}

/// What a method does with a request's body.
#[derive(Debug, Clone, Copy)]
enum Method {
    Stream(Protocol),
    Fetch(Kind),
}

const STATE: Method = Method::Stream(Protocol::StateOfTheWorld);
const DELTA: Method = Method::Stream(Protocol::Delta);

/// A service and its methods. Names are those of envoy/service/*/v3/*.proto.
struct Offered {
    name: &'static str,
    service: Service,
    methods: &'static [(&'static str, Method)],
}

const OFFERED: [Offered; 3] = [
    Offered {
        name: "envoy.service.secret.v3.SecretDiscoveryService",
        service: Service::Of(Kind::Secret),
        methods: &[
            ("StreamSecrets", STATE),
            ("DeltaSecrets", DELTA),
            ("FetchSecrets", Method::Fetch(Kind::Secret)),
        ],
    },
    Offered {
        name: "envoy.service.extension.v3.ExtensionConfigDiscoveryService",
        service: Service::Of(Kind::Extension),
        methods: &[
            ("StreamExtensionConfigs", STATE),
            ("DeltaExtensionConfigs", DELTA),
            ("FetchExtensionConfigs", Method::Fetch(Kind::Extension)),
        ],
    },
    Offered {
        name: "envoy.service.discovery.v3.AggregatedDiscoveryService",
        service: Service::Aggregated,
        methods: &[("StreamAggregatedResources", STATE), ("DeltaAggregatedResources", DELTA)],
    },
];

pub(super) fn routes(hub: &Arc<Hub>) -> Routes {
    let mut router = Router::new();
    for Offered { name, service, methods } in OFFERED {
        for (method, does) in methods {
            let hub = Arc::clone(hub);
            let answer = async move |request: Request<Body>| {
                let (parts, body) = request.into_parts();
                let Some(caller) = parts.extensions.get::<Caller>() else {
                    return Status::from(Refusal::UnknownPeer).into_http();
                };
                let answered = match does {
                    Method::Stream(protocol) => stream(&hub, caller, (service, *protocol), body),
                    Method::Fetch(kind) => fetch_one(&hub, caller, *kind, body).await,
                };
                answered.unwrap_or_else(|refusal| {
                    if caller.end.confirm().is_ok() {
                        hub.registry.refuse(&caller.peer, refusal.class(), &refusal);
                    }
                    Status::from(refusal).into_http()
                })
            };
            router = router.route(&format!("/{name}/{method}"), post(answer));
        }
    }
    let unimplemented =
        || async { Status::unimplemented("this method is not served").into_http::<Body>() };
    let health = HealthServer::new(HealthService::from_health_reporter(hub.health()))
        .max_decoding_message_size(HEALTH_BYTES);
    Routes::from(router.fallback(unimplemented)).add_service(health)
}

type Answer = Result<Response<tonic::body::Body>, Refusal>;

/// Opens a stream, which then lives by itself.
fn stream(
    hub: &Arc<Hub>,
    caller: &Caller,
    (service, protocol): (Service, Protocol),
    body: Body,
) -> Answer {
    let view = hub.view(caller)?;
    let Caller { peer, budget, end } = caller.clone();
    let limit = hub.config().limits.message_bytes;
    let inbound = Inbound::new(body, protocol.fields(), limit, &budget);
    let (outbound, last, response) = respond();
    let names = budget.open();
    let stream = Stream { service, protocol, peer, names, view, end, inbound, outbound };
    hub.streams.spawn(carry(Arc::clone(hub), stream, last));
    Ok(response)
}

async fn fetch_one(hub: &Hub, caller: &Caller, kind: Kind, body: Body) -> Answer {
    let Caller { peer, budget, end } = caller;
    let (mut view, limits) = (hub.view(caller)?, &hub.config().limits);
    let protocol = Protocol::StateOfTheWorld;
    let mut inbound = Inbound::new(body, protocol.fields(), limits.message_bytes, budget);
    let request = Asked::decode(protocol, &inbound.next().await?.unwrap_or_default())?;
    tokio::select! {
        () = view.begun() => {}
        refusal = end.reached() => return Err(refusal),
    }
    let permitted = Permitted::new(view.current(), hub.grant(peer)?);
    let pieces = fetch(kind, &request, limits, permitted, Moment::now())?;
    view.confirm()?;
    end.confirm()?;
    let (outbound, _, response) = respond();
    // The queue has room for one.
    let _ = outbound.try_send(Ok(Message::new(pieces)));
    Ok(response)
}
