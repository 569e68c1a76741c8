//! A filter that traps, or runs out of memory, lets nobody in; and Envoy has another one soon.
//!
//! Ours has no way to trap, so one is built in: the filter as it is, but for client bytes of two sizes.

use std::{collections::BTreeSet, fs, time::Instant};

use e2e::{
    Mesh, MeshPlan, PATIENCE, PostgresVersion, SourceKind, Stage, Workload,
    startup::{Answer, ask, message},
    until,
};

use crate::scene::{POLICY, Wire, counted, no_backends, svid, taken_by};

/// As many client bytes make the filter trap, or take memory until there is none.
const TRAP: usize = 13;
const OUT_OF_MEMORY: usize = 14;
/// Each of Envoy's workers has a filter of its own, and any of them may be met.
const TIMES: usize = 4;

/// The built filter, in which `proxy_on_downstream_data` looks at the size before it does its work.
fn sabotaged(stage: &Stage) -> Vec<u8> {
    const EXPORT: &str = r#"(export "proxy_on_downstream_data" (func "#;
    let text = wasmprinter::print_file(stage.programs.filter("pg_role").unwrap()).unwrap();
    let (before, after) = text.split_once(EXPORT).unwrap();
    let (original, after) = after.split_once("))").unwrap();
    let (after, end) = after.rsplit_once(')').unwrap();
    let wrapper = format!(
        "(func $sabotaged (param i32 i32 i32) (result i32)
           (if (i32.eq (local.get 1) (i32.const {TRAP})) (then unreachable))
           (if (i32.eq (local.get 1) (i32.const {OUT_OF_MEMORY}))
             (then
               (loop $more (br_if $more (i32.ne (memory.grow (i32.const 256)) (i32.const -1))))
               unreachable))
           (call {original} (local.get 0) (local.get 1) (local.get 2)))"
    );
    let whole = format!("{before}{EXPORT}$sabotaged)){after}{wrapper}){end}");
    wat::parse_str(whole).unwrap()
}

/// A start-up that is allowed to whoever has the rule for it.
fn start_up() -> Vec<u8> {
    message(&[("user", "customers_reader"), ("database", "customers")])
}

/// How often this Envoy's log tells of a trap.
fn traps_of(envoy: &e2e::Envoy) -> usize {
    envoy.log().matches("Function: proxy_on_downstream_data failed").count()
}

/// What a workload's whole start-up gets.
async fn asks(mesh: &Mesh, svid: &e2e::FetchedSvid) -> Answer {
    let connected = Wire::try_connect(mesh.ingress(Workload::Db), svid).await;
    let Ok(mut wire) = connected else { return Answer::Silence };
    ask(&mut wire.stream, &[&start_up()]).await.unwrap_or(Answer::Silence)
}

async fn sabotaged_mesh(policy: &str) -> Mesh {
    let stage = Stage::set(None).unwrap();
    fs::write(stage.path().join("pg_role.wasm"), sabotaged(&stage)).unwrap();
    let plan = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15).svid_ttl(3600);
    plan.policy(policy).start_on(stage).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_traps_lets_nobody_in_and_is_replaced() {
    let mesh = sabotaged_mesh(POLICY).await;
    let [report, stranger] = [Workload::Report, Workload::Client].map(|it| svid(&mesh, it));
    assert_eq!(asks(&mesh, &report).await, Answer::Welcome);
    assert_eq!(asks(&mesh, &stranger).await.sqlstate(), "28000");
    no_backends(&mesh).await;
    let (forked, mut welcome) = (mesh.postgres.backends_forked(), 0);
    let envoy = &mesh.sidecar(Workload::Db).envoy;
    for size in [TRAP, OUT_OF_MEMORY].repeat(TIMES / 2) {
        let traps = traps_of(envoy);
        // A worker whose filter has just trapped closes what it accepts, until it has another one.
        until("the filter has trapped", PATIENCE, async || {
            if let Ok(mut wire) = Wire::try_connect(mesh.ingress(Workload::Db), &report).await {
                // The beginning of a start-up that would be allowed.
                wire.send(&start_up()[..size]).await;
                assert_eq!(wire.last_word().await, None);
            }
            let found = traps_of(envoy);
            anyhow::ensure!(found > traps, "{found} times");
            Ok(())
        })
        .await
        .unwrap();
        let trapped = Instant::now();
        // On either worker, until both serve again: nobody gets in without a rule.
        let mut serve = BTreeSet::new();
        until("the filter serves again", PATIENCE, async || {
            let answer = asks(&mesh, &stranger).await;
            assert!(answer == Answer::Silence || answer.sqlstate() == "28000", "{answer:?}");
            let (worker, answer) = taken_by(&mesh, asks(&mesh, &report)).await;
            if answer == Answer::Welcome {
                welcome += 1;
                serve.extend(worker);
            }
            anyhow::ensure!(serve.len() == 2, "only {serve:?}");
            Ok(())
        })
        .await
        .unwrap();
        println!("serves again after {:?}", trapped.elapsed());
    }
    no_backends(&mesh).await;
    // What a filter held when it trapped, nobody counts off any more: the book says so.
    assert!(counted(&mesh, "connections").await >= TIMES as u64);
    // Each backend was for somebody with a rule; the harness' own psql asked for some.
    let by_psql = mesh.postgres.log().matches("application_name=psql").count();
    assert!(mesh.postgres.backends_forked() - forked <= welcome + by_psql);
}

/// A session whose end waits for Postgres, as its client has sent part of an `Execute`: without the filter that holds it back,
/// the rest goes nowhere either.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_trapped_filter_held_back_goes_nowhere() {
    const TRACE: &str =
        "insert into customers (name, email) values ('trace', 'trace@customers.example')";
    const COUNT: &str = "select count(*) from customers where name = 'trace'";
    let policy =
        POLICY.replace("    client_parameters", "    max_session: 2s\n    client_parameters");
    let mesh = sabotaged_mesh(&policy).await;
    let (api, report) = (svid(&mesh, Workload::Api), svid(&mesh, Workload::Report));
    let traces = |sql: &str| mesh.postgres.sql(&mesh.stage, "customers", sql).unwrap();
    let statement = [b"\0", TRACE.as_bytes(), b"\0\0\0"].concat();
    let length = u32::try_from(statement.len() + 4).unwrap().to_be_bytes();
    let bound = [b"P", length.as_slice(), &statement, b"B\0\0\0\x0c\0\0\0\0\0\0\0\0"].concat();
    let (begun, rest) = (b"E\0\0\0\x09\0\0".as_slice(), b"\0\0\0S\0\0\0\x04".as_slice());
    // In time it would be done.
    let mut session = Wire::session_as(&mesh, &api, "customers_writer").await;
    session.send(&[&bound, begun, rest].concat()).await;
    session.ready().await;
    drop(session);
    assert_eq!(traces(COUNT), "1");
    traces("delete from customers where name = 'trace'");
    no_backends(&mesh).await;
    // On a busy machine it may have lasted too long.
    let ended = counted(&mesh, "sessions_ended").await;

    let session = Wire::session_as(&mesh, &api, "customers_writer");
    let (its_worker, mut session) = taken_by(&mesh, session).await;
    session.send(&[&bound, begun].concat()).await;
    until("its end waits", PATIENCE, async || {
        anyhow::ensure!(counted(&mesh, "sessions_ended").await > ended);
        Ok(())
    })
    .await
    .unwrap();

    let envoy = &mesh.sidecar(Workload::Db).envoy;
    until("its own filter has trapped", PATIENCE, async || {
        let traps = traps_of(envoy);
        let trap = async {
            let mut wire = Wire::try_connect(mesh.ingress(Workload::Db), &report).await?;
            wire.send(&start_up()[..TRAP]).await;
            assert_eq!(wire.last_word().await, None);
            anyhow::Ok(())
        };
        let (worker, _) = taken_by(&mesh, trap).await;
        anyhow::ensure!(worker == its_worker && traps_of(envoy) > traps, "{worker:?}");
        Ok(())
    })
    .await
    .unwrap();
    session.send(rest).await;
    assert_eq!(session.last_word().await, None);
    no_backends(&mesh).await;
    assert_eq!(traces(COUNT), "0");
}
