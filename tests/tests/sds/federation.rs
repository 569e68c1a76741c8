//! Two trust domains, each with a SPIRE of its own: who trusts whom is a matter of names.

use e2e::{
    Entry, Pair, PairPlan, SdsServer, Spire, Stage, TRUST_DOMAIN, Workload, bootstrap::holders,
};
use serde_json::Value;

use crate::ground::socket_of;

const PARTNER: &str = "partner.example";

/// Names by which the answering end validates, and the asking one.
const VALIDATORS: [(&str, [&str; 2]); 3] = [
    (
        "by the SPIFFE validator, for chosen domains",
        ["bundle?td=example.org,partner.example", "bundle?td=example.org"],
    ),
    (
        "by the SPIFFE validator, for one domain each",
        ["spiffe://partner.example", "spiffe://example.org"],
    ),
    ("by Envoy's own validator", ["bundle.x509?td=partner.example", "bundle.x509?td=example.org"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn two_trust_domains_meet() {
    let stage = Stage::set(None).unwrap();
    let (ours, theirs) =
        tokio::join!(Spire::start(&stage, 3600), Spire::start_for(&stage, PARTNER, 3600));
    let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
    ours.trust(&stage, &theirs).unwrap();
    theirs.trust(&stage, &ours).unwrap();
    let entry = |workload, domain| {
        let program = Spire::program(&stage, workload, "sds-server");
        (Entry::new(workload, &program, 3600).within(domain), program)
    };
    let (api, api_program) = entry(Workload::Api, TRUST_DOMAIN);
    let (client, client_program) = entry(Workload::Client, PARTNER);
    ours.update(&stage, &[api.clone().federated(PARTNER)]).unwrap();
    theirs.update(&stage, &[client.federated(TRUST_DOMAIN)]).unwrap();
    let server = SdsServer::of_secrets(&stage, "api", &api_program, &ours.socket(), "").unwrap();
    let asking =
        SdsServer::of_secrets(&stage, "client", &client_program, &theirs.socket(), "").unwrap();
    let plan = |name: &str| {
        PairPlan::new(name, &socket_of(&server), &socket_of(&asking))
            .trust_domains(TRUST_DOMAIN, PARTNER)
    };

    let pair = plan("all").start(&stage).await.unwrap();
    pair.answers("all", 200).await.unwrap();
    // ROOTCA is the bundle of one's own domain alone.
    assert_eq!(pair.ask("default").await.unwrap().status, 503);

    for (number, (how, names)) in VALIDATORS.into_iter().enumerate() {
        let plan = plan(&format!("by-name-{number}"));
        let by_name = plan.mutate(move |end, configuration| validate_by(configuration, end, names));
        let by_name = by_name.start(&stage).await.unwrap();
        let status = by_name.ask("default").await.unwrap().status;
        assert_eq!(status, 200, "{how}: {}", rejections(&by_name).await);
    }

    // Who leaves the federation is refused, without a restart.
    ours.update(&stage, &[api]).unwrap();
    pair.answers("all", 503).await.unwrap();
}

/// Gives `ROOTCA` another name.
fn validate_by(configuration: &mut Value, end: Workload, names: [&str; 2]) {
    let name = if end == Workload::Api { names[0] } else { names[1] };
    holders(configuration, "validation_context_sds_secret_config", &mut |found| {
        let secret = &mut found["validation_context_sds_secret_config"]["name"];
        if *secret == "ROOTCA" {
            *secret = name.into();
        }
    });
}

async fn rejections(pair: &Pair) -> String {
    pair.server.admin("/stats?filter=ssl.fail_verify").await.unwrap_or_default()
}
