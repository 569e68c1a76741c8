//! An Envoy as far as SDS and ECDS go, with the complete message types.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{
    DataSource, Node, TypedExtensionConfig, data_source::Specifier,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    Secret, SpiffeCertValidatorConfig, secret::Type, subject_alt_name_matcher::SanType,
};
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::envoy::service::extension::v3::extension_config_discovery_service_client::ExtensionConfigDiscoveryServiceClient;
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::google::rpc;
use hyper_util::rt::TokioIo;
use prost::{Message, Name};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tower::service_fn;

/// A connection.
#[derive(Clone)]
pub(crate) struct Client(pub(crate) Channel);

/// A stream.
pub(crate) struct Discovery {
    requests: mpsc::UnboundedSender<DiscoveryRequest>,
    pub(crate) responses: Streaming<DiscoveryResponse>,
    type_url: String,
    names: Vec<String>,
    pub(crate) version: String,
}

/// A response that has not been answered yet.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub(crate) response: DiscoveryResponse,
}

impl Client {
    pub(crate) async fn connect(path: &Path) -> Self {
        Self::try_connect(path).await.expect("connected")
    }

    pub(crate) async fn try_connect(path: &Path) -> Result<Self, tonic::transport::Error> {
        Self::through(Endpoint::from_static("http://sds"), path).await
    }

    /// A connection that takes in only so many bytes that nobody has read.
    pub(crate) async fn narrow(path: &Path, window: u32) -> Self {
        let endpoint = Endpoint::from_static("http://sds").initial_stream_window_size(window);
        Self::through(endpoint, path).await.expect("connected")
    }

    /// A connection over TCP with mutual TLS: what is shown, and nothing where that is nothing. Any
    /// certificate of the server is accepted.
    pub(crate) async fn over_tls(
        address: SocketAddr,
        shown: Option<&(Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, tonic::transport::Error> {
        Self::by(Ipv4Addr::LOCALHOST, address, tls(shown)).await
    }

    /// The same, from that address of this machine.
    pub(crate) async fn over_tls_from(
        host: Ipv4Addr,
        address: SocketAddr,
        shown: &(Vec<u8>, Vec<u8>),
    ) -> Result<Self, tonic::transport::Error> {
        Self::by(host, address, tls(Some(shown))).await
    }

    /// The same, showing a leaf and its intermediates.
    pub(crate) async fn with_chain(
        address: SocketAddr,
        chain: &[Vec<u8>],
        key: &[u8],
    ) -> Result<Self, tonic::transport::Error> {
        Self::by(Ipv4Addr::LOCALHOST, address, tls_with(Some((chain, key)))).await
    }

    async fn by(
        host: Ipv4Addr,
        address: SocketAddr,
        tls: Arc<rustls::ClientConfig>,
    ) -> Result<Self, tonic::transport::Error> {
        let tls = tokio_rustls::TlsConnector::from(tls);
        let connector = service_fn(move |_| {
            let tls = tls.clone();
            async move {
                let socket = tokio::net::TcpSocket::new_v4()?;
                socket.bind((host, 0).into())?;
                let stream = socket.connect(address).await?;
                let name = "signet.invalid".try_into().expect("a name");
                Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, stream).await?))
            }
        });
        Endpoint::from_static("http://sds").connect_with_connector(connector).await.map(Self)
    }

    async fn through(endpoint: Endpoint, path: &Path) -> Result<Self, tonic::transport::Error> {
        let path = path.to_path_buf();
        let connector = service_fn(move |_| {
            let path = path.clone();
            async move {
                let stream = tokio::net::UnixStream::connect(path).await?;
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        endpoint.connect_with_connector(connector).await.map(Self)
    }

    pub(crate) async fn secrets(&self, names: &[&str], version: &str) -> Discovery {
        let (requests, outbound) = mpsc::unbounded_channel();
        let mut discovery = Outgoing {
            requests,
            node: "test".into(),
            type_url: Secret::type_url(),
            names: owned(names),
            version: version.into(),
        };
        discovery.first();
        let responses = SecretDiscoveryServiceClient::new(self.0.clone())
            .stream_secrets(UnboundedReceiverStream::new(outbound))
            .await;
        discovery.opened(responses.expect("a stream").into_inner())
    }

    pub(crate) async fn extensions(&self, names: &[&str]) -> Discovery {
        self.extensions_as("test", names, "").await
    }

    /// The same for a node of this ID, which has this version already.
    pub(crate) async fn extensions_as(
        &self,
        node: &str,
        names: &[&str],
        version: &str,
    ) -> Discovery {
        let (requests, outbound) = mpsc::unbounded_channel();
        let mut discovery = Outgoing {
            requests,
            node: node.into(),
            type_url: TypedExtensionConfig::type_url(),
            names: owned(names),
            version: version.into(),
        };
        discovery.first();
        let mut client = ExtensionConfigDiscoveryServiceClient::new(self.0.clone());
        let responses =
            client.stream_extension_configs(UnboundedReceiverStream::new(outbound)).await;
        discovery.opened(responses.expect("a stream").into_inner())
    }

    pub(crate) async fn fetch(&self, names: &[&str]) -> Result<Vec<Secret>, Status> {
        self.fetch_as(Node::default(), names).await
    }

    pub(crate) async fn fetch_as(&self, node: Node, names: &[&str]) -> Result<Vec<Secret>, Status> {
        let request = DiscoveryRequest {
            node: Some(node),
            resource_names: owned(names),
            type_url: Secret::type_url(),
            ..Default::default()
        };
        let response = SecretDiscoveryServiceClient::new(self.0.clone())
            .fetch_secrets(request)
            .await?
            .into_inner();
        Ok(response
            .resources
            .iter()
            .map(|any| Secret::decode(any.value.as_slice()).expect("a secret"))
            .collect())
    }
}

/// TLS 1.3 as a client that shows a certificate and accepts any.
pub(crate) fn tls(shown: Option<&(Vec<u8>, Vec<u8>)>) -> Arc<rustls::ClientConfig> {
    tls_with(shown.map(|(leaf, key)| (std::slice::from_ref(leaf), key.as_slice())))
}

fn tls_with(shown: Option<(&[Vec<u8>], &[u8])>) -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("known versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)));
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = rustls_pki_types::PrivatePkcs8KeyDer::from(key.to_vec());
            let chain = chain.iter().cloned().map(CertificateDer::from).collect();
            builder.with_client_auth_cert(chain, key.into()).expect("a certificate and its key")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

#[derive(Debug)]
struct AcceptAny(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

struct Outgoing {
    requests: mpsc::UnboundedSender<DiscoveryRequest>,
    node: String,
    type_url: String,
    names: Vec<String>,
    version: String,
}

impl Outgoing {
    fn first(&mut self) {
        let request = DiscoveryRequest {
            version_info: self.version.clone(),
            node: Some(Node { id: self.node.clone(), ..Default::default() }),
            resource_names: self.names.clone(),
            type_url: self.type_url.clone(),
            ..Default::default()
        };
        self.requests.send(request).expect("open");
    }

    fn opened(self, responses: Streaming<DiscoveryResponse>) -> Discovery {
        Discovery {
            requests: self.requests,
            responses,
            type_url: self.type_url,
            names: self.names,
            version: self.version,
        }
    }
}

impl Discovery {
    /// The next response, which must come.
    pub(crate) async fn next(&mut self) -> Pushed {
        let response = tokio::time::timeout(super::PATIENCE, self.responses.message()).await;
        let response =
            response.expect("a response in time").expect("no error").expect("an open stream");
        Pushed { response }
    }

    /// The next response, accepted.
    pub(crate) async fn accept(&mut self) -> Pushed {
        let pushed = self.next().await;
        self.version.clone_from(&pushed.response.version_info);
        self.answer(&pushed, None);
        pushed
    }

    pub(crate) fn answer(&mut self, pushed: &Pushed, refusal: Option<&str>) {
        let request = DiscoveryRequest {
            version_info: self.version.clone(),
            resource_names: self.names.clone(),
            type_url: self.type_url.clone(),
            response_nonce: pushed.response.nonce.clone(),
            error_detail: refusal.map(|message| rpc::Status {
                code: 13,
                message: message.into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        self.requests.send(request).expect("open");
    }

    /// Asks for these names instead.
    pub(crate) fn rename(&mut self, names: Vec<String>) {
        self.names.clone_from(&names);
        let (version_info, type_url) = (self.version.clone(), self.type_url.clone());
        let request = DiscoveryRequest {
            version_info,
            resource_names: names,
            type_url,
            ..Default::default()
        };
        self.requests.send(request).expect("open");
    }

    /// Whether the server stays silent for a while.
    pub(crate) async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(300), self.responses.message()).await.is_err()
    }

    /// How the stream ends.
    pub(crate) async fn end(&mut self) -> Result<(), Status> {
        loop {
            match tokio::time::timeout(super::PATIENCE, self.responses.message())
                .await
                .expect("an end in time")
            {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(status) => return Err(status),
            }
        }
    }
}

impl Pushed {
    pub(crate) fn secret(&self) -> Secret {
        Secret::decode(self.only().as_slice()).expect("a secret")
    }

    pub(crate) fn extension(&self) -> TypedExtensionConfig {
        TypedExtensionConfig::decode(self.only().as_slice()).expect("an extension")
    }

    fn only(&self) -> &Vec<u8> {
        assert_eq!(self.response.resources.len(), 1, "one resource per response");
        assert_eq!(self.response.resources[0].type_url, self.response.type_url);
        &self.response.resources[0].value
    }
}

/// The leaf in DER.
pub(crate) fn certificate(secret: &Secret) -> Vec<u8> {
    let Some(Type::TlsCertificate(certificate)) = &secret.r#type else {
        panic!("no certificate: {}", secret.name)
    };
    der(certificate.certificate_chain.as_ref())
}

/// The key in DER.
pub(crate) fn key(secret: &Secret) -> Vec<u8> {
    let Some(Type::TlsCertificate(certificate)) = &secret.r#type else {
        panic!("no certificate: {}", secret.name)
    };
    der(certificate.private_key.as_ref())
}

/// The text of a generic secret.
pub(crate) fn generic(secret: &Secret) -> String {
    let Some(Type::GenericSecret(generic)) = &secret.r#type else {
        panic!("no generic secret: {}", secret.name)
    };
    match generic.secret.as_ref().and_then(|source| source.specifier.as_ref()) {
        Some(Specifier::InlineString(text)) => text.clone(),
        other => panic!("{other:?}"),
    }
}

/// The first authority in DER of a validation context that trusts a plain list.
pub(crate) fn plain_authority(secret: &Secret) -> Vec<u8> {
    let Some(Type::ValidationContext(context)) = &secret.r#type else {
        panic!("no validation context: {}", secret.name)
    };
    assert_eq!(context.custom_validator_config, None);
    der(context.trusted_ca.as_ref())
}

/// Whom a validation context accepts, as `exact URI` and `prefix URI`.
pub(crate) fn accepted(secret: &Secret) -> Vec<String> {
    let Some(Type::ValidationContext(context)) = &secret.r#type else {
        panic!("no validation context: {}", secret.name)
    };
    let matchers = context.match_typed_subject_alt_names.iter().map(|matcher| {
        assert_eq!(matcher.san_type, i32::from(SanType::Uri));
        match matcher.matcher.as_ref().and_then(|matcher| matcher.match_pattern.as_ref()) {
            Some(MatchPattern::Exact(uri)) => format!("exact {uri}"),
            Some(MatchPattern::Prefix(uri)) => format!("prefix {uri}"),
            other => panic!("{other:?}"),
        }
    });
    matchers.collect()
}

/// What a validation context trusts: each trust domain and the first of its authorities in DER.
pub(crate) fn trust_domains(secret: &Secret) -> Vec<(String, Vec<u8>)> {
    let Some(Type::ValidationContext(context)) = &secret.r#type else {
        panic!("no validation context: {}", secret.name)
    };
    let custom = context.custom_validator_config.as_ref().expect("a custom validator");
    assert_eq!(custom.name, "envoy.tls.cert_validator.spiffe");
    let config = SpiffeCertValidatorConfig::decode(
        custom.typed_config.as_ref().expect("typed").value.as_slice(),
    )
    .expect("its type");
    config
        .trust_domains
        .iter()
        .map(|domain| (domain.name.clone(), der(domain.trust_bundle.as_ref())))
        .collect()
}

fn der(source: Option<&DataSource>) -> Vec<u8> {
    let Some(Specifier::InlineBytes(pem)) = source.and_then(|source| source.specifier.as_ref())
    else {
        panic!("no inline bytes")
    };
    pem_rfc7468::decode_vec(pem).expect("PEM").1
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
