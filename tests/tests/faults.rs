//! Parts fail while a load runs: what is already there goes on, and what comes back is used.

#[allow(dead_code, reason = "each test program uses a part")]
#[path = "../../sds-server/tests/support/aim.rs"]
mod aim;

use std::time::{Duration, Instant};

use e2e::{
    Mesh, MeshPlan, PATIENCE, PostgresVersion, SourceKind, Workload,
    http::Ask,
    story::{Load, SHADOW, reads_customers},
    tls::presented_by,
    until,
};

/// Long enough for a few hundred requests to meet the fault.
async fn under_load(mesh: &Mesh, load: &Load, requests: usize) {
    let wanted = load.done() + requests;
    until("the load goes on", PATIENCE, async || {
        anyhow::ensure!(load.done() >= wanted, "{} of {wanted} requests", load.done());
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(reads_customers(mesh, Workload::Client).await.unwrap().status, 200);
}

async fn presents_a_new_certificate(mesh: &Mesh, server: Workload, old: &str) {
    until("the new certificate is presented", Duration::from_secs(45), async || {
        let serial = presented_by(mesh.ingress(server)).await?.serial;
        anyhow::ensure!(serial != old, "still {serial}");
        Ok(())
    })
    .await
    .unwrap();
}

async fn servers_die_under_load(source: SourceKind) {
    let mut mesh = MeshPlan::new(source, PostgresVersion::V15)
        .max_connection_duration(2)
        .start()
        .await
        .unwrap();
    let load = Load::start(&mesh);
    under_load(&mesh, &load, 50).await;
    for workload in Workload::ALL {
        mesh.sidecar_mut(workload).0.server.kill().unwrap();
    }
    // New connections, between Envoys too, are made with what Envoy already holds.
    under_load(&mesh, &load, 300).await;
    let old = presented_by(mesh.ingress(Workload::Api)).await.unwrap().serial;
    for workload in Workload::ALL {
        let (sidecar, stage) = mesh.sidecar_mut(workload);
        sidecar.server.restart(stage).unwrap();
        sidecar.server.ready().await.unwrap();
    }
    mesh.source.rotate(&mesh.stage).unwrap();
    presents_a_new_certificate(&mesh, Workload::Api, &old).await;
    under_load(&mesh, &load, 50).await;
    assert_eq!(load.stop().await.unwrap().failures, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_die_under_load_with_dev_agent() {
    servers_die_under_load(SourceKind::DevAgent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_die_under_load_with_spire() {
    servers_die_under_load(SourceKind::Spire).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spires_agent_dies_under_load() {
    let mut mesh = MeshPlan::new(SourceKind::Spire, PostgresVersion::V15)
        .max_connection_duration(2)
        .start()
        .await
        .unwrap();
    let load = Load::start(&mesh);
    under_load(&mesh, &load, 50).await;
    let old = presented_by(mesh.ingress(Workload::Api)).await.unwrap().serial;
    mesh.source.kill_agent().unwrap();
    under_load(&mesh, &load, 200).await;
    mesh.source.restart_agent(&mesh.stage).await.unwrap();
    presents_a_new_certificate(&mesh, Workload::Api, &old).await;
    under_load(&mesh, &load, 50).await;
    assert_eq!(load.stop().await.unwrap().failures, Vec::<String>::new());
}

/// dev-agent's CA lives in memory, so its restart is a new trust domain's beginning: nothing fails
/// while it is away, and everybody agrees again soon after.
#[tokio::test(flavor = "multi_thread")]
async fn dev_agent_dies_under_load() {
    let mut mesh = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15)
        .max_connection_duration(2)
        .start()
        .await
        .unwrap();
    let load = Load::start(&mesh);
    under_load(&mesh, &load, 50).await;
    mesh.source.kill_agent().unwrap();
    under_load(&mesh, &load, 300).await;
    assert_eq!(load.stop().await.unwrap().failures, Vec::<String>::new());
    let old = presented_by(mesh.ingress(Workload::Api)).await.unwrap().serial;
    mesh.source.restart_agent(&mesh.stage).await.unwrap();
    presents_a_new_certificate(&mesh, Workload::Api, &old).await;
    until("the client reads again", Duration::from_secs(15), async || {
        let read = reads_customers(&mesh, Workload::Client).await?;
        anyhow::ensure!(read.status == 200, "{}", read.status);
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_policy_leaves_the_last_good_one_in_force() {
    let mesh = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15).start().await.unwrap();
    let good = mesh.policy.read().unwrap();
    let (half, _) = good.split_once("/{id}").unwrap();
    let unknown_key = good.replacen("db_role:", "dbrole:", 1);
    for bad in [half, unknown_key.as_str(), "[", "\0"] {
        let server = &mesh.sidecar(Workload::Api).server;
        let before = server.metric("signet_policy_load_total").await.unwrap();
        mesh.policy.write(bad).unwrap();
        until("the server has read the bad policy", PATIENCE, async || {
            let loads = server.metric("signet_policy_load_total").await?;
            anyhow::ensure!(loads > before, "{loads} loads");
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(reads_customers(&mesh, Workload::Client).await.unwrap().status, 200);
        let denied = Ask::new("DELETE", "/audit/1");
        let reply = denied.unix(&mesh.http_socket(Workload::Client)).await.unwrap();
        assert_eq!(reply.status, 403);
    }
    // And a good one after them is taken.
    mesh.policy.write(&good.replacen("    mode: shadow\n", "", 1)).unwrap();
    until("the good policy is in force", PATIENCE, async || {
        let socket = mesh.http_socket(Workload::Client);
        let status = e2e::story::new_customer().unix(&socket).await?.status;
        anyhow::ensure!(status == 201, "{status}");
        Ok(())
    })
    .await
    .unwrap();
}

/// Each edit is seen, and what it does not concern is never disturbed.
#[tokio::test(flavor = "multi_thread")]
async fn every_policy_flip_is_in_force_and_disturbs_nobody() {
    const ENFORCED: &str = "    # enforced\n";
    let mesh = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15).start().await.unwrap();
    let load = Load::start(&mesh);
    // Denied it is 403; allowed it is 400, for an empty body is no customer.
    let answered = async |status: u16| {
        let ask = Ask::new("POST", "/customers").header("content-type", "application/json");
        until(&format!("the answer is {status}"), PATIENCE, async || {
            let found = ask.clone().unix(&mesh.http_socket(Workload::Client)).await?.status;
            anyhow::ensure!(found == status, "{found}");
            Ok(())
        })
        .await
        .unwrap();
    };
    answered(403).await;
    let mut times = Vec::new();
    for flip in 0..50 {
        let ((from, to), status) =
            if flip % 2 == 0 { ((SHADOW, ENFORCED), 400) } else { ((ENFORCED, SHADOW), 403) };
        let edited = Instant::now();
        mesh.policy.edit(from, to).unwrap();
        answered(status).await;
        times.push(edited.elapsed());
    }
    aim::told_p99("an edit of the policy is in force", times, Duration::from_secs(2));
    assert_eq!(load.stop().await.unwrap().failures, Vec::<String>::new());
}
