//! One question per transaction, in the role of the caller.

use caller_role::{Role, RoleConnections, RoleError, Roles};
use serde::Serialize;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Config, Row};

/// How a transaction comes to its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RoleInjection {
    /// All share one login and take the role for one transaction: few connections, but SQL that an attacker injects
    /// can take another of the login's roles
    SetConfig,
    /// Each role has connections of its own, whose login it is: no SQL leaves it
    Connection,
}

impl RoleInjection {
    /// At most `connections` per login.
    pub(crate) fn connections(
        self,
        config: &Config,
        roles: &Roles,
        connections: usize,
    ) -> RoleConnections {
        match self {
            Self::SetConfig => RoleConnections::shared(config, roles, connections),
            Self::Connection => RoleConnections::per_role(config, roles, connections),
        }
    }
}

/// Who Postgres says that we are, after the question and in its transaction.
#[derive(Debug, Serialize)]
pub(crate) struct Session {
    session_user: String,
    current_user: String,
}

/// A query's parameter with its type, which saves the round trip of a prepared statement.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Asks one question.
pub(crate) async fn ask(
    connections: &RoleConnections,
    role: &Role,
    sql: &str,
    parameters: &[Parameter<'_>],
) -> Result<(Vec<Row>, Session), RoleError> {
    let transaction = connections.begin(role).await?;
    let who = "select session_user::text, current_user::text";
    // Polled in this order, and each sends when first polled: one round trip.
    let (rows, who) = tokio::join!(
        biased;
        transaction.query_typed(sql, parameters),
        transaction.query_typed_one(who, &[])
    );
    let (rows, who) = (rows?, who?);
    transaction.commit().await?;
    Ok((rows, Session { session_user: who.get(0), current_user: who.get(1) }))
}
