//! Transactions that may do what the caller's role may, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use serde::Serialize;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Config, NoTls, Row};

use crate::caller::DbRole;
use crate::problem::Problem;

/// How long a request waits for a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// How a transaction comes to its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RoleInjection {
    /// All share one login and take the role for one transaction: few connections, but SQL that an attacker injects
    /// can take another of the login's roles
    SetConfig,
    /// Each role has connections of its own, whose login it is: no SQL leaves it
    Connection,
}

/// The closed list of roles, each with its connections.
pub(crate) struct Database {
    injection: RoleInjection,
    pools: BTreeMap<DbRole, Pool>,
}

/// Who Postgres says that we are.
#[derive(Debug, Serialize)]
pub(crate) struct Session {
    session_user: String,
    current_user: String,
}

impl Database {
    /// Connects when first asked. At most `connections` per login.
    pub(crate) fn new(
        config: &Config,
        injection: RoleInjection,
        roles: Vec<DbRole>,
        connections: usize,
    ) -> anyhow::Result<Self> {
        let shared = pool(config.clone(), connections)?;
        let mut pools = BTreeMap::new();
        for role in roles {
            let pool = match injection {
                RoleInjection::SetConfig => shared.clone(),
                RoleInjection::Connection => {
                    pool(config.clone().user(role.as_str()).clone(), connections)?
                }
            };
            pools.insert(role, pool);
        }
        Ok(Self { injection, pools })
    }

    /// The role of that name, if it is on the list.
    pub(crate) fn role(&self, name: &str) -> Option<&DbRole> {
        self.pools.keys().find(|role| role.as_str() == name)
    }

    /// Begins a transaction in a role of the list. A pooled connection that has ended meanwhile (57P01 at the end of
    /// the sidecar's certificate, or of the policy's rule) is replaced: nothing was asked of it yet.
    pub(crate) async fn begin(&self, role: &DbRole) -> Result<RoleTransaction, Problem> {
        let pool = self.pools.get(role).ok_or_else(|| Problem::UnknownRole(role.to_string()))?;
        for _ in 0..pool.status().size {
            let mut transaction = RoleTransaction::on(pool.get().await?);
            match transaction.begin(self.injection, role).await {
                Err(problem) if problem.is_lost_connection() => {}
                outcome => return outcome.map(|()| transaction),
            }
        }
        let mut transaction = RoleTransaction::on(pool.get().await?);
        transaction.begin(self.injection, role).await?;
        Ok(transaction)
    }
}

fn pool(config: Config, connections: usize) -> anyhow::Result<Pool> {
    let manager = Manager::from_config(
        config,
        NoTls,
        ManagerConfig { recycling_method: RecyclingMethod::Fast },
    );
    Ok(Pool::builder(manager)
        .max_size(connections)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(CONNECT_DEADLINE))
        .create_timeout(Some(CONNECT_DEADLINE))
        .build()?)
}

/// An open transaction. Dropped before `commit`, it takes its connection with it: a role must never get back to the
/// pool with an unfinished transaction.
pub(crate) struct RoleTransaction {
    client: Option<Object>,
    session: Option<Session>,
}

/// A query's parameter with its type, which saves the round trip of a prepared statement.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl RoleTransaction {
    fn on(client: Object) -> Self {
        Self { client: Some(client), session: None }
    }

    /// One round trip: the three are sent before the first is answered.
    async fn begin(&mut self, injection: RoleInjection, role: &DbRole) -> Result<(), Problem> {
        let client = self.client();
        let role: Parameter = (&role.as_str(), Type::TEXT);
        let take_role = async {
            match injection {
                RoleInjection::SetConfig => client
                    .query_typed("select set_config('role', $1, true)", &[role])
                    .await
                    .map(drop),
                RoleInjection::Connection => Ok(()),
            }
        };
        let who = client.query_typed_one("select session_user::text, current_user::text", &[]);
        // Polled in this order, and each sends when first polled.
        let (begun, taken, who) =
            tokio::join!(biased; client.batch_execute("begin"), take_role, who);
        begun?;
        taken?;
        let who = who?;
        self.session = Some(Session { session_user: who.get(0), current_user: who.get(1) });
        Ok(())
    }

    /// Asks one query.
    pub(crate) async fn query(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Problem> {
        Ok(self.client().query_typed(sql, parameters).await?)
    }

    /// Commits, and gives the connection back without its role.
    pub(crate) async fn commit(mut self) -> Result<Session, Problem> {
        self.client().batch_execute("commit").await?;
        self.client = None;
        Ok(self.session.take().expect("a transaction that began knows its session"))
    }

    fn client(&self) -> &Object {
        self.client.as_ref().expect("only commit gives the connection back")
    }
}

impl Drop for RoleTransaction {
    fn drop(&mut self) {
        if let Some(unfinished) = self.client.take() {
            drop(Object::take(unfinished));
        }
    }
}
