//! Many names on one Envoy.

use anyhow::ensure;
use e2e::{DevAgent, PATIENCE, Stage, Workload, until};
use serde_json::{Value, json};

use crate::ground::Ground;

const LISTENERS: usize = 200;

/// Each listener has a certificate of its own and, without ADS, a stream of its own for it.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_listeners_have_a_certificate_each() {
    let stage = Stage::set(None).unwrap();
    let ids: Vec<String> =
        (0..LISTENERS).map(|number| format!("{}/{number}", Workload::Api.spiffe_id())).collect();
    let more: Vec<_> = ids.iter().map(|id| (Workload::Api, id.clone())).collect();
    let agent = DevAgent::start_with(&stage, 3600, &more).await.unwrap();
    let ground = Ground::of(stage, agent, "").unwrap();
    let pair = ground.plan().start(&ground.stage).await.unwrap();
    let listeners: Vec<Value> = ids.iter().map(|id| listener(id)).collect();
    pair.listeners(&json!(listeners)).unwrap();
    let certificates = async || -> anyhow::Result<Vec<String>> {
        let page: Value = serde_json::from_str(&pair.server.admin("/certs").await?)?;
        let mut serials: Vec<String> = page["certificates"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|found| found["cert_chain"][0]["serial_number"].as_str())
            .map(str::to_owned)
            .collect();
        serials.sort();
        serials.dedup();
        Ok(serials)
    };
    let all = async || {
        let active = pair.server.stat("listener_manager.total_listeners_active").await?;
        ensure!(active > LISTENERS as u64, "{active} listeners");
        let serials = certificates().await?;
        // And that of the listener which is there from the start.
        ensure!(serials.len() == LISTENERS + 1, "{} certificates", serials.len());
        Ok(serials)
    };
    let before = until("every listener is active", PATIENCE, all).await.unwrap();
    ground.rotate().unwrap();
    until("every certificate is new", PATIENCE, async || {
        let after = all().await?;
        let kept = after.iter().filter(|serial| before.contains(serial)).count();
        ensure!(kept == 0, "{kept} are old");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(pair.ask("default").await.unwrap().status, 200);
}

/// A listener that echoes whatever comes over TLS. Its secret comes as the pair's own do.
fn listener(secret: &str) -> Value {
    listener_by(secret, &config_source("GRPC"))
}

/// Where secrets come from, with a stream for each.
pub(crate) fn config_source(api_type: &str) -> Value {
    json!({
        "resource_api_version": "V3",
        "initial_fetch_timeout": "0s",
        "api_config_source": {
            "api_type": api_type,
            "transport_api_version": "V3",
            "grpc_services": [{ "envoy_grpc": { "cluster_name": "sds" } }],
        },
    })
}

/// The same with a secret that comes from elsewhere.
pub(crate) fn listener_by(secret: &str, sds_config: &Value) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": secret,
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } },
        "filter_chains": [{
            "filters": [{
                "name": "envoy.filters.network.echo",
                "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo" },
            }],
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                    "common_tls_context": {
                        "tls_certificate_sds_secret_configs": [{ "name": secret, "sds_config": sds_config }],
                    },
                },
            },
        }],
    })
}
