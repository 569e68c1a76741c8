//! The caller that the sidecar's filter names, and transactions in its Postgres role.
//!
//! `spiffe-authz.wasm` removes the headers `x-spiffe-id`, `x-signet-rule` and `x-db-role` from every request and writes
//! its own. [`Caller`] is an axum extractor for them, and [`RoleConnections`] begins transactions in [`Caller::role`]. What
//! is missing, repeated, malformed or not on the API's own list of [`Roles`] is refused: there is no default role.
//!
//! ```no_run
//! use axum::extract::{FromRef, State};
//! use axum::{Router, routing::get};
//! use caller_role::{Caller, RoleConnections, RoleError, Roles};
//!
//! #[derive(Clone)]
//! struct App {
//!     roles: Roles,
//!     database: RoleConnections,
//! }
//!
//! impl FromRef<App> for Roles {
//!     fn from_ref(app: &App) -> Self {
//!         app.roles.clone()
//!     }
//! }
//!
//! async fn count(State(app): State<App>, caller: Caller) -> Result<String, RoleError> {
//!     let transaction = app.database.begin(&caller.role).await?;
//!     let row = transaction.query_typed_one("select count(*) from customers", &[]).await?;
//!     transaction.commit().await?; // without it: rolled back
//!     Ok(format!("{} sees {} customers", caller.spiffe_id, row.get::<_, i64>(0)))
//! }
//!
//! # fn app() -> Result<Router, Box<dyn std::error::Error>> {
//! let roles = Roles::new(["customers_reader".parse()?, "customers_writer".parse()?]);
//! let sidecar = "host=/run/signet user=api dbname=customers".parse()?;
//! let database = RoleConnections::shared(&sidecar, &roles, 8);
//! let app = Router::new().route("/count", get(count)).with_state(App { roles, database });
//! # Ok(app) }
//! ```
//!
//! The API must be reachable through its sidecar only (a Unix socket, or loopback inside a pod): whoever else reaches it
//! writes these headers as it likes.
//!
//! There are two ways to a role, with the same transactions:
//!
//! - [`RoleConnections::shared`]: one login, which takes the role for the length of a transaction. Few connections; but SQL
//!   that an attacker injects can take any other of the login's roles.
//! - [`RoleConnections::per_role`]: each role is a login with connections of its own, which the policy's `may_act_as`
//!   allows. No SQL leaves the role; there are as many pools as roles.

mod caller;
mod connections;
mod role;
mod transaction;

pub use caller::{Caller, CallerRefused};
pub use connections::{RoleConnections, RoleError};
pub use role::{NoRole, Role, Roles};
pub use transaction::RoleTransaction;
