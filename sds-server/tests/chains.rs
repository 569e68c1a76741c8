//! Certificate chains: those with an intermediate authority, and those that nobody can read.

mod support;

use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{Secret, secret::Type};
use support::{Agent, Authority, Client, HOUR, Identity, Server, certificate};

/// The certificates of a secret in DER, in its order.
fn chain(secret: &Secret) -> Vec<Vec<u8>> {
    let Some(Type::TlsCertificate(certificate)) = &secret.r#type else { panic!("no certificate") };
    let source = certificate.certificate_chain.as_ref().and_then(|chain| chain.specifier.clone());
    let Some(Specifier::InlineBytes(pem)) = source else { panic!("no inline bytes") };
    let pem = String::from_utf8(pem).expect("text");
    let blocks = pem.split_inclusive("-----END CERTIFICATE-----\n");
    blocks.map(|block| pem_rfc7468::decode_vec(block.as_bytes()).expect("PEM").1).collect()
}

#[tokio::test]
async fn intermediates_follow_their_leaf_in_the_order_of_issue() {
    let listen = "tcp: { address: '127.0.0.1:0', allow: [{ peer: spiffe://example.org/edge, names: [default] }] }";
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start_listening(directory, listen, "").await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let root = Authority::new("example.org");
    let upper = root.intermediate();
    let lower = upper.intermediate();
    let leaf = Identity::new(&lower, "/a", HOUR);
    let whole = [leaf.chain.clone(), lower.certificate.clone(), upper.certificate.clone()];
    let chained =
        Identity { chain: whole.concat(), bundle: root.certificate.clone(), ..leaf.clone() };
    agent.issue(&[&chained], &[]);
    let mut stream = server.client().await.secrets(&["default"], "").await;
    assert_eq!(chain(&stream.accept().await.secret()), whole);
    assert!(!server.log().contains("no authority of the bundle"), "its issuer is found");

    // A peer of the TCP socket whose leaf an intermediate has signed, by the chain that it shows.
    let (edge, key) = lower.pair("/edge", HOUR);
    let shown = [edge.clone(), lower.certificate.clone(), upper.certificate.clone()];
    let address = server.tcp_address().await;
    let client = Client::with_chain(address, &shown, &key).await.expect("let in");
    assert_eq!(chain(&client.fetch(&["default"]).await.expect("served")[0]), whole);
    if let Ok(alone) = Client::over_tls(address, Some(&(edge, key))).await {
        alone.fetch(&["default"]).await.expect_err("nobody vouches for it");
    }
}

#[tokio::test]
async fn a_chain_that_nobody_can_read_is_told_and_leaves_the_last_good_one() {
    let server = Server::start("").await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let authority = Authority::new("example.org");
    let good = Identity::new(&authority, "/a", HOUR);
    agent.issue(&[&good], &[]);
    server.wait_for_readiness(200, "").await;
    let client = server.client().await;
    let mut stream = client.secrets(&["default"], "").await;
    stream.accept().await;
    let renewed = Identity::new(&authority, "/a", HOUR);
    for faulty in [renewed.chain[..renewed.chain.len() - 1].to_vec(), b"no certificate".to_vec()] {
        agent.issue(&[&Identity { chain: faulty, ..renewed.clone() }], &[]);
        server.wait_for_readiness(200, "fails: ").await;
        assert_eq!(certificate(&client.fetch(&["default"]).await.expect("served")[0]), good.chain);
        agent.issue(&[&good], &[]);
        server.wait_for_readiness(200, "\"warnings\":[]").await;
    }
    agent.issue(&[&renewed], &[]);
    assert_eq!(certificate(&stream.accept().await.secret()), renewed.chain);
}
