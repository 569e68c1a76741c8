//! One server for all processes of a node: each gets its own identities, from real SPIRE, and never
//! another's.

#[allow(dead_code, reason = "each test program uses a part")]
#[path = "../../../sds-server/tests/support/aim.rs"]
mod aim;
mod alone;
mod federation;
mod hints;
mod scene;
mod slices;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{
    Account, Entry, Launch, NodeSource, PATIENCE, Process, Spire, Workload, sds, tls::presented_by,
    until, usage,
};
use sds::{Heard, SdsClient};
use serde_json::Value;

use crate::scene::{Node, answered, id_of, user};

/// The node outlives a failure, so that its logs are printed.
async fn each_process_gets_its_own(source: NodeSource) {
    let (alice, bob) = (user("alice", 60_101), user("bob", 60_102));
    let mut node = Node::set(source, &[&alice, &bob], |_| Ok(String::new())).await.unwrap();
    two_users(&mut node, alice, bob).await.unwrap();
}

async fn two_users(node: &mut Node, alice: Account, bob: Account) -> Result<()> {
    node.server.ready().await?;

    // Two real Envoys on one socket, and a third that asks for what is another's.
    let (mut of_alice, alice_port) = node.envoy("alice", &alice, &id_of(&alice))?;
    let (mut of_bob, bob_port) = node.envoy("bob", &bob, &id_of(&bob))?;
    let (thief, _) = node.envoy("thief", &alice, &id_of(&bob))?;
    of_alice.ready().await?;
    of_bob.ready().await?;
    let at = |port: u16| presented_by((node.stage.address, port).into());
    assert_eq!(at(alice_port).await?.spiffe_id, id_of(&alice));
    assert_eq!(at(bob_port).await?.spiffe_id, id_of(&bob));
    node.tells("what each process has", |status| {
        shows(status, "uid 60101 ", &[&id_of(&alice)])
            && shows(status, "uid 60102 ", &[&id_of(&bob)])
            && status["processes"].as_array().is_some_and(|processes| processes.len() == 3)
    })
    .await?;
    for page in ["/", "/status"] {
        let page = node.server.admin(page).await?.body;
        assert!(page.contains(&id_of(&alice)) && !page.contains("PRIVATE"), "{page}");
    }
    node.waits("thief", &id_of(&bob)).await?;
    assert_ne!(thief.admin("/ready").await?.trim(), "LIVE");
    let held = thief.admin("/config_dump?resource=dynamic_active_secrets").await?;
    assert!(held.contains("\"default\"") && !held.contains(&id_of(&bob)), "{held}");

    // This very process is nobody's workload.
    let stranger = SdsClient::connect(&node.socket()).await?;
    let mut asked = stranger.open(&["default", &id_of(&alice), "ROOTCA"]);
    assert!(matches!(asked.hear().await, Heard::Silence));
    let me = format!("uid 0 pid {}", std::process::id());
    node.tells("why the stranger gets nothing", |status| {
        is_refused(status, &me) && shows(status, &me, &[])
    })
    .await?;
    assert!(node.server.log().contains(&me), "{}", node.server.log());

    // One upstream stream each, whatever the number of connections and streams.
    let mut many = node.caller("many", &bob, 3, 4)?;
    answered(&mut many, 12, &id_of(&bob)).await?;
    node.shows("signet_node_processes", 5).await?;
    // The stranger's stream stays too: the agent may issue something to it later.
    node.shows("signet_node_upstream_streams", 5).await?;
    assert!(node.gauge("signet_xds_streams").await? > 12);

    // Without a stream the first question is answered too, as SPIRE's agent does.
    let fetched = node.fetched(&alice)?;
    assert!(fetched.starts_with(&id_of(&alice)), "{fetched}");

    // JWT-SVIDs too are those of the process that asks.
    let mut token = node.caller_for("token", &alice, "jwt?aud=shop")?;
    answered(&mut token, 1, &id_of(&alice)).await?;
    assert_eq!(token.stdout().trim(), format!("{} [\"shop\"]", id_of(&alice)));
    let another = format!("jwt?aud=shop&id={}", id_of(&bob));
    let mut token_thief = node.caller_for("token-thief", &alice, &another)?;
    node.waits("by-hand", &another).await?;
    assert_eq!(token_thief.stdout(), "");
    token.kill()?;
    token_thief.kill()?;

    // Whoever has ended is dropped.
    many.kill()?;
    drop(thief);
    node.shows("signet_node_processes", 3).await?;
    node.shows("signet_node_upstream_streams", 3).await?;
    node.tells("only those that live", |status| {
        let processes = status["processes"].as_array().into_iter().flatten();
        processes.filter_map(|process| process["process"].as_str()).count() == 3
    })
    .await?;

    // The streams of a process end a moment after it is dropped.
    let streams = until("only their streams are left", PATIENCE, async || {
        let status = node.status().await?;
        let processes = status["processes"].as_array().into_iter().flatten();
        let theirs: u64 = processes.filter_map(|process| process["streams"].as_u64()).sum();
        let all = node.gauge("signet_xds_streams").await?;
        ensure!(theirs == all as u64, "{theirs} of {all}");
        Ok(all)
    })
    .await?;
    survives_the_agents_restart(node, &alice, alice_port).await?;
    is_withdrawn_and_comes_back(node, &bob, bob_port).await?;
    assert_eq!(node.gauge("signet_xds_streams").await?, streams, "all streams were held");
    Ok(())
}

async fn survives_the_agents_restart(node: &mut Node, alice: &Account, port: u16) -> Result<()> {
    let address = (node.stage.address, port).into();
    let before = presented_by(address).await?;
    node.spire.kill_agent()?;
    node.shows("signet_node_upstream_streams", 0).await?;
    assert_eq!(presented_by(address).await?, before, "the last good one serves on");
    node.spire.restart_agent(&node.stage).await?;
    node.shows("signet_node_upstream_streams", 3).await?;
    node.spire.update(&node.stage, &[Entry::of_user(alice, 120).dns("new")])?;
    presents_another(node, port, &before.serial, &id_of(alice)).await
}

async fn is_withdrawn_and_comes_back(node: &Node, bob: &Account, port: u16) -> Result<()> {
    let before = presented_by((node.stage.address, port).into()).await?;
    let entry = Entry::of_user(bob, 120);
    node.spire.delete(&node.stage, &entry)?;
    node.tells("bob has no identity any more", |status| is_refused(status, "uid 60102 ")).await?;
    node.shows("signet_node_upstream_streams", 3).await?;
    node.spire.create(&node.stage, &[entry])?;
    presents_another(node, port, &before.serial, &id_of(bob)).await
}

async fn presents_another(node: &Node, port: u16, serial: &str, id: &str) -> Result<()> {
    until("a new certificate is presented", PATIENCE, async || {
        let leaf = presented_by((node.stage.address, port).into()).await?;
        ensure!(leaf.serial != serial, "still {serial}");
        ensure!(leaf.spiffe_id == id, "{}, which is not {id}", leaf.spiffe_id);
        Ok(())
    })
    .await
}

/// Whether operators are told that every process of somebody has these SVIDs and no others, or why it
/// has none.
fn shows(status: &Value, who: &str, ids: &[&str]) -> bool {
    let processes = status["processes"].as_array().into_iter().flatten();
    let mut of_whom = processes
        .filter(|process| process["process"].as_str().is_some_and(|it| it.starts_with(who)))
        .peekable();
    of_whom.peek().is_some()
        && of_whom.all(|process| {
            let svids = process["svids"].as_array().into_iter().flatten();
            let found: Vec<_> = svids.filter_map(|svid| svid["spiffe_id"].as_str()).collect();
            found == ids && (process["trouble"].is_string() == ids.is_empty())
        })
}

/// Whether operators are told that the agent issues nothing to a process.
fn is_refused(status: &Value, who: &str) -> bool {
    let refused = status["refused_peers"].as_array().into_iter().flatten();
    refused.into_iter().any(|peer| {
        peer["peer"].as_str().is_some_and(|peer| peer.starts_with(who))
            && peer["class"] == "no_identity"
            && peer["reason"].as_str().is_some_and(|reason| reason.contains("no identity"))
    })
}

/// Many processes at once: the agent, which deadlocks on bursts, never sees more than 32 of them.
async fn a_storm_is_queued(source: NodeSource) {
    let alice = user("alice", 60_101);
    let limits = "limits: { opens_burst: 10000, opens_per_second: 10000 }";
    let mut node = Node::set(source, &[&alice], |_| Ok(limits.to_owned())).await.unwrap();
    storm(&mut node, &alice, source).await.unwrap();
}

/// CPU time that the server and the agent have spent since they had spent so much.
fn spent(node: &Node, before: [Duration; 2]) -> Result<[Duration; 2]> {
    let [server, agent] = [node.server.id()?, node.spire.agent_process()?].map(usage::cpu);
    let now = [server?, agent?].map(Duration::from_nanos);
    Ok([0, 1].map(|which| now[which].saturating_sub(before[which])))
}

async fn storm(node: &mut Node, alice: &Account, source: NodeSource) -> Result<()> {
    const CALLERS: usize = 1_000;
    node.server.ready().await?;
    // They are all running when the socket comes back, and connect in the same instant.
    node.server.kill()?;
    std::fs::remove_file(node.socket())?;
    let callers = (0..CALLERS).map(|number| node.caller(&format!("caller-{number}"), alice, 1, 1));
    let mut callers = callers.collect::<Result<Vec<Process>>>()?;
    node.server.restart(&node.stage)?;
    node.server.ready().await?;
    let (ready, before) = (Instant::now(), spent(node, [Duration::ZERO; 2])?);
    for caller in &mut callers {
        answered(caller, 1, &id_of(alice)).await?;
    }
    aim::told_time("a thousand processes are served", ready.elapsed(), Duration::from_secs(2));
    let [server, agent] = spent(node, before)?;
    aim::noted("a thousand processes: CPU time of the server", server);
    aim::noted("a thousand processes: CPU time of the agent", agent);
    aim::told_memory("a thousand processes: memory", node.server.resident_kib()?, 256 * 1024);
    node.shows("signet_node_processes", CALLERS).await?;
    node.shows("signet_node_upstream_streams", CALLERS).await?;
    let most = node.gauge("signet_attestations_in_flight_max").await?;
    assert!((2..=32).contains(&most), "{most} attestations at once");
    node.shows("signet_attestations_in_flight", 0).await?;
    if matches!(source, NodeSource::Broker) {
        let asked: Vec<_> = callers.iter().map(Process::id).collect();
        let before = spent(node, [Duration::ZERO; 2])?;
        aim::noted("the agent alone answers for them", alone::answers(node, &asked).await?);
        let [_, agent] = spent(node, before)?;
        aim::noted("the agent alone: CPU time of the agent", agent);
    }
    for caller in &mut callers {
        caller.kill()?;
    }
    node.shows("signet_node_processes", 0).await?;
    node.shows("signet_node_upstream_streams", 0).await?;
    let fetch = Spire::program(&node.stage, Workload::Api, "fetch-svid");
    let launch = Launch::new("fetch-svid", fetch, &node.stage.accounts.mesh);
    launch.arg(node.spire.socket()).output().map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_process_gets_its_own_by_the_broker_api() {
    each_process_gets_its_own(NodeSource::Broker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_process_gets_its_own_by_delegation() {
    each_process_gets_its_own(NodeSource::Delegated).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_is_queued_before_the_broker_api() {
    a_storm_is_queued(NodeSource::Broker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_is_queued_before_the_delegated_api() {
    a_storm_is_queued(NodeSource::Delegated).await;
}
