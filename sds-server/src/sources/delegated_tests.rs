use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::http::{Response, header};
use axum::routing::post;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message;
use spiffe::TrustDomain;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::service::Routes;

use super::{Delegated, Identity, SubscribeToX509BundlesResponse, joined};
use crate::config::UnixAddress;
use crate::metrics::Metrics;
use crate::sources::listener::Said;
use crate::sources::test_context::Authority;

const BUNDLES: &str =
    "/spire.api.agent.delegatedidentity.v1.DelegatedIdentity/SubscribeToX509Bundles";

/// Answers each new stream with what there is at that time, and says nothing more on it: as SPIRE's agent
/// does when a federated trust domain is deleted.
fn agent(
    bundles: watch::Receiver<SubscribeToX509BundlesResponse>,
) -> (tempfile::TempDir, UnixAddress) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("admin.sock");
    let listener = UnixListener::bind(&path).expect("bound");
    let answer = async move || {
        let message = bundles.borrow().encode_to_vec();
        let length = u32::try_from(message.len()).expect("short").to_be_bytes();
        let frame = Bytes::from([&[0], &length[..], &message].concat());
        let said = stream::iter([Ok::<_, Infallible>(Frame::data(frame))]);
        let body = tonic::body::Body::new(StreamBody::new(said.chain(stream::pending())));
        let mut response = Response::new(body);
        let grpc = header::HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(header::CONTENT_TYPE, grpc);
        response
    };
    let routes = Routes::from(Router::new().route(BUNDLES, post(answer)));
    let incoming = UnixListenerStream::new(listener);
    tokio::spawn(
        tonic::transport::Server::builder().add_routes(routes).serve_with_incoming(incoming),
    );
    let address = format!("unix://{}", path.display());
    (directory, UnixAddress::try_from(address).expect("an address"))
}

#[tokio::test]
async fn a_federated_domain_that_is_deleted_is_no_longer_trusted() {
    let (ours, partner) = (Authority::new("example.org"), Authority::new("partner.example"));
    let answer = |authorities: &[&Authority]| {
        let bundles = authorities.iter().map(|authority| {
            (format!("spiffe://{}", authority.domain), authority.certificate.clone().into())
        });
        SubscribeToX509BundlesResponse { ca_certificates: bundles.collect() }
    };
    let (change, there) = watch::channel(answer(&[&ours, &partner]));
    let (_directory, address) = agent(there);
    let (delegated, mut bundles, _shown) = Delegated::new(address, Metrics::default());
    bundles.anew = Duration::from_millis(20);
    let listening = tokio::spawn(bundles.keep_listening());

    // A process of ours that federates with the partner; nothing new comes for it.
    let trusted = ["example.org", "partner.example"];
    let identity = Identity {
        svids: vec![ours.svid("/a", Duration::from_mins(1))],
        trusted: trusted.map(|domain| TrustDomain::new(domain).expect("valid")).into(),
    };
    let svids = stream::iter([Ok(identity)]).chain(stream::pending()).boxed();
    let mut said = joined(svids, delegated.bundles.clone());
    let mut next = async || match timeout(Duration::from_secs(40), said.next()).await {
        Ok(Some(Ok(Said::Issued(context)))) => context.bundle_set().len(),
        Ok(Some(Ok(Said::Nothing))) => panic!("it has an identity"),
        Ok(Some(Err(trouble))) => panic!("{trouble}"),
        Ok(None) | Err(_) => panic!("nothing was said"),
    };
    assert_eq!(next().await, 2);
    change.send_replace(answer(&[&ours]));
    assert_eq!(next().await, 1);
    listening.abort();
}
