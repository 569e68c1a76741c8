//! Replication through the mesh, behind the roles and files that `signet policy sql` writes: by whom the policy lets
//! replicate, of what it lets him, and by nobody else.

use e2e::{
    Launch, Mesh, MeshPlan, PATIENCE,
    PostgresVersion::{self, V15, V18},
    SourceKind, Workload,
    startup::{Answer, ask, field, message, query, read_message},
    until,
};
use tokio::{io::AsyncWriteExt, net::UnixStream};

/// The report job copies the whole server, the API follows one database, and the client only reads.
const POLICY: &str = "\
version: 1
trust_domain: example.org
workloads:
  client: /ns/client-ns/sa/client
  api: /ns/api-ns/sa/api
  report: /ns/report-ns/sa/report
  db: /ns/postgres-ns/sa/customer-db
postgres:
  - { name: copies, from: [report], to: [db], databases: ['*'], login_role: copier, replication: true, allow_privileged: true }
  - { name: follows, from: [api], to: [db], databases: [customers], login_role: follower, replication: true, allow_privileged: true }
  - { name: reads, from: [client], to: [db], databases: [customers], login_role: customers_reader }
";

/// One of Postgres' own programs, which comes by a workload's sidecar.
fn program(mesh: &Mesh, name: &str, workload: Workload) -> Launch {
    let psql = mesh.stage.programs.psql().unwrap();
    Launch::new(name, psql.with_file_name(name), &mesh.stage.accounts.harness)
        .env("PGHOST", &mesh.sidecar(workload).directory)
        .env("PGUSER", "anybody")
}

fn ends_well(launch: Launch) -> String {
    let (code, out, err) = launch.ended("").unwrap();
    assert_eq!(code, Some(0), "{out}{err}");
    out
}

fn administrator(mesh: &Mesh, sql: &str) -> String {
    mesh.postgres.sql(&mesh.stage, "customers", sql).unwrap()
}

async fn who_may_replicate_does(version: PostgresVersion) -> Mesh {
    let plan = MeshPlan::new(SourceKind::DevAgent, version).svid_ttl(3_600).policy(POLICY);
    let mesh = plan.start().await.unwrap();
    mesh.postgres.obey(&mesh.stage, version, mesh.policy.path()).await.unwrap();
    let forked = mesh.postgres.backends_forked();
    let mut let_in = 0;
    for (workload, replication, database, denied) in [
        (Workload::Report, "true", "postgres", false),
        (Workload::Report, "database", "postgres", false),
        (Workload::Api, "true", "customers", true),
        (Workload::Api, "database", "customers", false),
        (Workload::Client, "true", "customers", true),
        (Workload::Client, "database", "customers", true),
    ] {
        let asked = format!("dbname={database} replication={replication}");
        let psql = program(&mesh, "psql", workload).args(["--no-psqlrc", "-At", "-c"]);
        let (code, out, err) = psql.args(["IDENTIFY_SYSTEM", &asked]).ended("").unwrap();
        let told = format!("{workload:?} {replication}: {out}{err}");
        if denied {
            assert_eq!(code, Some(2), "{told}");
            assert!(err.contains(r#"signet: parameter "replication" may not be set"#), "{told}");
            assert!(err.contains("the rule must say `replication: true`"), "{told}");
        } else {
            assert_eq!(code, Some(0), "{told}");
            // What the server is, its timeline, where its log stands, and the database if there is one.
            let database = if replication == "database" { database } else { "" };
            assert!(out.trim_end().ends_with(&format!("|{database}")), "{told}");
            let_in += 1;
        }
    }
    assert_eq!(mesh.postgres.backends_forked(), forked + let_in);
    one_database_is_no_wall(&mesh).await;
    mesh
}

/// Whoever replicates one database can copy the whole server: to Postgres it is the same privilege. The book says so.
async fn one_database_is_no_wall(mesh: &Mesh) {
    let socket = mesh.sidecar(Workload::Api).directory.join(".s.PGSQL.5432");
    let mut session = UnixStream::connect(socket).await.unwrap();
    let asked = [("user", "anybody"), ("database", "customers"), ("replication", "database")];
    assert_eq!(ask(&mut session, &[&message(&asked)]).await.unwrap(), Answer::Welcome);
    let copy = query("BASE_BACKUP (CHECKPOINT 'fast', MANIFEST 'no')");
    session.write_all(&copy).await.unwrap();
    // Blocks of a tar archive, behind a byte that says so.
    let is_there =
        |body: &[u8]| body[1..].chunks(512).any(|block| block.starts_with(b"global/pg_control\0"));
    let (mut copied, mut ready) = (false, 0);
    while ready < 2 {
        match read_message(&mut session).await.unwrap() {
            (b'd', body) => copied |= is_there(&body),
            (b'E', body) => panic!("{}", field(&body, b'M')),
            (kind, _) => ready += usize::from(kind == b'Z'),
        }
    }
    assert!(copied);
}

/// The write-ahead log as a standby gets it, and changes of a database; until the policy takes it back.
async fn log_and_changes_come(mut mesh: Mesh) {
    administrator(&mesh, "alter system set wal_level = logical");
    mesh.postgres.restart(&mesh.stage).await.unwrap();
    let owner = &mesh.stage.accounts.harness;
    let directory = mesh.stage.directory("received", owner).unwrap();
    let follow = |arguments: &[&str]| {
        program(&mesh, "pg_recvlogical", Workload::Api)
            .args(["--dbname", "customers", "--slot", "follows"])
            .args(arguments)
    };
    ends_well(follow(&["--create-slot", "--plugin", "test_decoding"]));
    let mut copying = program(&mesh, "pg_receivewal", Workload::Report)
        .args(["--no-loop", "--status-interval", "1", "--directory"])
        .arg(&directory)
        .start(&mesh.stage)
        .unwrap();
    administrator(&mesh, "insert into customers (name, email) values ('New', 'new@new.example')");
    let end = administrator(&mesh, "select pg_current_wal_lsn()");
    let received = format!("select '{end}' <= write_lsn from pg_stat_replication");
    until("the log is received", PATIENCE, async || {
        copying.alive()?;
        anyhow::ensure!(administrator(&mesh, &received) == "t", "not yet");
        Ok(())
    })
    .await
    .unwrap();
    drop(copying);
    let changes = ends_well(follow(&["--start", "--no-loop", "--endpos", &end, "--file", "-"]));
    assert!(changes.contains("table public.customers: INSERT") && changes.contains("'New'"));

    let mut following =
        follow(&["--start", "--no-loop", "--file", "-"]).start(&mesh.stage).unwrap();
    until("it follows", PATIENCE, async || {
        let active = administrator(&mesh, "select active from pg_replication_slots");
        anyhow::ensure!(active == "t", "{active}");
        following.alive()
    })
    .await
    .unwrap();
    mesh.policy.edit("login_role: follower, replication: true", "login_role: follower").unwrap();
    let status = until("its end", 2 * PATIENCE, async || {
        following.exited().ok_or_else(|| anyhow::anyhow!("it follows"))
    })
    .await
    .unwrap();
    let told = following.stderr();
    assert!(!status.success() && told.contains("the policy no longer allows it"), "{told}");
    let envoy = &mesh.sidecar(Workload::Db).envoy;
    let line = envoy.logged(0, |line| line["end"] == "policy_denies").await.unwrap();
    assert_eq!((&line["rule"], &line["role"]), (&"follows".into(), &"follower".into()));
    assert_eq!(administrator(&mesh, "select count(*) from pg_stat_replication"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_15() {
    let mesh = who_may_replicate_does(V15).await;
    // Debian's programs speak to no newer server than theirs.
    log_and_changes_come(mesh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_18() {
    who_may_replicate_does(V18).await;
}
