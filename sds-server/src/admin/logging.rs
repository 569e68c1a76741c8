//! `/logging`: what is logged, and how to change it while the server runs.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::Admin;

/// What is logged, as `--log` takes it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Logging {
    filter: String,
}

pub(super) async fn show(State(admin): State<Admin>) -> Json<Logging> {
    Json(Logging { filter: admin.log.filter() })
}

pub(super) async fn change(
    State(admin): State<Admin>,
    wanted: Result<Json<Logging>, JsonRejection>,
) -> Response {
    let changed = match wanted {
        Ok(Json(Logging { filter })) => admin.log.change(&filter).map(|before| (before, filter)),
        Err(rejection) => Err(format!("{rejection}; accepted is {{\"filter\": \"debug\"}}")),
    };
    match changed {
        Ok((before, filter)) => {
            info!(before, filter, "what is logged was changed");
            Json(Logging { filter }).into_response()
        }
        Err(fault) => (StatusCode::BAD_REQUEST, format!("{fault}\n")).into_response(),
    }
}
