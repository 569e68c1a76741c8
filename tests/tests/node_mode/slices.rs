//! The policy on a node: each process gets the slice of its own identity.

use anyhow::{Context, Result, ensure};
use e2e::{
    Envoy, NodeSource, PATIENCE, Stage, TRUST_DOMAIN, bootstrap::holders, config_source,
    filter_code, until,
};
use serde_json::{Value, json};

use crate::scene::{Node, id_of, user};

/// The one file of the node. Each user is called by the other, by a rule that the other must not see.
fn policy(path_at_bob: &str) -> String {
    format!(
        "version: 1
trust_domain: {TRUST_DOMAIN}
workloads: {{ alice: /user/alice, bob: /user/bob }}
http:
  - {{ name: bob-asks-alice, from: [bob], to: [alice], methods: [GET], paths: [/at-alice] }}
  - {{ name: alice-asks-bob, from: [alice], to: [bob], methods: [GET], paths: [{path_at_bob}] }}
"
    )
}

fn configured(stage: &Stage) -> Result<String> {
    Ok(format!(
        "policy: {{ file: $DIRECTORY/policy.yaml }}\nfilters: {{ http: {{ {} }} }}",
        filter_code(stage, "spiffe_authz")?
    ))
}

/// Puts our filter, which the server configures, in front of all others.
fn with_our_filter(bootstrap: &mut Value) {
    let ours = json!({
        "name": "signet.http",
        "config_discovery": {
            "config_source": config_source("GRPC"),
            "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
        },
    });
    holders(bootstrap, "http_filters", &mut |manager| {
        if let Some(filters) = manager["http_filters"].as_array_mut() {
            filters.insert(0, ours.clone());
        }
    });
}

/// The slice that an Envoy runs.
async fn slice(envoy: &Envoy) -> Result<Value> {
    let dump = envoy.admin("/config_dump?resource=ecds_filters").await?;
    let dump: Value = serde_json::from_str(&dump)?;
    let plugin = &dump["configs"][0]["ecds_filter"]["typed_config"]["config"];
    let slice = plugin["configuration"]["value"].as_str().context("no slice")?;
    Ok(serde_json::from_str(slice)?)
}

async fn two_slices(node: &mut Node) -> Result<()> {
    let (alice, bob) = (user("alice", 60_101), user("bob", 60_102));
    let policy_file = node.server.directory().join("policy.yaml");
    std::fs::write(&policy_file, policy("/at-bob"))?;
    node.server.ready().await?;
    let (mut of_alice, _) = node.envoy_with("alice", &alice, &id_of(&alice), with_our_filter)?;
    let (mut of_bob, _) = node.envoy_with("bob", &bob, &id_of(&bob), with_our_filter)?;
    of_alice.ready().await?;
    of_bob.ready().await?;
    for (envoy, user, own, foreign) in [
        (&of_alice, &alice, "bob-asks-alice", "alice-asks-bob"),
        (&of_bob, &bob, "alice-asks-bob", "bob-asks-alice"),
    ] {
        let slice = slice(envoy).await?;
        assert_eq!(slice["workload"], id_of(user));
        let rules = slice.to_string();
        assert!(rules.contains(own) && !rules.contains(foreign), "{rules}");
    }
    runs_the_policy_in_force(node).await?;

    // An edit of bob's rule reaches bob; alice's slice says what it said, and counts as the new policy's.
    let before = slice(&of_alice).await?;
    std::fs::write(&policy_file, policy("/elsewhere"))?;
    until("bob's new slice", PATIENCE, async || {
        let rules = slice(&of_bob).await?.to_string();
        ensure!(rules.contains("elsewhere"), "{rules}");
        Ok(())
    })
    .await?;
    assert_eq!(slice(&of_alice).await?, before);
    runs_the_policy_in_force(node).await
}

/// Waits until the admin page says that both Envoys run the policy that is in force.
async fn runs_the_policy_in_force(node: &Node) -> Result<()> {
    node.tells("both run the policy in force", |status| {
        let digest = &status["policy"]["digest"];
        let envoys = status["envoys"].as_array().into_iter().flatten();
        digest.is_string()
            && ["alice", "bob"].iter().all(|node| {
                envoys.clone().any(|envoy| {
                    envoy["node"] == *node && envoy["policies"]["signet.http"] == *digest
                })
            })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_process_gets_its_own_slice_of_the_policy() {
    let (alice, bob) = (user("alice", 60_101), user("bob", 60_102));
    // The node outlives a failure, so that its logs are printed.
    let mut node = Node::set(NodeSource::Broker, &[&alice, &bob], configured).await.unwrap();
    two_slices(&mut node).await.unwrap();
}
