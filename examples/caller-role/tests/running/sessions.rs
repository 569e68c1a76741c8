//! What a transaction finds, and what it leaves.

use caller_role::{RoleConnections, RoleError, Roles};
use tokio_postgres::NoTls;

use crate::postgres::Postgres;
use crate::{both, config, current_user, role, value};

#[tokio::test]
async fn what_a_transaction_finds_and_leaves() {
    let postgres = Postgres::start().await;
    each_transaction_is_in_its_own_role(&postgres).await;
    nothing_of_a_session_is_left_to_the_next_caller(&postgres).await;
    without_the_guard_the_next_caller_has_the_role(&postgres).await;
    a_failed_transaction_does_not_commit(&postgres).await;
    a_connection_that_became_somebody_else_is_refused(&postgres).await;
    connections_that_ended_are_replaced_unseen(&postgres).await;
}

async fn each_transaction_is_in_its_own_role(postgres: &Postgres) {
    for (way, connections) in both(postgres) {
        for name in ["customers_reader", "customers_writer", "customers_reader"] {
            let transaction = connections.begin(&role(name)).await.unwrap();
            assert_eq!(current_user(&transaction).await, name, "{way}");
            let login = if way == "shared" { "api" } else { name };
            assert_eq!(transaction.session_user(), login, "{way}");
            transaction.commit().await.unwrap();
        }
    }
}

/// What outlives a transaction in Postgres, each with a question that tells whether it is there.
const LEFTOVERS: [(&str, &str); 6] = [
    ("set search_path = pg_temp", "select current_setting('search_path')"),
    ("create temp table customers (id bigint)", "select 'customers'::regclass::oid::text"),
    ("listen news", "select count(*)::text from pg_listening_channels()"),
    (
        "select pg_advisory_lock(7)",
        "select count(*)::text from pg_locks where locktype = 'advisory'",
    ),
    ("declare kept cursor with hold for select 1", "select count(*)::text from pg_cursors"),
    ("set statement_timeout = 1234", "select current_setting('statement_timeout')"),
];

async fn nothing_of_a_session_is_left_to_the_next_caller(postgres: &Postgres) {
    let administrator = postgres.connect("customers").await;
    administrator
        .batch_execute(
            "grant temporary on database customers to customers_reader, customers_writer",
        )
        .await
        .unwrap();
    let writer = role("customers_writer");
    for (way, connections) in both(postgres) {
        for ending in ["commit", "rollback", "commit by hand"] {
            for (leftover, question) in LEFTOVERS {
                let transaction = connections.begin(&writer).await.unwrap();
                let before = value(&transaction, question).await;
                transaction.batch_execute(leftover).await.unwrap();
                match ending {
                    "commit" => transaction.commit().await.unwrap(),
                    "rollback" => drop(transaction),
                    _ => {
                        transaction.batch_execute("commit").await.unwrap();
                        assert_ne!(value(&transaction, question).await, before, "{leftover}");
                        drop(transaction);
                    }
                }
                let transaction = connections.begin(&writer).await.unwrap();
                let after = value(&transaction, question).await;
                assert_eq!(after, before, "{way}, {ending}: {leftover}");
                transaction.commit().await.unwrap();
            }
        }
    }
}

/// The same on a connection that is merely reused: the questions above do notice.
async fn without_the_guard_the_next_caller_has_the_role(postgres: &Postgres) {
    let (client, connection) = config(postgres).connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("set role customers_writer").await.unwrap();
    client.batch_execute("reset all").await.unwrap();
    let row = client.query_one("select current_user::text", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "customers_writer", "`reset all` leaves the role");
}

async fn a_failed_transaction_does_not_commit(postgres: &Postgres) {
    for (way, connections) in both(postgres) {
        let writer = role("customers_writer");
        let transaction = connections.begin(&writer).await.unwrap();
        transaction.batch_execute("delete from customers").await.unwrap();
        transaction.batch_execute("select 1/0").await.unwrap_err();
        let refused = transaction.commit().await.unwrap_err();
        assert_eq!(refused.sqlstate().unwrap().code(), "25P02", "{way}");
        let transaction = connections.begin(&writer).await.unwrap();
        assert_eq!(value(&transaction, "select count(*)::text from customers").await, "3", "{way}");
    }
}

/// As the filter does it where the rule has a `login_role` and no `may_act_as`: whatever user is asked for becomes another.
async fn a_connection_that_became_somebody_else_is_refused(postgres: &Postgres) {
    let administrator = postgres.connect("customers").await;
    administrator
        .batch_execute(
            "grant customers_writer to customers_reader; \
             alter role customers_reader set role = 'customers_writer'",
        )
        .await
        .unwrap();
    let reader = role("customers_reader");
    let connections =
        RoleConnections::per_role(&config(postgres), &Roles::new([reader.clone()]), 1);
    match connections.begin(&reader).await {
        Err(RoleError::AnotherRole { wanted, found }) => {
            assert_eq!((wanted.as_str(), found.as_str()), ("customers_reader", "customers_writer"));
        }
        other => panic!("{other:?}"),
    }
    administrator
        .batch_execute(
            "revoke customers_writer from customers_reader; alter role customers_reader reset role",
        )
        .await
        .unwrap();
}

async fn connections_that_ended_are_replaced_unseen(postgres: &Postgres) {
    // Those of the tests before end when their pools are dropped, in a moment.
    postgres.wait_for("usename in ('api', 'customers_reader')", 0).await;
    let administrator = postgres.connect("customers").await;
    for (way, connections) in both(postgres) {
        for round in 0..5 {
            let transaction = connections.begin(&role("customers_reader")).await.unwrap();
            transaction.commit().await.unwrap();
            let ended = administrator
                .query(
                    "select pg_terminate_backend(pid, 5000) from pg_stat_activity \
                     where usename in ('api', 'customers_reader')",
                    &[],
                )
                .await
                .unwrap();
            assert_eq!(ended.len(), 1, "{way}, round {round}");
        }
    }
}
