//! Changes of the configuration while the server runs.

mod support;

use support::{Agent, Authority, Client, Discovery, HOUR, Identity, Server, eventually, served};

fn tcp(allow: &str) -> String {
    format!("tcp: {{ address: '127.0.0.1:0', allow: [{allow}] }}")
}

const BOTH: &str = "{ peer: spiffe://example.org/edge, names: [default, ROOTCA] }";
const TRUST_ONLY: &str = "{ peer: spiffe://example.org/edge, names: [ROOTCA] }";

async fn accepted(server: &Server, loads: u64) {
    eventually("the new configuration is in force", async || {
        let found = server.metric("signet_config_load_total{result=\"accepted\"}");
        (found == Some(loads)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_peer_loses_a_name_and_then_its_connection() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start_listening(directory, &tcp(BOTH), "").await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let authority = Authority::new("example.org");
    let rotate = || agent.issue(&[&Identity::new(&authority, "/server", HOUR)], &[]);
    rotate();
    server.wait_for_readiness(200, "").await;
    let address = server.tcp_address().await;
    let edge = authority.pair("/edge", HOUR);
    let client = Client::over_tls(address, Some(&edge)).await.expect("let in");
    let (mut lost, mut kept) =
        (client.secrets(&["default"], "").await, client.secrets(&["ROOTCA"], "").await);
    lost.accept().await;
    kept.accept().await;

    server.reconfigure(&tcp(TRUST_ONLY), "");
    accepted(&server, 1).await;
    rotate();
    assert!(lost.is_silent().await, "told nothing, and pushed nothing");
    assert!(client.fetch(&["default"]).await.is_err() && client.fetch(&["ROOTCA"]).await.is_ok());

    server.reconfigure(&tcp(BOTH), "");
    lost.accept().await;

    server.reconfigure(&tcp(""), "");
    let _ = lost.end().await;
    let _ = kept.end().await;
    assert!(client.fetch(&["ROOTCA"]).await.is_err(), "nor can it come back");
}

#[tokio::test]
async fn users_and_limits_change_while_the_server_runs() {
    let uid = rustix::process::getuid().as_raw();
    let (server, _agent, _) = served("").await;
    let mut stream = server.client().await.secrets(&["default"], "").await;
    stream.accept().await;

    server.reconfigure(&format!("allowed_uids: [{}]", uid + 1), "");
    let _ = stream.end().await;
    assert!(is_refused(&server).await);
    server.reconfigure(&format!("allowed_uids: [{uid}], allowed_gids: [4711]"), "");
    accepted(&server, 2).await;
    assert!(is_refused(&server).await);
    server.reconfigure("", "limits: { names_per_request: 1 }");
    accepted(&server, 3).await;
    let client = server.client().await;
    let mut two: Discovery = client.secrets(&["default", "ROOTCA"], "").await;
    assert_eq!(two.end().await.expect_err("one too many").code(), tonic::Code::InvalidArgument);
    client.secrets(&["default"], "").await.accept().await;
}

async fn is_refused(server: &Server) -> bool {
    match Client::try_connect(&server.at("sds.sock")).await {
        Ok(client) => client.fetch(&["default"]).await.is_err(),
        Err(_) => true,
    }
}

#[tokio::test]
async fn what_cannot_change_is_refused_by_name_and_the_old_stays_in_force() {
    let (server, _agent, _) = served("").await;
    let mut stream = server.client().await.secrets(&["default"], "").await;
    stream.accept().await;

    let uid = rustix::process::getuid().as_raw();
    for (listen, addition, told) in [
        (format!("allowed_uids: [{}], mode: '0600'", uid + 1), "", "`listen.mode`"),
        (String::new(), "rotation: { hold: 2s }", "`rotation.hold`"),
        (String::new(), "limits: { conections: 2 }", "conections"),
        (String::new(), "drain: [", "configuration"),
    ] {
        server.reconfigure(&listen, addition);
        server.wait_for_readiness(200, told).await;
        let warnings = server.readiness()["warnings"].to_string();
        assert!(warnings.contains("configuration"), "{warnings}");
        server.client().await.fetch(&["default"]).await.expect("still served");
    }
    assert!(stream.is_silent().await, "the open stream heard nothing of it");
    assert_eq!(server.metric("signet_config_load_total{result=\"accepted\"}"), None);
    assert!(server.metric("signet_config_load_total{result=\"rejected\"}") >= Some(4));

    server.reconfigure("", "");
    accepted(&server, 1).await;
    assert!(server.readiness()["warnings"].to_string().contains("[]"));
    server.hang_up();
    accepted(&server, 2).await;
}
