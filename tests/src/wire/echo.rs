//! The API's place: a server that answers each request with what it saw of it.

use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};

/// The response header that holds the request's head and its trailers in hexadecimal digits: a HEAD has no body.
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
    /// Lines of its trailers, names in lower case.
    pub trailers: super::Lines,
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
        let headers =
            lines.by_ref().take_while(|line| !line.is_empty()).filter_map(header).collect();
        Ok(Self { method, target, headers, trailers: lines.filter_map(header).collect() })
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

/// Answers requests without bodies, or with chunked ones that are empty but for their trailers.
async fn serve(mut stream: UnixStream) {
    let mut received = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut received).await {
        while let Some(seen) = next(&mut received) {
            let response = format!(
                "HTTP/1.1 200 OK\r\n{SEEN}: {}\r\ncontent-length: 0\r\n\r\n",
                hex::encode(seen)
            );
            if stream.write_all(response.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// Takes a whole request off the front: its head, and its trailers if it is chunked.
fn next(received: &mut Vec<u8>) -> Option<Vec<u8>> {
    const CHUNKED: &[u8] = b"\r\ntransfer-encoding: chunked\r\n";
    /// The last chunk; its line's end may already be that of the trailers.
    const LAST: &[u8] = b"0\r\n";
    let end_of = |octets: &[u8]| Some(octets.windows(4).position(|four| four == b"\r\n\r\n")? + 4);
    let mut seen = received[..end_of(received)?].to_vec();
    let mut length = seen.len();
    if seen.windows(CHUNKED.len()).any(|octets| octets == CHUNKED) {
        let body = &received[length..];
        let end = end_of(body)?;
        seen.extend(body[..end].strip_prefix(LAST).unwrap_or_default());
        length += end;
    }
    received.drain(..length);
    Some(seen)
}
