//! What is answered when a request fails, in one place.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use caller_role::RoleError;
use serde_json::json;
use tokio_postgres::error::SqlState;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("there is no customer {0}")]
    NoCustomer(i64),
    #[error("the body is not a customer: {0}")]
    Body(#[from] JsonRejection),
    #[error(transparent)]
    Database(#[from] RoleError),
}

impl From<tokio_postgres::Error> for Problem {
    fn from(error: tokio_postgres::Error) -> Self {
        RoleError::from(error).into()
    }
}

impl Problem {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoCustomer(_) => StatusCode::NOT_FOUND,
            Self::Body(rejection) => rejection.status(),
            Self::Database(error) => match error.sqlstate() {
                Some(&SqlState::UNIQUE_VIOLATION) => StatusCode::CONFLICT,
                Some(&(SqlState::CHECK_VIOLATION | SqlState::NOT_NULL_VIOLATION)) => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
                // A refused login among them: that is this API's fault or its operator's, not the caller's.
                _ => error.status(),
            },
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, message) = (self.status(), self.to_string());
        let sqlstate = match &self {
            Self::Database(error) => error.sqlstate().map(SqlState::code),
            _ => None,
        };
        tracing::warn!(%status, sqlstate, "{message}");
        (status, Json(json!({ "error": message, "sqlstate": sqlstate }))).into_response()
    }
}
