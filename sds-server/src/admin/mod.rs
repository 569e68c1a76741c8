//! What operators and their programs read over HTTP, and the one thing that they can change.
//!
//! | path | what |
//! | --- | --- |
//! | `/livez`, `/healthz` | the process runs |
//! | `/readyz` | whether an Envoy that starts now gets all that it needs, and if not, why |
//! | `/metrics` | for Prometheus |
//! | `/` | a page for people |
//! | `/status` | the same as JSON |
//! | `/logging` | what is logged; POST changes it |
//!
//! No answer holds a key. What peers say of themselves is shown as text and never as anything else.

mod browser;
mod certificate;
mod listener;
mod logging;
mod page;
mod readiness;
mod status;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

pub use listener::AdminListener;
pub use readiness::{Health, Readiness, Reason};
pub use status::{Admin, SourceReport, Status};

/// Every page.
fn router(admin: Admin) -> Router {
    let pages = Router::new()
        .route("/", get(page::page))
        .route("/status", get(async |State(admin): State<Admin>| Json(admin.status())))
        .route("/logging", get(logging::show).post(logging::change))
        .layer(from_fn(browser::refuse_other_sites));
    Router::new()
        .route("/livez", get(alive))
        .route("/healthz", get(alive))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .merge(pages)
        .with_state(admin)
}

async fn alive() -> &'static str {
    "alive\n"
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let readiness = admin.health.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, format)], admin.metrics.render()).into_response()
}
