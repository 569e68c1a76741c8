//! Bodies that are no gRPC, or no requests, against the running program: whatever comes, it answers
//! and serves on: a few hundred, always the same. `SIGNET_FUZZ_INPUTS` takes as many others, of another seed.

mod support;

use std::time::{Duration, Instant};

use axum::http::{Request, header};
use envoy_types::pb::envoy::config::core::v3::{Extension, Node};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use http_body_util::{BodyExt, Full};
use prost::{Message, Name};
use support::{Agent, Authority, Client, HOUR, Identity, Launch, PATIENCE, Server};
use tower::{Service, ServiceExt};

const METHODS: [&str; 8] = [
    "envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
    "envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets",
    "envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets",
    "envoy.service.extension.v3.ExtensionConfigDiscoveryService/StreamExtensionConfigs",
    "envoy.service.extension.v3.ExtensionConfigDiscoveryService/DeltaExtensionConfigs",
    "envoy.service.extension.v3.ExtensionConfigDiscoveryService/FetchExtensionConfigs",
    "envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
    "envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
];

/// Sends a whole body to a method; returns the status of gRPC, or none where it was reset.
async fn send(client: &Client, method: &str, body: Vec<u8>) -> Option<String> {
    let request = Request::post(format!("http://sds/{method}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(tonic::body::Body::new(Full::from(body)))
        .expect("a request");
    let mut channel = client.0.clone();
    let answer = async {
        let response = channel.ready().await.ok()?.call(request).await.ok()?;
        let at_once = response.headers().get("grpc-status").cloned();
        let body = response.into_body().collect().await.ok()?;
        let status = at_once.or_else(|| body.trailers()?.get("grpc-status").cloned())?;
        Some(status.to_str().ok()?.to_owned())
    };
    tokio::time::timeout(PATIENCE, answer).await.expect("no hang")
}

fn frame(flag: u8, length: usize, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(length).expect("small");
    [&[flag][..], &length.to_be_bytes(), message].concat()
}

/// A request as a real Envoy might send it.
fn request(delta: bool, random: &mut fastrand::Rng) -> Vec<u8> {
    let extension = Extension { name: "envoy.filters.http.router".into(), ..Default::default() };
    let extensions = vec![extension; random.usize(..20)];
    let node = Some(Node { id: "fuzz".into(), extensions, ..Default::default() });
    let names = vec!["default".into(), "ROOTCA".into()];
    let type_url = Secret::type_url();
    if delta {
        let resource_names_subscribe = names;
        DeltaDiscoveryRequest { node, type_url, resource_names_subscribe, ..Default::default() }
            .encode_to_vec()
    } else {
        let resource_names = names;
        DiscoveryRequest { node, type_url, resource_names, ..Default::default() }.encode_to_vec()
    }
}

/// A body with something wrong in it.
fn malformed(random: &mut fastrand::Rng) -> Vec<u8> {
    let message = request(random.bool(), random);
    let whole = frame(0, message.len(), &message);
    match random.u8(..7) {
        0 => whole[..random.usize(..whole.len())].to_vec(),
        1 => frame(0, random.usize(..1 << 22), &message),
        2 => frame(random.u8(1..), message.len(), &message),
        3 => {
            let mut flipped = whole;
            for _ in 0..random.usize(1..8) {
                let position = random.usize(..flipped.len());
                flipped[position] = random.u8(..);
            }
            flipped
        }
        4 => noise(random),
        5 => {
            let noise = noise(random);
            frame(0, noise.len(), &noise)
        }
        _ => [&whole[..], &whole, &whole[..random.usize(..whole.len())]].concat(),
    }
}

fn noise(random: &mut fastrand::Rng) -> Vec<u8> {
    (0..random.usize(..200)).map(|_| random.u8(..)).collect()
}

#[tokio::test]
async fn whatever_comes_the_server_answers_and_serves_on() {
    let wanted = std::env::var("SIGNET_FUZZ_INPUTS").ok();
    let wanted: Option<usize> = wanted.map(|cases| cases.parse().expect("a number of cases"));
    let (cases, seed) = wanted.map_or((400, 47_309), |cases| (cases, fastrand::u64(..)));
    println!("seed {seed}");
    // A million at `trace` would write 20 GB.
    let server = Server::launch(Launch { log: "info", ..Launch::default() }).await;
    let agent = Agent::serve(&server.at("agent.sock"));
    agent.issue(&[&Identity::new(&Authority::new("example.org"), "/a", HOUR)], &[]);
    server.wait_for_readiness(200, "").await;
    let client = server.client().await;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut longest = Duration::ZERO;
    for case in 0..cases {
        let method = METHODS[random.usize(..METHODS.len())];
        let body = malformed(&mut random);
        let begun = Instant::now();
        let status = send(&client, method, body.clone()).await;
        longest = longest.max(begun.elapsed());
        assert!(status.is_some(), "case {case}: {method} did not answer {}", hex::encode(body));
    }
    let what = format!("the longest answer of {cases}");
    support::aim::told_time(&what, longest, Duration::from_secs(1));
    client.secrets(&["default"], "").await.accept().await;
    assert!(!server.log().contains("panicked"));
}

#[tokio::test]
async fn each_fault_has_its_status() {
    let server = Server::start("limits: { message_bytes: 1000 }").await;
    let client = server.client().await;
    let (ok, invalid, exhausted, unimplemented) = ("0", "3", "8", "12");
    let message = request(false, &mut fastrand::Rng::with_seed(1));
    for (body, expected) in [
        (Vec::new(), ok),
        (frame(0, 0, b""), ok),
        (frame(0, message.len(), &message[..10]), invalid),
        (frame(0, 3, b"\xff\xff\xff"), invalid),
        (frame(7, 0, b""), invalid),
        (frame(1, 0, b""), unimplemented),
        (frame(0, 1001, b""), exhausted),
    ] {
        let shown = hex::encode(&body);
        for method in [METHODS[0], METHODS[1]] {
            let status = send(&client, method, body.clone()).await;
            assert_eq!(status.as_deref(), Some(expected), "{shown}");
        }
    }
    let status = send(&client, "envoy.service.secret.v3.SecretDiscoveryService/Other", Vec::new());
    assert_eq!(status.await.as_deref(), Some(unimplemented));
}
