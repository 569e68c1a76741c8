//! The whole flow, behind the roles, grants and files that `signet policy sql` writes for its policy.

use e2e::{
    Launch, Mesh, MeshPlan, PostgresFiles,
    PostgresVersion::{self, V15, V18},
    SourceKind, Workload,
    story::{connects, reads_customers},
};

/// What `signet policy sql --check` finds in the database of a mesh: the first line of each difference.
fn differences(mesh: &Mesh) -> Vec<String> {
    let stage = &mesh.stage;
    let signet = stage.within_reach(&stage.programs.own("signet").unwrap()).unwrap();
    let (code, out, err) = Launch::new("signet", signet, &stage.accounts.postgres)
        .args(["policy", "sql"])
        .arg(mesh.policy.path())
        .args(["--database", "db", "--check", "--url", "user=postgres"])
        .args(["--envoy-user", &stage.accounts.mesh.name])
        .env("PGHOST", mesh.postgres.directory())
        .ended("")
        .unwrap();
    let is_first = |line: &&str| line.starts_with("missing: ") || line.starts_with("superfluous: ");
    let found: Vec<String> = out.lines().filter(is_first).map(str::to_owned).collect();
    assert_eq!(code, Some(i32::from(!found.is_empty())), "{out}{err}");
    found
}

async fn the_mesh_works_and_nobody_else_gets_in(version: PostgresVersion) {
    let mesh = MeshPlan::new(SourceKind::DevAgent, version).start().await.unwrap();
    let (stage, postgres) = (&mesh.stage, &mesh.postgres);
    assert_eq!(differences(&mesh), [""; 0]);
    // Nothing is left of that but what the tables' owner grants.
    postgres
        .sql(
            stage,
            "customers",
            "revoke customers_reader, customers_writer from api; alter role api nologin inherit",
        )
        .unwrap();
    postgres.let_in(stage, &PostgresFiles::default()).await.unwrap();
    let refused = connects(&mesh, Workload::Report, "postgres").await.unwrap();
    assert_eq!(refused.session_user, None, "{refused:?}");

    postgres.obey(stage, version, mesh.policy.path()).await.unwrap();
    assert_eq!(differences(&mesh), [""; 0]);
    let read = reads_customers(&mesh, Workload::Client).await.unwrap();
    assert_eq!((read.status, read.rows, read.current_user.as_str()), (200, 3, "customers_reader"));
    let report = connects(&mesh, Workload::Report, "postgres").await.unwrap();
    assert_eq!(report.session_user.as_deref(), Some("customers_reader"), "{report:?}");
    let writer = connects(&mesh, Workload::Api, "customers_writer").await.unwrap();
    assert_eq!(writer.session_user.as_deref(), Some("customers_writer"), "{writer:?}");

    for stranger in stage.accounts.strangers().unwrap() {
        for role in ["api", "customers_reader", "customers_writer"] {
            let (code, _, refused) = Launch::new("psql", stage.programs.psql().unwrap(), stranger)
                .args(["--no-psqlrc", "--command", "select", "--username", role, "customers"])
                .env("PGHOST", postgres.directory())
                .ended("")
                .unwrap();
            assert_eq!(code, Some(2), "{role}");
            assert!(refused.contains("Peer authentication failed"), "{refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_15() {
    the_mesh_works_and_nobody_else_gets_in(V15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_18() {
    the_mesh_works_and_nobody_else_gets_in(V18).await;
}
