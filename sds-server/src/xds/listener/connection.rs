//! A connection that was let in.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::xds::admission::Pass;
use crate::xds::peer::Peer;
use crate::xds::status::Refusal;

/// How long a peer may take to begin: an HTTP/2 client speaks first, and until it has, nobody asks whether it is there.
const BEGINNING: Duration = Duration::from_secs(30);
/// Bytes with which a client begins (RFC 9113 §3.4).
const PREFACE: usize = 24;

/// The bytes of a connection.
pub(super) type Transport = Either<UnixStream, Box<TlsStream<TcpStream>>>;
/// Resolves when the peer must not be connected any longer, with the reason.
pub(in crate::xds) type Watch = Pin<Box<dyn Future<Output = Refusal> + Send>>;

/// A connection that was let in. It fails when the peer says nothing at first, or takes nothing for too long: HTTP/2
/// would wait for it.
pub struct Connection {
    transport: Transport,
    peer: Peer,
    unwelcome: Option<Watch>,
    patience: Duration,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Bytes of the preface that are still to come, and until when they may.
    beginning: Option<(usize, Pin<Box<Sleep>>)>,
    _pass: Pass,
}

impl Connection {
    pub(super) fn new(
        transport: Transport,
        peer: Peer,
        pass: Pass,
        unwelcome: Watch,
        patience: Duration,
    ) -> Self {
        let unwelcome = Some(unwelcome);
        let beginning = Some((PREFACE, Box::pin(sleep(BEGINNING))));
        Self { transport, peer, unwelcome, patience, stalled: None, beginning, _pass: pass }
    }

    /// The other end.
    pub(in crate::xds) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What to watch while it is served. It is handed out once, and then never resolves.
    pub(in crate::xds) fn unwelcome(&mut self) -> Watch {
        self.unwelcome.take().unwrap_or_else(|| Box::pin(std::future::pending()))
    }

    /// Gives up on a peer that has taken nothing for too long.
    fn judge<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.transport).poll_read(context, buffer);
        let Some((left, deadline)) = &mut self.beginning else { return read };
        *left = left.saturating_sub(buffer.filled().len() - before);
        if *left == 0 {
            self.beginning = None;
        } else if read.is_pending() && deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.transport).poll_flush(context);
        self.judge(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.transport).poll_shutdown(context);
        self.judge(context, shut)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write_vectored(context, bytes);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::*;
    use crate::config::Config;
    use crate::xds::admission::{Door, Gate};
    use crate::xds::peer::LocalPeer;

    #[tokio::test]
    async fn who_does_not_begin_is_given_up_and_who_has_begun_may_be_silent() {
        let config = "source: {workload_api: {socket: unix:///a}}\nlisten: {path: /s}\n";
        let config = watch::channel(Config::parse(config).expect("valid").into()).1;
        for (said, begins) in [(0, false), (PREFACE - 1, false), (PREFACE, true)] {
            let (mut client, server) = UnixStream::pair().expect("connected");
            let gate = Gate::new(config.clone());
            let pass = gate.enter(Door::Unix, Instant::now()).expect("let in");
            let peer = Peer::Local(LocalPeer { uid: 7, gid: 7, pid: None, pin: None });
            let unwelcome = Box::pin(std::future::pending());
            let transport = Either::Left(server);
            let mut connection = Connection::new(transport, peer, pass, unwelcome, BEGINNING);
            client.write_all(&vec![b'P'; said]).await.expect("written");
            connection.read_exact(&mut vec![0; said]).await.expect("heard");
            let Some((left, deadline)) = &mut connection.beginning else {
                assert!(begins, "{said}");
                continue;
            };
            assert_eq!(*left, PREFACE - said);
            deadline.as_mut().reset(Instant::now());
            let ended = connection.read_u8().await.expect_err("given up");
            assert_eq!((ended.kind(), begins), (io::ErrorKind::TimedOut, false), "{said}");
        }
    }
}
