//! What is open to those who watch, what is closed to everybody else, and what Envoy really runs.

use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, ensure};
use e2e::{
    Mesh, MeshPlan, PATIENCE, PostgresVersion, SourceKind, Stage, Workload, http::Ask, until,
};
use serde_json::Value;

async fn mesh() -> Mesh {
    MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15).start().await.unwrap()
}

async fn status(mesh: &Mesh, port: u16, method: &str, path: &str) -> u16 {
    Ask::new(method, path).tcp((mesh.stage.address, port)).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn only_fixed_paths_are_open() {
    let mesh = mesh().await;
    for workload in Workload::ALL {
        let ops = mesh.sidecar(workload).ops;
        let name = workload.name();
        for path in ["/stats/prometheus", "/ready"] {
            assert_eq!(status(&mesh, ops.metrics, "GET", path).await, 200, "{name} {path}");
        }
        for path in ["/livez", "/readyz"] {
            assert_eq!(status(&mesh, ops.probes, "GET", path).await, 200, "{name} {path}");
        }
        for (method, path) in [
            ("GET", "/config_dump"),
            ("GET", "/certs"),
            ("GET", "/"),
            ("GET", "/ready/../config_dump"),
            ("GET", "/stats/prometheus/%2e%2e/%2e%2e/config_dump"),
            ("GET", "//ready"),
            ("POST", "/quitquitquit"),
            ("POST", "/ready"),
            ("GET", "/customers"),
        ] {
            for port in [ops.metrics, ops.probes] {
                assert_eq!(status(&mesh, port, method, path).await, 404, "{name} {method} {path}");
            }
        }
    }
}

/// What the filter counts, as Prometheus sees it: one metric for all rules, and one for all reasons, which are the access
/// log's.
#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_counted_by_rule_and_reason() {
    let mesh = mesh().await;
    let socket = mesh.http_socket(Workload::Client);
    for (method, path, status, details) in [
        ("GET", "/customers", 200, "via_upstream"),
        ("GET", "/customers", 200, "via_upstream"),
        ("DELETE", "/audit/1", 403, "signet.deny.denied_by_rule"),
        ("GET", "/nothing", 403, "signet.deny.no_rule"),
        ("GET", "/%61", 400, "signet.refuse.path_encoded_unreserved"),
    ] {
        assert_eq!(Ask::new(method, path).unix(&socket).await.unwrap().status, status);
        let api = &mesh.sidecar(Workload::Api).envoy;
        let line = api.logged(0, |line| line["path"] == path && line["details"] == details);
        let reason = line.await.unwrap()["reason"].clone();
        let expected = details.strip_prefix("signet.").and_then(|rest| rest.split_once('.'));
        assert_eq!(reason.as_str(), expected.map(|(_, reason)| reason), "{path}");
    }
    let metrics = (mesh.stage.address, mesh.sidecar(Workload::Api).ops.metrics);
    until("what the filter has counted", PATIENCE, async || {
        let page = Ask::get("/stats/prometheus").tcp(metrics).await?.body;
        for counted in [
            r#"signet_http_rule{signet_rule="client-reads-customers"} 2"#,
            r#"signet_http_rule{signet_rule="nobody-deletes-audit"} 1"#,
            r#"signet_http_reason{signet_reason="denied_by_rule"} 1"#,
            r#"signet_http_reason{signet_reason="no_rule"} 1"#,
            r#"signet_http_reason{signet_reason="path_encoded_unreserved"} 1"#,
            "signet_http_allowed{} 2",
            "signet_http_denied{} 2",
            "signet_http_ambiguous{} 1",
        ] {
            let found: Vec<&str> =
                page.lines().filter(|line| line.starts_with("signet_http")).collect();
            ensure!(found.contains(&counted), "no {counted} in {found:#?}");
        }
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_have_the_modes_that_the_bootstraps_name() {
    let mesh = mesh().await;
    let mode = |workload: Workload, socket: &str| {
        let path = mesh.sidecar(workload).directory.join(socket);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    for workload in Workload::ALL {
        assert_eq!(mode(workload, "admin.sock"), 0o600, "{}", workload.name());
        assert_eq!(mode(workload, "sds.sock"), 0o660, "{}", workload.name());
    }
    for workload in [Workload::Client, Workload::Report] {
        assert_eq!(mode(workload, "http.sock"), 0o660);
        assert_eq!(mode(workload, ".s.PGSQL.5432"), 0o660);
    }
    assert_eq!(mode(Workload::Api, ".s.PGSQL.5432"), 0o660);
    assert_eq!(mode(Workload::Api, "api.sock"), 0o660);
}

/// The Wasm block comes from the server; this is what Envoy was given.
#[tokio::test(flavor = "multi_thread")]
async fn filters_reload_after_a_trap_and_keep_one_vm_id() {
    let mesh = mesh().await;
    for (workload, name) in [(Workload::Api, "signet.http"), (Workload::Db, "signet.postgres")] {
        let page = "/config_dump?resource=ecds_filters";
        let dump = mesh.sidecar(workload).envoy.admin(page).await.unwrap();
        let dump: Value = serde_json::from_str(&dump).unwrap();
        let filter = &dump["configs"][0]["ecds_filter"];
        assert_eq!(filter["name"], name);
        let plugin = &filter["typed_config"]["config"];
        assert_eq!(plugin["failure_policy"], "FAIL_RELOAD", "{plugin}");
        assert_eq!(plugin["vm_config"]["vm_id"], name, "{plugin}");
        assert_eq!(plugin["vm_config"]["runtime"], "envoy.wasm.runtime.v8");
        assert!(plugin["vm_config"]["code"]["local"]["filename"].is_string(), "{plugin}");
        let slice = plugin["configuration"]["value"].as_str().unwrap();
        let slice: Value = serde_json::from_str(slice).unwrap();
        assert_eq!(slice["workload"], workload.spiffe_id());
    }
}

/// Without a valid policy no filter is sent, so the listeners that need one are not there; a valid
/// one ends that, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_waits_for_its_first_valid_policy() {
    let plan = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15).policy("version: [");
    let mut mesh = plan.start_unready(Stage::set(None).unwrap()).await.unwrap();
    let good = std::fs::read_to_string(
        mesh.stage.programs.repository_file("examples/policies/demo.yaml").unwrap(),
    );
    // The client's Envoy runs no filter of ours, so it is the sign that secrets do arrive.
    mesh.client_ready().await.unwrap();
    let api = mesh.sidecar(Workload::Api);
    let readiness = until("an answer of the API's server", PATIENCE, async || {
        api.server.admin("/readyz").await
    });
    let readiness = readiness.await.unwrap();
    assert_eq!(readiness.status, 503);
    assert!(readiness.body.contains("policy"), "{}", readiness.body);
    let ready =
        until("an answer of the API's Envoy", PATIENCE, async || api.envoy.admin("/ready").await);
    assert_ne!(ready.await.unwrap().trim(), "LIVE");
    let denied = Ask::get("/customers").unix(&mesh.http_socket(Workload::Client)).await.unwrap();
    assert_eq!(denied.status, 503);
    mesh.policy.write(&good.unwrap()).unwrap();
    mesh.ready().await.unwrap();
    let reply = Ask::get("/customers").unix(&mesh.http_socket(Workload::Client)).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
}

/// The command of people against the server of real Envoys.
#[tokio::test(flavor = "multi_thread")]
async fn status_tells_what_each_envoy_accepted_and_which_policy_it_runs() {
    let mesh = mesh().await;
    let signet = mesh.stage.programs.own("signet").unwrap();
    for (workload, filter) in [(Workload::Api, "signet.http"), (Workload::Db, "signet.postgres")] {
        let socket = mesh.sidecar(workload).directory.join("sds-admin.sock");
        let ask = |arguments: &[&str]| {
            let admin = format!("unix://{}", socket.display());
            let output = std::process::Command::new(&signet)
                .args(["status", "--admin", &admin])
                .args(arguments)
                .output()
                .unwrap();
            assert_eq!(
                output.status.code(),
                Some(0),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            String::from_utf8(output.stdout).unwrap()
        };
        // An Envoy is ready with what it was sent; its answers may still be on their way.
        until("all is accepted", PATIENCE, async || {
            let status: Value = serde_json::from_str(&ask(&["-o", "json"]))?;
            assert_eq!(status["svids"][0]["spiffe_id"], workload.spiffe_id());
            let envoy = &status["envoys"][0];
            ensure!(envoy["policies"][filter] == status["policy"]["digest"], "{envoy:#}");
            for name in ["default", "ROOTCA", filter] {
                let mut resources = envoy["resources"].as_array().into_iter().flatten();
                let resource = resources.find(|resource| resource["name"] == name);
                let resource = resource.with_context(|| format!("no {name} in {envoy:#}"))?;
                assert!(resource["sent"]["version"].is_string(), "{resource}");
                let accepted = &resource["acknowledged"]["version"];
                ensure!(*accepted == resource["sent"]["version"], "{resource}");
            }
            Ok(())
        })
        .await
        .unwrap();
        let table = ask(&[]);
        assert!(table.contains(": ready\n") && table.contains("in force\n"), "{table}");
    }
}

/// Envoys come back with what they have, and nothing is sent to them.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_restarted_knows_which_policy_its_envoy_runs() {
    let mut mesh = mesh().await;
    let (sidecar, stage) = mesh.sidecar_mut(Workload::Api);
    sidecar.server.kill().unwrap();
    sidecar.server.restart(stage).unwrap();
    until("what the Envoy holds is told", PATIENCE, async || {
        let status = sidecar.server.admin("/status").await?.body;
        let status: Value = serde_json::from_str(&status)?;
        let envoy = &status["envoys"][0];
        ensure!(envoy["policies"]["signet.http"].is_string(), "{status:#}");
        ensure!(envoy["policies"]["signet.http"] == status["policy"]["digest"], "{envoy:#}");
        Ok(())
    })
    .await
    .unwrap();
}
