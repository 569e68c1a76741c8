//! A peer whose name and whose refusals are an attack on whoever reads them.

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use envoy_types::pb::google::rpc;
use prost::Name;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

use super::Server;

pub(crate) const TEXT: &str = "<script>document.title='owned'</script>\u{7}\"'><img src=x onerror=\"document.title='owned'\">";

/// A stream that stays open until it is dropped.
pub(crate) type Open = (mpsc::UnboundedSender<DiscoveryRequest>, Streaming<DiscoveryResponse>);

/// Calls itself `text`, and refuses `default` for that reason.
pub(crate) async fn refuse(server: &Server, text: &str) -> Open {
    let (requests, outbound) = mpsc::unbounded_channel();
    let first = DiscoveryRequest {
        node: Some(Node { id: text.into(), cluster: text.into(), ..Default::default() }),
        resource_names: vec!["default".into()],
        type_url: Secret::type_url(),
        ..Default::default()
    };
    requests.send(first.clone()).expect("open");
    let mut client = SecretDiscoveryServiceClient::new(server.client().await.0);
    let responses = client.stream_secrets(UnboundedReceiverStream::new(outbound)).await;
    let mut responses = responses.expect("a stream").into_inner();
    let pushed = responses.message().await.expect("no error").expect("a response");
    let error_detail = Some(rpc::Status { code: 13, message: text.into(), ..Default::default() });
    let refusal = DiscoveryRequest { response_nonce: pushed.nonce, error_detail, ..first };
    requests.send(refusal).expect("open");
    (requests, responses)
}
