//! The agent by itself, asked by its Broker API with no server between: a storm's floor.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{Entry, FetchedSvid, Launch, PATIENCE, tls::TlsCaller, until};
use hyper_util::rt::TokioIo;
use spiffe::broker_api::{
    SecurityHeader,
    pb::spiffe::broker::{SubscribeToX509svidRequest, WorkloadPidReference, api_client::ApiClient},
};
use tokio::{net::UnixStream, sync::Semaphore, task::JoinSet};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::scene::Node;

/// As many as the server lets in at once.
const AT_ONCE: usize = 32;

/// Asks the agent for the identities of each process, as the server would, and returns how long it took until the
/// last was answered. The streams stay open until then.
pub(crate) async fn answers(node: &Node, processes: &[u32]) -> Result<Duration> {
    let channel = broker(node).await?;
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut asking = JoinSet::new();
    let begun = Instant::now();
    for process in processes {
        let pid = i32::try_from(*process)?;
        let (channel, places) = (channel.clone(), Arc::clone(&places));
        asking.spawn(async move {
            let place = places.acquire_owned().await?;
            let reference = Some(WorkloadPidReference { pid }.into());
            let mut client = ApiClient::with_interceptor(channel, SecurityHeader::new());
            let request = SubscribeToX509svidRequest { reference };
            let mut stream = client.subscribe_to_x509svid(request).await?.into_inner();
            let first = stream.message().await?.context("the agent closed the stream")?;
            ensure!(!first.svids.is_empty(), "nothing for process {pid}");
            drop(place);
            Ok(stream)
        });
    }
    let mut open = Vec::new();
    while let Some(stream) = asking.join_next().await {
        open.push(stream??);
    }
    Ok(begun.elapsed())
}

/// A channel to the agent's broker socket, as one of its brokers.
async fn broker(node: &Node) -> Result<Channel> {
    let Node { spire, stage, .. } = node;
    let program = stage.path().join("acting/broker/fetch-svid");
    stage.link(&stage.programs.own("fetch-svid")?, &program)?;
    spire.create(stage, &[Entry::named("broker", "/ns/signet/sa/sds-server", &program, 120)])?;
    let svid = until("the agent has an SVID for a broker", PATIENCE, async || {
        let fetch = Launch::new("fetch-svid", &program, &stage.accounts.mesh);
        FetchedSvid::read(&fetch.arg(spire.socket()).output()?)
    })
    .await?;
    let (caller, socket) = (TlsCaller::new(Some(&svid), "h2")?, spire.broker_socket(stage));
    let connector = service_fn(move |_| {
        let (caller, socket) = (caller.clone(), socket.clone());
        async move {
            let stream = UnixStream::connect(socket).await?;
            let secured = caller.secure(stream).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(TokioIo::new(secured))
        }
    });
    Ok(Endpoint::from_static("http://spire-agent").connect_with_connector(connector).await?)
}
