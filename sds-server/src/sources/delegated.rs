//! SPIRE's Delegated Identity API as a source: the identities of other processes of this node.
//!
//! It is spoken on the agent's admin socket, from SPIRE 1.10.2 on by process number. SVIDs come on a
//! stream per process, bundles on one for all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use hyper_util::rt::TokioIo;
use spiffe::{TrustDomain, X509BundleSet, X509Context, X509Svid};
use spire_api::pb::spire::api::agent::delegatedidentity::v1::delegated_identity_client::DelegatedIdentityClient;
use spire_api::pb::spire::api::agent::delegatedidentity::v1::{
    FetchJwtsviDsRequest, SubscribeToX509BundlesRequest, SubscribeToX509BundlesResponse,
    SubscribeToX509sviDsRequest, SubscribeToX509sviDsResponse, X509svidWithKey,
};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::WatchStream;
use tonic::transport::{Channel, Endpoint as TonicEndpoint, Uri};
use tower::service_fn;

use super::jwt::{JwtRequest, Token};
use super::listener::{Said, Sayings};
use super::reminders::Reminders;
use super::trouble::{Endpoint, Trouble};
use super::{Identities, SvidSnapshot};
use crate::config::UnixAddress;
use crate::metrics::{Metrics, OpenStream};

const HINT: &str = "is our SPIFFE ID among the agent's authorized_delegates, and a workload registered that is us?";
/// SPIRE's agent never takes a trust domain from a stream of bundles that is open, so it is opened
/// anew this often; what a deleted domain vouches for is trusted no longer than that.
const BUNDLES_ANEW: Duration = Duration::from_mins(1);
const RETRY: Duration = Duration::from_secs(2);

/// An agent that makes us a delegate.
#[derive(Debug)]
pub(super) struct Delegated {
    pub(super) endpoint: Endpoint,
    channel: Channel,
    bundles: watch::Receiver<Option<Arc<X509BundleSet>>>,
}

/// The task that keeps the stream of bundles. As long as it hears them, we are a delegate.
#[derive(Debug)]
pub(super) struct Bundles {
    endpoint: Endpoint,
    channel: Channel,
    heard: watch::Sender<Option<Arc<X509BundleSet>>>,
    /// What health shows.
    shown: watch::Sender<Identities>,
    metrics: Metrics,
    /// See [`BUNDLES_ANEW`].
    anew: Duration,
}

impl Delegated {
    /// A source at the agent's admin socket, the task that hears of bundles for it, and what that
    /// task shows of itself.
    pub(super) fn new(
        socket: UnixAddress,
        metrics: Metrics,
    ) -> (Self, Bundles, watch::Receiver<Identities>) {
        let endpoint = Endpoint { api: "Delegated Identity API", address: socket };
        let channel = connect(&endpoint);
        let (heard, bundles) = watch::channel(None);
        let asked = Some("the source has not been asked yet".into());
        let (shown, told) =
            watch::channel(Identities { trouble: asked, delegate: true, ..Identities::default() });
        let task = Bundles {
            endpoint: endpoint.clone(),
            channel: channel.clone(),
            heard,
            shown,
            metrics,
            anew: BUNDLES_ANEW,
        };
        (Self { endpoint, channel, bundles }, task, told)
    }

    /// Opens a stream of the identities of process `pid`.
    pub(super) async fn subscribe(&self, pid: i32) -> Result<Sayings, Trouble> {
        let request = SubscribeToX509sviDsRequest { selectors: Vec::new(), pid };
        let endpoint = self.endpoint.clone();
        let svids = DelegatedIdentityClient::new(self.channel.clone())
            .subscribe_to_x509svi_ds(request)
            .await
            .map_err(|status| endpoint.status(&status, HINT))?
            .into_inner();
        let failing = endpoint.clone();
        let svids = svids
            .map_err(move |status| failing.status(&status, HINT))
            .map(move |said| said.and_then(|said| Identity::read(said, &endpoint)));
        Ok(joined(svids.boxed(), self.bundles.clone()))
    }

    /// Asks for the JWT-SVIDs of process `pid`, of all its identities.
    pub(super) async fn jwt_svids(
        &self,
        pid: i32,
        request: &JwtRequest,
    ) -> Result<Vec<Token>, Trouble> {
        let audience = request.audience.iter().cloned().collect();
        let request = FetchJwtsviDsRequest { audience, selectors: Vec::new(), pid };
        let mut client = DelegatedIdentityClient::new(self.channel.clone());
        let answer = client.fetch_jwtsvi_ds(request).await;
        let answer = answer.map_err(|status| self.endpoint.status(&status, HINT))?.into_inner();
        Ok(answer.svids.into_iter().map(|issued| Token::new(issued.token)).collect())
    }
}

/// What the agent says of one process.
#[derive(Debug, Clone, Default)]
struct Identity {
    svids: Vec<Arc<X509Svid>>,
    trusted: BTreeSet<TrustDomain>,
}

impl Identity {
    fn read(said: SubscribeToX509sviDsResponse, endpoint: &Endpoint) -> Result<Self, Trouble> {
        let svids = said.x509_svids.into_iter().map(|issued| svid(issued, endpoint));
        let svids = svids.collect::<Result<Vec<_>, _>>()?;
        let mut trusted: BTreeSet<TrustDomain> =
            svids.iter().map(|svid| svid.spiffe_id().trust_domain().clone()).collect();
        for domain in said.federates_with {
            let domain = TrustDomain::new(&domain).map_err(|e| endpoint.unreadable(&e))?;
            trusted.insert(domain);
        }
        Ok(Self { svids, trusted })
    }

    /// The process' part of all `bundles`.
    fn with(&self, bundles: &X509BundleSet) -> Said {
        if self.svids.is_empty() {
            return Said::Nothing;
        }
        let mut own = X509BundleSet::new();
        for bundle in self.trusted.iter().filter_map(|domain| bundles.get(domain)) {
            own.add_bundle(Arc::unwrap_or_clone(bundle));
        }
        Said::Issued(X509Context::new(self.svids.iter().map(Arc::clone), own))
    }
}

fn svid(issued: X509svidWithKey, endpoint: &Endpoint) -> Result<Arc<X509Svid>, Trouble> {
    let document = issued.x509_svid.unwrap_or_default();
    let chain = document.cert_chain.concat();
    let hint = (!document.hint.is_empty()).then(|| Arc::from(document.hint));
    X509Svid::parse_from_der_with_hint(&chain, &issued.x509_svid_key, hint)
        .map(Arc::new)
        .map_err(|error| endpoint.unreadable(&error))
}

/// A process' SVIDs with the bundles that belong to them, whenever either changes. Ends with the
/// stream of SVIDs.
fn joined(
    svids: BoxStream<'static, Result<Identity, Trouble>>,
    bundles: watch::Receiver<Option<Arc<X509BundleSet>>>,
) -> Sayings {
    enum Heard {
        Identity(Result<Identity, Trouble>),
        Bundles(Option<Arc<X509BundleSet>>),
        End,
    }
    let svids = svids.map(Heard::Identity).chain(stream::iter([Heard::End]));
    let bundles = WatchStream::new(bundles).map(Heard::Bundles);
    let state = (None::<Identity>, None::<Arc<X509BundleSet>>);
    stream::select(svids, bundles)
        .scan(state, |(identity, bundles), heard| {
            let said = match heard {
                Heard::End => return std::future::ready(None),
                Heard::Identity(Err(trouble)) => Some(Err(trouble)),
                Heard::Identity(Ok(heard)) => {
                    *identity = Some(heard);
                    None
                }
                Heard::Bundles(heard) => {
                    *bundles = heard;
                    None
                }
            };
            let now = || Some(Ok(identity.as_ref()?.with(bundles.as_ref()?)));
            std::future::ready(Some(said.or_else(now)))
        })
        .filter_map(std::future::ready)
        .boxed()
}

impl Bundles {
    /// Works for ever.
    pub(super) async fn keep_listening(self) {
        let reminders = Reminders::default();
        let mut stream = None;
        loop {
            match self.listen(stream.take()).await {
                Ok(anew) => stream = Some(anew),
                Err(trouble) => {
                    let reason = trouble.to_string();
                    self.metrics.count_reconnect(trouble.class());
                    reminders.warn(&reason, "no bundles from the source; trying again");
                    self.shown.send_modify(|shown| shown.trouble = Some(reason));
                    sleep(RETRY.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
                }
            }
        }
    }

    /// Listens to a stream until it is time for a new one, which it returns.
    async fn listen(&self, open: Option<BundleStream>) -> Result<BundleStream, Trouble> {
        let mut stream = match open {
            Some(stream) => stream,
            None => self.open().await?,
        };
        let until_anew = async {
            loop {
                let said = stream.said.next().await;
                let said = said.ok_or(Trouble::Closed { endpoint: self.endpoint.clone() });
                self.tell(said??)?;
            }
        };
        match timeout(self.anew, until_anew).await {
            Ok(broken) => broken,
            Err(_) => self.open().await,
        }
    }

    async fn open(&self) -> Result<BundleStream, Trouble> {
        let mut client = DelegatedIdentityClient::new(self.channel.clone());
        let opening = async {
            client
                .subscribe_to_x509_bundles(SubscribeToX509BundlesRequest {})
                .await
                .map_err(|status| self.endpoint.status(&status, HINT))
        };
        let stream = self.endpoint.answered(opening).await?.into_inner();
        let endpoint = self.endpoint.clone();
        let said = stream.map_err(move |status| endpoint.status(&status, HINT)).boxed();
        Ok(BundleStream { said, _open: self.metrics.open_workload_api() })
    }

    fn tell(&self, said: SubscribeToX509BundlesResponse) -> Result<(), Trouble> {
        let mut bundles = X509BundleSet::new();
        for (domain, bundle) in said.ca_certificates {
            let domain = TrustDomain::new(&domain).map_err(|e| self.endpoint.unreadable(&e))?;
            bundles.add_bundle(self.endpoint.bundle(domain, &bundle)?);
        }
        let same = |heard: &X509BundleSet| heard.iter().eq(bundles.iter());
        if self.heard.borrow().as_deref().is_some_and(same) {
            self.shown.send_if_modified(|shown| shown.trouble.take().is_some());
            return Ok(());
        }
        let snapshot = SvidSnapshot {
            bundles: bundles.iter().map(|(d, bundle)| (d.clone(), Arc::clone(bundle))).collect(),
            ..SvidSnapshot::default()
        };
        self.heard.send_replace(Some(Arc::new(bundles)));
        self.shown.send_modify(|shown| {
            shown.snapshot = Arc::new(snapshot);
            shown.trouble = None;
        });
        Ok(())
    }
}

/// An open stream of bundles, which counts while it is open.
struct BundleStream {
    said: BoxStream<'static, Result<SubscribeToX509BundlesResponse, Trouble>>,
    _open: OpenStream,
}

fn connect(endpoint: &Endpoint) -> Channel {
    let path = endpoint.address.path().to_owned();
    let connector = service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    TonicEndpoint::from_static("http://spire-agent").connect_with_connector_lazy(connector)
}

#[cfg(test)]
#[path = "delegated_tests.rs"]
mod tests;
