//! An identity is withdrawn: no message of SDS takes a certificate out of Envoy's hands. What comes to it is
//! denied at once, by its own Envoy's filters; what it asks of others they deny by a rule, or once it expires.

use std::time::Duration;

use e2e::{
    Mesh, MeshPlan, PATIENCE, PostgresVersion, SourceKind, Workload, story::reads_customers, until,
};
use serde_json::Value;

/// Tells dev-agent what to do with a workload's identities.
fn tell(mesh: &Mesh, order: &str, workload: Workload) {
    let agent = mesh.source.dev_agent().unwrap();
    agent.control(&mesh.stage, &[order, "--workload", workload.name()]).unwrap();
}

/// Waits until a workload's server says that its Envoy's filter was told so, and that it accepted.
async fn told(mesh: &Mesh, workload: Workload, filter: &str, is: impl Fn(&Value) -> bool) {
    let server = &mesh.sidecar(workload).server;
    until(&format!("{filter} of {workload:?}"), PATIENCE, async || {
        let status: Value = serde_json::from_str(&server.admin("/status").await?.body)?;
        let mut envoys = status["envoys"].as_array().into_iter().flatten();
        anyhow::ensure!(envoys.any(|envoy| is(&envoy["policies"][filter])), "{status}");
        Ok(())
    })
    .await
    .unwrap();
}

/// Waits until an Envoy has logged a line with this value.
async fn logged(mesh: &Mesh, workload: Workload, key: &str, value: &str) {
    until(&format!("{key} is {value}"), PATIENCE, async || {
        let lines = mesh.sidecar(workload).envoy.access_log();
        anyhow::ensure!(lines.iter().any(|line| line[key] == value), "{lines:?}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_to_a_withdrawn_workload_is_denied_until_it_is_issued_again() {
    const REASON: &str = "identity_withdrawn";
    let plan = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V18);
    let mesh = plan.svid_ttl(3600).start().await.unwrap();
    answered(&mesh, 200).await;
    tell(&mesh, "revoke", Workload::Api);
    answered(&mesh, 403).await;
    logged(&mesh, Workload::Api, "reason", REASON).await;
    told(&mesh, Workload::Api, "signet.http", |policy| policy == "withdrawn").await;
    let server = &mesh.sidecar(Workload::Api).server;
    assert!(server.metric("signet_withdrawn_slices_total").await.unwrap() >= 1.0);
    tell(&mesh, "grant", Workload::Api);
    answered(&mesh, 200).await;
    told(&mesh, Workload::Api, "signet.http", |policy| policy != "withdrawn").await;

    // A session that runs ends, and the next one is not let in.
    let api = &mesh.sidecar(Workload::Api).directory;
    let connect = async || e2e::postgres::connect(api, "api", "customers").await;
    let session = connect().await.unwrap();
    session.execute("select 1", &[]).await.unwrap();
    tell(&mesh, "revoke", Workload::Db);
    // The API's own session may be the first to end: Envoy's workers hear of it one after the other.
    until("the session ends", PATIENCE, async || {
        anyhow::ensure!(session.execute("select 1", &[]).await.is_err(), "it runs");
        Ok(())
    })
    .await
    .unwrap();
    logged(&mesh, Workload::Db, "end", REASON).await;
    until("nobody is let in", PATIENCE, async || {
        anyhow::ensure!(connect().await.is_err(), "somebody is");
        Ok(())
    })
    .await
    .unwrap();
    logged(&mesh, Workload::Db, "reason", REASON).await;
    tell(&mesh, "grant", Workload::Db);
    let session = until("it is let in again", PATIENCE, connect).await.unwrap();
    session.execute("select 1", &[]).await.unwrap();
}

async fn answered(mesh: &Mesh, status: u16) {
    until(&format!("the client is answered {status}"), PATIENCE, async || {
        let found = reads_customers(mesh, Workload::Client).await?.status;
        anyhow::ensure!(found == status, "{found}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_revokes_what_expiry_only_bounds() {
    let mut mesh = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15)
        .max_connection_duration(2)
        .svid_ttl(30)
        .start()
        .await
        .unwrap();
    tell(&mesh, "revoke", Workload::Client);
    let (sidecar, _) = mesh.sidecar_mut(Workload::Client);
    until("the server says so", Duration::from_secs(20), async || {
        let readiness = sidecar.server.admin("/readyz").await?;
        anyhow::ensure!(readiness.status == 503, "ready");
        Ok(())
    })
    .await
    .unwrap();
    // Envoy holds on to what it has.
    answered(&mesh, 200).await;
    mesh.policy
        .edit(
            "from: [client]\n    to: [api]\n    methods: [GET]",
            "from: [report]\n    to: [api]\n    methods: [GET]",
        )
        .unwrap();
    answered(&mesh, 403).await;
    // And then it has nothing: nobody shakes hands with it.
    answered(&mesh, 503).await;
    tell(&mesh, "grant", Workload::Client);
    answered(&mesh, 403).await;
}
