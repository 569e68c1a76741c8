//! SQL that an attacker managed to put into a statement: what it can become, in both ways.

use caller_role::{RoleConnections, RoleTransaction};

use crate::postgres::Postgres;
use crate::{both, current_user, role};

#[tokio::test]
async fn what_injected_sql_becomes() {
    let postgres = Postgres::start().await;
    a_shared_login_is_left_and_a_login_per_role_is_not(&postgres).await;
    the_login_of_a_shared_pool_has_no_rights_of_its_own(&postgres).await;
    what_was_injected_never_reaches_the_next_transaction(&postgres).await;
    a_typed_query_holds_one_statement_only(&postgres).await;
    a_copy_that_nobody_feeds_is_ended(&postgres).await;
}

/// Each tries to be somebody else than the caller's `customers_reader`.
const INJECTED: [&str; 10] = [
    "reset role",
    "set role none",
    "set local role none",
    "set role customers_writer",
    "set local role customers_writer",
    "select set_config('role', 'customers_writer', false)",
    "set session authorization customers_writer",
    "reset session authorization",
    "commit; set role customers_writer; begin",
    "rollback; reset role; begin; set role customers_writer",
];

/// Who the injected SQL is afterwards, or the SQLSTATE of its refusal.
async fn becomes(connections: &RoleConnections, sql: &str) -> String {
    let transaction = connections.begin(&role("customers_reader")).await.unwrap();
    match transaction.batch_execute(sql).await {
        Ok(()) => current_user(&transaction).await,
        Err(refused) => refused.code().unwrap().code().to_owned(),
    }
}

async fn deletes(transaction: &RoleTransaction) -> bool {
    transaction.batch_execute("delete from customers where false").await.is_ok()
}

async fn a_shared_login_is_left_and_a_login_per_role_is_not(postgres: &Postgres) {
    let [(_, shared), (_, per_role)] = both(postgres);
    for (sql, on_shared, on_per_role) in [
        ("reset role", "api", "customers_reader"),
        ("set role none", "api", "customers_reader"),
        ("set local role none", "api", "customers_reader"),
        ("set role customers_writer", "customers_writer", "42501"),
        ("set local role customers_writer", "customers_writer", "42501"),
        ("select set_config('role', 'customers_writer', false)", "customers_writer", "42501"),
        ("set session authorization customers_writer", "42501", "42501"),
        ("reset session authorization", "api", "customers_reader"),
        ("commit; set role customers_writer; begin", "customers_writer", "42501"),
        ("rollback; reset role; begin; set role customers_writer", "customers_writer", "42501"),
    ] {
        assert!(INJECTED.contains(&sql));
        assert_eq!(becomes(&shared, sql).await, on_shared, "shared: {sql}");
        assert_eq!(becomes(&per_role, sql).await, on_per_role, "per role: {sql}");
    }
}

async fn the_login_of_a_shared_pool_has_no_rights_of_its_own(postgres: &Postgres) {
    let [(_, shared), _] = both(postgres);
    let transaction = shared.begin(&role("customers_reader")).await.unwrap();
    transaction.batch_execute("reset role").await.unwrap();
    let refused = transaction.batch_execute("select from customers").await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "42501", "the login is noinherit");
}

/// In the other way it does work, and that is why the other way exists.
async fn what_was_injected_never_reaches_the_next_transaction(postgres: &Postgres) {
    for (way, connections) in both(postgres) {
        for sql in INJECTED {
            for commits in [true, false] {
                let transaction = connections.begin(&role("customers_reader")).await.unwrap();
                let injected = transaction.batch_execute(sql).await.is_ok();
                if commits && injected {
                    transaction.commit().await.unwrap();
                } else {
                    drop(transaction);
                }
                let transaction = connections.begin(&role("customers_reader")).await.unwrap();
                assert_eq!(current_user(&transaction).await, "customers_reader", "{way}: {sql}");
                assert!(!deletes(&transaction).await, "{way}: {sql}");
            }
        }
    }
}

/// What is asked with parameters, as everything should be, has one statement and no room for another.
async fn a_typed_query_holds_one_statement_only(postgres: &Postgres) {
    for (way, connections) in both(postgres) {
        let transaction = connections.begin(&role("customers_reader")).await.unwrap();
        let sql = "select 1; set role customers_writer";
        let refused = transaction.query_typed(sql, &[]).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42601", "{way}");
    }
}

/// Statements that break the protocol's order cost a connection, and nobody's role.
async fn a_copy_that_nobody_feeds_is_ended(postgres: &Postgres) {
    for (way, connections) in both(postgres) {
        let transaction = connections.begin(&role("customers_writer")).await.unwrap();
        transaction.batch_execute("copy customers from stdin").await.unwrap_err();
        drop(transaction);
        let transaction = connections.begin(&role("customers_reader")).await.unwrap();
        assert_eq!(current_user(&transaction).await, "customers_reader", "{way}");
    }
}
