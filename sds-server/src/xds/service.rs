//! The gRPC methods, and the server that offers them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::grant::{Grant, Permitted};
use super::listener::Connection;
use super::peer::Peer;
use super::quarantine::Quarantine;
use super::registry::Registry;
use super::resource::Kind;
use super::session::fetch;
use super::status::Refusal;
use super::stream::carry;
use super::views::Views;
use super::wire::{DiscoveryRequest, DiscoveryResponse};
use crate::config::{Limits, LiveConfig};
use crate::sources::Moment;

/// An Envoy that is frozen or gone is noticed after both times.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(5));
/// Streams that a peer may reset before they are taken up.
const PENDING_RESETS: usize = 64;

/// What all streams share.
#[derive(Debug)]
pub struct Hub {
    views: Views,
    quarantine: Mutex<Quarantine>,
    pub(super) registry: Arc<Registry>,
    pub(super) config: LiveConfig,
    pub(super) stop: CancellationToken,
    streams: TaskTracker,
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
            views,
            quarantine: Mutex::default(),
            registry,
            config,
            stop,
            streams: TaskTracker::new(),
            health: HealthReporter::new(),
        })
    }

    /// The limits of this moment.
    pub(super) fn limits(&self) -> Limits {
        self.config.borrow().limits.clone()
    }

    /// What `peer` may have at this moment.
    pub(super) fn grant(&self, peer: &Peer) -> Result<Arc<Grant>, Refusal> {
        Grant::of(peer, &self.config.borrow().listen).map_err(Refusal::NotAdmitted)
    }

    /// What the gRPC health service says.
    pub fn health(&self) -> HealthReporter {
        self.health.clone()
    }

    /// What was refused, for a moment: never hold it while waiting.
    pub(super) fn quarantine(&self) -> MutexGuard<'_, Quarantine> {
        self.quarantine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves all methods on `incoming` until the hub stops and every connection is closed.
pub async fn serve(
    hub: Arc<Hub>,
    incoming: impl Stream<Item = std::io::Result<Connection>>,
) -> Result<(), tonic::transport::Error> {
    let stop = hub.stop.clone();
    let result = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS))
        .max_concurrent_streams(hub.limits().streams_per_connection)
        .add_routes(routes(&hub))
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await;
    hub.streams.close();
    hub.streams.wait().await;
    result
}

/// A service of one kind of resource: its name, and the methods that stream and that fetch.
const SERVICES: [(Kind, &str, &str, &str); 2] = [
    (
        Kind::Secret,
        "envoy.service.secret.v3.SecretDiscoveryService",
        "StreamSecrets",
        "FetchSecrets",
    ),
    (
        Kind::Extension,
        "envoy.service.extension.v3.ExtensionConfigDiscoveryService",
        "StreamExtensionConfigs",
        "FetchExtensionConfigs",
    ),
];

fn routes(hub: &Arc<Hub>) -> Routes {
    let mut router = Router::new();
    for (kind, service, stream, fetch) in SERVICES {
        let (streaming, unary) = (Arc::clone(hub), Arc::clone(hub));
        router = router
            .route(
                &format!("/{service}/{stream}"),
                post(move |request| stream_method(Arc::clone(&streaming), kind, request)),
            )
            .route(
                &format!("/{service}/{fetch}"),
                post(move |request| fetch_method(Arc::clone(&unary), kind, request)),
            );
    }
    let unimplemented =
        || async { Status::unimplemented("this method is not served").into_http::<Body>() };
    let health = HealthServer::new(HealthService::from_health_reporter(hub.health()));
    Routes::from(router.fallback(unimplemented)).add_service(health)
}

type Responses = ReceiverStream<Result<DiscoveryResponse, Status>>;

async fn stream_method(
    hub: Arc<Hub>,
    kind: Kind,
    request: axum::http::Request<Body>,
) -> axum::http::Response<tonic::body::Body> {
    let mut grpc = grpc(&hub);
    let open = service_fn(move |request: Request<Streaming<DiscoveryRequest>>| {
        let hub = Arc::clone(&hub);
        async move {
            refuse_when_draining(&hub)?;
            let peer = peer(&request)?;
            let view = hub.views.open(&peer)?;
            // One response in the queue: everything behind it is the latest state when its turn
            // comes.
            let (out, responses) = mpsc::channel(1);
            hub.streams.spawn(carry(Arc::clone(&hub), kind, peer, view, request.into_inner(), out));
            Ok::<Response<Responses>, Status>(Response::new(ReceiverStream::new(responses)))
        }
    });
    grpc.streaming(open, request).await
}

async fn fetch_method(
    hub: Arc<Hub>,
    kind: Kind,
    request: axum::http::Request<Body>,
) -> axum::http::Response<tonic::body::Body> {
    let mut grpc = grpc(&hub);
    let answer = service_fn(move |request: Request<DiscoveryRequest>| {
        let hub = Arc::clone(&hub);
        async move {
            refuse_when_draining(&hub)?;
            let peer = peer(&request)?;
            let mut view = hub.views.open(&peer)?;
            let permitted = Permitted { catalogue: view.current(), grant: hub.grant(&peer)? };
            let response = fetch(
                kind,
                request.get_ref(),
                hub.limits().names_per_request,
                &permitted,
                Moment::now(),
            )
            .and_then(|response| view.confirm().map(|()| response))
            .inspect_err(|refusal| hub.registry.refuse(&peer, refusal.class(), refusal))?;
            Ok::<_, Status>(Response::new(response))
        }
    });
    grpc.unary(answer, request).await
}

fn grpc(hub: &Hub) -> tonic::server::Grpc<ProstCodec<DiscoveryResponse, DiscoveryRequest>> {
    tonic::server::Grpc::new(ProstCodec::default())
        .max_decoding_message_size(hub.limits().message_bytes)
}

fn refuse_when_draining(hub: &Hub) -> Result<(), Refusal> {
    if hub.stop.is_cancelled() { Err(Refusal::Draining) } else { Ok(()) }
}

/// Who the listener found at the other end.
fn peer<T>(request: &Request<T>) -> Result<Peer, Refusal> {
    request.extensions().get::<Peer>().cloned().ok_or(Refusal::UnknownPeer)
}
