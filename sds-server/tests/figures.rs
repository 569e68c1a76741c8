//! What `/metrics` says is what happened.

mod support;

use std::time::{Duration, SystemTime};

use support::{Agent, Authority, HOUR, Identity, Server, eventually};

/// Waits until a series has this value.
async fn shows(server: &Server, series: &str, value: u64) {
    eventually(&format!("{series} is {value}"), async || {
        (server.metric(series)? == value).then_some(())
    })
    .await;
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

#[tokio::test]
async fn the_figures_are_what_happened() {
    let server = Server::start("").await;
    let version = env!("CARGO_PKG_VERSION");
    shows(&server, &format!("signet_build_info{{version=\"{version}\"}}"), 1).await;
    assert_eq!(server.metric("signet_workload_api_connected"), Some(0));
    eventually("attempts are counted", async || {
        server.metric("signet_workload_api_reconnects_total{reason=\"no_socket\"}")
    })
    .await;

    let agent = Agent::serve(&server.at("agent.sock"));
    let authority = Authority::new("example.org");
    let before = unix_seconds(SystemTime::now() + HOUR);
    agent.issue(&[&Identity::new(&authority, "/a", HOUR)], &[]);
    shows(&server, "signet_workload_api_connected", 1).await;
    shows(&server, "signet_svid_updates_total{result=\"served\"}", 1).await;
    let expiry = "signet_svid_expiry_timestamp_seconds{spiffe_id=\"spiffe://example.org/a\"}";
    let found = server.metric(expiry).expect("shown");
    assert!((before..=unix_seconds(SystemTime::now() + HOUR)).contains(&found), "{found}");
    let bundle = "signet_bundle_expiry_timestamp_seconds{trust_domain=\"example.org\"}";
    assert!(server.metric(bundle).expect("shown") > found, "an authority outlives its leaves");

    let client = server.client().await;
    let mut stream = client.secrets(&["default"], "").await;
    stream.accept().await;
    let of_secrets = |what: &str| format!("signet_xds_{what}_total{{type=\"secret\"}}");
    shows(&server, &of_secrets("acks"), 1).await;
    assert_eq!(server.metric(&of_secrets("pushes")), Some(1));
    assert_eq!(server.metric("signet_xds_push_to_ack_seconds_count"), Some(1));
    assert_eq!(server.metric("signet_xds_push_to_ack_seconds_bucket{le=\"+Inf\"}"), Some(1));
    shows(&server, "signet_xds_streams{type=\"secret\",transport=\"unix\"}", 1).await;
    assert_eq!(server.metric(&of_secrets("nacks")), None);

    // A name that can never be is told at once, one that may come only after a while.
    let _unknown = client.secrets(&["ROOTCA.pem", "spiffe://example.org/b"], "").await;
    let unanswered = |reason: &str| {
        format!("signet_xds_unanswered_names_total{{type=\"secret\",reason=\"{reason}\"}}")
    };
    shows(&server, &unanswered("name"), 1).await;
    assert_eq!(server.metric(&unanswered("no_svid")), None);

    agent.issue(&[&Identity::new(&authority, "/a", Duration::from_secs(2))], &[]);
    shows(&server, "signet_svid_updates_total{result=\"expired\"}", 1).await;
    assert_eq!(server.metric(expiry), None, "what is gone loses its series");
    agent.withdraw();
    shows(&server, "signet_workload_api_connected", 0).await;
    eventually("why the stream ended is counted", async || {
        server.metric("signet_workload_api_reconnects_total{reason=\"no_identity\"}")
    })
    .await;
    drop(stream);
    shows(&server, "signet_xds_streams{type=\"secret\",transport=\"unix\"}", 1).await;
}
