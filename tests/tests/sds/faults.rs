//! The server is not there, dies, or hangs: Envoys go on with what they have.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{
    DevAgent, PATIENCE, PairPlan, Stage, Workload, bootstrap::holders, sds::SdsClient, until,
};
use rustix::process::Signal;
use serde_json::json;

use crate::{
    aim,
    ground::{Ground, serve, socket_of, socket_to_be},
    soak,
};

/// An Envoy without its secrets is not ready, however long the server takes.
#[tokio::test(flavor = "multi_thread")]
async fn envoys_start_before_the_server() {
    let stage = Stage::set(None).unwrap();
    let agent = DevAgent::start(&stage, 3600).await.unwrap();
    let [server, client] =
        [Workload::Api, Workload::Client].map(|workload| socket_to_be(&stage, workload));
    let mut pair = PairPlan::new("pair", &server, &client).start_unready(&stage).unwrap();
    let failures = soak(5, 15);
    until("Envoy has asked in vain", Duration::from_mins(2), async || {
        let ready = pair.server.admin("/ready").await?;
        assert_ne!(ready.trim(), "LIVE");
        let failed = pair.server.stat("cluster.sds.upstream_cx_connect_fail").await?;
        ensure!(failed >= failures, "{failed} times");
        Ok(())
    })
    .await
    .unwrap();
    let _servers = [Workload::Api, Workload::Client]
        .map(|workload| serve(&stage, &agent, workload, "").unwrap());
    pair.ready().await.unwrap();
    assert_eq!(pair.ask("default").await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_killed_again_and_again() {
    let mut ground = Ground::lay(3600, "").await.unwrap();
    let pair = ground.plan().start(&ground.stage).await.unwrap();
    let built = async || {
        let updates = "server_ssl_socket_factory.ssl_context_update_by_sds";
        pair.server.stat_sum(updates).await.unwrap()
    };
    let before = built().await;
    let load = pair.knock();
    for _ in 0..soak(4, 50) {
        ground.server.kill().unwrap();
        load.goes_on(20).await.unwrap();
        ground.server.restart(&ground.stage).unwrap();
        resubscribed(&ground).await.unwrap();
    }
    // The versions of a restarted server are those that Envoy holds, so it had nothing to do.
    assert_eq!(built().await, before, "contexts were built again");
    let old = pair.presented().await.unwrap();
    ground.rotate().unwrap();
    pair.presents_another(&old).await.unwrap();
    assert_eq!(load.stop().await.unwrap(), Vec::<String>::new());
}

async fn resubscribed(ground: &Ground) -> Result<()> {
    until("Envoy subscribes again", PATIENCE, async || {
        let streams = ground.server.metric("signet_xds_streams").await?;
        ensure!(streams >= 1.0, "{streams} streams");
        Ok(())
    })
    .await
}

/// A server that hangs is told by the keepalive of the SDS cluster, and caught up with afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_hangs() {
    let ground = Ground::lay(3600, "").await.unwrap();
    let (interval, timeout) = soak(("1s", "1s"), ("30s", "5s"));
    let keepalive = json!({ "interval": interval, "timeout": timeout });
    let plan = ground.plan().mutate(move |_, configuration| {
        holders(configuration, "connection_keepalive", &mut |found| {
            found["connection_keepalive"] = keepalive.clone();
        });
    });
    let pair = plan.start(&ground.stage).await.unwrap();
    let load = pair.knock();
    let old = pair.presented().await.unwrap();
    ground.server.signal(Signal::STOP).unwrap();
    ground.rotate().unwrap();
    until("Envoy gives the stream up", PATIENCE, async || {
        let given_up = pair.server.stat("cluster.sds.http2.keepalive_timeout").await?;
        ensure!(given_up > 0, "it does not");
        Ok(())
    })
    .await
    .unwrap();
    load.goes_on(50).await.unwrap();
    assert_eq!(pair.presented().await.unwrap(), old);
    ground.server.signal(Signal::CONT).unwrap();
    pair.presents_another(&old).await.unwrap();
    assert_eq!(load.stop().await.unwrap(), Vec::<String>::new());
}

/// SPIRE's own agent deadlocks when so many streams come at once; behind ours it sees one.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_streams_reconnect_at_once() {
    const CONNECTIONS: usize = 10;
    const STREAMS: usize = 100;
    const MEMORY: u64 = 256 * 1024;
    let stage = Stage::set(None).unwrap();
    let spire = e2e::Spire::start(&stage, 3600).await.unwrap();
    let program = e2e::Spire::program(&stage, Workload::Api, "sds-server");
    let mut server =
        e2e::SdsServer::of_secrets(&stage, "api", &program, &spire.socket(), "").unwrap();
    let socket = socket_of(&server);
    for _ in 0..soak(2, 20) {
        server.ready().await.unwrap();
        let mut streams = Vec::new();
        let begun = Instant::now();
        for _ in 0..CONNECTIONS {
            let client = SdsClient::connect(&socket).await.unwrap();
            streams.extend((0..STREAMS).map(|_| client.open(&["default"])));
        }
        for stream in &mut streams {
            let secrets = stream.next().await.unwrap();
            assert_eq!(e2e::sds::names(&secrets), ["default"]);
        }
        let memory = server.resident_kib().unwrap();
        aim::told_time("a thousand streams are served", begun.elapsed(), Duration::from_secs(2));
        aim::told_memory("a thousand streams: memory", memory, MEMORY);
        assert!(memory <= MEMORY, "{memory} KiB");
        server.kill().unwrap();
        server.restart(&stage).unwrap();
    }
    let fetch = e2e::Launch::new(
        "fetch-svid",
        e2e::Spire::program(&stage, Workload::Client, "fetch-svid"),
        &stage.accounts.mesh,
    );
    assert!(fetch.arg(spire.socket()).output().unwrap().contains("chain"), "the agent is alive");
}
