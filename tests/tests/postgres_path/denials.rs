//! Who is turned away reads why, and costs Postgres nothing.

use std::sync::Arc;

use e2e::{
    FetchedSvid, Mesh, PostgresVersion, Workload,
    startup::{gssenc_request, message, read_byte, ssl_request},
};
use tokio::{io::AsyncReadExt, task::JoinSet};

use crate::scene::{LastWord, POLICY, Wire, counted, mesh, no_backends, svid};

/// Callers that ask at the same time.
const THREADS: usize = 4;
/// Denials in all.
const DENIALS: usize = 1_000;

/// A start-up that is denied, and the class that its client reads.
type Case = (Workload, &'static [(&'static str, &'static str)], &'static str);

const CASES: [Case; 5] = [
    (Workload::Client, &[("user", "customers_reader"), ("database", "customers")], "28000"),
    (Workload::Api, &[("user", "postgres"), ("database", "customers")], "28000"),
    (Workload::Report, &[("user", "report"), ("database", "postgres")], "3D000"),
    (Workload::Report, &[("user", "x"), ("database", "customers"), ("role", "postgres")], "42501"),
    (Workload::Api, &[("user", ""), ("database", "customers")], "28000"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_denials_are_told_and_fork_no_backend() {
    let mesh = Arc::new(mesh(PostgresVersion::V15, POLICY).await);
    let svids: Arc<Vec<FetchedSvid>> =
        Arc::new(CASES.iter().map(|(workload, ..)| svid(&mesh, *workload)).collect());
    let forked = mesh.postgres.backends_forked();
    let mut callers = JoinSet::new();
    for caller in 0..THREADS {
        let (mesh, svids) = (mesh.clone(), svids.clone());
        callers.spawn(async move {
            let mut denied = Vec::new();
            for number in (caller..DENIALS).step_by(THREADS) {
                let (_, asked, expected) = CASES[number % CASES.len()];
                let mut wire = Wire::connect(&mesh, &svids[number % CASES.len()]).await;
                wire.send(&message(asked)).await;
                let word = wire.error().await;
                assert_eq!(word.sqlstate, expected, "{asked:?}: {word:?}");
                denied.push(wire);
            }
            // Nothing follows but the end, which the timer brings.
            for mut wire in denied {
                assert_eq!(wire.read().await, None);
            }
        });
    }
    while let Some(outcome) = callers.join_next().await {
        outcome.unwrap();
    }
    assert_eq!(mesh.postgres.backends_forked(), forked);
    let counts = [counted(&mesh, "denied").await, counted(&mesh, "refused").await];
    assert_eq!(counts, [800, 200]);
    assert_eq!(counted(&mesh, "denied_after_relay").await, 0);
}

/// What a person reads who is turned away: what was asked, and what to do. This mesh tells the rule as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_denial_says_what_was_asked_and_what_to_do() {
    let mesh = mesh(PostgresVersion::V18, POLICY).await;
    let mut words = Vec::new();
    for (workload, asked, _) in CASES {
        let mut wire = Wire::connect(&mesh, &svid(&mesh, workload)).await;
        wire.send(&message(asked)).await;
        let LastWord { message, detail, hint, .. } = wire.error().await;
        let (detail, session) = detail.rsplit_once(", session ").unwrap();
        assert!(session.parse::<u64>().is_ok(), "{session}");
        words.push([message, detail.to_owned(), hint]);
    }
    let told: Vec<[&str; 3]> = words.iter().map(|it| it.each_ref().map(String::as_str)).collect();
    assert_eq!(
        told,
        [
            [
                "signet: access denied",
                r#"no rule names the peer: user "customers_reader", database "customers""#,
                "the policy must name this workload; the proxy's log tells of this session",
            ],
            [
                r#"signet: access as user "postgres" denied"#,
                r#"rule `api-writes` doesn't let the peer act as this user: user "postgres", database "customers""#,
                "name a user that the policy gives to this workload",
            ],
            [
                r#"signet: access to database "postgres" denied"#,
                r#"no rule lets the peer use this database: user "report", database "postgres""#,
                "name a database that the policy gives to this workload",
            ],
            [
                r#"signet: parameter "role" may not be set at start-up"#,
                r#"rule `report-reads` doesn't let the client set `role` at start-up: user "x", database "customers""#,
                "SET it once the session runs, or have it listed in the rule's `client_parameters`",
            ],
            [
                "signet: the start-up names no user",
                r#"the start-up names no user: user "", database "customers""#,
                "name a user",
            ],
        ]
    );
    a_role_that_postgres_does_not_know_is_refused_by_postgres(&mesh).await;
}

/// A role that the policy names and Postgres does not know is Postgres' to refuse.
async fn a_role_that_postgres_does_not_know_is_refused_by_postgres(mesh: &Mesh) {
    let mut wire = Wire::connect(mesh, &svid(mesh, Workload::Api)).await;
    wire.send(&message(&[("user", "api"), ("database", "products")])).await;
    let word = wire.error().await;
    assert!(word.sqlstate == "28000" && !word.message.starts_with("signet"), "{word:?}");
    assert_eq!(counted(mesh, "refused_by_postgres").await, 1);
    let envoy = &mesh.sidecar(Workload::Db).envoy;
    let line = envoy.logged(0, |line| line["role"] == "nobody_here").await.unwrap();
    assert_eq!(line["end"], "refused_by_postgres");
}

/// The one denial that costs a backend: Postgres was asked for encryption before the start-up was known. It is counted.
async fn a_denial_behind_an_encryption_request_costs_one_backend(version: PostgresVersion) {
    let mesh = mesh(version, POLICY).await;
    let [api, stranger] = [Workload::Api, Workload::Client].map(|it| svid(&mesh, it));
    let forked = mesh.postgres.backends_forked();
    let requests =
        [vec![ssl_request()], vec![gssenc_request()], vec![gssenc_request(), ssl_request()]];
    for (svid, asked, expected) in [(&api, "postgres", "3D000"), (&stranger, "customers", "28000")]
    {
        for requests in &requests {
            let mut wire = Wire::connect(&mesh, svid).await;
            for request in requests {
                wire.send(request).await;
                assert_eq!(read_byte(&mut wire.stream).await.unwrap(), b'N');
            }
            wire.send(&message(&[("user", "api"), ("database", asked)])).await;
            assert_eq!(wire.error().await.sqlstate, expected);
        }
    }
    assert_eq!(mesh.postgres.backends_forked(), forked + requests.len());
    assert_eq!(counted(&mesh, "denied_after_relay").await, requests.len() as u64);
    no_backends(&mesh).await;
    // Without the byte that is answered, nothing is.
    let mut wire = Wire::connect(&mesh, &api).await;
    wire.send(&[ssl_request(), message(&[("user", "api")])].concat()).await;
    assert_eq!(wire.stream.read_u8().await.ok(), None);
}
#[tokio::test(flavor = "multi_thread")]
async fn a_denial_behind_an_encryption_request_costs_one_backend_and_is_counted() {
    tokio::join!(
        a_denial_behind_an_encryption_request_costs_one_backend(PostgresVersion::V15),
        a_denial_behind_an_encryption_request_costs_one_backend(PostgresVersion::V18),
    );
}
