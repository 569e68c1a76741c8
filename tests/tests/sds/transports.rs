//! The same secrets by other ways than a stream of the world's state each, on a Unix socket.

use e2e::{DevAgent, Pair, PairPlan, SdsServer, Stage, Workload, bootstrap::holders};
use serde_json::{Value, json};

use crate::ground::socket_of;

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
