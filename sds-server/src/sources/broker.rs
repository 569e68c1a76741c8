//! The SPIFFE Broker API as a source: the identities of other processes of this node.
//!
//! The channel is mutual TLS over the agent's broker socket, with the server's own SVID.
//! Experimental in SPIRE, from 1.15.3 on.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use spiffe::broker_api::SecurityHeader;
use spiffe::broker_api::pb::spiffe::broker::api_client::ApiClient;
use spiffe::broker_api::pb::spiffe::broker::{
    FetchJwtsvidRequest, SubscribeToX509svidRequest, SubscribeToX509svidResponse,
    WorkloadPidReference,
};
use spiffe::x509_source::SvidPicker;
use spiffe::{SpiffeId, TrustDomain, X509BundleSet, X509Context, X509Source, X509Svid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint as TonicEndpoint, Uri};
use tower::service_fn;

use super::jwt::{JwtRequest, Token};
use super::listener::{Said, Sayings};
use super::trouble::{Endpoint, Trouble, causes};
use crate::config;

const HINT: &str = "is our SPIFFE ID among the agent's experimental.broker.brokers, with the reference type spiffe.broker.WorkloadPIDReference?";
/// An agent that is frozen is noticed after both times.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(5));
/// Below this path lie SPIRE's agents; its server issues no workload such an ID.
const AGENTS: &str = "/spire/agent/";

/// An agent that makes us a broker.
pub(super) struct Broker {
    pub(super) endpoint: Endpoint,
    own: Endpoint,
    agent_id: Option<SpiffeId>,
    own_id: Option<SpiffeId>,
    opened: OnceCell<Opened>,
}

/// The way to the agent.
struct Opened {
    dialer: Dialer,
    /// It reconnects by itself.
    channel: Channel,
}

/// Opens connections to the agent, each with the newest SVID.
#[derive(Clone)]
struct Dialer {
    path: PathBuf,
    tls: TlsConnector,
}

impl Dialer {
    async fn dial(&self) -> io::Result<TlsStream<UnixStream>> {
        let stream = UnixStream::connect(&self.path).await?;
        // The agent is known by its SPIFFE ID; the name means nothing.
        let name = ServerName::try_from("spire-agent").map_err(io::Error::other)?;
        self.tls.connect(name, stream).await
    }
}

impl Broker {
    pub(super) fn new(broker: &config::Broker) -> Self {
        Self {
            endpoint: Endpoint { api: "Broker API", address: broker.socket.clone() },
            own: Endpoint { api: "Workload API", address: broker.workload_api.clone() },
            agent_id: broker.agent_id.as_ref().map(|id| id.0.clone()),
            own_id: broker.spiffe_id.as_ref().map(|id| id.0.clone()),
            opened: OnceCell::new(),
        }
    }

    /// Whether the agent takes us for a broker: then its HTTP/2 answers.
    pub(super) async fn probe(&self) -> Result<(), Trouble> {
        /// A client's preface, and settings without any (RFC 9113 §3.4).
        const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let knocking = async {
            let dialer = &self.opened().await?.dialer;
            let answer = async {
                let mut stream = dialer.dial().await?;
                stream.write_all(HELLO).await?;
                stream.read_u8().await
            };
            answer.await.map_err(|error| self.endpoint.unreached(causes(&error), HINT))
        };
        self.endpoint.answered(knocking).await.map(drop)
    }

    async fn opened(&self) -> Result<&Opened, Trouble> {
        self.opened.get_or_try_init(|| self.connect()).await
    }

    /// Opens a stream of the identities of process `pid`.
    pub(super) async fn subscribe(&self, pid: i32) -> Result<Sayings, Trouble> {
        let channel = self.opened().await?.channel.clone();
        let reference = Some(WorkloadPidReference { pid }.into());
        let request = SubscribeToX509svidRequest { reference };
        let mut client = ApiClient::with_interceptor(channel, SecurityHeader::new());
        let endpoint = self.endpoint.clone();
        let stream = client
            .subscribe_to_x509svid(request)
            .await
            .map_err(|status| endpoint.status(&status, HINT))?
            .into_inner();
        let failing = endpoint.clone();
        let stream = stream.map_err(move |status| failing.status(&status, HINT));
        Ok(stream.map(move |said| said.and_then(|said| read(said, &endpoint))).boxed())
    }

    /// Asks for the JWT-SVIDs of process `pid`.
    pub(super) async fn jwt_svids(
        &self,
        pid: i32,
        request: &JwtRequest,
    ) -> Result<Vec<Token>, Trouble> {
        let channel = self.opened().await?.channel.clone();
        let request = FetchJwtsvidRequest {
            reference: Some(WorkloadPidReference { pid }.into()),
            audience: request.audience.iter().cloned().collect(),
            spiffe_id: request.id.to_string(),
        };
        let mut client = ApiClient::with_interceptor(channel, SecurityHeader::new());
        let answer = client.fetch_jwtsvid(request).await;
        let answer = answer.map_err(|status| self.endpoint.status(&status, HINT))?.into_inner();
        Ok(answer.svids.into_iter().map(|issued| Token::new(issued.svid)).collect())
    }

    /// Opens the way as soon as we have an identity of our own.
    async fn connect(&self) -> Result<Opened, Trouble> {
        let source = X509Source::builder()
            .endpoint(self.own.address.to_string())
            .picker(OwnSvid(self.own_id.clone()))
            .build();
        let source = async { source.await.map_err(|error| self.own.unreadable(&error)) };
        let source = self.own.answered(Box::pin(source)).await?;
        let domain = source
            .svid()
            .map_err(|error| self.own.unreadable(&error))?
            .spiffe_id()
            .trust_domain()
            .clone();
        let agent_id = self.agent_id.clone();
        let tls = spiffe_rustls::mtls_client(source)
            .authorize(move |id: &SpiffeId| is_agent(id, agent_id.as_ref(), &domain))
            .with_alpn_protocols([b"h2"])
            .build()
            .map_err(|error| self.endpoint.unreadable(&error))?;
        let path = self.endpoint.address.path().to_owned();
        let dialer = Dialer { path, tls: TlsConnector::from(Arc::<ClientConfig>::new(tls)) };
        let dialing = dialer.clone();
        let connector = service_fn(move |_: Uri| {
            let dialer = dialing.clone();
            async move { dialer.dial().await.map(TokioIo::new) }
        });
        let channel = TonicEndpoint::from_static("http://spire-agent")
            .http2_keep_alive_interval(KEEPALIVE.0)
            .keep_alive_timeout(KEEPALIVE.1)
            .connect_with_connector_lazy(connector);
        Ok(Opened { dialer, channel })
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Broker").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// The SVID by which the agent knows us: the configured one, else the smallest SPIFFE ID, for the
/// agent names them in no order.
#[derive(Debug)]
struct OwnSvid(Option<SpiffeId>);

impl SvidPicker for OwnSvid {
    fn pick_svid(&self, svids: &[Arc<X509Svid>]) -> Option<usize> {
        let ids = svids.iter().map(|svid| svid.spiffe_id()).enumerate();
        let wanted = ids.filter(|(_, id)| self.0.as_ref().is_none_or(|wanted| wanted == *id));
        wanted.min_by_key(|(_, id)| *id).map(|(position, _)| position)
    }
}

/// Whether whoever answers at the broker socket is an agent: the configured one, else any of our
/// own trust domain.
fn is_agent(id: &SpiffeId, configured: Option<&SpiffeId>, own: &TrustDomain) -> bool {
    match configured {
        Some(configured) => id == configured,
        None => id.trust_domain() == own && id.path().starts_with(AGENTS),
    }
}

/// An empty list means that the process has no identity now; the stream goes on.
fn read(said: SubscribeToX509svidResponse, endpoint: &Endpoint) -> Result<Said, Trouble> {
    if said.svids.is_empty() {
        return Ok(Said::Nothing);
    }
    let (mut svids, mut bundles) = (Vec::new(), X509BundleSet::new());
    for issued in said.svids {
        let hint = (!issued.hint.is_empty()).then(|| Arc::from(issued.hint));
        let svid =
            X509Svid::parse_from_der_with_hint(&issued.x509_svid, &issued.x509_svid_key, hint)
                .map_err(|error| endpoint.unreadable(&error))?;
        let domain = svid.spiffe_id().trust_domain().clone();
        svids.push(Arc::new(svid));
        bundles.add_bundle(endpoint.bundle(domain, &issued.bundle)?);
    }
    for (domain, bundle) in said.federated_bundles {
        let domain = TrustDomain::new(&domain).map_err(|error| endpoint.unreadable(&error))?;
        bundles.add_bundle(endpoint.bundle(domain, &bundle)?);
    }
    Ok(Said::Issued(X509Context::new(svids, bundles)))
}

#[cfg(test)]
mod tests {
    use spiffe::{SpiffeId, TrustDomain};

    use super::is_agent;

    #[test]
    fn only_an_agent_of_our_own_domain_or_the_configured_one_is_believed() {
        let id = |text: &str| SpiffeId::new(text).expect(text);
        let own = TrustDomain::new("example.org").expect("a domain");
        let agent = id("spiffe://example.org/spire/agent/join_token/1");
        for (found, configured, believed) in [
            (agent.clone(), None, true),
            (id("spiffe://example.org/spire/agent"), None, false),
            (id("spiffe://example.org/ns/spire/agent/x"), None, false),
            (id("spiffe://other.org/spire/agent/join_token/1"), None, false),
            (agent.clone(), Some(agent.clone()), true),
            (id("spiffe://example.org/spire/agent/join_token/2"), Some(agent), false),
        ] {
            assert_eq!(is_agent(&found, configured.as_ref(), &own), believed, "{found}");
        }
    }
}
