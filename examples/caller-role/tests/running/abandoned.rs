//! Transactions whose future is dropped: the caller hung up, or a deadline passed.

use std::collections::BTreeSet;

use caller_role::RoleConnections;
use futures::FutureExt;

use crate::postgres::Postgres;
use crate::{both, current_user, role, value};

#[tokio::test]
async fn abandoned_transactions() {
    let postgres = Postgres::start().await;
    wherever_it_is_dropped_the_next_transaction_has_its_own_role(&postgres).await;
    a_statement_that_nobody_awaits_is_cancelled(&postgres).await;
    an_early_return_keeps_the_connection(&postgres).await;
}

async fn sleeps(connections: &RoleConnections, seconds: &str) {
    let transaction = connections.begin(&role("customers_writer")).await.unwrap();
    transaction.batch_execute("delete from customers").await.unwrap();
    transaction.batch_execute(&format!("select pg_sleep({seconds})")).await.unwrap();
}

async fn changes_the_session_and_commits(connections: &RoleConnections) {
    let transaction = connections.begin(&role("customers_writer")).await.unwrap();
    transaction.batch_execute("set role customers_writer").await.unwrap();
    transaction.batch_execute("select pg_sleep(0.001)").await.unwrap();
    transaction.commit().await.unwrap();
}

async fn wherever_it_is_dropped_the_next_transaction_has_its_own_role(postgres: &Postgres) {
    for (way, connections) in both(postgres) {
        // Polled once, twice, …: each number of polls leaves it at another step, the last ones at its end.
        for polls in 0..100 {
            {
                let mut future = Box::pin(changes_the_session_and_commits(&connections));
                for _ in 0..polls {
                    if future.as_mut().now_or_never().is_some() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            let transaction = connections.begin(&role("customers_reader")).await.unwrap();
            assert_eq!(
                current_user(&transaction).await,
                "customers_reader",
                "{way}, {polls} polls"
            );
            transaction.batch_execute("commit").await.unwrap();
            let login = transaction.session_user().to_owned();
            assert_eq!(current_user(&transaction).await, login, "{way}, {polls} polls");
        }
    }
}

async fn a_statement_that_nobody_awaits_is_cancelled(postgres: &Postgres) {
    for (way, connections) in both(postgres) {
        let asks = sleeps(&connections, "3600");
        let sleeps = postgres.wait_for("wait_event = 'PgSleep'", 1);
        tokio::select! {
            () = asks => panic!("{way}: an hour has passed"),
            () = sleeps => {}
        }
        postgres.wait_for("wait_event = 'PgSleep'", 0).await;
        let transaction = connections.begin(&role("customers_writer")).await.unwrap();
        assert_eq!(value(&transaction, "select count(*)::text from customers").await, "3", "{way}");
    }
}

async fn an_early_return_keeps_the_connection(postgres: &Postgres) {
    for (way, connections) in both(postgres) {
        let mut backends = BTreeSet::new();
        for _ in 0..20 {
            let transaction = connections.begin(&role("customers_writer")).await.unwrap();
            backends.insert(value(&transaction, "select pg_backend_pid()::text").await);
            transaction.batch_execute("delete from customers").await.unwrap();
            transaction.batch_execute("select 1/0").await.unwrap_err();
            drop(transaction);
        }
        // One, and another for each rollback that a busy machine did not get done in time.
        assert!(backends.len() <= 5, "{way}: {backends:?}");
    }
}

/// Where nothing can be asked any more, the connection ends, and Postgres rolls back.
#[test]
fn without_a_runtime_the_connection_is_closed() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let postgres = runtime.block_on(Postgres::start());
    let [(_, connections), _] = both(&postgres);
    let begin = || async { connections.begin(&role("customers_writer")).await.unwrap() };

    let transaction = runtime.block_on(begin());
    drop(transaction);
    runtime.block_on(postgres.wait_for("usename = 'api'", 0));

    let short = tokio::runtime::Runtime::new().unwrap();
    let transaction = short.block_on(begin());
    short.block_on(async { drop(transaction) });
    short.shutdown_background();
    runtime.block_on(async {
        let transaction = begin().await;
        assert_eq!(current_user(&transaction).await, "customers_writer");
    });
}
