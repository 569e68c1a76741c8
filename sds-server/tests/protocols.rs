//! The delta protocol, aggregated streams and refusals against the running program. What a session
//! says in which case is told by its own tests; here it is carried.

mod support;

use envoy_types::pb::envoy::config::core::v3::{Node, TypedExtensionConfig};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest,
};
use envoy_types::pb::envoy::service::extension::v3::extension_config_discovery_service_client::ExtensionConfigDiscoveryServiceClient;
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use prost::{Message, Name};
use std::time::Duration;
use support::{Agent, Authority, Client, HOUR, Identity, Server, certificate, eventually, served};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

const ON_DEMAND: &str = "on_demand: ['spiffe://example.org/sni/*']";

/// A delta stream.
struct Delta {
    requests: mpsc::UnboundedSender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

#[derive(Clone, Copy)]
enum Service {
    Secrets,
    Extensions,
    Aggregated,
}

impl Delta {
    async fn open(client: &Client, service: Service, first: DeltaDiscoveryRequest) -> Self {
        let (requests, outbound) = mpsc::unbounded_channel();
        requests.send(first).expect("open");
        let (outbound, channel) = (UnboundedReceiverStream::new(outbound), client.0.clone());
        let responses = match service {
            Service::Secrets => {
                SecretDiscoveryServiceClient::new(channel).delta_secrets(outbound).await
            }
            Service::Extensions => {
                let mut client = ExtensionConfigDiscoveryServiceClient::new(channel);
                client.delta_extension_configs(outbound).await
            }
            Service::Aggregated => {
                let mut client = AggregatedDiscoveryServiceClient::new(channel);
                client.delta_aggregated_resources(outbound).await
            }
        };
        Self { requests, responses: responses.expect("a stream").into_inner() }
    }

    async fn next(&mut self) -> DeltaDiscoveryResponse {
        let response = tokio::time::timeout(support::PATIENCE, self.responses.message());
        response.await.expect("a response in time").expect("no error").expect("an open stream")
    }

    /// The next response, accepted.
    async fn accept(&mut self) -> DeltaDiscoveryResponse {
        let response = self.next().await;
        let (type_url, response_nonce) = (response.type_url.clone(), response.nonce.clone());
        self.say(DeltaDiscoveryRequest { type_url, response_nonce, ..Default::default() });
        response
    }

    fn say(&self, request: DeltaDiscoveryRequest) {
        self.requests.send(request).expect("open");
    }

    async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(300), self.responses.message()).await.is_err()
    }
}

fn subscribe(type_url: String, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(Node { id: "test".into(), ..Default::default() }),
        type_url,
        resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    }
}

/// The names of a response's resources.
fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|resource| resource.name.as_str()).collect()
}

fn secret(response: &DeltaDiscoveryResponse) -> Secret {
    let any = response.resources[0].resource.as_ref().expect("a resource");
    Secret::decode(any.value.as_slice()).expect("a secret")
}

#[tokio::test]
async fn delta_secrets_come_change_are_told_gone_and_are_not_sent_twice() {
    let server = Server::start(ON_DEMAND).await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let authority = Authority::new("example.org");
    let (own, sni) =
        (Identity::new(&authority, "/a", HOUR), Identity::new(&authority, "/sni/b", HOUR));
    agent.issue(&[&own], &[]);
    let client = server.client().await;
    server.wait_for_readiness(200, "").await;
    let unknown = "spiffe://example.org/sni/b";
    let first = subscribe(Secret::type_url(), &["default", "ROOTCA", unknown]);
    let mut stream = Delta::open(&client, Service::Secrets, first).await;
    assert_eq!(stream.accept().await.removed_resources, [unknown]);
    assert_eq!(names(&stream.accept().await), ["ROOTCA"]);
    let sent = stream.accept().await;
    assert_eq!((names(&sent), certificate(&secret(&sent))), (vec!["default"], own.chain.clone()));

    agent.issue(&[&own, &sni], &[]);
    let sent = stream.accept().await;
    assert_eq!((names(&sent), certificate(&secret(&sent))), (vec![unknown], sni.chain.clone()));
    agent.issue(&[&own], &[]);
    assert_eq!(stream.accept().await.removed_resources, [unknown]);

    // Reconnecting with what it has, it is sent what it has not.
    let version = sent.resources[0].version.clone();
    agent.issue(&[&own, &sni], &[]);
    let again = DeltaDiscoveryRequest {
        initial_resource_versions: [(unknown.to_owned(), version)].into(),
        ..subscribe(Secret::type_url(), &["ROOTCA", unknown])
    };
    assert_eq!(names(&stream.accept().await), [unknown]);
    let mut stream = Delta::open(&client, Service::Secrets, again).await;
    assert_eq!(names(&stream.accept().await), ["ROOTCA"]);
    assert!(stream.is_silent().await);
}

#[tokio::test]
async fn an_aggregated_stream_carries_secrets_and_filters_and_ignores_the_rest() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("policy.yaml"), POLICY).expect("written");
    let filters = format!(
        "policy: {{ file: $DIRECTORY/policy.yaml }}\nfilters: {{ http: {{ wasm: /w, sha256: {} }} }}",
        "0".repeat(64)
    );
    let server = Server::start_in(directory, &filters).await;
    let agent = Agent::serve(&server.at("agent.sock"));
    agent.issue(&[&Identity::new(&Authority::new("example.org"), "/api", HOUR)], &[]);
    server.wait_for_readiness(200, "").await;
    let client = server.client().await;
    let cluster = "type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned();

    let first = subscribe(cluster.clone(), &[]);
    let mut delta = Delta::open(&client, Service::Aggregated, first).await;
    delta.say(subscribe(TypedExtensionConfig::type_url(), &["signet.http"]));
    let filter = delta.accept().await;
    assert_eq!(
        (filter.type_url.clone(), names(&filter)),
        (TypedExtensionConfig::type_url(), vec!["signet.http"])
    );
    delta.say(subscribe(Secret::type_url(), &["default"]));
    assert_eq!(names(&delta.accept().await), ["default"]);
    let mut alone =
        Delta::open(&client, Service::Extensions, subscribe(String::new(), &["signet.http"])).await;
    assert_eq!(alone.accept().await.resources, filter.resources);

    let (requests, outbound) = mpsc::unbounded_channel();
    let ask = |type_url, name: &str| DiscoveryRequest {
        type_url,
        resource_names: vec![name.into()],
        ..Default::default()
    };
    for request in [
        ask(cluster, "upstream"),
        ask(Secret::type_url(), "default"),
        ask(TypedExtensionConfig::type_url(), "signet.http"),
    ] {
        requests.send(request).expect("open");
    }
    let mut aggregated = AggregatedDiscoveryServiceClient::new(client.0.clone());
    let responses =
        aggregated.stream_aggregated_resources(UnboundedReceiverStream::new(outbound)).await;
    let mut responses = responses.expect("a stream").into_inner();
    for expected in [Secret::type_url(), TypedExtensionConfig::type_url()] {
        let response = responses.message().await.expect("no error").expect("a response");
        assert_eq!((response.type_url, response.resources.len()), (expected, 1));
    }
}

const POLICY: &str = "version: 1
trust_domain: example.org
workloads: { client: /client, api: /api }
http: [{ name: reads, from: [client], to: [api], methods: [GET], paths: [/] }]
";

#[tokio::test]
async fn endless_refusals_cost_one_send_for_each_change_and_are_counted() {
    let (server, agent, authority) = served("").await;
    let client = server.client().await;
    let mut stream = client.secrets(&["default"], "").await;
    stream.accept().await;
    for _ in 0..10 {
        let renewed = Identity::new(&authority, "/a", HOUR);
        agent.issue(&[&renewed], &[]);
        let pushed = stream.next().await;
        assert_eq!(certificate(&pushed.secret()), renewed.chain);
        stream.answer(&pushed, Some("no"));
    }
    assert!(stream.is_silent().await);
    eventually("every refusal is counted", async || {
        (server.metric("signet_xds_nacks_total{type=\"secret\"}")? == 10).then_some(())
    })
    .await;
    assert_eq!(server.metric("signet_xds_pushes_total{type=\"secret\"}"), Some(11));
    let good = Identity::new(&authority, "/a", HOUR);
    agent.issue(&[&good], &[]);
    assert_eq!(certificate(&stream.accept().await.secret()), good.chain);
}
