//! What is answered when a request fails, in one place.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use deadpool_postgres::PoolError;
use serde_json::json;
use tokio_postgres::error::SqlState;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// The request did not come through the sidecar, or its rule gives no role.
    #[error("the header {0} is missing, which the sidecar writes")]
    NoHeader(&'static str),
    #[error("the header {0} is not one readable value")]
    Header(&'static str),
    #[error("the role {0:?} is not one that this API may take")]
    UnknownRole(String),
    #[error("there is no customer {0}")]
    NoCustomer(i64),
    #[error("the body is not a customer: {0}")]
    Body(#[from] JsonRejection),
    #[error("the database refuses: {0}")]
    Database(tokio_postgres::Error),
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
}

impl From<tokio_postgres::Error> for Problem {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(_) => Self::Database(error),
            None => Self::Unreachable(described(&error)),
        }
    }
}

impl From<PoolError> for Problem {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            other => Self::Unreachable(other.to_string()),
        }
    }
}

/// tokio-postgres says in the source what went wrong.
fn described(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

impl Problem {
    /// Whether the connection ended, rather than the database refusing.
    pub(crate) fn is_lost_connection(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Database(error) => error.code() == Some(&SqlState::ADMIN_SHUTDOWN),
            _ => false,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoHeader(_) | Self::Header(_) | Self::UnknownRole(_) => StatusCode::FORBIDDEN,
            Self::NoCustomer(_) => StatusCode::NOT_FOUND,
            Self::Body(rejection) => rejection.status(),
            Self::Unreachable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Database(error) => match error.code() {
                Some(&SqlState::INSUFFICIENT_PRIVILEGE) => StatusCode::FORBIDDEN,
                Some(&SqlState::UNIQUE_VIOLATION) => StatusCode::CONFLICT,
                Some(&SqlState::CHECK_VIOLATION | &SqlState::NOT_NULL_VIOLATION) => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
                Some(
                    &(SqlState::ADMIN_SHUTDOWN
                    | SqlState::CANNOT_CONNECT_NOW
                    | SqlState::TOO_MANY_CONNECTIONS),
                ) => StatusCode::SERVICE_UNAVAILABLE,
                // A refused login among them: that is this API's fault or its operator's, not the caller's.
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Database(error) => match error.as_db_error() {
                Some(refusal) => format!("the database refuses: {}", refusal.message()),
                None => self.to_string(),
            },
            _ => self.to_string(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, message) = (self.status(), self.message());
        let sqlstate = match &self {
            Self::Database(error) => error.code().map(SqlState::code),
            _ => None,
        };
        tracing::warn!(%status, sqlstate, "{message}");
        (status, Json(json!({ "error": message, "sqlstate": sqlstate }))).into_response()
    }
}
