//! The yardstick: the least SDS server that tonic makes. It knows one secret, sends it to whoever
//! asks, and to everybody when the agent issues another. No limits, no checks, no versions by content.

use std::path::PathBuf;

use anyhow::{Context, Result};
use axum::{Router, body::Body, routing::post};
use clap::Args;
use envoy_types::pb::{
    envoy::{
        config::core::v3::{DataSource, data_source::Specifier},
        extensions::transport_sockets::tls::v3::{Secret, TlsCertificate, secret},
        service::discovery::v3::{DiscoveryRequest, DiscoveryResponse},
    },
    google::protobuf::Any,
};
use futures::StreamExt;
use pem_rfc7468::{LineEnding, encode_string};
use prost::Message;
use spiffe::{WorkloadApiClient, X509Context};
use tokio::{
    net::UnixListener,
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming, service::Routes};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::wire::{METHOD, SECRET};

/// What it is told.
#[derive(Args)]
pub(crate) struct Options {
    /// The agent's Workload API socket
    #[arg(long)]
    agent: PathBuf,
    /// The Unix socket to serve on
    #[arg(long)]
    listen: PathBuf,
    /// Read only the fields of a request that are used
    #[arg(long)]
    slim: bool,
}

/// A request without its node.
#[derive(Clone, PartialEq, Message)]
struct SlimRequest {
    #[prost(string, tag = "5")]
    response_nonce: String,
}

/// Serves until it is killed.
pub(crate) async fn run(options: &Options) -> Result<()> {
    // Two threads at work, as other servers have here.
    let workers = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let agent = format!("unix://{}", options.agent.display());
    let (listen, slim) = (options.listen.clone(), options.slim);
    let served = workers.spawn(async move {
        let mut contexts =
            WorkloadApiClient::connect_to(&agent).await?.stream_x509_contexts().await?;
        let first = contexts.next().await.context("the agent hung up")??;
        let (secrets, current) = watch::channel(secret_of(&first)?);
        tokio::spawn(async move {
            while let Some(Ok(issued)) = contexts.next().await {
                let Ok(secret) = secret_of(&issued) else { continue };
                secrets.send_replace(secret);
            }
        });
        let listener = UnixListener::bind(&listen)
            .with_context(|| format!("cannot listen on {}", listen.display()))?;
        let routes =
            if slim { routes::<SlimRequest>(current) } else { routes::<DiscoveryRequest>(current) };
        tonic::transport::Server::builder()
            .add_routes(routes)
            .serve_with_incoming(UnixListenerStream::new(listener))
            .await?;
        anyhow::Ok(())
    });
    let outcome = served.await?;
    workers.shutdown_background();
    outcome
}

/// The default SVID as Envoy wants it.
fn secret_of(issued: &X509Context) -> Result<Any> {
    let svid = issued.default_svid().context("no SVID")?;
    let pem = |label, der: &[u8]| encode_string(label, LineEnding::LF, der);
    let chain: String = svid
        .cert_chain()
        .iter()
        .map(|certificate| pem("CERTIFICATE", certificate.as_bytes()))
        .collect::<Result<_, _>>()?;
    let key = pem("PRIVATE KEY", svid.private_key().as_bytes())?;
    let inline = |text: String| {
        let specifier = Some(Specifier::InlineBytes(text.into_bytes()));
        Some(DataSource { specifier, ..DataSource::default() })
    };
    let certificate = TlsCertificate {
        certificate_chain: inline(chain),
        private_key: inline(key),
        ..TlsCertificate::default()
    };
    let secret = Secret {
        name: "default".to_owned(),
        r#type: Some(secret::Type::TlsCertificate(certificate)),
    };
    Ok(Any { type_url: SECRET.to_owned(), value: secret.encode_to_vec() })
}

/// A request from which the nonce can be read: an empty one asks, any other accepts.
trait Asking: Message + Default + 'static {
    fn asks(&self) -> bool;
}

impl Asking for DiscoveryRequest {
    fn asks(&self) -> bool {
        self.response_nonce.is_empty()
    }
}

impl Asking for SlimRequest {
    fn asks(&self) -> bool {
        self.response_nonce.is_empty()
    }
}

fn routes<R: Asking>(current: watch::Receiver<Any>) -> Routes {
    let method = move |request: axum::http::Request<Body>| {
        let current = current.clone();
        async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<DiscoveryResponse, R>::default());
            let open = service_fn(move |request: Request<Streaming<R>>| {
                let (out, responses) = mpsc::channel(1);
                tokio::spawn(converse(request.into_inner(), current.clone(), out));
                async { Ok::<_, Status>(Response::new(ReceiverStream::new(responses))) }
            });
            grpc.streaming(open, request).await
        }
    };
    Routes::from(Router::new().route(METHOD, post(method)))
}

async fn converse<R: Asking>(
    mut requests: Streaming<R>,
    mut current: watch::Receiver<Any>,
    out: mpsc::Sender<Result<DiscoveryResponse, Status>>,
) {
    let mut count = 0;
    loop {
        tokio::select! {
            request = requests.message() => match request {
                Ok(Some(request)) if request.asks() => {}
                Ok(Some(_)) => continue,
                _ => return,
            },
            Ok(()) = current.changed(), if count > 0 => {}
        }
        count += 1;
        let secret = current.borrow_and_update().clone();
        let response = DiscoveryResponse {
            version_info: count.to_string(),
            resources: vec![secret],
            type_url: SECRET.to_owned(),
            nonce: count.to_string(),
            ..DiscoveryResponse::default()
        };
        if out.send(Ok(response)).await.is_err() {
            return;
        }
    }
}
