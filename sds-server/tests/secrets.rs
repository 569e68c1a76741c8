//! SDS against the running program.

mod support;

use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};

use support::{
    Agent, Authority, Client, HOUR, Identity, PATIENCE, Server, accepted, certificate, eventually,
    key, plain_authority, served, trust_domains,
};

#[tokio::test]
async fn every_name_of_spires_is_answered() {
    let server = Server::start("").await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let (ours, theirs) = (Authority::new("example.org"), Authority::new("partner.example"));
    let (first, second) =
        (Identity::new(&ours, "/ns/a/sa/api", HOUR), Identity::new(&ours, "/ns/b/sa/job", HOUR));
    agent.issue(&[&second, &first], &[&theirs]);
    let client = server.client().await;

    for (name, identity) in [
        ("default", &first),
        ("spiffe://example.org/ns/a/sa/api", &first),
        ("spiffe://example.org/ns/b/sa/job", &second),
    ] {
        let secret = client.secrets(&[name], "").await.accept().await.secret();
        assert_eq!(
            (secret.name.as_str(), certificate(&secret), key(&secret)),
            (name, identity.chain.clone(), identity.key.clone())
        );
    }
    let (own, foreign) = (
        ("example.org".to_owned(), ours.certificate),
        ("partner.example".to_owned(), theirs.certificate),
    );
    for (name, expected) in [
        ("ROOTCA", vec![own.clone()]),
        ("spiffe://example.org", vec![own.clone()]),
        ("spiffe://partner.example", vec![foreign.clone()]),
        ("ALL", vec![own.clone(), foreign.clone()]),
    ] {
        let secret = client.secrets(&[name], "").await.accept().await.secret();
        assert_eq!((secret.name.as_str(), trust_domains(&secret)), (name, expected));
    }

    // Mixtures that SPIRE's agent refuses: each known name is answered, trust first, the unknown
    // one is not.
    let mut mixed = client.secrets(&["default", "ALL", "ROOTCA", "unknown"], "").await;
    for expected in ["ALL", "ROOTCA", "default"] {
        assert_eq!(mixed.accept().await.secret().name, expected);
    }
    assert!(mixed.is_silent().await);
    let fetched = client.fetch(&["default", "unknown", "ROOTCA"]).await.expect("known names");
    assert_eq!(
        fetched.iter().map(|secret| secret.name.as_str()).collect::<Vec<_>>(),
        ["ROOTCA", "default"]
    );
}

#[tokio::test]
async fn names_beyond_spires_are_answered_each_as_it_says() {
    let server = Server::start("").await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let [ours, theirs, others] = ["example.org", "a.example", "b.example"].map(Authority::new);
    let first = Identity::new(&ours, "/a", HOUR);
    let hinted = Identity { hint: "internal".into(), ..Identity::new(&ours, "/b", HOUR) };
    agent.issue(&[&first, &hinted], &[&theirs, &others]);
    let client = server.client().await;
    let secret = async |name| client.secrets(&[name], "").await.accept().await.secret();

    assert_eq!(certificate(&secret("svid?hint=internal").await), hinted.chain);
    for (name, expected) in [
        ("ROOTCA.x509", &ours),
        ("bundle.x509?td=a.example", &theirs),
        ("bundle.x509?td=b.example", &others),
    ] {
        assert_eq!(plain_authority(&secret(name).await), expected.certificate, "{name}");
    }
    for (name, expected) in [
        ("ROOTCA.spiffe", &[&ours][..]),
        ("bundle?td=b.example,a.example", &[&theirs, &others]),
        ("ALL.spiffe", &[&theirs, &others, &ours]),
    ] {
        let expected: Vec<_> =
            expected.iter().map(|a| (a.domain.clone(), a.certificate.clone())).collect();
        assert_eq!(trust_domains(&secret(name).await), expected, "{name}");
    }

    // Never merged into one list, and told at once.
    let merged = ["ALL.x509", "bundle.x509?td=a.example,b.example"];
    assert!(client.secrets(&merged, "").await.is_silent().await);
    let told = r#"signet_xds_unanswered_names_total{type="secret",reason="several_trust_domains"}"#;
    eventually("both are counted", async || (server.metric(told)? == 2).then_some(())).await;
    assert!(server.log().contains("one trust domain only"));
}

#[tokio::test]
async fn a_node_that_disables_the_spiffe_validator_gets_plain_lists_as_from_spire() {
    let server = Server::start("").await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let [ours, theirs] = ["example.org", "a.example"].map(Authority::new);
    agent.issue(&[&Identity::new(&ours, "/a", HOUR)], &[&theirs]);
    let flag = Value { kind: Some(Kind::BoolValue(true)) };
    let fields = [("disable_spiffe_cert_validation".to_owned(), flag)].into();
    let node = Node { metadata: Some(Struct { fields }), ..Default::default() };
    let client = server.client().await;
    let fetch = async |names: &[&str]| client.fetch_as(node.clone(), names).await;
    eventually("it is served", async || fetch(&["ROOTCA"]).await.ok()).await;

    for (name, expected) in
        [("ROOTCA", &ours), ("spiffe://example.org", &ours), ("spiffe://a.example", &theirs)]
    {
        let secret = fetch(&[name]).await.expect(name).remove(0);
        assert_eq!(plain_authority(&secret), expected.certificate, "{name}");
    }
    let everything = fetch(&[]).await.expect("everything");
    let bundles = everything.iter().filter(|secret| !secret.name.ends_with("/a"));
    assert_eq!(bundles.map(plain_authority).count(), 2);
    assert!(fetch(&["ALL"]).await.is_err(), "as SPIRE's agent, and never merged");
    let named = fetch(&["ALL.spiffe"]).await.expect("its name says how").remove(0);
    assert_eq!(trust_domains(&named).len(), 2);
}

#[tokio::test]
async fn a_validation_context_accepts_whom_the_operator_names() {
    let server = Server::start(
        "validation:
  ROOTCA: [{ exact: 'spiffe://example.org/db' }, { prefix: 'spiffe://example.org/ns/web/' }]
  'bundle?td=a.example,b.example': [{ prefix: 'spiffe://a.example/' }]",
    )
    .await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let [ours, theirs, others] = ["example.org", "a.example", "b.example"].map(Authority::new);
    agent.issue(&[&Identity::new(&ours, "/a", HOUR)], &[&theirs, &others]);
    let client = server.client().await;
    let of_rootca = &["exact spiffe://example.org/db", "prefix spiffe://example.org/ns/web/"][..];
    for (name, expected) in [
        ("ROOTCA", of_rootca),
        ("ROOTCA.x509", of_rootca),
        ("bundle?td=b.example,a.example", &["prefix spiffe://a.example/"]),
        ("spiffe://example.org", &[]),
        ("ALL", &[]),
    ] {
        let secret = client.secrets(&[name], "").await.accept().await.secret();
        assert_eq!(accepted(&secret), expected, "{name}");
    }
}

#[tokio::test]
async fn a_rotation_pushes_the_leaf_and_nothing_else() {
    let (server, agent, authority) = served("").await;
    let client = server.client().await;
    let (mut leaf, mut trust) =
        (client.secrets(&["default"], "").await, client.secrets(&["ROOTCA"], "").await);
    leaf.accept().await;
    trust.accept().await;

    let renewed = Identity::new(&authority, "/a", HOUR);
    agent.issue(&[&renewed], &[]);
    assert_eq!(certificate(&leaf.accept().await.secret()), renewed.chain);
    agent.issue(&[&renewed], &[]);
    assert!(leaf.is_silent().await && trust.is_silent().await);
    eventually("all answers are counted", async || {
        (server.metric("signet_xds_acks_total{type=\"secret\"}")? == 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn versions_are_of_the_content_and_outlive_the_server() {
    let (server, agent, authority) = served("").await;
    let mut stream = server.client().await.secrets(&["default"], "").await;
    stream.accept().await;
    let version = stream.version.clone();

    let server = Server::start_in(server.kill(), "").await;
    server.wait_for_readiness(200, "").await;
    let mut back = server.client().await.secrets(&["default"], &version).await;
    assert!(back.is_silent().await, "it has this version");
    agent.issue(&[&Identity::new(&authority, "/a", HOUR)], &[]);
    back.accept().await;
    assert_ne!(back.version, version);
}

#[tokio::test]
async fn refused_bytes_are_not_sent_again_to_that_envoy() {
    let (server, agent, authority) = served("").await;
    let client = server.client().await;
    let mut stream = client.secrets(&["default"], "").await;
    stream.accept().await;
    let good = stream.version.clone();
    agent.issue(&[&Identity::new(&authority, "/a", HOUR)], &[]);
    let pushed = stream.next().await;
    stream.answer(&pushed, Some("no room"));
    eventually("the refusal is counted", async || {
        (server.metric("signet_xds_nacks_total{type=\"secret\"}")? == 1).then_some(())
    })
    .await;
    eventually("and logged", async || server.log().contains("no room").then_some(())).await;
    assert!(stream.is_silent().await);

    for version in [good.as_str(), pushed.response.version_info.as_str()] {
        assert!(
            client.secrets(&["default"], version).await.is_silent().await,
            "withheld across reconnects"
        );
    }
    agent.issue(&[&Identity::new(&authority, "/a", HOUR)], &[]);
    stream.accept().await;
}

#[tokio::test]
async fn an_agent_that_is_late_lost_or_denies_is_told_in_readyz() {
    let server = Server::start("").await;
    server.wait_for_readiness(503, "agent.sock: it does not exist").await;
    assert!(server.log().contains("waiting for the Workload API socket"));
    let authority = Authority::new("example.org");

    let agent = Agent::serve(&server.at("agent.sock"));
    server.wait_for_readiness(503, "no identity issued").await;
    agent.issue(&[&Identity::new(&authority, "/a", HOUR)], &[]);
    server.wait_for_readiness(200, "").await;
    let mut stream = server.client().await.secrets(&["default"], "").await;
    stream.accept().await;

    drop(agent);
    server.wait_for_readiness(200, "agent.sock").await;
    assert_eq!(server.readiness()["warnings"][0]["guard"], "identity");
    assert!(stream.is_silent().await, "the last good one stays");

    let agent = Agent::serve(&server.at("agent.sock"));
    agent.issue(&[&Identity::new(&authority, "/a", HOUR)], &[]);
    stream.accept().await;
    agent.withdraw();
    server.wait_for_readiness(503, "no identity issued").await;
    let client = server.client().await;
    eventually("it is not served", async || client.fetch(&["default"]).await.err()).await;
}

#[tokio::test]
async fn nothing_expired_mismatched_or_early_is_ever_sent() {
    let server = Server::start("").await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let authority = Authority::new("example.org");
    let client = server.client().await;

    let good = Identity::new(&authority, "/a", HOUR);
    agent.issue(&[&good], &[]);
    let mut stream = client.secrets(&["default"], "").await;
    stream.accept().await;
    let mismatched = Identity {
        key: Identity::new(&authority, "/a", HOUR).key,
        ..Identity::new(&authority, "/a", HOUR)
    };
    agent.issue(&[&mismatched], &[]);
    assert!(stream.is_silent().await);
    assert_eq!(
        certificate(&client.fetch(&["default"]).await.expect("the good one")[0]),
        good.chain
    );

    let brief = Identity::new(&authority, "/a", Duration::from_secs(3));
    agent.issue(&[&brief], &[]);
    assert_eq!(certificate(&stream.accept().await.secret()), brief.chain);
    server.wait_for_readiness(503, "expired").await;
    assert_eq!(
        client.fetch(&["default"]).await.expect_err("expired").code(),
        tonic::Code::NotFound
    );
    assert!(client.secrets(&["default"], "").await.is_silent().await);
    let renewed = Identity::new(&authority, "/a", HOUR);
    agent.issue(&[&renewed], &[]);
    assert_eq!(certificate(&stream.accept().await.secret()), renewed.chain);
}

#[tokio::test]
async fn a_leaf_of_a_new_authority_comes_after_its_bundle() {
    let server = Server::start("rotation: { hold: 1s }").await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let (old, new) = (Authority::new("example.org"), Authority::new("example.org"));
    agent.issue(&[&Identity::new(&old, "/a", HOUR)], &[]);
    let client = server.client().await;
    let (mut leaf, mut trust) =
        (client.secrets(&["default"], "").await, client.secrets(&["ROOTCA"], "").await);
    leaf.accept().await;
    trust.accept().await;

    let renewed = Identity {
        bundle: [old.certificate.clone(), new.certificate.clone()].concat(),
        ..Identity::new(&new, "/a", HOUR)
    };
    let issued = Instant::now();
    agent.issue(&[&renewed], &[]);
    trust.accept().await;
    assert_eq!(certificate(&leaf.accept().await.secret()), renewed.chain);
    assert!(issued.elapsed() >= Duration::from_secs(1), "{:?}", issued.elapsed());
}

#[tokio::test]
async fn the_server_stops_as_asked_and_leaves_nothing_behind() {
    let (mut server, _agent, _) = served("").await;
    let client = server.client().await;
    let mut stream = client.secrets(&["default"], "").await;
    stream.accept().await;
    server.terminate();
    let ended = stream.end().await;
    assert_eq!(ended.expect_err("told why").code(), tonic::Code::Unavailable);
    assert_eq!(server.wait_for_exit().await.code(), Some(0));
    assert!(!server.at("sds.sock").exists() && !server.at("admin.sock").exists());
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_counted() {
    let (server, _agent, _) = served("limits: { connections_per_peer: 2 }").await;
    let (first, second) = (server.client().await, server.client().await);
    first.secrets(&["default"], "").await.accept().await;
    second.secrets(&["default"], "").await.accept().await;
    let third = Client::try_connect(&server.at("sds.sock")).await;
    if let Ok(third) = third {
        assert!(third.fetch(&["default"]).await.is_err());
    }
    assert!(
        server
            .metric("signet_xds_rejected_total{reason=\"connections_per_peer\"}")
            .is_some_and(|refused| refused >= 1)
    );
    first.secrets(&["default"], "").await.accept().await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_left_and_told_why_and_others_are_served() {
    let (server, agent, authority) = served("limits: { slow_reader: 500ms }").await;
    let narrow = Client::narrow(&server.at("sds.sock"), 512).await;
    let mut unread = narrow.secrets(&["default"], "").await;
    let mut read = server.client().await.secrets(&["default"], "").await;
    read.accept().await;
    let left = "signet_xds_rejected_total{reason=\"slow_reader\"}";
    let begun = Instant::now();
    while server.metric(left) != Some(1) {
        assert!(begun.elapsed() < PATIENCE, "the stream stays open");
        let renewed = Identity::new(&authority, "/a", HOUR);
        agent.issue(&[&renewed], &[]);
        assert_eq!(certificate(&read.accept().await.secret()), renewed.chain);
    }
    let why = unread.end().await.expect_err("it was left");
    assert_eq!(why.code(), tonic::Code::ResourceExhausted, "{why}");
    assert_eq!(why.message(), "responses were left unread for too long");
}

#[tokio::test]
async fn too_large_and_too_many_are_refused_and_others_are_served() {
    let (server, _agent, _) = served("limits: { names_per_request: 3, message_bytes: 2000 }").await;
    let client = server.client().await;
    let mut many = client.secrets(&["a", "b", "c", "default"], "").await;
    assert_eq!(many.end().await.expect_err("too many").code(), tonic::Code::InvalidArgument);
    let mut large = client.secrets(&["default", &"x".repeat(2000)], "").await;
    assert_eq!(large.end().await.expect_err("too large").code(), tonic::Code::ResourceExhausted);
    client.secrets(&["default"], "").await.accept().await;
}
