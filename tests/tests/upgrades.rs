//! A websocket through the whole HTTP path: only where a rule lists the protocol.

use std::net::SocketAddr;

use e2e::{Mesh, MeshPlan, PostgresVersion, SourceKind, Workload, bootstrap::redirect};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
};

const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n";

fn policy(rule: &str) -> String {
    format!(
        "version: 1
trust_domain: example.org
workloads: {{ client: /ns/client-ns/sa/client, api: /ns/api-ns/sa/api }}
http:
  - {{ name: chat, from: [client], to: [api], methods: [GET], paths: [/chat]{rule} }}
"
    )
}

/// Switches protocols on every connection, and then returns what it is sent.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(switch_and_echo(stream));
        }
    });
    address
}

async fn switch_and_echo(mut stream: TcpStream) -> std::io::Result<()> {
    read_head(&mut stream).await?;
    stream.write_all(SWITCHED.as_bytes()).await?;
    let (mut from, mut to) = stream.split();
    tokio::io::copy(&mut from, &mut to).await.map(drop)
}

async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

async fn mesh(rule: &str) -> Mesh {
    let echo = echo().await;
    let plan = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15).policy(policy(rule));
    let plan = plan.mutate(Workload::Api, move |configuration| {
        redirect(configuration, "api", echo);
    });
    plan.start().await.unwrap()
}

/// Asks for a websocket; the status line, and the open stream.
async fn ask(mesh: &Mesh) -> (String, UnixStream) {
    let mut stream = UnixStream::connect(mesh.http_socket(Workload::Client)).await.unwrap();
    let ask = "GET /chat HTTP/1.1\r\nhost: api\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
               sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await.unwrap();
    (head.lines().next().unwrap_or_default().to_owned(), stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_protocol_flows_both_ways() {
    let mesh = mesh(", upgrades: [websocket]").await;
    let (status, mut stream) = ask(&mesh).await;
    assert_eq!(status, "HTTP/1.1 101 Switching Protocols");
    stream.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ping");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_that_no_rule_lists_is_denied() {
    let (status, _) = ask(&mesh("").await).await;
    assert_eq!(status, "HTTP/1.1 403 Forbidden");
}
