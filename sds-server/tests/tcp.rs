//! SDS over TCP: who gets in, and what each gets.

mod support;

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use support::{Agent, Authority, Client, HOUR, Identity, Server, certificate, eventually, tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;

const ALLOWED: &str = "tcp: { address: '127.0.0.1:0', allow: [
    { peer: spiffe://example.org/edge/*, names: [default, ROOTCA] },
    { peer: spiffe://partner.example/envoy, names: [ROOTCA] } ] }";

/// A server whose SVID is `/server`, and what issued it.
async fn serve(listen: &str) -> (Server, Agent, Authority, Authority) {
    serve_within(listen, "limits: { opens_burst: 5000 }").await
}

async fn serve_within(listen: &str, limits: &str) -> (Server, Agent, Authority, Authority) {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start_listening(directory, listen, limits).await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let (ours, partner) = (Authority::new("example.org"), Authority::new("partner.example"));
    agent.issue(&[&Identity::new(&ours, "/server", HOUR)], &[&partner]);
    server.wait_for_readiness(200, "").await;
    (server, agent, ours, partner)
}

#[tokio::test]
async fn a_listed_peer_gets_its_names_and_the_rest_looks_like_nothing() {
    let (server, agent, ours, partner) = serve(ALLOWED).await;
    let address = server.tcp_address().await;
    let edge = ours.pair("/edge/a", HOUR);
    let client = Client::over_tls(address, Some(&edge)).await.expect("let in");
    let mut stream = client.secrets(&["default", "spiffe://example.org/server"], "").await;
    assert_eq!(stream.accept().await.secret().name, "default");
    assert!(stream.is_silent().await);
    let (forbidden, unknown) = (
        client.fetch(&["spiffe://example.org/server"]).await.expect_err("forbidden"),
        client.fetch(&["nonsense"]).await.expect_err("unknown"),
    );
    assert_eq!(
        (forbidden.code(), forbidden.message()),
        (unknown.code(), unknown.message()),
        "they look alike"
    );

    let federated = partner.pair("/envoy", HOUR);
    let client = Client::over_tls(address, Some(&federated)).await.expect("let in");
    assert_eq!(client.fetch(&["ROOTCA", "default"]).await.expect("one")[0].name, "ROOTCA");
    assert_eq!(client.fetch(&["default"]).await.expect_err("forbidden").code(), Code::NotFound);
    assert_eq!(client.fetch(&[]).await.expect("all that it may have").len(), 1);

    // Rotations of the server's own SVID disturb no connection, and the next handshake shows it.
    let renewed = Identity::new(&ours, "/server", HOUR);
    agent.issue(&[&renewed], &[&partner]);
    assert_eq!(certificate(&stream.accept().await.secret()), renewed.chain);
    assert_eq!(shown_by(address, &edge).await, renewed.chain);
}

/// The leaf that the server shows.
async fn shown_by(address: std::net::SocketAddr, pair: &(Vec<u8>, Vec<u8>)) -> Vec<u8> {
    let stream = tokio::net::TcpStream::connect(address).await.expect("connected");
    let name = "signet.invalid".try_into().expect("a name");
    let connector = tokio_rustls::TlsConnector::from(tls(Some(pair)));
    let stream = connector.connect(name, stream).await.expect("a handshake");
    stream.get_ref().1.peer_certificates().expect("shown")[0].to_vec()
}

#[tokio::test]
async fn nobody_else_gets_in() {
    let (server, _agent, ours, partner) = serve(ALLOWED).await;
    let address = server.tcp_address().await;
    let (foreign, impostor) = (Authority::new("foreign.example"), Authority::new("example.org"));
    let later = SystemTime::now() + HOUR;
    let edge = "spiffe://example.org/edge/a";
    let ago = SystemTime::now() - Duration::from_secs(1);
    let strangers = [
        ("no certificate", None),
        ("expired", Some(ours.leaf(&[edge], ago))),
        ("of another trust domain", Some(foreign.pair("/edge/a", HOUR))),
        ("of another authority", Some(impostor.pair("/edge/a", HOUR))),
        ("a partner's that claims our trust domain", Some(partner.leaf(&[edge], later))),
        ("two URI SANs", Some(ours.leaf(&[edge, "spiffe://example.org/edge/b"], later))),
        ("a common name only", Some(ours.leaf(&[], later))),
        ("a trust domain for an ID", Some(ours.leaf(&["spiffe://example.org"], later))),
        ("not listed", Some(ours.pair("/other", HOUR))),
    ];
    for (what, pair) in &strangers {
        for _ in 0..100 {
            let client = Client::over_tls(address, pair.as_ref()).await;
            if let Ok(client) = client {
                let refusal = client.fetch(&["default", "ROOTCA"]).await.expect_err(what);
                assert_ne!(refusal.code(), Code::NotFound, "{what} was heard");
            }
        }
    }
    let plain = tokio::net::TcpStream::connect(address).await.expect("connected");
    assert!(plaintext(plain).await.is_err());
    // A failed handshake is counted once its alert is sent.
    eventually("each was refused and counted", async || {
        let classes = ["tls", "certificate", "certificate_expired", "not_listed"].iter();
        let counted = classes.filter_map(|class| {
            server.metric(&format!("signet_xds_rejected_total{{reason=\"{class}\"}}"))
        });
        (counted.sum::<u64>() > strangers.len() as u64 * 100).then_some(())
    })
    .await;
    let client = Client::over_tls(address, Some(&ours.pair("/edge/a", HOUR))).await;
    assert_eq!(client.expect("let in").fetch(&["default"]).await.expect("served").len(), 1);
}

/// Two hosts have the same workload, and their Envoys call themselves the same.
#[tokio::test]
async fn what_one_host_refuses_another_is_served() {
    let (server, agent, ours, partner) = serve(ALLOWED).await;
    let (address, edge) = (server.tcp_address().await, ours.pair("/edge/a", HOUR));
    let [one, other] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(Ipv4Addr::from);
    let from = async |host| Client::over_tls_from(host, address, &edge).await.expect("let in");
    let refuses = from(one).await;
    let mut stream = refuses.secrets(&["default"], "").await;
    let before = stream.accept().await.response.version_info;
    let renewed = Identity::new(&ours, "/server", HOUR);
    agent.issue(&[&renewed], &[&partner]);
    let pushed = stream.next().await;
    stream.answer(&pushed, Some("inventively"));
    let refused = "signet_xds_nacks_total{type=\"secret\"}";
    eventually("it is refused", async || (server.metric(refused)? == 1).then_some(())).await;

    let served = from(other).await.secrets(&["default"], &before).await.accept().await.secret();
    assert_eq!(certificate(&served), renewed.chain);
    let mut again = from(one).await.secrets(&["default"], &before).await;
    assert!(again.is_silent().await, "the one that refused it has it");
}

const TRIES: u64 = 20;

/// Each SPIFFE ID has places of its own, wherever its connections come from.
#[tokio::test]
async fn a_workload_has_as_many_connections_as_its_limit_and_others_are_served() {
    let (server, _agent, ours, _) =
        serve_within(ALLOWED, "limits: { connections_per_peer: 2 }").await;
    let address = server.tcp_address().await;
    let [edge, other] = ["/edge/a", "/edge/b"].map(|path| ours.pair(path, HOUR));
    let mut open = Vec::new();
    for _ in 0..2 {
        let client = Client::over_tls(address, Some(&edge)).await.expect("let in");
        client.fetch(&["default"]).await.expect("served");
        open.push(client);
    }
    for _ in 0..TRIES {
        if let Ok(third) = Client::over_tls(address, Some(&edge)).await {
            third.fetch(&["default"]).await.expect_err("one too many");
        }
    }
    let refused = server.metric("signet_xds_rejected_total{reason=\"connections_per_peer\"}");
    // A client may try again by itself.
    assert!(refused.is_some_and(|refused| refused >= TRIES), "{refused:?}");
    let status = server.get("/status").1;
    assert!(
        status.contains(r#""peer":"spiffe://example.org/edge/a","class":"connections_per_peer""#)
    );
    let client = Client::over_tls(address, Some(&other)).await.expect("let in");
    client.fetch(&["default"]).await.expect("served");
    open[0].fetch(&["default"]).await.expect("served still");
    open.pop();
    eventually("its place is free again", async || {
        let client = Client::over_tls(address, Some(&edge)).await.ok()?;
        client.fetch(&["default"]).await.ok()
    })
    .await;
}

async fn plaintext(stream: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
    let io = hyper_util::rt::TokioIo::new(stream);
    let mut io = Some(io);
    let connector = tower::service_fn(move |_| {
        let io = io.take();
        async move { io.ok_or_else(|| std::io::Error::other("once")) }
    });
    let endpoint = tonic::transport::Endpoint::from_static("http://sds");
    Client(endpoint.connect_with_connector(connector).await?).fetch(&["ROOTCA"]).await?;
    Ok(())
}

/// Session resumption would let an expired certificate in again.
#[tokio::test]
async fn no_session_is_resumed() {
    let (server, _agent, ours, _) = serve(ALLOWED).await;
    let address = server.tcp_address().await;
    let connector = tokio_rustls::TlsConnector::from(tls(Some(&ours.pair("/edge/a", HOUR))));
    for _ in 0..2 {
        let stream = tokio::net::TcpStream::connect(address).await.expect("connected");
        let name = "signet.invalid".try_into().expect("a name");
        let mut stream = connector.connect(name, stream).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
        // Tickets would come before the server's first HTTP/2 frame.
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("written");
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).await.expect("a frame");
    }
}

#[tokio::test]
async fn an_open_connection_ends_with_its_certificate() {
    let (server, _agent, ours, _) = serve(ALLOWED).await;
    let address = server.tcp_address().await;
    let brief = ours.pair("/edge/a", Duration::from_secs(3));
    let client = Client::over_tls(address, Some(&brief)).await.expect("let in");
    let mut stream = client.secrets(&["default"], "").await;
    stream.accept().await;
    let told = stream.end().await.expect_err("it is told why");
    assert_eq!(told.code(), Code::Unauthenticated);
    assert_eq!(told.message(), "the certificate that opened this connection has expired");
    assert!(server.log().contains("CertExpired"), "and the log says why");
    let expired = server.metric("signet_xds_rejected_total{reason=\"certificate_expired\"}");
    assert!(expired >= Some(1), "{expired:?}");
}

#[tokio::test]
async fn an_open_connection_ends_when_its_authority_is_no_longer_trusted() {
    let (server, agent, ours, partner) = serve(ALLOWED).await;
    let address = server.tcp_address().await;
    let client = Client::over_tls(address, Some(&partner.pair("/envoy", HOUR))).await;
    let mut stream = client.expect("let in").secrets(&["ROOTCA"], "").await;
    stream.accept().await;
    agent.issue(&[&Identity::new(&ours, "/server", HOUR)], &[]);
    let told = stream.end().await.expect_err("it is told why");
    assert_eq!(told.code(), Code::Unauthenticated);
    assert!(told.message().ends_with("is no longer trusted"), "{told}");
    let refused = eventually("it stays out", async || {
        let again = Client::over_tls(address, Some(&partner.pair("/envoy", HOUR))).await;
        match again {
            Ok(client) => client.fetch(&["ROOTCA"]).await.err().map(|_| ()),
            Err(_) => Some(()),
        }
    });
    refused.await;
}
