//! The running program, asked by the SPIFFE project's own Rust client.

use std::pin::pin;

use crate::agent::{Agent, Stream, chain_leads_to, end_of, now, serial_of, within};
use futures::StreamExt;
use spiffe::{SpiffeId, TrustDomain, WorkloadApiClient};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

const CLIENT: &str = "--workload=client=/ns/client-ns/sa/client";

#[tokio::test]
async fn a_workload_gets_its_identity_and_what_verifies_its_peers() {
    let agent = Agent::start(&[CLIENT, "--intermediate", "--dns=client=symuser"]);
    let client = agent.client("client").await;

    let context = client.fetch_x509_context().await.unwrap();
    let svid = context.default_svid().unwrap();
    assert_eq!(svid.spiffe_id().to_string(), "spiffe://example.org/ns/client-ns/sa/client");
    let bundles = client.fetch_x509_bundles().await.unwrap();
    let trust_domain = TrustDomain::new("example.org").unwrap();
    let roots = bundles.get(&trust_domain).unwrap();
    assert_eq!((svid.cert_chain().len(), roots.authorities().len()), (2, 1));
    assert!(chain_leads_to(svid.cert_chain(), &roots.authorities()[0]));
}

#[tokio::test]
async fn a_jwt_svid_is_signed_published_and_validated() {
    let agent = Agent::start(&[CLIENT]);
    let client = agent.client("client").await;

    let svid = client.fetch_jwt_svid(["api"], None).await.unwrap();
    assert_eq!(svid.spiffe_id().path(), "/ns/client-ns/sa/client");
    let bundles = client.fetch_jwt_bundles().await.unwrap();
    let bundle = bundles.get(&TrustDomain::new("example.org").unwrap()).unwrap();
    assert!(bundle.find_jwt_authority(svid.key_id()).is_some());

    assert_eq!(
        client.validate_jwt_token("api", svid.token()).await.unwrap().claims().sub(),
        svid.claims().sub()
    );
    assert!(client.validate_jwt_token("db", svid.token()).await.unwrap_err().is_invalid_argument());
    let stranger = SpiffeId::new("spiffe://example.org/stranger").unwrap();
    assert!(client.fetch_jwt_svid(["api"], Some(&stranger)).await.is_err());
}

#[tokio::test]
async fn a_request_without_the_security_header_is_refused() {
    let agent = Agent::start(&[CLIENT]);
    let mut grpc = Grpc::new(agent.channel("client").await);
    for (value, expected) in [
        (None, Code::InvalidArgument),
        (Some("false"), Code::InvalidArgument),
        (Some("true"), Code::Ok),
    ] {
        let mut request = Request::new(());
        if let Some(value) = value {
            request.metadata_mut().insert("workload.spiffe.io", value.parse().unwrap());
        }
        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static("/SpiffeWorkloadAPI/FetchX509Bundles");
        let answer = grpc.server_streaming(request, path, ProstCodec::<(), ()>::default()).await;
        assert_eq!(answer.map_or_else(|status| status.code(), |_| Code::Ok), expected, "{value:?}");
    }
}

#[tokio::test]
async fn svids_rotate_by_themselves_at_half_their_life() {
    let agent = Agent::start(&[CLIENT, "--svid-ttl=2s"]);
    let client = agent.client("client").await;
    let mut contexts = pin!(client.stream_x509_contexts().await.unwrap());
    let mut leaves = Vec::new();
    while leaves.len() < 3 {
        let context = within(contexts.next()).await.unwrap().unwrap();
        let svid = context.default_svid().unwrap();
        let trust_domain = TrustDomain::new("example.org").unwrap();
        let roots = context.bundle_set().get(&trust_domain).unwrap();
        assert!(chain_leads_to(svid.cert_chain(), &roots.authorities()[0]));
        leaves.push(svid.cert_chain()[0].as_bytes().to_vec());
    }
    leaves.dedup();
    assert_eq!(leaves.len(), 3);
}

#[tokio::test]
async fn expired_and_forged_svids_are_served_until_the_next_rotation() {
    let agent = Agent::start(&[CLIENT]);
    let client = agent.client("client").await;
    let mut svids = pin!(client.stream_x509_svids().await.unwrap());
    within(svids.next()).await.unwrap().unwrap();

    agent.ctl(&["expire"]);
    let expired = within(svids.next()).await.unwrap().unwrap();
    assert!(end_of(&expired.cert_chain()[0]) < now());

    agent.ctl(&["expire", "--in", "30s"]);
    let ending = within(svids.next()).await.unwrap().unwrap();
    assert!((now()..now() + 31).contains(&end_of(&ending.cert_chain()[0])));

    agent.ctl(&["forge", "--workload", "client", "--variant", "two-uri-sans"]);
    assert!(within(svids.next()).await.unwrap().is_err(), "the client takes a second identity");

    agent.ctl(&["rotate"]);
    let mut svids = pin!(client.stream_x509_svids().await.unwrap());
    let healed = within(svids.next()).await.unwrap().unwrap();
    assert!(end_of(&healed.cert_chain()[0]) > now() + 3000);
}

#[tokio::test]
async fn a_hanging_agent_accepts_and_answers_only_once_resumed() {
    let agent = Agent::start(&[CLIENT]);
    let client = agent.client("client").await;
    let mut open = pin!(client.stream_x509_svids().await.unwrap());
    within(open.next()).await.unwrap().unwrap();

    agent.ctl(&["hang"]);
    let late = agent.client("client").await;
    let pending = tokio::spawn(async move { late.fetch_x509_svid().await });
    agent.wait_for_subscribers("client", 2).await;
    let rotated = agent.ctl(&["rotate"]);
    assert!(!pending.is_finished());

    agent.ctl(&["resume"]);
    let answered = within(pending).await.unwrap().unwrap();
    let serial = serial_of(&answered.cert_chain()[0]);
    assert_eq!(rotated["workloads"]["client"]["svids"][0]["serial"], serial);
    let caught_up = within(open.next()).await.unwrap().unwrap();
    assert_eq!(serial_of(&caught_up.cert_chain()[0]), serial);
}

#[tokio::test]
async fn a_dropped_connection_ends_and_the_sockets_may_stay_away() {
    let agent = Agent::start(&[CLIENT]);
    let mut stream = agent.open_stream("client").await;

    agent.ctl(&["drop", "--stay-away"]);
    assert!(ended(&mut stream).await);
    agent.wait_until(|| !agent.socket("client").exists()).await;

    agent.ctl(&["resume"]);
    agent.wait_until(|| agent.socket("client").exists()).await;
    let mut stream = agent.open_stream("client").await;

    agent.ctl(&["drop"]);
    assert!(ended(&mut stream).await);
    agent.client("client").await.fetch_x509_svid().await.unwrap();
}

async fn ended(stream: &mut Stream) -> bool {
    matches!(within(stream.next()).await, Some(Err(_)) | None)
}

#[tokio::test]
async fn a_revoked_workload_is_nobody_until_granted() {
    let agent = Agent::start(&[CLIENT, "--workload=api=/api"]);
    let mut stream = agent.open_stream("client").await;

    agent.ctl(&["revoke", "--workload", "client"]);
    assert!(ended(&mut stream).await);
    let client = agent.client("client").await;
    let error = client.fetch_x509_svid().await.unwrap_err();
    assert!(matches!(error, spiffe::WorkloadApiError::NoIdentityIssued), "{error}");
    agent.client("api").await.fetch_x509_svid().await.unwrap();
    agent.ctl(&["rotate"]);
    assert!(client.fetch_x509_svid().await.is_err());

    agent.ctl(&["grant", "--workload", "client"]);
    client.fetch_x509_svid().await.unwrap();
}

#[tokio::test]
async fn a_federated_trust_domain_is_trusted_until_removed() {
    let agent = Agent::start(&[CLIENT]);
    let client = agent.client("client").await;
    let partner = TrustDomain::new("partner.example").unwrap();
    let mut contexts = pin!(client.stream_x509_contexts().await.unwrap());
    let first = within(contexts.next()).await.unwrap().unwrap();
    assert!(first.bundle_set().get(&partner).is_none());

    agent.ctl(&["federate", "--trust-domain", "partner.example"]);
    let federated = within(contexts.next()).await.unwrap().unwrap();
    assert!(federated.bundle_set().get(&partner).is_some());
    assert_eq!(
        federated.default_svid().unwrap().cert_chain(),
        first.default_svid().unwrap().cert_chain(),
        "a bundle alone changes no SVID"
    );

    agent.ctl(&["unfederate", "--trust-domain", "partner.example"]);
    assert!(within(contexts.next()).await.unwrap().unwrap().bundle_set().get(&partner).is_none());
}

#[tokio::test]
async fn a_ca_rolls_over_without_a_leaf_that_nobody_trusts() {
    let agent = Agent::start(&[CLIENT]);
    let client: WorkloadApiClient = agent.client("client").await;
    let mut contexts = pin!(client.stream_x509_contexts().await.unwrap());
    within(contexts.next()).await.unwrap().unwrap();
    for (command, roots) in [
        (["ca", "prepare"].as_slice(), 2),
        (&["ca", "activate"], 2), // changes neither bundle nor leaf, so nothing is sent
        (&["rotate"], 2),
        (&["ca", "retire"], 1),
    ] {
        agent.ctl(command);
        if command == ["ca", "activate"] {
            continue;
        }
        let context = within(contexts.next()).await.unwrap().unwrap();
        let trust_domain = TrustDomain::new("example.org").unwrap();
        let bundle = context.bundle_set().get(&trust_domain).unwrap();
        let chain = context.default_svid().unwrap().cert_chain();
        assert_eq!(bundle.authorities().len(), roots, "{command:?}");
        assert!(bundle.authorities().iter().any(|root| chain_leads_to(chain, root)), "{command:?}");
    }
}
