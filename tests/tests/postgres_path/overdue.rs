//! A query that goes on when its session has ended: it is cancelled, and its client told why.
//!
//! That takes three quarters of a minute, so the filter's clock goes faster here.

use std::fs;

use e2e::{
    FetchedSvid, Mesh, MeshPlan, PATIENCE, PostgresVersion, SourceKind, Stage, Workload,
    startup::{PROTOCOL_3_2, message_of, query},
    until,
};
use tokio::task::JoinSet;

use crate::scene::{POLICY, Wire, counted, no_backends, svid, word};

/// Seconds of the filter in one of ours.
const HASTE: u32 = 4;

/// The built filter, with a clock that goes faster from its first look on.
fn hastened(stage: &Stage) -> Vec<u8> {
    const CLOCK: &str = r#"(import "env" "proxy_get_current_time_nanoseconds" (func (;"#;
    let text = wasmprinter::print_file(stage.programs.filter("pg_role").unwrap()).unwrap();
    let (_, clock) = text.split_once(CLOCK).unwrap();
    let (clock, _) = clock.split_once(';').unwrap();
    let call = format!("call {clock}\n");
    assert!(text.contains(&call), "it never looks at its clock");
    let (module, _) = text.rsplit_once(')').unwrap();
    let module = module.replace(&call, "call $hastened\n");
    let whole = format!(
        "{module}
         (global $first (mut i64) (i64.const 0))
         (func $hastened (param $time i32) (result i32) (local $status i32)
           (local.set $status (call {clock} (local.get $time)))
           (if (i64.eqz (global.get $first)) (then (global.set $first (i64.load (local.get $time)))))
           (i64.store (local.get $time)
             (i64.add (global.get $first)
               (i64.mul (i64.const {HASTE}) (i64.sub (i64.load (local.get $time)) (global.get $first)))))
           (local.get $status)))"
    );
    wat::parse_str(whole).unwrap()
}

/// What a session is at when its end comes, and long after.
const QUERIES: [&[&str]; 6] = [
    &["select pg_sleep(600)"],
    // Rows that keep coming, larger than what Postgres keeps back.
    &["select repeat('x', 9000), pg_sleep(0.02) from generate_series(1, 100000)"],
    &["copy (select repeat('x', 9000), pg_sleep(0.02) from generate_series(1, 100000)) to stdout"],
    &["do $$ begin perform pg_sleep(600); end $$"],
    // Sent ahead: the next one begins when the first is cancelled, or when it is over before that.
    &["select pg_sleep(600)", "select pg_sleep(601)", TRACE],
    &["select pg_sleep(9)", "select pg_sleep(601)", TRACE],
];
/// What would leave a trace, were it ever executed.
const TRACE: &str =
    "insert into customers (name, email) values ('trace', 'trace@customers.example')";
/// One that does not let itself be cancelled.
const STUBBORN: &str = "do $$ begin loop
    begin perform pg_sleep(601); exception when query_canceled then null; end;
end loop; end $$";
const WHY: &str = "signet: session ended: it has lasted as long as it may";

/// How many sessions of others are at something.
const RUNS: &str = "select count(*) from pg_stat_activity
    where backend_type = 'client backend' and state = 'active' and pid <> pg_backend_pid()";

async fn run(mesh: &Mesh, expected: usize) {
    until("so many queries run", PATIENCE, async || {
        let runs = mesh.postgres.sql(&mesh.stage, "postgres", RUNS)?;
        anyhow::ensure!(runs == expected.to_string(), "{runs}");
        Ok(())
    })
    .await
    .unwrap();
}

/// A mesh whose sessions of the API last five seconds, with a clock that goes faster.
async fn hasty_mesh(version: PostgresVersion) -> Mesh {
    let stage = Stage::set(None).unwrap();
    fs::write(stage.path().join("pg_role.wasm"), hastened(&stage)).unwrap();
    let limit = format!("    max_session: {}s\n    client_parameters", 5 * HASTE);
    let policy = POLICY.replace("    client_parameters", &limit);
    let plan = MeshPlan::new(SourceKind::DevAgent, version).svid_ttl(3600);
    plan.policy(policy).start_on(stage).await.unwrap()
}

/// A session that runs these one after another, in which Postgres does not look whether its client is still there. PostgreSQL
/// 18 gives it a cancel key of 32 bytes, 15 one of 4.
async fn runs(mesh: &Mesh, svid: &FetchedSvid, queries: &[&str]) -> Wire {
    let mut wire = Wire::connect(mesh, svid).await;
    let asked = [("user", "customers_writer"), ("database", "customers")];
    wire.send(&message_of(PROTOCOL_3_2, &asked)).await;
    wire.ready().await;
    wire.value("set client_connection_check_interval = 0").await;
    wire.send(&queries.iter().flat_map(|sql| query(sql)).collect::<Vec<u8>>()).await;
    wire
}

async fn are_ended(mesh: &Mesh, expected: u64) {
    until("the sessions are ended", PATIENCE, async || {
        let found = counted(mesh, "sessions_ended").await;
        anyhow::ensure!(found == expected, "{found} of {expected}");
        Ok(())
    })
    .await
    .unwrap();
}

async fn a_query_that_goes_on_is_cancelled(version: PostgresVersion) {
    let mesh = hasty_mesh(version).await;
    let api = svid(&mesh, Workload::Api);
    let leaves = runs(&mesh, &api, &["select pg_sleep(600)"]).await;
    let mut sessions = JoinSet::new();
    for sql in QUERIES {
        let mut wire = runs(&mesh, &api, sql).await;
        sessions.spawn(async move {
            let mut errors = Vec::new();
            while let Some((kind, body)) = wire.read().await {
                if kind == b'E' {
                    errors.push(word(&body));
                }
            }
            (sql, errors)
        });
    }
    let all = QUERIES.len() + 1;
    run(&mesh, all).await;
    are_ended(&mesh, all as u64).await;
    // Not a word more, so that Envoy closes both sides at once.
    leaves.stream.get_ref().0.set_zero_linger().unwrap();
    drop(leaves);
    while let Some(ended) = sessions.join_next().await {
        let (sql, errors) = ended.unwrap();
        // The error of Postgres, that the query was cancelled, is not for the client.
        let [error] = errors.as_slice() else { panic!("{sql:?}: {errors:?}") };
        assert_eq!((error.sqlstate.as_str(), error.message.as_str()), ("57P01", WHY), "{sql:?}");
    }
    // Neither the query whose client has left goes on, nor what was sent ahead.
    no_backends(&mesh).await;
    let traces = "select count(*) from customers where name = 'trace'";
    assert_eq!(mesh.postgres.sql(&mesh.stage, "customers", traces).unwrap(), "0");
    assert_eq!(counted(&mesh, "cancels_passed").await, 0, "a cancel of a client");
    let envoy = &mesh.sidecar(Workload::Db).envoy;
    until("all are logged", PATIENCE, async || {
        let lines = envoy.access_log();
        let found = lines.iter().filter(|line| line["end"] == "max_session").count();
        anyhow::ensure!(found == all, "{found}");
        Ok(())
    })
    .await
    .unwrap();
    assert!(!envoy.log().contains("the session did not end in time"));
    let left_behind = envoy.log().matches("is left behind, and asked to cancel").count();
    assert!(left_behind >= 3, "{left_behind}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_goes_on_is_cancelled_in_postgres_15() {
    a_query_that_goes_on_is_cancelled(PostgresVersion::V15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_goes_on_is_cancelled_in_postgres_18() {
    a_query_that_goes_on_is_cancelled(PostgresVersion::V18).await;
}

/// Its client sees no more than the end. Postgres sees that the client has gone where it looks for it, as
/// `examples/db/postgresql.conf` has it; else the query runs on.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_cannot_be_cancelled_is_left_alone() {
    let mesh = hasty_mesh(PostgresVersion::V18).await;
    let api = svid(&mesh, Workload::Api);
    let mut sessions = Vec::new();
    for interval in ["1s", "0"] {
        let mut wire = Wire::session(&mesh, &api).await;
        wire.value(&format!("set client_connection_check_interval = '{interval}'")).await;
        wire.send(&query(STUBBORN)).await;
        sessions.push(wire);
    }
    run(&mesh, 2).await;
    are_ended(&mesh, 2).await;
    for wire in &mut sessions {
        // Nothing that is sent now matters to anybody.
        wire.send(&query("select 1")).await;
        assert_eq!(wire.last_word().await, None);
    }
    run(&mesh, 1).await;
    let log = mesh.sidecar(Workload::Db).envoy.log();
    assert!(log.contains("is asked to cancel") && log.contains("the session did not end in time"));
    // An administrator ends the other.
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where query like 'do %'";
    mesh.postgres.sql(&mesh.stage, "postgres", end).unwrap();
    no_backends(&mesh).await;
}
