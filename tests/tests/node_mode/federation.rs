//! Two trust domains on one node: who has the partner's bundle is a matter of each process' entry.

use anyhow::{Result, ensure};
use e2e::{Account, Entry, NodeSource, PATIENCE, Process, Spire, TRUST_DOMAIN, until};
use serde_json::Value;

use crate::scene::{Node, user};

const PARTNER: &str = "partner.example";

/// Whether the processes of a user hold the bundles of these domains, and no others.
fn holds(status: &Value, who: &Account, domains: &[&str]) -> bool {
    let whose = format!("uid {} ", who.uid);
    let processes = status["processes"].as_array().into_iter().flatten();
    let mut of_whom = processes
        .filter(|process| process["process"].as_str().is_some_and(|it| it.starts_with(&whose)))
        .peekable();
    of_whom.peek().is_some()
        && of_whom.all(|process| {
            let bundles = process["bundles"].as_array().into_iter().flatten();
            let found: Vec<_> = bundles.filter_map(|it| it["trust_domain"].as_str()).collect();
            found == domains
        })
}

/// The node outlives a failure, so that its logs are printed.
async fn each_process_trusts_whom_its_entry_names(source: NodeSource) {
    let (alice, bob) = (user("alice", 60_101), user("bob", 60_102));
    let mut node = Node::set(source, &[], |_| Ok(String::new())).await.unwrap();
    federates(&mut node, &alice, &bob).await.unwrap();
}

async fn federates(node: &mut Node, alice: &Account, bob: &Account) -> Result<()> {
    let partner = Spire::start_for(&node.stage, PARTNER, 3600).await?;
    node.spire.trust(&node.stage, &partner)?;
    let entries = [Entry::of_user(alice, 120).federated(PARTNER), Entry::of_user(bob, 120)];
    node.spire.create(&node.stage, &entries)?;
    node.server.ready().await?;
    let _held: [Process; 2] = [node.caller("alice", alice, 1, 1)?, node.caller("bob", bob, 1, 1)?];
    let (both, own) = ([TRUST_DOMAIN, PARTNER], [TRUST_DOMAIN]);
    node.tells("alice trusts the partner, and bob does not", |status| {
        holds(status, alice, &both) && holds(status, bob, &own)
    })
    .await?;

    let name = format!("spiffe://{PARTNER}");
    let mut asking = node.caller_for("alice-asks", alice, &name)?;
    until("alice is sent the partner's bundle", PATIENCE, async || {
        asking.alive()?;
        ensure!(asking.stdout().lines().any(|line| line == name), "{}", asking.stdout());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_process_trusts_whom_its_entry_names_by_the_broker_api() {
    each_process_trusts_whom_its_entry_names(NodeSource::Broker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_process_trusts_whom_its_entry_names_by_delegation() {
    each_process_trusts_whom_its_entry_names(NodeSource::Delegated).await;
}
