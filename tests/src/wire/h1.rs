//! HTTP/1.1, written by hand.

use std::fmt;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Answer, Lines, Stream, answer};

/// A connection.
pub struct Http1<S> {
    stream: S,
    received: Vec<u8>,
}

impl<S> fmt::Debug for Http1<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1").finish_non_exhaustive()
    }
}

impl<S: Stream> Http1<S> {
    /// Speaks on an open stream.
    pub fn new(stream: S) -> Self {
        Self { stream, received: Vec::new() }
    }

    /// Sends a request as it stands, with trailers after an empty body if there are any, and reads the answer. After [`Answer::Closed`], or where Envoy says
    /// so, the second value is false: the connection is of no more use.
    pub async fn ask(&mut self, lines: &Lines, trailers: &Lines) -> Result<(Answer, bool)> {
        if self.stream.write_all(&request(lines, trailers)).await.is_err() {
            return Ok((Answer::Closed, false));
        }
        let head = loop {
            if let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                break self.received.drain(..end + 4).collect::<Vec<u8>>();
            }
            if !self.read().await {
                return Ok((Answer::Closed, false));
            }
        };
        let head = String::from_utf8_lossy(&head);
        let mut parts = head.split("\r\n");
        let status = parts.next().and_then(|line| line.split(' ').nth(1)).context("no status")?;
        let status: u16 = status.parse().context("the status is no number")?;
        let headers: Vec<(String, Vec<u8>)> = parts
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().into()))
            .collect();
        let value = |name: &str| {
            let found = headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let is_head = lines.iter().any(|(name, value)| name == b":method" && value == b"HEAD");
        let length: usize = match value("content-length") {
            _ if is_head => 0,
            Some(length) => length.parse().context("the length is no number")?,
            None if value("transfer-encoding").is_some() => bail!("a body in chunks: {head}"),
            None => 0,
        };
        while self.received.len() < length {
            if !self.read().await {
                break;
            }
        }
        let body: Vec<u8> = self.received.drain(..length.min(self.received.len())).collect();
        let open = value("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
        Ok((answer(&headers, status, &body)?, open))
    }

    /// Reads some more; false at the end of the stream, however it came.
    async fn read(&mut self) -> bool {
        self.stream.read_buf(&mut self.received).await.is_ok_and(|count| count > 0)
    }
}

/// The octets of a request: nothing is checked or escaped.
fn request(lines: &Lines, trailers: &Lines) -> Vec<u8> {
    let pseudo = |name: &str| {
        let found = lines.iter().find(|(known, _)| known == name.as_bytes());
        found.map(|(_, value)| value.as_slice())
    };
    // A CONNECT's target is the authority (RFC 9112 §3.2.3).
    let target = pseudo(":path").or(pseudo(":authority")).unwrap_or_default();
    let mut request =
        [pseudo(":method").unwrap_or_default(), b" ", target, b" HTTP/1.1\r\n"].concat();
    if let Some(authority) = pseudo(":authority") {
        request.extend([b"host: ", authority, b"\r\n"].concat());
    }
    let plain: Lines = lines.iter().filter(|(name, _)| !name.starts_with(b":")).cloned().collect();
    request.extend(fields(&plain));
    if trailers.is_empty() {
        return [request.as_slice(), b"\r\n"].concat();
    }
    // The last of the chunks, which is the only one (RFC 9112 §7.1).
    request.extend(b"transfer-encoding: chunked\r\n\r\n0\r\n");
    [request.as_slice(), &fields(trailers), b"\r\n"].concat()
}

fn fields(lines: &Lines) -> Vec<u8> {
    let line =
        |(name, value): &(Vec<u8>, Vec<u8>)| [name, b": ".as_slice(), value, b"\r\n"].concat();
    lines.iter().flat_map(line).collect()
}
