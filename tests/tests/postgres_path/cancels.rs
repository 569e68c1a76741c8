//! Who may cancel a query: whose session it is, with its key, through the same Envoy.

use std::collections::BTreeSet;

use e2e::{
    Mesh, PATIENCE, PostgresVersion, Workload,
    startup::{PROTOCOL_3_0, PROTOCOL_3_2, cancel_request, message_of, query},
    until,
};

use crate::scene::{POLICY, Wire, counted, mesh, no_backends, svid, taken_by};

/// Sessions that run at the same time.
const SESSIONS: usize = 8;
/// Connections among which both workers have some, as surely as anything.
const ENOUGH: usize = 100;

/// A session in a long query, and its backend's process id and key.
async fn sleeping(mesh: &Mesh, svid: &e2e::FetchedSvid, version: u32) -> (Wire, Vec<u8>) {
    let mut wire = Wire::connect(mesh, svid).await;
    wire.send(&message_of(version, &[("user", "customers_reader"), ("database", "customers")]))
        .await;
    let messages = wire.ready().await;
    let (_, backend) = messages.into_iter().find(|(kind, _)| *kind == b'K').unwrap();
    wire.send(&query("select pg_sleep(600)")).await;
    (wire, backend)
}

fn asleep(mesh: &Mesh) -> usize {
    const SLEEPING: &str =
        "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and state = 'active'";
    mesh.postgres.sql(&mesh.stage, "postgres", SLEEPING).unwrap().parse().unwrap()
}

async fn are_asleep(mesh: &Mesh, expected: usize) {
    until("the queries run", PATIENCE, async || {
        let found = asleep(mesh);
        anyhow::ensure!(found == expected, "{found} of {expected}");
        Ok(())
    })
    .await
    .unwrap();
}

/// Nothing is ever answered to a cancel; the connection ends when it has been looked at.
async fn cancel(address: std::net::SocketAddr, svid: &e2e::FetchedSvid, backend: &[u8]) {
    let mut wire = Wire::connect_to(address, svid).await;
    wire.send(&cancel_request(backend)).await;
    assert_eq!(wire.last_word().await, None);
}

/// Sends it again until each worker has dropped it, that of its session and the other: how often it was sent.
async fn is_dropped(mesh: &Mesh, svid: &e2e::FetchedSvid, backend: &[u8]) -> u64 {
    let mut workers = BTreeSet::new();
    let mut sent = 0;
    while workers.len() < 2 {
        assert!(sent < ENOUGH, "all by {workers:?}");
        sent += 1;
        let (worker, ()) = taken_by(mesh, cancel(mesh.ingress(Workload::Db), svid, backend)).await;
        workers.extend(worker);
    }
    sent as u64
}

async fn a_cancel_is_for_whose_session_it_is(postgres: PostgresVersion) {
    let mesh = mesh(postgres, POLICY).await;
    let ingress = mesh.ingress(Workload::Db);
    let [api, report, stranger] =
        [Workload::Api, Workload::Report, Workload::Client].map(|it| svid(&mesh, it));
    let open = async |number: usize| {
        let version = if number.is_multiple_of(2) { PROTOCOL_3_0 } else { PROTOCOL_3_2 };
        taken_by(&mesh, sleeping(&mesh, &api, version)).await
    };
    let mut sessions = Vec::new();
    for number in 0..SESSIONS {
        sessions.push(open(number).await);
    }
    are_asleep(&mesh, SESSIONS).await;

    // Not by another, not with another key, not for another backend, not through another Envoy.
    let (_, (_, backend)) = &sessions[1];
    let changed = |at: usize| {
        let mut changed = backend.clone();
        changed[at] ^= 1;
        changed
    };
    let wrong_key = changed(backend.len() - 1);
    let cut_key = backend[..backend.len() - 1].to_vec();
    let mut wrong = vec![
        (&report, backend.clone()),
        (&stranger, backend.clone()),
        (&api, wrong_key),
        (&api, changed(0)),
    ];
    if cut_key.len() >= 8 {
        wrong.push((&api, cut_key));
    }
    let mut dropped = 0;
    for (svid, backend) in &wrong {
        dropped += is_dropped(&mesh, svid, backend).await;
    }
    assert_eq!(counted(&mesh, "cancels_dropped").await, dropped);
    let (second, its_ingress) = mesh.second_database_proxy().await.unwrap();
    cancel(its_ingress, &api, backend).await;
    assert_eq!(second.stat("wasmcustom.signet_postgres_cancels_dropped").await.unwrap(), 1);
    assert_eq!((asleep(&mesh), counted(&mesh, "cancels_passed").await), (SESSIONS, 0));

    // By whose it is, each through a connection of its own: from either worker to either.
    let (mut ways, mut passed) = (BTreeSet::new(), 0);
    while passed < SESSIONS || ways.len() < 4 {
        assert!(passed < ENOUGH, "only {ways:?}");
        let session = if let Some(session) = sessions.pop() {
            session
        } else {
            let session = open(passed).await;
            // A cancel that comes before its query is none.
            are_asleep(&mesh, 1).await;
            session
        };
        let (its_worker, (mut wire, backend)) = session;
        let (worker, ()) = taken_by(&mesh, cancel(ingress, &api, &backend)).await;
        assert_eq!(wire.error().await.sqlstate, "57014");
        ways.insert((its_worker.unwrap(), worker.unwrap()));
        passed += 1;
    }
    assert_eq!(counted(&mesh, "cancels_passed").await, passed as u64);
    assert_eq!(asleep(&mesh), 0);
    no_backends(&mesh).await;
    a_driver_cancels_through_its_sidecar(&mesh).await;
}

/// Drivers send their cancels in clear to their own sidecar, behind an SSLRequest or not.
async fn a_driver_cancels_through_its_sidecar(mesh: &Mesh) {
    let directory = &mesh.sidecar(Workload::Api).directory;
    let client = e2e::postgres::connect(directory, "customers_reader", "customers").await.unwrap();
    let token = client.cancel_token();
    let query = tokio::spawn(async move { client.execute("select pg_sleep(600)", &[]).await });
    are_asleep(mesh, 1).await;
    token.cancel_query(tokio_postgres::NoTls).await.unwrap();
    let error = query.await.unwrap().unwrap_err();
    assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("57014"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_for_whose_session_it_is_in_postgres_15() {
    a_cancel_is_for_whose_session_it_is(PostgresVersion::V15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_for_whose_session_it_is_in_postgres_18() {
    a_cancel_is_for_whose_session_it_is(PostgresVersion::V18).await;
}
