//! Kubernetes' probes come without an identity, so what they say must not reach the API.

use std::net::SocketAddr;

use e2e::{
    MeshPlan, PostgresVersion, SourceKind, Workload,
    bootstrap::{holders, redirect},
    http::Ask,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Headers by which a prober would pose as somebody, or ask for something else.
const WORDS: &[(&str, &str)] = &[
    ("x-spiffe-id", "spiffe://example.org/ns/client-ns/sa/client"),
    ("x-db-role", "customers_writer"),
    ("x-signet-rule", "client-reads-customers"),
    ("x-original-url", "/customers"),
    ("x-rewrite-url", "/customers"),
    ("x-http-method-override", "DELETE"),
];

/// Answers every request with the head that it came with.
async fn mirror() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(reflect(stream));
        }
    });
    address
}

async fn reflect(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", head.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.write_all(&head).await
}

/// What the workload behind the sidecar hears of a probe that says all of [`WORDS`].
async fn heard(change: impl FnOnce(&mut Value) + Send + 'static) -> String {
    let mirror = mirror().await;
    let mesh = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15)
        .mutate(Workload::Api, move |configuration| {
            redirect(configuration, "api", mirror);
            change(configuration);
        })
        .start()
        .await
        .unwrap();
    let probes = (mesh.stage.address, mesh.sidecar(Workload::Api).ops.probes);
    let query = Ask::get("/livez?next=/customers").tcp(probes).await.unwrap();
    assert_eq!(query.status, 404, "{}", query.body);
    let ask = Ask::get("/livez");
    let ask = WORDS.iter().fold(ask, |ask, (name, value)| ask.header(name, value));
    let reply = ask.tcp(probes).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_is_heard_as_the_bare_path() {
    let head = heard(|_| {}).await;
    assert!(head.starts_with("GET /livez HTTP/1.1\r\n"), "{head}");
    for (name, value) in WORDS {
        assert!(!head.contains(name) && !head.contains(value), "{name} in {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_removal_a_prober_poses_as_anybody() {
    let head = heard(|configuration| {
        holders(configuration, "request_mutations", &mut |mutations| {
            mutations["request_mutations"] = json!([]);
        });
    })
    .await;
    for (name, value) in WORDS {
        assert!(head.contains(value), "{name} not in {head}");
    }
}
