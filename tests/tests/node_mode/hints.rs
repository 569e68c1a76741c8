//! Several identities of one process, told apart by the hints of their registrations.

use anyhow::{Result, ensure};
use e2e::{Account, Entry, NodeSource, PATIENCE, TRUST_DOMAIN, tls::TlsCaller, until};

use crate::scene::{Node, answered, id_of, user};

const SVID_TTL: u32 = 120;

/// The server name by which a caller gets the SVID that the Envoy asks for by the test's own name.
const BY_NAME: &str = "own-id.test";

/// Another identity of a user, for a purpose.
fn entry(user: &Account, purpose: &str) -> Entry {
    let entry = Entry::of_user(user, SVID_TTL);
    Entry {
        id: format!("{}-{purpose}", user.name),
        spiffe_id: id(user, purpose),
        ..entry.hinted(purpose)
    }
}

fn id(user: &Account, purpose: &str) -> String {
    format!("spiffe://{TRUST_DOMAIN}/user/{}/{purpose}", user.name)
}

/// Waits until an Envoy presents these: as its `default`, and as the secret of its own name.
async fn presents(node: &Node, port: u16, default: &str, named: &str) -> Result<()> {
    let caller = TlsCaller::new(None, "h2")?;
    let address = (node.stage.address, port).into();
    until("an Envoy presents what its hints mean", PATIENCE, async || {
        let found = caller.connect(address).await?.server.spiffe_id;
        ensure!(found == default, "default: {found}, not {default}");
        let found = caller.connect_to(address, BY_NAME).await?.server.spiffe_id;
        ensure!(found == named, "by its hint: {found}, not {named}");
        Ok(())
    })
    .await
}

async fn hints(node: &mut Node, alice: &Account, bob: &Account) -> Result<()> {
    let [inner, outer] = ["internal", "external"].map(|purpose| entry(alice, purpose));
    node.spire.create(&node.stage, &[inner.clone(), outer.clone(), entry(bob, "internal")])?;
    node.server.ready().await?;
    let (mut of_alice, at_alice) = node.envoy("alice", alice, "svid?hint=external")?;
    let (mut of_bob, at_bob) = node.envoy("bob", bob, "svid?hint=internal")?;
    of_alice.ready().await?;
    of_bob.ready().await?;
    presents(node, at_alice, &id(alice, "internal"), &id(alice, "external")).await?;
    presents(node, at_bob, &id(bob, "internal"), &id(bob, "internal")).await?;

    // The same name is another's for another process, and nobody's where nothing has the hint.
    let mut asking = node.caller_for("asking", alice, "svid?hint=internal")?;
    answered(&mut asking, 1, &id(alice, "internal")).await?;
    let without = node.caller_for("without", bob, "svid?hint=external")?;
    node.waits("by-hand", "svid?hint=external").await?;
    assert_eq!(without.stdout(), "");

    // An identity without a hint, although its ID is the smallest, changes nothing.
    let plain = Entry::of_user(alice, SVID_TTL);
    node.spire.create(&node.stage, &[plain])?;
    let mut newest = node.caller_for("newest", alice, &id_of(alice))?;
    answered(&mut newest, 1, &id_of(alice)).await?;
    presents(node, at_alice, &id(alice, "internal"), &id(alice, "external")).await?;

    // Hints are exchanged while all runs: one is free before the other takes it.
    let unused = inner.clone().hinted("retired");
    let (inner, outer) = (inner.hinted("external"), outer.hinted("internal"));
    for entry in [unused, outer, inner] {
        node.spire.update(&node.stage, &[entry])?;
    }
    presents(node, at_alice, &id(alice, "external"), &id(alice, "internal")).await?;
    presents(node, at_bob, &id(bob, "internal"), &id(bob, "internal")).await
}

/// The node outlives a failure, so that its logs are printed.
async fn hints_tell_identities_apart(source: NodeSource) {
    let (alice, bob) = (user("alice", 60_101), user("bob", 60_102));
    let configuration = "default_svid: { hint: internal }".to_owned();
    let mut node = Node::set(source, &[], |_| Ok(configuration)).await.unwrap();
    hints(&mut node, &alice, &bob).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_tell_identities_apart_by_the_broker_api() {
    hints_tell_identities_apart(NodeSource::Broker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_tell_identities_apart_by_delegation() {
    hints_tell_identities_apart(NodeSource::Delegated).await;
}
