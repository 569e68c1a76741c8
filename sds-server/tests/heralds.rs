//! Whom the running program tells that it is ready: gRPC health checks and systemd.

mod support;

use std::os::unix::net::UnixDatagram;

use support::{Agent, Authority, HOUR, Identity, PATIENCE, Server, eventually};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const SECRETS: &str = "envoy.service.secret.v3.SecretDiscoveryService";
const EXTENSIONS: &str = "envoy.service.extension.v3.ExtensionConfigDiscoveryService";

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.into() }
}

/// A policy that is not there yet.
fn with_policy() -> String {
    let sha256 = "00".repeat(32);
    format!(
        "policy: {{ file: $DIRECTORY/policy.yaml }}\nfilters: {{ http: {{ wasm: /only/envoy/sees/this.wasm, sha256: {sha256} }} }}"
    )
}

const POLICY: &str = "version: 1\ntrust_domain: example.org\nworkloads: { client: /client, api: /api }\nhttp:\n  - { name: reads, from: [client], to: [api], methods: [GET], paths: [/] }\n";

#[tokio::test]
async fn health_follows_readiness_service_by_service_and_watches_end_with_the_server() {
    let mut server = Server::start(&with_policy()).await;
    let client = server.client().await;
    let health = || HealthClient::new(client.0.clone());
    let mut watched = health().watch(of("")).await.expect("a watch").into_inner();
    let first = watched.message().await.expect("no error").expect("a status");
    assert_eq!(first.status(), ServingStatus::NotServing);
    for service in ["", SECRETS, EXTENSIONS] {
        let answer = health().check(of(service)).await.expect("an answer").into_inner();
        assert_eq!(answer.status(), ServingStatus::NotServing, "{service}");
    }
    health().check(of("unknown")).await.expect_err("an unknown service");

    let agent = Agent::serve(&server.at("agent.sock"));
    agent.issue(&[&Identity::new(&Authority::new("example.org"), "/api", HOUR)], &[]);
    eventually("secrets are served", async || {
        let answer = health().check(of(SECRETS)).await.expect("an answer").into_inner();
        (answer.status() == ServingStatus::Serving).then_some(())
    })
    .await;
    let answer = health().check(of(EXTENSIONS)).await.expect("an answer").into_inner();
    assert_eq!(answer.status(), ServingStatus::NotServing, "there is no policy");

    std::fs::write(server.at("policy.yaml"), POLICY).expect("written");
    let next = watched.message().await.expect("no error").expect("a status");
    assert_eq!(next.status(), ServingStatus::Serving, "everything is there");

    server.terminate();
    let last = watched.message().await.expect("no error").expect("a status");
    assert_eq!(last.status(), ServingStatus::NotServing);
    assert!(matches!(watched.message().await, Ok(None)), "the watch ends");
    drop((watched, client));
    assert!(server.wait_for_exit().await.success());
    assert!(!server.log().contains("still open at the deadline"));
}

/// What is told from now on, line by line, until one is `last`.
async fn told(systemd: &tokio::net::UnixDatagram, last: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut datagram = [0; 4096];
    while !lines.iter().any(|line| line == last) {
        let received = tokio::time::timeout(PATIENCE, systemd.recv(&mut datagram));
        let length = received
            .await
            .unwrap_or_else(|_| panic!("`{last}` was never told, only {lines:?}"))
            .expect("a datagram");
        let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
        lines.extend(text.lines().map(str::to_owned));
    }
    lines
}

#[tokio::test]
async fn systemd_hears_of_readiness_of_its_reasons_and_of_the_stop() {
    let directory = tempfile::tempdir().expect("a directory");
    let systemd = UnixDatagram::bind(directory.path().join("notify.sock")).expect("a socket");
    systemd.set_nonblocking(true).expect("set");
    let systemd = tokio::net::UnixDatagram::from_std(systemd).expect("a socket");
    let mut server = Server::start_in(directory, "").await;
    let socket = server.at("agent.sock");
    let waiting = format!(
        "STATUS=not ready: waiting for the Workload API socket {}: it does not exist; is the agent running?",
        socket.display()
    );
    let before = told(&systemd, &waiting).await;
    assert!(!before.contains(&"READY=1".to_owned()), "{before:?}");

    let agent = Agent::serve(&socket);
    let authority = Authority::new("example.org");
    agent.issue(&[&Identity::new(&authority, "/api", HOUR)], &[]);
    let ready = told(&systemd, "STATUS=ready").await;
    assert_eq!(ready.iter().filter(|line| *line == "READY=1").count(), 1, "{ready:?}");

    // The server asks for a sign of life as often as its environment says.
    for _ in 0..3 {
        told(&systemd, "WATCHDOG=1").await;
    }
    // What `Type=notify-reload` waits for, by whatever the configuration is read anew.
    server.hang_up();
    let reloading = told(&systemd, "RELOADING=1").await;
    assert!(!reloading.contains(&"READY=1".to_owned()), "told once: {reloading:?}");
    let time = reloading.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(time.is_some_and(|time| time.parse::<u64>().is_ok()), "{reloading:?}");
    told(&systemd, "READY=1").await;
    server.terminate();
    let last = told(&systemd, "STOPPING=1").await;
    assert!(!last.contains(&"READY=1".to_owned()), "{last:?}");
    assert!(server.wait_for_exit().await.success());
}
