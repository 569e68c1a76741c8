//! The API's place: a server that answers each request with what it saw of it.

use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};

/// The response header that holds the request's head in hexadecimal digits: a HEAD has no body.
pub(super) const SEEN: &str = "x-seen";

/// A request as it reached the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The method.
    pub method: Vec<u8>,
    /// The request target.
    pub target: Vec<u8>,
    /// Header lines, names in lower case.
    pub headers: super::Lines,
}

impl Seen {
    pub(super) fn read(digits: &str) -> Result<Self> {
        let head = hex::decode(digits).context("the server's header is not hexadecimal")?;
        let mut lines = head.split(|&octet| octet == b'\n').map(<[u8]>::trim_ascii_end);
        let mut first = lines.next().unwrap_or_default().split(|&octet| octet == b' ');
        let method = first.next().unwrap_or_default().to_vec();
        let target = first.next().unwrap_or_default().to_vec();
        let header = |line: &[u8]| {
            let colon = line.iter().position(|&octet| octet == b':')?;
            Some((line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii().to_vec()))
        };
        Ok(Self { method, target, headers: lines.filter_map(header).collect() })
    }

    /// The values of a header, a line each.
    pub fn values(&self, name: &str) -> Vec<String> {
        let lines = self.headers.iter().filter(|(known, _)| known == name.as_bytes());
        lines.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }
}

/// The listening server; it ends with the value.
#[derive(Debug)]
pub(super) struct Echo(JoinHandle<()>);

impl Echo {
    pub(super) fn listen(socket: &Path) -> Result<Self> {
        let listener = UnixListener::bind(socket).context("the echo server cannot listen")?;
        std::fs::set_permissions(socket, Permissions::from_mode(0o666))?;
        Ok(Self(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        })))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Answers heads; the requests have no bodies.
async fn serve(mut stream: UnixStream) {
    let mut received = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut received).await {
        while let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = received.drain(..end + 4).collect();
            let response = format!(
                "HTTP/1.1 200 OK\r\n{SEEN}: {}\r\ncontent-length: 0\r\n\r\n",
                hex::encode(head)
            );
            if stream.write_all(response.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}
