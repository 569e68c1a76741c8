//! A Workload API that says what the test wants.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use futures::StreamExt;
use prost::Message;
use tokio::sync::watch;
use tokio_stream::wrappers::{UnixListenerStream, WatchStream};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::{Authority, token};

/// The answer of `FetchX509SVID`, as the SPIFFE Workload API standard numbers its fields.
#[derive(Clone, PartialEq, Message)]
struct X509SvidResponse {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<X509Svid>,
    #[prost(map = "string, bytes", tag = "3")]
    federated_bundles: HashMap<String, Vec<u8>>,
}

#[expect(clippy::struct_field_names, reason = "the standard's names")]
#[derive(Clone, PartialEq, Message)]
struct X509Svid {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    #[prost(bytes = "vec", tag = "2")]
    x509_svid: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    x509_svid_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    bundle: Vec<u8>,
    #[prost(string, tag = "5")]
    hint: String,
}

#[derive(Clone, PartialEq, Message)]
struct X509SvidRequest {}

/// The request and the answer of `FetchJWTSVID`.
#[derive(Clone, PartialEq, Message)]
struct JwtSvidRequest {
    #[prost(string, repeated, tag = "1")]
    audience: Vec<String>,
    #[prost(string, tag = "2")]
    spiffe_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct JwtSvidResponse {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<JwtSvid>,
}

#[derive(Clone, PartialEq, Message)]
struct JwtSvid {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    #[prost(string, tag = "2")]
    svid: String,
}

/// How long JWT-SVIDs live, or nothing: they are refused; and all that were issued.
#[derive(Default)]
struct Tokens {
    life: Option<Duration>,
    issued: Vec<String>,
}

/// What is issued: a leaf, its key, and the bundle of its trust domain.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) chain: Vec<u8>,
    pub(crate) key: Vec<u8>,
    pub(crate) bundle: Vec<u8>,
    pub(crate) hint: String,
}

impl Identity {
    pub(crate) fn new(authority: &Authority, path: &str, life: Duration) -> Self {
        let (chain, key) = authority.pair(path, life);
        Self {
            id: format!("spiffe://{}{path}", authority.domain),
            chain,
            key,
            bundle: authority.certificate.clone(),
            hint: String::new(),
        }
    }
}

impl Tokens {
    fn sign(&mut self, request: &JwtSvidRequest) -> Result<JwtSvidResponse, Status> {
        let life = self.life.ok_or_else(|| Status::permission_denied("no tokens today"))?;
        let audience: Vec<&str> = request.audience.iter().map(String::as_str).collect();
        let svid = token(&request.spiffe_id, &audience, SystemTime::now(), life);
        self.issued.push(svid.clone());
        let spiffe_id = request.spiffe_id.clone();
        Ok(JwtSvidResponse { svids: vec![JwtSvid { spiffe_id, svid }] })
    }
}

/// A running Workload API; dropping it closes all streams and removes the socket.
pub(crate) struct Agent {
    path: PathBuf,
    says: watch::Sender<Result<X509SvidResponse, Status>>,
    tokens: Arc<Mutex<Tokens>>,
    task: tokio::task::JoinHandle<()>,
}

impl Agent {
    /// Serves at `path`; until told otherwise it issues nothing.
    pub(crate) fn serve(path: &Path) -> Self {
        let (says, heard) = watch::channel(Err(Status::permission_denied("no identity issued")));
        let listener = tokio::net::UnixListener::bind(path).expect("a socket");
        let fetch = move |request: axum::http::Request<Body>| {
            let heard = heard.clone();
            async move {
                let open = service_fn(move |_: Request<X509SvidRequest>| {
                    let heard = heard.clone();
                    async move {
                        heard.borrow().clone()?;
                        Ok::<_, Status>(Response::new(WatchStream::new(heard).boxed()))
                    }
                });
                let codec = ProstCodec::<X509SvidResponse, X509SvidRequest>::default();
                tonic::server::Grpc::new(codec).server_streaming(open, request).await
            }
        };
        let tokens = Arc::<Mutex<Tokens>>::default();
        let shared = Arc::clone(&tokens);
        let sign = move |request: axum::http::Request<Body>| {
            let tokens = Arc::clone(&shared);
            async move {
                let answer = service_fn(move |request: Request<JwtSvidRequest>| {
                    let answer = tokens.lock().expect("unpoisoned").sign(request.get_ref());
                    async move { answer.map(Response::new) }
                });
                let codec = ProstCodec::<JwtSvidResponse, JwtSvidRequest>::default();
                tonic::server::Grpc::new(codec).unary(answer, request).await
            }
        };
        let router = Router::new()
            .route("/SpiffeWorkloadAPI/FetchX509SVID", post(fetch))
            .route("/SpiffeWorkloadAPI/FetchJWTSVID", post(sign));
        let routes = Routes::from(router);
        let serving = tonic::transport::Server::builder()
            .add_routes(routes)
            .serve_with_incoming(UnixListenerStream::new(listener));
        let task = tokio::spawn(async move { serving.await.expect("served") });
        Self { path: path.into(), says, tokens, task }
    }

    pub(crate) fn issue(&self, identities: &[&Identity], federated: &[&Authority]) {
        let svids = identities.iter().map(|identity| X509Svid {
            spiffe_id: identity.id.clone(),
            x509_svid: identity.chain.clone(),
            x509_svid_key: identity.key.clone(),
            bundle: identity.bundle.clone(),
            hint: identity.hint.clone(),
        });
        let federated = federated.iter().map(|authority| {
            (format!("spiffe://{}", authority.domain), authority.certificate.clone())
        });
        let _ = self.says.send_replace(Ok(X509SvidResponse {
            svids: svids.collect(),
            federated_bundles: federated.collect(),
        }));
    }

    /// Issues JWT-SVIDs of this life from now on; `None`: refuses to.
    pub(crate) fn issue_tokens(&self, life: Option<Duration>) {
        self.tokens.lock().expect("unpoisoned").life = life;
    }

    /// Every JWT-SVID that was issued.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.tokens.lock().expect("unpoisoned").issued.clone()
    }

    pub(crate) fn withdraw(&self) {
        let _ = self.says.send_replace(Err(Status::permission_denied("no identity issued")));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}
