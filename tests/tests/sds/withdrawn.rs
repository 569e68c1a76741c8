//! An identity is withdrawn: no message of SDS takes a certificate out of Envoy's hands, so its
//! expiry is the bound, and the policy is what revokes at once.

use std::time::Duration;

use e2e::{
    Mesh, MeshPlan, PATIENCE, PostgresVersion, SourceKind, Workload, story::reads_customers, until,
};

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
    mesh.source
        .dev_agent()
        .unwrap()
        .control(&mesh.stage, &["revoke", "--workload", "client"])
        .unwrap();
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
    mesh.source
        .dev_agent()
        .unwrap()
        .control(&mesh.stage, &["grant", "--workload", "client"])
        .unwrap();
    answered(&mesh, 403).await;
}
