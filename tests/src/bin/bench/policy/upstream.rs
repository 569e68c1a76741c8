//! What the proxy under test proxies to: the cheapest server that still speaks HTTP/1.1.
//!
//! It reads to the end of the request's head and writes a constant. A second Envoy with a direct
//! response would cost three times as much on the core that the callers need.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};

/// A request whose path ends so gets its own head as the body.
pub(super) const ECHO: &str = "?echo";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";

/// A server that ends with this value.
#[derive(Debug)]
pub(super) struct Upstream(JoinHandle<()>);

impl Upstream {
    /// Listens on a Unix socket that every account may open.
    pub(super) fn listen(socket: &Path) -> Result<Self> {
        let listener = UnixListener::bind(socket)
            .with_context(|| format!("cannot listen on {}", socket.display()))?;
        fs::set_permissions(socket, fs::Permissions::from_mode(0o666))?;
        Ok(Self(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        })))
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Answers until the proxy hangs up. Its requests have no bodies.
async fn serve(mut stream: UnixStream) {
    let mut head = Vec::with_capacity(4096);
    while let Ok(1..) = stream.read_buf(&mut head).await {
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let written = if wants_echo(&head) {
            let mut answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", head.len()).into_bytes();
            answer.extend_from_slice(&head);
            stream.write_all(&answer).await
        } else {
            stream.write_all(ANSWER).await
        };
        if written.is_err() {
            return;
        }
        head.clear();
    }
}

fn wants_echo(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    line.strip_suffix(b" HTTP/1.1").is_some_and(|line| line.ends_with(ECHO.as_bytes()))
}
