//! A transaction in a role, and how its connection comes back without it.

use std::ops::Deref;
use std::time::Duration;

use deadpool_postgres::Object;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls};

use crate::connections::RoleError;
use crate::role::Role;

/// How long an abandoned transaction may take to roll back, behind a statement that may still run.
const ROLLBACK_DEADLINE: Duration = Duration::from_millis(500);

/// How long the request to cancel that statement may take.
const CANCEL_DEADLINE: Duration = Duration::from_secs(5);

/// What is left on a session by statements that live longer than a transaction: cursors, settings, a role set for the whole
/// session (`reset all` would leave it), subscriptions, advisory locks, temporary tables that hide real ones. `discard
/// all` would also drop the prepared statements by which tokio-postgres knows types.
macro_rules! ending_by {
    ($end:literal) => {
        concat!(
            $end,
            "; close all; set session authorization default; reset all; unlisten *; \
             select pg_advisory_unlock_all(); discard temp; discard sequences"
        )
    };
}

/// The `select` fails in a transaction that has failed, where `commit` would roll back and call it success.
const COMMIT: &str = ending_by!("select; commit");
const ROLLBACK: &str = ending_by!("rollback");

/// How a transaction comes to its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Injection {
    /// The login takes the role, until the transaction ends.
    SetConfig,
    /// The role is the login.
    Login,
}

/// An open transaction in a role; a [`Client`] for all that is to be asked in it.
///
/// Dropped before [`RoleTransaction::commit`] (an early return, a caller who hung up), it is rolled back. Its connection
/// goes back to the pool when Postgres has confirmed the transaction's end, and is closed if it doesn't within half a
/// second; a statement that still runs then is cancelled.
#[derive(Debug)]
pub struct RoleTransaction {
    connection: Option<Lent>,
    session_user: String,
}

impl RoleTransaction {
    /// One round trip: all three are sent before the first is answered.
    pub(crate) async fn begin(
        connection: Object,
        injection: Injection,
        role: &Role,
    ) -> Result<Self, RoleError> {
        let connection = Some(Lent(Some(connection)));
        let mut transaction = Self { connection, session_user: String::new() };
        let take_role = async {
            if injection == Injection::SetConfig {
                // The name is a value here, so there is nothing to quote. `true`: for this transaction only.
                let name = [(&role.as_str() as _, Type::TEXT)];
                transaction.query_typed("select set_config('role', $1, true)", &name).await?;
            }
            Ok(())
        };
        let who = "select session_user::text, current_user::text";
        // Polled in this order, and each sends when first polled.
        let (begun, taken, who) = tokio::join!(
            biased;
            transaction.batch_execute("begin"),
            take_role,
            transaction.query_typed_one(who, &[])
        );
        let who = begun.and(taken).and(who)?;
        let (session_user, current_user): (String, String) = (who.get(0), who.get(1));
        transaction.session_user = session_user;
        if current_user != role.as_str() {
            return Err(RoleError::AnotherRole { wanted: role.to_string(), found: current_user });
        }
        Ok(transaction)
    }

    /// The login role, as Postgres says.
    pub fn session_user(&self) -> &str {
        &self.session_user
    }

    /// Commits. A transaction in which a statement failed is rolled back, and that is an error.
    pub async fn commit(mut self) -> Result<(), RoleError> {
        self.batch_execute(COMMIT).await?;
        if let Some(connection) = self.connection.take() {
            connection.give_back();
        }
        Ok(())
    }
}

impl Deref for RoleTransaction {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.connection.as_ref().expect("only its end takes the connection").client()
    }
}

impl Drop for RoleTransaction {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // Without a runtime, or when that ends, the connection is closed, which rolls back too.
        if let Ok(runtime) = Handle::try_current()
            && !connection.client().is_closed()
        {
            runtime.spawn(connection.roll_back());
        }
    }
}

/// A connection out of the pool, closed when dropped: only what is known to be clean is given back.
#[derive(Debug)]
struct Lent(Option<Object>);

impl Lent {
    fn client(&self) -> &Client {
        self.0.as_ref().expect("only give_back takes it")
    }

    fn give_back(mut self) {
        drop(self.0.take());
    }

    async fn roll_back(self) {
        match timeout(ROLLBACK_DEADLINE, self.client().batch_execute(ROLLBACK)).await {
            Ok(Ok(())) => self.give_back(),
            Ok(Err(error)) => tracing::debug!("a connection is closed: {error}"),
            Err(_) => {
                // A cancel may come late and meet a later statement, so this connection gets no other.
                let cancel = self.client().cancel_token();
                let cancelled = timeout(CANCEL_DEADLINE, cancel.cancel_query(NoTls)).await;
                tracing::debug!(?cancelled, "a connection is closed that would not roll back");
            }
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(unclean) = self.0.take() {
            drop(Object::take(unclean));
        }
    }
}
