//! Pooled connections, by role.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, NoTls};

use crate::role::{Role, Roles};
use crate::transaction::{Injection, RoleTransaction};

/// How long a request waits for a free connection, and again for a new one.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Connections to the sidecar, in plain (it does the TLS), for a closed list of roles. A clone has the same connections.
///
/// They are opened when first needed. One that ended (57P01 at the end of a certificate or of the policy's rule, a restart
/// of Envoy or of Postgres) is replaced unseen when the next transaction begins.
#[derive(Clone, Debug)]
pub struct RoleConnections {
    injection: Injection,
    pools: Arc<BTreeMap<Role, Pool>>,
}

/// Why a transaction did not begin, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// For whoever wrote the list.
    #[error("the role {0:?} is not on the list")]
    UnknownRole(String),
    /// The policy gives the connection another role than it asked for: its rule lacks `may_act_as`.
    #[error(
        "Postgres says that this is {found:?} and not {wanted:?}; is it in the rule's may_act_as?"
    )]
    AnotherRole {
        /// Who was asked for.
        wanted: String,
        /// Who came.
        found: String,
    },
    /// Postgres, or the filter before it, refuses.
    #[error("the database refuses: {}", .0.as_db_error().map_or_else(|| .0.to_string(), |it| it.message().to_owned()))]
    Database(#[source] tokio_postgres::Error),
    /// There was no connection in time, or it ended.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
}

impl RoleConnections {
    /// All roles share the login of `config`, which takes a role for the length of a transaction. At most `connections`.
    pub fn shared(config: &Config, roles: &Roles, connections: usize) -> Self {
        let pool = pool(config.clone(), connections);
        let pools = roles.iter().map(|role| (role.clone(), pool.clone())).collect();
        Self { injection: Injection::SetConfig, pools: Arc::new(pools) }
    }

    /// Each role is a login of its own, instead of the one in `config`. At most `connections` for each of them.
    pub fn per_role(config: &Config, roles: &Roles, connections: usize) -> Self {
        let login = |role: &Role| pool(config.clone().user(role.as_str()).clone(), connections);
        let pools = roles.iter().map(|role| (role.clone(), login(role))).collect();
        Self { injection: Injection::Login, pools: Arc::new(pools) }
    }

    /// Begins a transaction in this role, in one round trip. Connections that prove to have ended are replaced, since
    /// nothing was asked of them yet.
    pub async fn begin(&self, role: &Role) -> Result<RoleTransaction, RoleError> {
        let pool = self.pools.get(role).ok_or_else(|| RoleError::UnknownRole(role.to_string()))?;
        for _ in 0..pool.status().size {
            match RoleTransaction::begin(pool.get().await?, self.injection, role).await {
                Err(error) if error.is_lost_connection() => {}
                outcome => return outcome,
            }
        }
        RoleTransaction::begin(pool.get().await?, self.injection, role).await
    }
}

fn pool(config: Config, connections: usize) -> Pool {
    // Whether a connection is good is seen when a transaction begins on it, which costs no round trip of its own.
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    Pool::builder(Manager::from_config(config, NoTls, recycling))
        .max_size(connections)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(CONNECT_DEADLINE))
        .create_timeout(Some(CONNECT_DEADLINE))
        .build()
        .expect("a pool with deadlines has a runtime")
}

impl RoleError {
    /// Whether the connection ended, rather than the database refusing.
    pub fn is_lost_connection(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Database(error) => matches!(
                error.code(),
                Some(
                    &(SqlState::ADMIN_SHUTDOWN
                        | SqlState::CRASH_SHUTDOWN
                        | SqlState::CANNOT_CONNECT_NOW)
                )
            ),
            Self::UnknownRole(_) | Self::AnotherRole { .. } => false,
        }
    }

    /// What Postgres calls the refusal, if it is one.
    pub fn sqlstate(&self) -> Option<&SqlState> {
        match self {
            Self::Database(error) => error.code(),
            _ => None,
        }
    }

    /// 403 for a privilege that the role lacks, 503 without a connection, else 500: who calls can't repair it.
    pub fn status(&self) -> StatusCode {
        if self.is_lost_connection() || self.sqlstate() == Some(&SqlState::TOO_MANY_CONNECTIONS) {
            StatusCode::SERVICE_UNAVAILABLE
        } else if self.sqlstate() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
            StatusCode::FORBIDDEN
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

impl IntoResponse for RoleError {
    fn into_response(self) -> Response {
        let (status, sqlstate) = (self.status(), self.sqlstate().map(SqlState::code));
        tracing::warn!(%status, sqlstate, "{self}");
        let body = serde_json::json!({ "error": self.to_string(), "sqlstate": sqlstate });
        (status, Json(body)).into_response()
    }
}

impl From<tokio_postgres::Error> for RoleError {
    fn from(error: tokio_postgres::Error) -> Self {
        match (error.as_db_error(), std::error::Error::source(&error)) {
            (Some(_), _) => Self::Database(error),
            // It says in the source what went wrong.
            (None, Some(source)) => Self::Unreachable(format!("{error}: {source}")),
            (None, None) => Self::Unreachable(error.to_string()),
        }
    }
}

impl From<PoolError> for RoleError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            other => Self::Unreachable(other.to_string()),
        }
    }
}
