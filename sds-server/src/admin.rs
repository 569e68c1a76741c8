//! Probes and metrics over HTTP.
//!
//! `/livez` says that the process runs. `/readyz` says whether an Envoy that starts now gets all
//! that it needs, and if not, why. `/metrics` is for Prometheus.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::{Address, FileMode};
use crate::metrics::Metrics;
use crate::policy::PolicyState;
use crate::sources::Identities;
use crate::xds::{ListenError, SocketFile};

/// What readiness depends on.
#[derive(Debug, Clone)]
pub struct Health {
    /// The identities that are served.
    pub identities: watch::Receiver<Identities>,
    /// The policy that is served.
    pub policy: watch::Receiver<PolicyState>,
    /// Cancelled when the server begins to stop.
    pub stop: CancellationToken,
    /// For `/metrics`.
    pub metrics: Metrics,
}

/// The answer of `/readyz`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether an Envoy that starts now gets all that it needs.
    ready: bool,
    /// What is missing.
    reasons: Vec<Reason>,
    /// What is wrong although nothing is missing: older things are served.
    warnings: Vec<Reason>,
}

/// A guard of readiness and what it says.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Reason {
    guard: &'static str,
    reason: String,
}

impl Health {
    /// Asks every guard.
    pub fn readiness(&self) -> Readiness {
        let identities = self.identities.borrow().clone();
        let policy = self.policy.borrow().clone();
        let stopping = self.stop.is_cancelled().then(|| "the server is stopping".to_owned());
        let (no_identity, no_policy) = (identities.missing(), policy.missing());
        let stale_identity = identities.trouble.clone().filter(|_| no_identity.is_none());
        let stale_policy = policy.rejected().map(str::to_owned).filter(|_| no_policy.is_none());
        let reasons = told([("identity", no_identity), ("policy", no_policy), ("stop", stopping)]);
        let warnings = told([("identity", stale_identity), ("policy", stale_policy)]);
        Readiness { ready: reasons.is_empty(), reasons, warnings }
    }
}

fn told<const N: usize>(guards: [(&'static str, Option<String>); N]) -> Vec<Reason> {
    guards
        .into_iter()
        .filter_map(|(guard, reason)| Some(Reason { guard, reason: reason? }))
        .collect()
}

/// The bound admin listener.
#[derive(Debug)]
pub enum AdminListener {
    /// On TCP.
    Tcp(tokio::net::TcpListener),
    /// On a Unix socket, 0660.
    Unix(tokio::net::UnixListener, SocketFile),
}

impl AdminListener {
    /// Listens at `address`; returns the real address too.
    pub async fn bind(address: &Address) -> Result<(Self, String), ListenError> {
        match address {
            Address::Tcp(wanted) => {
                if !wanted.ip().is_loopback() {
                    warn!(address = %wanted, "other machines can read the admin pages");
                }
                let system =
                    |source| ListenError::System { path: wanted.to_string().into(), source };
                let listener = tokio::net::TcpListener::bind(wanted).await.map_err(system)?;
                let real = listener.local_addr().map_err(system)?;
                Ok((Self::Tcp(listener), real.to_string()))
            }
            Address::Unix(wanted) => {
                let (listener, file) = SocketFile::bind(wanted.path(), FileMode::OWNER_AND_GROUP)?;
                Ok((Self::Unix(listener, file), wanted.to_string()))
            }
        }
    }

    /// Answers until `end`.
    pub async fn serve(self, health: Health, end: CancellationToken) -> std::io::Result<()> {
        let router = Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(health);
        match self {
            Self::Tcp(listener) => {
                axum::serve(listener, router).with_graceful_shutdown(end.cancelled_owned()).await
            }
            Self::Unix(listener, _file) => {
                axum::serve(listener, router).with_graceful_shutdown(end.cancelled_owned()).await
            }
        }
    }
}

async fn livez() -> &'static str {
    "alive\n"
}

async fn readyz(State(health): State<Health>) -> Response {
    let readiness = health.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(health): State<Health>) -> Response {
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, format)], health.metrics.render()).into_response()
}
