//! A query that goes on when its session has ended, until nobody waits for it any more.
//!
//! That takes three quarters of a minute, so the filter's clock goes faster here.

use std::fs;

use e2e::{
    MeshPlan, PATIENCE, PostgresVersion, SourceKind, Stage, Workload, startup::query, until,
};

use crate::scene::{POLICY, Wire, counted, no_backends, svid};

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

/// The client sees no more than the end. Postgres sees it too where it looks for it, as `examples/db/postgresql.conf` has it;
/// else the query runs on.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_goes_on_is_left_alone() {
    const RUNS: &str = "select coalesce(string_agg(query, ','), '') from pg_stat_activity
        where state = 'active' and wait_event = 'PgSleep'";
    let stage = Stage::set(None).unwrap();
    fs::write(stage.path().join("pg_role.wasm"), hastened(&stage)).unwrap();
    let policy =
        POLICY.replace("    client_parameters", "    max_session: 12s\n    client_parameters");
    let plan = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V18).svid_ttl(3600);
    let mesh = plan.policy(policy).start_on(stage).await.unwrap();
    let api = svid(&mesh, Workload::Api);
    let mut sessions = Vec::new();
    for (interval, sleep) in [("1s", "select pg_sleep(600)"), ("0", "select pg_sleep(601)")] {
        let mut wire = Wire::session(&mesh, &api).await;
        wire.value(&format!("set client_connection_check_interval = '{interval}'")).await;
        wire.send(&query(sleep)).await;
        sessions.push(wire);
    }
    let runs = || mesh.postgres.sql(&mesh.stage, "postgres", RUNS).unwrap();
    until("both are ended", PATIENCE, async || {
        anyhow::ensure!(counted(&mesh, "sessions_ended").await == 2);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(runs().split(',').count(), 2, "they have ended by themselves");
    for wire in &mut sessions {
        // Nothing that is sent now matters to anybody.
        wire.send(&query("select 1")).await;
        assert_eq!(wire.last_word().await, None);
    }
    until("Postgres has noticed", PATIENCE, async || {
        anyhow::ensure!(runs() == "select pg_sleep(601)", "{}", runs());
        Ok(())
    })
    .await
    .unwrap();
    let envoy = &mesh.sidecar(Workload::Db).envoy;
    until("both are logged", PATIENCE, async || {
        let lines = envoy.access_log();
        let found = lines.iter().filter(|line| line["end"] == "max_session").count();
        anyhow::ensure!(found == 2, "{found}");
        Ok(())
    })
    .await
    .unwrap();
    assert!(envoy.log().contains("closed: the session did not end in time"));
    // An administrator ends the other.
    assert_eq!(runs(), "select pg_sleep(601)");
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'";
    mesh.postgres.sql(&mesh.stage, "postgres", end).unwrap();
    no_backends(&mesh).await;
}
