//! What the listeners offer, and nothing more.

mod support;

use axum::body::Body;
use axum::http::Request;
use support::raw::{
    END_HEADERS, Frame, GOAWAY, HEADERS, PING, RST_STREAM, Raw, SETTINGS, call, frame,
};
use support::{Client, HOUR, Identity, Server, eventually, served};
use tower::Service;

const ACK: u8 = 1;

/// The frames of this kind that come next, one by one.
fn next(raw: &mut Raw, kind: u8) -> Frame {
    std::iter::from_fn(|| raw.read()).find(|frame| frame.kind == kind).expect("an open connection")
}

/// The gRPC status of a call whose message is so many zeros.
async fn status(client: &Client, path: &str, zeros: u32) -> Option<String> {
    let message = [&[0], zeros.to_be_bytes().as_slice(), &vec![0; zeros as usize]].concat();
    let request = Request::post(format!("http://sds{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(tonic::body::Body::new(Body::from(message)))
        .expect("a request");
    let mut channel = client.0.clone();
    std::future::poll_fn(|context| Service::<Request<_>>::poll_ready(&mut channel, context))
        .await
        .expect("connected");
    let response = channel.call(request).await.expect("an answer");
    Some(response.headers().get("grpc-status")?.to_str().expect("text").to_owned())
}

#[tokio::test]
async fn nobody_is_told_what_services_there_are() {
    let server = Server::start("").await;
    let client = server.client().await;
    let unimplemented = Some("12".to_owned());
    for path in [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.channelz.v1.Channelz/GetServers",
        "/envoy.service.secret.v2.SecretDiscoveryService/StreamSecrets",
        "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters",
        "/",
    ] {
        assert_eq!(status(&client, path, 0).await, unimplemented, "{path}");
    }
    // The control: what there is answers otherwise.
    let health = status(&client, "/grpc.health.v1.Health/Check", 0).await;
    assert_ne!(health, unimplemented);
}

/// What has half arrived of a request is kept for each stream.
#[tokio::test]
async fn the_health_service_is_told_a_name_and_nothing_long() {
    const OUT_OF_RANGE: &str = "11";
    let server = Server::start("").await;
    let client = server.client().await;
    for (zeros, is_read) in [(1 << 10, true), ((1 << 10) + 1, false)] {
        for method in ["Check", "Watch"] {
            let path = format!("/grpc.health.v1.Health/{method}");
            let status = status(&client, &path, zeros).await;
            assert_eq!(status.as_deref() != Some(OUT_OF_RANGE), is_read, "{method} {zeros}");
        }
    }
}

#[tokio::test]
async fn the_admin_socket_says_that_the_process_lives_whatever_else_is_missing() {
    let server = Server::start("").await;
    assert_eq!(server.get("/readyz").0, 503, "there is no agent");
    for path in ["/livez", "/healthz"] {
        assert_eq!(server.get(path), (200, "alive\n".to_owned()), "{path}");
        let (method, _) =
            server.exchange(&format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n"), "");
        assert_eq!(method, 405, "{path}");
    }
    for path in ["/debug/pprof", "/config_dump", "/quitquitquit", "/livez/", "/etc/passwd"] {
        assert_eq!(server.get(path).0, 404, "{path}");
    }
}

#[tokio::test]
async fn a_connection_has_as_many_streams_as_its_limit_and_the_next_is_refused() {
    const MAX_CONCURRENT_STREAMS: u8 = 3;
    const REFUSED_STREAM: u32 = 7;
    let server = Server::start("limits: { streams_per_connection: 3 }").await;
    let mut raw = Raw::connect(&server.at("sds.sock"));
    let settings = next(&mut raw, SETTINGS).payload;
    let told = settings.chunks(6).find(|setting| setting[..2] == [0, MAX_CONCURRENT_STREAMS]);
    assert_eq!(told.expect("told")[2..], 3u32.to_be_bytes());
    // Until a client has acknowledged them, they do not bind it.
    raw.flood(1, |_| frame(SETTINGS, ACK, 0, &[]));
    raw.flood(4, |turn| frame(HEADERS, END_HEADERS, turn * 2 + 1, &call(&[])));
    let refused = next(&mut raw, RST_STREAM);
    assert_eq!((refused.stream, refused.payload), (7, REFUSED_STREAM.to_be_bytes().to_vec()));
    eventually("the others are open", async || {
        (server.metric("signet_xds_streams{type=\"secret\",transport=\"unix\"}")? == 3)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_does_not_answer_a_ping_is_disconnected_and_who_does_is_not() {
    let (server, agent, authority) =
        served("limits: { keepalive: 100ms, keepalive_timeout: 3s }").await;
    let mut stream = server.client().await.secrets(&["default"], "").await;
    stream.accept().await;
    let socket = server.at("sds.sock");
    let last = tokio::task::spawn_blocking(move || {
        let mut silent = Raw::connect(&socket);
        let pinged = next(&mut silent, PING);
        assert_eq!((pinged.flags, pinged.payload.len()), (0, 8));
        // Until it is closed.
        std::iter::from_fn(|| silent.read()).last()
    });
    let last = last.await.expect("closed");
    assert!(last.is_none_or(|frame| [PING, GOAWAY].contains(&frame.kind)), "nothing else is said");
    agent.issue(&[&Identity::new(&authority, "/a", HOUR)], &[]);
    stream.accept().await;
}
