//! A policy that reaches the filter and cannot be read there: the server vouches for what it sends, so here somebody between
//! the two spoils it, as a filter of another release would.

use anyhow::{Result, ensure};
use e2e::{
    PATIENCE, Workload, until,
    wire::{Answer, Caller, Ingress, Lines, Protocol, Tampering},
};
use serde_json::Value;

/// No caller ever matches the denies. There are some of them, so that one at least is spoilt.
fn policy(name: &str) -> String {
    let deny = |number: u8| {
        format!("  - {{ name: deny-{number}, effect: deny, from: [api], to: [api] }}\n")
    };
    format!(
        "version: 1
trust_domain: example.org
workloads: {{ client: /ns/client-ns/sa/client, api: /ns/api-ns/sa/api }}
http:
  - {{ name: which-policy, from: [client], to: [api], paths: [/which-policy/{name}] }}
{}",
        (1..=20).map(deny).collect::<String>()
    )
}

/// An effect that no filter knows.
fn spoiling() -> Tampering {
    Tampering::of(r#""effect":"deny""#, r#""effect":"none""#).unwrap()
}

fn client(ingress: &Ingress) -> Caller {
    ingress.caller(Some(&Workload::Client.spiffe_id()), Protocol::H1).unwrap()
}

async fn ask(caller: &mut Caller, policy: &str) -> Answer {
    let lines: Lines =
        [(":method", "GET"), (":path", &format!("/which-policy/{policy}")), (":authority", "api")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
    caller.ask(&lines).await.unwrap()
}

async fn counts(ingress: &Ingress, gauge: &str) -> Result<u64> {
    ingress.envoy.stat(&format!("wasmcustom.signet_http_{gauge}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_whose_first_policy_is_unreadable_starts_and_denies_everything() {
    let spoiling = spoiling();
    // Started, and ready: the listener opens.
    let ingress = Ingress::start_tampered(&policy("first"), &spoiling).await.unwrap();
    let mut caller = client(&ingress);
    let answer = ask(&mut caller, "first").await;
    let Answer::Stopped { status: 403, body, .. } = &answer else { panic!("{answer:?}") };
    assert!(body.contains(r#""error":"denied""#), "{body}");
    assert_eq!(counts(&ingress, "deny_all").await.unwrap(), 1);
    assert_eq!(counts(&ingress, "policy_generation").await.unwrap(), 0);
    let log = ingress.envoy.log();
    let told = "denying everything for want of a policy: the policy slice is invalid: unknown variant `none`";
    assert!(log.contains(told), "{log}");

    // The next one that can be read ends it, without a restart.
    spoiling.switch(false);
    ingress.write_policy(&policy("second")).unwrap();
    caller.sees_policy("GET", "second").await.unwrap();
    assert_eq!(counts(&ingress, "deny_all").await.unwrap(), 0);
    assert_eq!(counts(&ingress, "policy_generation").await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_is_unreadable_is_refused_and_the_last_good_policy_stays() {
    let spoiling = spoiling();
    spoiling.switch(false);
    let ingress = Ingress::start_tampered(&policy("first"), &spoiling).await.unwrap();
    let mut caller = client(&ingress);
    caller.sees_policy("GET", "first").await.unwrap();
    let digest = counts(&ingress, "slice_digest").await.unwrap();

    spoiling.switch(true);
    ingress.write_policy(&policy("second")).unwrap();
    // Both Envoy and the server tell it, and why.
    until("the server hears of the refusal", PATIENCE, async || {
        let status = ingress.server.admin("/status").await?.body;
        let status: Value = serde_json::from_str(&status)?;
        let mut resources = status["envoys"][0]["resources"].as_array().into_iter().flatten();
        let filter = resources.find(|resource| resource["name"] == "signet.http");
        ensure!(filter.is_some_and(|it| it["refused"]["reason"].is_string()), "{filter:?}");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(ingress.server.metric("signet_xds_nacks_total").await.unwrap().to_string(), "1");
    let refused = "extension_config_discovery.http_filter.signet.http.update_rejected";
    assert_eq!(ingress.envoy.stat_sum(refused).await.unwrap(), 1);
    let log = ingress.envoy.log();
    let told = "refusing a policy, the last good one stays: the policy slice is invalid: unknown variant `none`";
    assert!(log.contains(told), "{log}");
    assert_eq!(counts(&ingress, "slice_digest").await.unwrap(), digest);
    assert_eq!(counts(&ingress, "policy_generation").await.unwrap(), 1);
    assert_eq!(counts(&ingress, "deny_all").await.unwrap(), 0);

    // The old one decides, on this connection and on another.
    for mut caller in [caller, client(&ingress)] {
        assert!(matches!(ask(&mut caller, "first").await, Answer::Forwarded(_)));
        let answer = ask(&mut caller, "second").await;
        assert!(matches!(answer, Answer::Stopped { status: 403, .. }), "{answer:?}");
    }

    spoiling.switch(false);
    ingress.write_policy(&policy("third")).unwrap();
    client(&ingress).sees_policy("GET", "third").await.unwrap();
    assert_eq!(counts(&ingress, "policy_generation").await.unwrap(), 2);
}
