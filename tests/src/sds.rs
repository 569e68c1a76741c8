//! The secret discovery service as seen from its other side: a client that says exactly what a test
//! tells it to, where Envoy would be well-behaved.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use envoy_types::pb::{
    envoy::{
        config::core::v3::{Node, data_source},
        extensions::transport_sockets::tls::v3::{Secret, secret},
        service::{
            discovery::v3::{
                DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
            },
            secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient,
        },
    },
    google::protobuf::{Struct, Value, value::Kind},
    google::rpc,
};
use hyper_util::rt::TokioIo;
use prost::{Message, Name};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use crate::{PATIENCE, fetched::Leaf};

/// How long nothing must come for the other side to count as silent.
const SILENCE: Duration = Duration::from_millis(1500);

/// A connection to an SDS server's Unix socket.
#[derive(Clone, Debug)]
pub struct SdsClient(Channel);

/// A stream of the state of the world.
#[derive(Debug)]
pub struct SdsStream {
    requests: mpsc::UnboundedSender<DiscoveryRequest>,
    responses: mpsc::UnboundedReceiver<Result<DiscoveryResponse, Code>>,
    version: String,
    nonce: String,
}

/// What came over a stream.
#[derive(Clone, Debug)]
pub enum Heard {
    /// Secrets.
    Pushed(Vec<Secret>),
    /// The stream ended with this code.
    Ended(Code),
    /// Nothing, for a while.
    Silence,
}

impl SdsClient {
    /// Connects.
    pub async fn connect(path: &Path) -> Result<Self> {
        let path = path.to_path_buf();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move {
                let stream = tokio::net::UnixStream::connect(path).await?;
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        let endpoint = Endpoint::from_static("http://sds");
        Ok(Self(endpoint.connect_with_connector(connector).await.context("no HTTP/2")?))
    }

    /// Opens a stream with a first request.
    pub fn open(&self, names: &[&str]) -> SdsStream {
        self.send_first(request(names))
    }

    /// The same, by an Envoy whose node has a metadata key set to true.
    pub fn open_with(&self, metadata: &str, names: &[&str]) -> SdsStream {
        let truth = Value { kind: Some(Kind::BoolValue(true)) };
        let fields = [(metadata.to_owned(), truth)].into_iter().collect();
        let mut first = request(names);
        first.node.get_or_insert_default().metadata = Some(Struct { fields });
        self.send_first(first)
    }

    /// The same, with another type URL.
    pub fn open_as(&self, type_url: &str, names: &[&str]) -> SdsStream {
        self.send_first(DiscoveryRequest { type_url: type_url.to_owned(), ..request(names) })
    }

    fn send_first(&self, first: DiscoveryRequest) -> SdsStream {
        let (requests, outbound) = mpsc::unbounded_channel();
        let (heard, responses) = mpsc::unbounded_channel();
        // The receivers live in the task that follows, and in the stream that is returned.
        let _ = requests.send(first);
        tokio::spawn(listen(self.0.clone(), outbound, heard));
        SdsStream { requests, responses, version: String::new(), nonce: String::new() }
    }

    /// Asks once.
    pub async fn fetch(&self, names: &[&str]) -> Result<(DiscoveryResponse, Vec<Secret>), Code> {
        let mut client = SecretDiscoveryServiceClient::new(self.0.clone());
        let response = client.fetch_secrets(request(names)).await;
        let response = response.map_err(|status| status.code())?.into_inner();
        let secrets = secrets(&response);
        Ok((response, secrets))
    }

    /// Opens an incremental stream and returns its first response.
    pub async fn delta(&self, names: &[&str]) -> Result<DeltaDiscoveryResponse, Code> {
        let first = DeltaDiscoveryRequest {
            node: Some(node()),
            type_url: Secret::type_url(),
            resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        let mut client = SecretDiscoveryServiceClient::new(self.0.clone());
        let outbound = tokio_stream::StreamExt::chain(
            tokio_stream::once(first),
            tokio_stream::pending::<DeltaDiscoveryRequest>(),
        );
        let mut responses =
            client.delta_secrets(outbound).await.map_err(|status| status.code())?.into_inner();
        let first = tokio::time::timeout(PATIENCE, responses.message()).await;
        let first = first.map_err(|_| Code::DeadlineExceeded)?.map_err(|status| status.code())?;
        first.ok_or(Code::Ok)
    }
}

impl SdsStream {
    /// Waits for what comes next, for so long that a busy machine is no excuse.
    pub async fn next(&mut self) -> Result<Vec<Secret>> {
        match self.within(PATIENCE).await {
            Heard::Pushed(secrets) => Ok(secrets),
            other => bail!("no secrets came: {other:?}"),
        }
    }

    /// What comes within a short time, or that nothing does.
    pub async fn hear(&mut self) -> Heard {
        self.within(SILENCE).await
    }

    /// All secrets that come to one who asked for `wanted`, accepted one response after another,
    /// until there is silence.
    pub async fn all(&mut self, wanted: &[&str]) -> Heard {
        let mut all = match self.within(PATIENCE).await {
            Heard::Pushed(secrets) => secrets,
            other => return other,
        };
        loop {
            self.accept(wanted);
            match self.hear().await {
                Heard::Pushed(more) => all.extend(more),
                Heard::Silence => return Heard::Pushed(all),
                ended @ Heard::Ended(_) => return ended,
            }
        }
    }

    async fn within(&mut self, patience: Duration) -> Heard {
        match tokio::time::timeout(patience, self.responses.recv()).await {
            Err(_) => Heard::Silence,
            Ok(None) => Heard::Ended(Code::Ok),
            Ok(Some(Err(code))) => Heard::Ended(code),
            Ok(Some(Ok(response))) => {
                self.version.clone_from(&response.version_info);
                self.nonce.clone_from(&response.nonce);
                Heard::Pushed(secrets(&response))
            }
        }
    }

    /// The version of the last response.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Accepts the last response and names what is wanted from now on.
    pub fn accept(&self, names: &[&str]) {
        let version_info = self.version.clone();
        self.say(DiscoveryRequest { version_info, ..request(names) });
    }

    /// Refuses the last response, as an Envoy that held nothing before.
    pub fn refuse(&self, names: &[&str]) {
        let error = rpc::Status { code: 13, message: "refused by a test".into(), details: vec![] };
        self.say(DiscoveryRequest { error_detail: Some(error), ..request(names) });
    }

    fn say(&self, request: DiscoveryRequest) {
        // A stream that has ended is noticed by whoever listens.
        let _ =
            self.requests.send(DiscoveryRequest { response_nonce: self.nonce.clone(), ..request });
    }
}

/// Carries one stream. Some servers send nothing, headers included, before the first secret, so
/// opening may take as long.
async fn listen(
    channel: Channel,
    outbound: mpsc::UnboundedReceiver<DiscoveryRequest>,
    heard: mpsc::UnboundedSender<Result<DiscoveryResponse, Code>>,
) {
    let mut client = SecretDiscoveryServiceClient::new(channel);
    let ended = async {
        let mut responses =
            client.stream_secrets(UnboundedReceiverStream::new(outbound)).await?.into_inner();
        while let Some(response) = responses.message().await? {
            // Nobody listens any more when a test is over.
            let _ = heard.send(Ok(response));
        }
        Ok::<(), Status>(())
    };
    if let Err(status) = ended.await {
        let _ = heard.send(Err(status.code()));
    }
}

/// The names of secrets.
pub fn names(secrets: &[Secret]) -> Vec<&str> {
    secrets.iter().map(|secret| secret.name.as_str()).collect()
}

/// Whether a secret brings a private key.
pub fn has_key(secret: &Secret) -> bool {
    matches!(&secret.r#type, Some(secret::Type::TlsCertificate(found)) if found.private_key.is_some())
}

/// What the certificate in a secret says.
pub fn leaf(secret: &Secret) -> Result<Leaf> {
    let Some(secret::Type::TlsCertificate(found)) = &secret.r#type else {
        bail!("{} holds no certificate", secret.name);
    };
    let chain = found.certificate_chain.as_ref().and_then(|chain| chain.specifier.as_ref());
    let Some(data_source::Specifier::InlineBytes(chain)) = chain else {
        bail!("{} holds its certificate elsewhere", secret.name);
    };
    Leaf::read(&CertificateDer::from_pem_slice(chain).context("the certificate is no PEM")?)
}

/// The claims of a JWT-SVID; nothing is verified.
pub fn claims(secret: &Secret) -> Result<serde_json::Value> {
    let Some(secret::Type::GenericSecret(found)) = &secret.r#type else {
        bail!("{} holds no generic secret", secret.name);
    };
    let token = found.secret.as_ref().and_then(|token| token.specifier.as_ref());
    let Some(data_source::Specifier::InlineString(token)) = token else {
        bail!("{} holds its token elsewhere", secret.name);
    };
    let payload = token.split('.').nth(1).context("the token has no claims")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?)
}

/// The certificate validator that a bundle is meant for, or `plain` for Envoy's own.
pub fn validator(secret: &Secret) -> String {
    match &secret.r#type {
        Some(secret::Type::ValidationContext(context)) => context
            .custom_validator_config
            .as_ref()
            .map_or_else(|| "plain".to_owned(), |validator| validator.name.clone()),
        _ => "none".to_owned(),
    }
}

fn secrets(response: &DiscoveryResponse) -> Vec<Secret> {
    let decoded = response.resources.iter().map(|any| Secret::decode(any.value.as_slice()));
    decoded.filter_map(Result::ok).collect()
}

fn request(names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        node: Some(node()),
        resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
        type_url: Secret::type_url(),
        ..Default::default()
    }
}

fn node() -> Node {
    Node { id: "by-hand".into(), cluster: "proof".into(), ..Default::default() }
}
