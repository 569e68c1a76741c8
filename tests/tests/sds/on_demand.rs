//! A certificate chosen while the handshake waits: Envoy asks for the secret that SNI names.

use e2e::{Workload, bootstrap::holders, config_source};
use serde_json::json;

use crate::ground::Ground;

/// The name of the default SVID, which is a host's name here, for that is what SNI can say.
const SERVER_CONFIGURATION: &str = "names: { default_svid: default.test }\non_demand: [\"*.test\"]";

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_fetched_for_its_first_handshake_and_taken_away() {
    let ground = Ground::lay(3600, SERVER_CONFIGURATION).await.unwrap();
    let plan = ground.plan().mutate(|end, configuration| {
        holders(configuration, "tls_certificate_sds_secret_configs", &mut |context| {
            let secret = &mut context["tls_certificate_sds_secret_configs"][0]["name"];
            if *secret == "default" {
                *secret = "default.test".into();
            }
        });
        if end == Workload::Api {
            let chain = &mut configuration["static_resources"]["listeners"][0]["filter_chains"][0];
            let context = &mut chain["transport_socket"]["typed_config"]["common_tls_context"];
            context.as_object_mut().unwrap().remove("tls_certificate_sds_secret_configs");
            context["custom_tls_certificate_selector"] = selector();
        }
    });
    let pair = plan.start(&ground.stage).await.unwrap();
    assert_eq!(pair.ask("default").await.unwrap().status, 200);
    let leaf = pair.presented_to("default.test").await.unwrap();
    assert_eq!(leaf.spiffe_id, Workload::Api.spiffe_id());

    // A name that nobody has: the handshake ends, and the ones behind it are served.
    for stranger in ["nobody.test", "nobody-else.test"] {
        let answered = tokio::time::timeout(e2e::PATIENCE, pair.presented_to(stranger)).await;
        assert!(answered.expect("it does not hang").is_err(), "{stranger}");
    }
    assert_eq!(pair.ask("default").await.unwrap().status, 200);

    ground.rotate().unwrap();
    e2e::until("the renewed certificate is shown", e2e::PATIENCE, async || {
        let now = pair.presented_to("default.test").await?;
        anyhow::ensure!(now.serial != leaf.serial, "still {}", now.serial);
        Ok(())
    })
    .await
    .unwrap();

    // Unlike an ordinary certificate, one on demand can be taken out of Envoy's hands.
    let command = |word| [word, "--workload", Workload::Api.name()];
    ground.agent.control(&ground.stage, &command("revoke")).unwrap();
    pair.answers("default", 503).await.unwrap();
    assert!(pair.presented_to("default.test").await.is_err());
    ground.agent.control(&ground.stage, &command("grant")).unwrap();
    pair.answers("default", 200).await.unwrap();
}

/// Without session resumption, which an on-demand certificate does not go with.
fn selector() -> serde_json::Value {
    json!({
        "name": "envoy.tls.certificate_selectors.on_demand_secret",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.cert_selectors.on_demand_secret.v3.Config",
            "config_source": config_source("DELTA_GRPC"),
            "certificate_mapper": {
                "name": "envoy.tls.certificate_mappers.sni",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.cert_mappers.sni.v3.SNI",
                    "default_value": "default.test",
                },
            },
        },
    })
}
