//! What a session can become that the API holds, by SQL that somebody injected: through the real filter, in both ways.

use e2e::{Mesh, MeshPlan, PostgresVersion, SourceKind, Workload, postgres};
use tokio_postgres::Client;

use crate::POLICY;

async fn session(mesh: &Mesh, user: &str) -> Client {
    let directory = &mesh.sidecar(Workload::Api).directory;
    postgres::connect(directory, user, "customers").await.unwrap()
}

/// Who the session is after this SQL, or the SQLSTATE of its refusal.
async fn becomes(session: &Client, sql: &str) -> String {
    if let Err(refused) = session.batch_execute(sql).await {
        return refused.code().unwrap().code().to_owned();
    }
    let row = session.query_one("select current_user::text", &[]).await.unwrap();
    row.get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_per_role_cannot_be_left_and_a_shared_one_can() {
    let mesh = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V18).policy(POLICY);
    let mesh = mesh.start().await.unwrap();
    let (shared, reader) = (session(&mesh, "api").await, session(&mesh, "customers_reader").await);
    for (sql, as_shared, as_reader) in [
        ("set role customers_reader", "customers_reader", "customers_reader"),
        // The shared login's weakness, and the reason for the other way.
        ("set role customers_writer", "customers_writer", "42501"),
        ("select set_config('role', 'customers_writer', false)", "customers_writer", "42501"),
        ("reset role", "api", "customers_reader"),
        ("set role none", "api", "customers_reader"),
        // Neither leaves the roles that its login was granted.
        ("set role dbclient", "42501", "42501"),
        ("set role postgres", "42501", "42501"),
        ("set session authorization customers_writer", "42501", "42501"),
    ] {
        assert_eq!(becomes(&shared, sql).await, as_shared, "shared: {sql}");
        assert_eq!(becomes(&reader, sql).await, as_reader, "per role: {sql}");
    }
    // Outside of a role the shared login may do nothing.
    assert_eq!(becomes(&shared, "reset role; select from customers").await, "42501");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_name_of_the_rule_is_a_login() {
    let mesh = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15).policy(POLICY);
    let mesh = mesh.start().await.unwrap();
    let directory = &mesh.sidecar(Workload::Api).directory;
    let forked = mesh.postgres.backends_forked();
    for user in [
        "none",
        "postgres",
        "dbclient",
        "CUSTOMERS_READER",
        "customers_reader ",
        "\"customers_reader\"",
        "customers_reader; set role customers_writer",
        "customers_reader,customers_writer",
        "customers_rеader", // a Cyrillic е
    ] {
        let refused = postgres::connect(directory, user, "customers").await.unwrap_err();
        let refused = refused.downcast_ref::<tokio_postgres::Error>().unwrap();
        assert_eq!(refused.code().unwrap().code(), "28000", "{user}: {refused}");
    }
    assert_eq!(mesh.postgres.backends_forked(), forked);
}
