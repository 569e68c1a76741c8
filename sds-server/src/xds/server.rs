//! The HTTP/2 server that offers the methods: one task for each connection.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use futures::{Stream, StreamExt};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tower::Service as _;
use tracing::debug;

use super::budget::Budget;
use super::caller::{Caller, End};
use super::listener::Connection;
use super::service::{Hub, routes};
use crate::config::Limits;

/// How long a peer that must not be connected any longer has to read why.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves all methods on `incoming` until the hub stops and every connection is closed.
pub async fn serve(hub: Arc<Hub>, incoming: impl Stream<Item = Connection>) {
    let (routes, connections) = (routes(&hub).prepare(), TaskTracker::new());
    {
        let mut incoming = pin!(incoming.take_until(hub.stop.cancelled()));
        while let Some(connection) = incoming.next().await {
            connections.spawn(attend(Arc::clone(&hub), connection, routes.clone()));
        }
    }
    for tasks in [&connections, &hub.streams] {
        tasks.close();
        tasks.wait().await;
    }
}

/// Serves one connection to its end. Where the server brings that about, streams end with a status that says why,
/// and GOAWAY follows.
async fn attend(hub: Arc<Hub>, mut connection: Connection, routes: Routes) {
    let (peer, mut unwelcome) = (connection.peer().clone(), connection.unwelcome());
    let end = End::with(&hub.stop);
    let caller = Caller { peer: peer.clone(), budget: Budget::default(), end: end.clone() };
    let limits = hub.config().limits.clone();
    let serving = http2(&limits).serve_connection(TokioIo::new(connection), of(caller, routes));
    let mut serving = pin!(serving);
    let mut stopping = false;
    let refusal = loop {
        tokio::select! {
            ended = &mut serving => {
                if let Err(error) = ended {
                    debug!(%peer, %error, "connection ended");
                }
                return;
            }
            () = hub.stop.cancelled(), if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
            }
            refusal = &mut unwelcome => break refusal,
        }
    };
    hub.registry.refuse(&peer, refusal.class(), &refusal);
    end.come(refusal);
    serving.as_mut().graceful_shutdown();
    // Whoever does not read it is cut off.
    let _ = timeout(FAREWELL, serving).await;
}

/// The methods for a caller.
fn of(
    caller: Caller,
    routes: Routes,
) -> impl Service<
    Request<Incoming>,
    Response = Response<tonic::body::Body>,
    Error = Infallible,
    Future: Send + 'static,
> {
    service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(caller.clone());
        // They are always ready.
        routes.clone().call(request.map(Body::new))
    })
}

fn http2(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.keepalive.duration())
        .keep_alive_timeout(limits.keepalive_timeout.duration())
        .max_pending_accept_reset_streams(limits.pending_resets)
        .max_local_error_reset_streams(limits.own_resets)
        .max_header_list_size(limits.header_bytes)
        .initial_stream_window_size(limits.window_bytes)
        .initial_connection_window_size(limits.window_bytes)
        .max_concurrent_streams(limits.streams_per_connection);
    builder
}
