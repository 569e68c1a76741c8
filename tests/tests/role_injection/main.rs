//! The API's callers and their Postgres roles, through every proxy of the mesh:
//!
//! ```text
//! client (reader), report (writer) ─▶ Envoy ══▶ Envoy, filter ─▶ API, 4 connections ─▶ Envoy ══▶ Envoy, filter ─▶ Postgres
//! ```
//!
//! Both share the API's pool. They hang up in the middle of requests, their statements fail and time out, and still each
//! answer comes from a transaction in its own caller's role.

mod caller;
mod injected;
mod locks;

use e2e::{Mesh, MeshPlan, PostgresVersion, SourceKind, Workload};
use futures::future::join_all;

use crate::caller::{Caller, Tally};

/// Answers with rows that each way must give, of both callers together. `ROLE_REQUESTS` is another number.
const REQUESTS: usize = 10_000;

/// Connections of each caller to its sidecar, with a request on each at all times.
const AT_ONCE: usize = 6;

/// Connections of the API, fewer than callers.
const POOLED: usize = 4;

const POLICY: &str = "version: 1
trust_domain: example.org
workloads:
  client: /ns/client-ns/sa/client
  api: /ns/api-ns/sa/api
  report: /ns/report-ns/sa/report
  db: /ns/postgres-ns/sa/customer-db
http:
  - { name: client-reads, from: [client], to: [api], methods: [GET, POST], paths: [/customers], db_role: customers_reader }
  - { name: report-writes, from: [report], to: [api], methods: [GET, POST], paths: [/customers], db_role: customers_writer }
postgres:
  - name: api-uses-customers
    from: [api]
    to: [db]
    databases: [customers]
    login_role: api
    may_act_as: [customers_reader, customers_writer]
    settings: { statement_timeout: 150ms }
";

async fn no_answer_comes_from_another_role(way: &str, version: PostgresVersion) {
    let wanted = std::env::var("ROLE_REQUESTS").map_or(REQUESTS, |text| text.parse().unwrap());
    let mesh = MeshPlan::new(SourceKind::DevAgent, version)
        .policy(POLICY)
        .api_option(format!("--role-injection={way}"))
        .api_option(format!("--connections={POOLED}"))
        .start()
        .await
        .unwrap();
    let forked = mesh.postgres.backends_forked();
    let locks = locks::come_and_go(&mesh).await;
    let sum = ask_until(&mesh, way, wanted).await;
    locks.abort();

    let forked = mesh.postgres.backends_forked() - forked;
    println!("{way}: {sum:?}, {forked} backends");
    for (what, count) in [
        ("reader's rows", sum.rows[0]),
        ("writer's rows", sum.rows[1]),
        ("hang-ups", sum.hung_up),
        ("refused statements", sum.refused),
        ("statements that timed out", sum.timed_out),
    ] {
        assert!(count > 0, "no {what}: {sum:?}");
    }
    // Both callers' transactions came on the same few connections, one after another.
    assert!(forked * 4 < wanted, "{forked} backends for {sum:?}");
}

/// Both callers ask at once, until together they have this many answers with rows.
async fn ask_until(mesh: &Mesh, way: &str, wanted: usize) -> Tally {
    let callers = (0..AT_ONCE).flat_map(|number| {
        [
            Caller::new(mesh, Workload::Client, "customers_reader", way, number),
            Caller::new(mesh, Workload::Report, "customers_writer", way, number),
        ]
    });
    let share = wanted.div_ceil(2 * AT_ONCE);
    let tallies = join_all(callers.map(|caller| tokio::spawn(caller.ask_until(share)))).await;
    tallies.into_iter().map(|tally| tally.unwrap().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_login_never_leaks_a_role() {
    no_answer_comes_from_another_role("set-config", PostgresVersion::V18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_per_role_never_leaks_a_role() {
    no_answer_comes_from_another_role("connection", PostgresVersion::V15).await;
}
