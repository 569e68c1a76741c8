//! The same secrets by other ways than a stream of the world's state each, on a Unix socket.

use std::{fs, path::Path};

use anyhow::ensure;
use e2e::{
    DevAgent, PATIENCE, Pair, PairPlan, SdsServer, Stage, Workload, bootstrap::holders,
    echo_listener, until,
};
use serde_json::{Value, json};

use crate::ground::{Ground, socket_of};

/// Rotates the answering end's SVID and waits until it is shown, while requests run.
async fn a_rotation_disturbs_nobody(stage: &Stage, agent: &DevAgent, pair: &Pair) {
    for chain in ["default", "own-id", "all"] {
        assert_eq!(pair.ask(chain).await.unwrap().status, 200, "{chain}");
    }
    let load = pair.knock();
    let old = pair.presented().await.unwrap();
    agent.control(stage, &["rotate"]).unwrap();
    pair.presents_another(&old).await.unwrap();
    load.goes_on(20).await.unwrap();
    assert_eq!(load.stop().await.unwrap(), Vec::<String>::new());
}

/// On a VM or bare metal Envoy brings a certificate of its own, in files, and is served what it is
/// listed for.
#[tokio::test(flavor = "multi_thread")]
async fn sds_over_tcp_with_mutual_tls() {
    let stage = Stage::set(None).unwrap();
    let agent = DevAgent::start(&stage, 3600).await.unwrap();
    let program = stage.within_reach(&stage.programs.own("sds-server").unwrap()).unwrap();
    // Both Envoys come with the certificate of `report`.
    let files = agent.directory().join("bootstrap");
    let out = files.to_string_lossy().into_owned();
    agent.control(&stage, &["mint", "--workload", "report", "--out", &out]).unwrap();
    let serve = |workload: Workload| {
        let address = (stage.address, stage.free_port().unwrap());
        let listen = format!(
            ", tcp: {{ address: '{}:{}', allow: [{{ peer: '{}', names: [default, ROOTCA, ALL, '{}', 'spiffe://example.org'] }}] }}",
            address.0,
            address.1,
            Workload::Report.spiffe_id(),
            workload.spiffe_id(),
        );
        let socket = agent.socket(workload);
        let server =
            SdsServer::listening(&stage, workload.name(), &program, &socket, &listen, "").unwrap();
        (server, address)
    };
    let ((server, server_address), (client, client_address)) =
        (serve(Workload::Api), serve(Workload::Client));
    let plan = PairPlan::new("pair", &socket_of(&server), &socket_of(&client));
    let pair = plan.mutate(move |end, configuration| {
        let (address, port) = if end == Workload::Api { server_address } else { client_address };
        let tls = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": {
                    "tls_params": { "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3" },
                    "alpn_protocols": ["h2"],
                    "tls_certificates": [{
                        "certificate_chain": { "filename": files.join("svid.pem") },
                        "private_key": { "filename": files.join("svid_key.pem") },
                    }],
                    "validation_context": {
                        "trusted_ca": { "filename": files.join("svid_bundle.pem") },
                        "match_typed_subject_alt_names": [{ "san_type": "URI", "matcher": { "exact": end.spiffe_id() } }],
                    },
                },
            },
        });
        sds_cluster(configuration, &json!({ "socket_address": { "address": address, "port_value": port } }), Some(&tls));
    });
    let pair = pair.start(&stage).await.unwrap();
    a_rotation_disturbs_nobody(&stage, &agent, &pair).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delta_sds() {
    let ground = Ground::lay(3600, "").await.unwrap();
    let plan = ground.plan().mutate(|_, configuration| {
        holders(configuration, "api_type", &mut |found| found["api_type"] = "DELTA_GRPC".into());
    });
    let pair = plan.start(&ground.stage).await.unwrap();
    a_rotation_disturbs_nobody(&ground.stage, &ground.agent, &pair).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ads_of_the_state_of_the_world() {
    ads("GRPC").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delta_ads() {
    ads("DELTA_GRPC").await;
}

/// All secrets come on one stream, and those of a listener that comes, goes and comes again do as well.
async fn ads(api_type: &'static str) {
    let stage = Stage::set(None).unwrap();
    let later = format!("{}/later", Workload::Api.spiffe_id());
    let more = [(Workload::Api, later.clone())];
    let agent = DevAgent::start_with(&stage, 3600, &more).await.unwrap();
    let ground = Ground::of(stage, agent, "").unwrap();
    let pair = ground.plan().mutate(move |_, configuration| aggregate(configuration, api_type));
    let pair = pair.start(&ground.stage).await.unwrap();
    let streams = ground.server.metric("signet_xds_streams").await.unwrap();
    assert_eq!(streams.to_string(), "1");
    a_rotation_disturbs_nobody(&ground.stage, &ground.agent, &pair).await;

    let listener = echo_listener(&later, &later, &ads_source("0s"));
    let active = async |listeners: u64| {
        until(&format!("{listeners} listeners are active"), PATIENCE, async || {
            let found = pair.server.stat("listener_manager.total_listeners_active").await?;
            ensure!(found == listeners, "{found}");
            Ok(())
        })
        .await
        .unwrap();
    };
    for _ in 0..3 {
        pair.listeners(&json!([listener])).unwrap();
        active(2).await;
        pair.listeners(&json!([])).unwrap();
        active(1).await;
    }

    // The same secret from a source of other bytes is another provider's, for which Envoy asks nothing that it
    // has asked for already (envoy#47309): it waits until the same bytes are sent once more.
    let presented = pair.presented().await.unwrap();
    ground.rotate().unwrap();
    let presented = pair.presents_another(&presented).await.unwrap();
    pair.listeners(&json!([echo_listener("anew", "default", &ads_source("3600s"))])).unwrap();
    active(2).await;
    assert_eq!(pair.presented().await.unwrap(), presented, "nothing was rotated meanwhile");
    assert_eq!(pair.server.stat("control_plane.connected_state").await.unwrap(), 1);
}

fn ads_source(timeout: &str) -> Value {
    json!({ "resource_api_version": "V3", "initial_fetch_timeout": timeout, "ads": {} })
}

/// Has all secrets come by ADS. Clusters that need some then come from a file: as static clusters
/// they make Envoy 1.40 crash when it boots (envoy#15517).
fn aggregate(configuration: &mut Value, api_type: &str) {
    holders(configuration, "sds_config", &mut |found| found["sds_config"] = ads_source("0s"));
    holders(configuration, "route_config", &mut |found| {
        found["route_config"]["validate_clusters"] = false.into();
    });
    let admin = &configuration["admin"]["address"]["pipe"]["path"];
    let file = Path::new(admin.as_str().unwrap()).with_file_name("clusters.json");
    let clusters = configuration["static_resources"]["clusters"].as_array_mut().unwrap();
    let (kept, mut moved): (Vec<_>, Vec<_>) =
        std::mem::take(clusters).into_iter().partition(|cluster| cluster["name"] == "sds");
    *clusters = kept;
    for cluster in &mut moved {
        cluster["@type"] = "type.googleapis.com/envoy.config.cluster.v3.Cluster".into();
    }
    fs::write(&file, json!({ "resources": moved }).to_string()).unwrap();
    let dynamic = &mut configuration["dynamic_resources"];
    dynamic["cds_config"] =
        json!({ "resource_api_version": "V3", "path_config_source": { "path": file } });
    dynamic["ads_config"] = json!({
        "api_type": api_type,
        "transport_api_version": "V3",
        "grpc_services": [{ "envoy_grpc": { "cluster_name": "sds" } }],
    });
}

/// Where SDS is asked, and how.
fn sds_cluster(configuration: &mut Value, address: &Value, tls: Option<&Value>) {
    holders(configuration, "load_assignment", &mut |found| {
        if found["name"] == "sds" {
            found["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] =
                address.clone();
            if let Some(tls) = tls {
                found["transport_socket"] = tls.clone();
            }
        }
    });
}
