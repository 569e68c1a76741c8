//! Streams as Envoy opens them, on HTTP/2 itself: whatever a client costs is taken from the servers.

use std::{cell::RefCell, path::Path, rc::Rc, time::Instant};

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use prost::Message;
use tokio::{
    net::UnixStream,
    sync::{Notify, Semaphore},
    task::JoinSet,
    time::{Duration, sleep},
};

use super::board::Board;
use crate::sds::wire::{METHOD, Request, Response, SECRET, frame, unframe};

/// What all streams share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) board: RefCell<Board>,
    pub(super) changed: Notify,
    /// Places for those that wait for their first secret.
    pub(super) places: Semaphore,
    /// The node, as a field of a request.
    pub(super) node: Bytes,
}

impl Common {
    fn fails(&self, error: &anyhow::Error) {
        self.board.borrow_mut().fails(format!("{error:#}"));
        self.changed.notify_one();
    }
}

/// Opens a connection, and streams of these numbers on it. Ends when all of them have.
pub(super) async fn connection(common: Rc<Common>, socket: Rc<Path>, streams: Vec<usize>) {
    if let Err(error) = try_connection(&common, &socket, streams).await {
        common.fails(&error);
    }
}

async fn try_connection(common: &Rc<Common>, socket: &Path, numbers: Vec<usize>) -> Result<()> {
    let place = common.places.acquire().await?;
    let began = Instant::now();
    let stream = connected(socket).await?;
    let mut client = h2::client::Builder::new();
    client.initial_window_size(1 << 20).initial_connection_window_size(1 << 24);
    let (sender, connection) = client.handshake(stream).await.context("HTTP/2")?;
    let mut tasks = JoinSet::new();
    tasks.spawn_local(async move {
        // What goes wrong with a connection is told by its streams.
        let _ = connection.await;
    });
    // The place is for the first stream, which comes with the connection.
    let mut place = Some(place);
    for number in numbers {
        let (common, sender) = (Rc::clone(common), sender.clone());
        let since = place.take().map(|place| {
            place.forget();
            began
        });
        tasks.spawn_local(async move {
            if let Err(error) = stream_of(&common, sender, number, since).await {
                common.fails(&error.context(format!("stream {number}")));
            }
        });
    }
    drop(sender);
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// A socket whose queue is full refuses at once; Envoy would try again too.
async fn connected(socket: &Path) -> Result<UnixStream> {
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                sleep(Duration::from_millis(1)).await;
            }
            Err(error) => return Err(error).with_context(|| format!("{}", socket.display())),
        }
    }
}

/// Asks for the default SVID, and accepts whatever comes, until the server ends it. `since` is for
/// a stream that has a place already.
async fn stream_of(
    common: &Common,
    sender: SendRequest<Bytes>,
    number: usize,
    since: Option<Instant>,
) -> Result<()> {
    let since = if let Some(since) = since {
        since
    } else {
        common.places.acquire().await?.forget();
        Instant::now()
    };
    common.board.borrow_mut().asks(number, since);
    let request = http::Request::post(format!("http://sds{METHOD}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (response, mut out) = sender.ready().await?.send_request(request, false)?;
    let mut say = |version_info: String, response_nonce: String| -> Result<()> {
        let message = Request {
            version_info,
            resource_names: vec!["default".into()],
            type_url: SECRET.into(),
            response_nonce,
        };
        out.send_data(frame(&message, common.node.len()), false)?;
        out.send_data(common.node.clone(), false)?;
        Ok(())
    };
    say(String::new(), String::new())?;
    let response = response.await?;
    refuse_status(response.headers())?;
    let mut body = response.into_body();
    let (mut arrived, mut is_first) = (BytesMut::new(), true);
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        arrived.extend_from_slice(&data);
        while let Some(message) = unframe(&mut arrived) {
            let Response { version_info, resources, nonce } = Response::decode(message)?;
            common.board.borrow_mut().arrives(number, &resources);
            common.changed.notify_one();
            if std::mem::take(&mut is_first) {
                common.places.add_permits(1);
            }
            say(version_info, nonce)?;
        }
    }
    if let Some(trailers) = body.trailers().await? {
        refuse_status(&trailers)?;
    }
    bail!("the server ended the stream")
}

fn refuse_status(headers: &http::HeaderMap) -> Result<()> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some(status) => bail!("gRPC status {status}: {}", text("grpc-message").unwrap_or_default()),
    }
}
