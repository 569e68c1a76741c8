//! Many names on one Envoy.

use anyhow::ensure;
use e2e::{DevAgent, PATIENCE, Stage, Workload, config_source, echo_listener, until};
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
    let source = config_source("GRPC");
    let listeners: Vec<Value> = ids.iter().map(|id| echo_listener(id, id, &source)).collect();
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
