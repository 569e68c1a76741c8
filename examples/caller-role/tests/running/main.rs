//! Transactions in roles, on a real Postgres that has the examples' roles and rows.

mod abandoned;
mod injection;
mod names;
mod postgres;
mod sessions;

use caller_role::{Role, RoleConnections, RoleTransaction, Roles};
use tokio_postgres::Config;

use crate::postgres::Postgres;

/// Both ways to a role, each with one connection at most, so that whatever one transaction leaves the next one finds.
fn both(postgres: &Postgres) -> [(&'static str, RoleConnections); 2] {
    let roles = Roles::new(["customers_reader", "customers_writer"].map(role));
    let config = config(postgres);
    [
        ("shared", RoleConnections::shared(&config, &roles, 1)),
        ("per role", RoleConnections::per_role(&config, &roles, 1)),
    ]
}

fn config(postgres: &Postgres) -> Config {
    let mut config = Config::new();
    config.host_path(postgres.path()).user("api").dbname("customers");
    config
}

fn role(name: &str) -> Role {
    name.parse().unwrap()
}

/// A value that Postgres answers, as text.
async fn value(transaction: &RoleTransaction, sql: &str) -> String {
    transaction.query_typed_one(sql, &[]).await.unwrap().get(0)
}

async fn current_user(transaction: &RoleTransaction) -> String {
    value(transaction, "select current_user::text").await
}
