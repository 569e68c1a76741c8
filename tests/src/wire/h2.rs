//! HTTP/2, frame by frame (RFC 9113), with headers written as literals (RFC 7541 §6.2.2), so that anything can be sent.

use std::fmt;

use anyhow::{Context, Result, anyhow};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Answer, Lines, Stream, answer};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const ACK: u8 = 0x1;

/// A connection, used for one stream after the other.
pub struct Http2<S> {
    stream: S,
    decoder: loona_hpack::Decoder<'static>,
    next: u32,
}

impl<S> fmt::Debug for Http2<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2").field("next", &self.next).finish_non_exhaustive()
    }
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl<S: Stream> Http2<S> {
    /// Opens the connection.
    pub async fn open(mut stream: S) -> Result<Self> {
        let mut opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        opening.extend(frame(SETTINGS, 0, 0, &[]));
        // The window of the whole connection, large enough for all that comes.
        opening.extend(frame(WINDOW_UPDATE, 0, 0, &0x3fff_ffff_u32.to_be_bytes()));
        stream.write_all(&opening).await.context("the connection is closed")?;
        Ok(Self { stream, decoder: loona_hpack::Decoder::new(), next: 1 })
    }

    /// Sends a request as it stands, with trailers if there are any, and reads the answer. Where the second value is false, the
    /// connection is of no more use.
    pub async fn ask(&mut self, lines: &Lines, trailers: &Lines) -> Result<(Answer, bool)> {
        let id = self.next;
        self.next += 2;
        let mut request = frame(HEADERS, END_HEADERS | END_STREAM, id, &literals(lines));
        if !trailers.is_empty() {
            request = frame(HEADERS, END_HEADERS, id, &literals(lines));
            request.extend(frame(HEADERS, END_HEADERS | END_STREAM, id, &literals(trailers)));
        }
        if self.stream.write_all(&request).await.is_err() {
            return Ok((Answer::Closed, false));
        }
        let mut block = Vec::new();
        let mut headers = Vec::new();
        let mut body = Vec::new();
        let mut last = false;
        loop {
            let Ok(frame) = self.frame().await else { return Ok((Answer::Closed, false)) };
            let ours = frame.stream == id;
            match frame.kind {
                HEADERS | CONTINUATION => {
                    last |= ours && frame.kind == HEADERS && frame.flags & END_STREAM != 0;
                    block.extend(&frame.payload);
                    if frame.flags & END_HEADERS != 0 {
                        // Blocks of any stream change the decoder's table.
                        let decoded = self.decoder.decode(&std::mem::take(&mut block));
                        let decoded = decoded.map_err(|error| anyhow!("no HPACK: {error:?}"))?;
                        if ours {
                            headers.extend(decoded);
                        }
                    }
                }
                DATA if ours => {
                    body.extend(&frame.payload);
                    last |= frame.flags & END_STREAM != 0;
                }
                RST_STREAM if ours => return Ok((Answer::Closed, true)),
                GOAWAY => return Ok((Answer::Closed, false)),
                _ => self.acknowledge(&frame).await?,
            }
            if last && block.is_empty() {
                let headers: Vec<(String, Vec<u8>)> = headers
                    .into_iter()
                    .map(|(name, value)| (String::from_utf8_lossy(&name).into_owned(), value))
                    .collect();
                let status = headers.iter().find(|(name, _)| name == ":status");
                let status = status.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
                let status = status.context("no status")?.parse().context("no status")?;
                return Ok((answer(&headers, status, &body)?, true));
            }
        }
    }

    async fn acknowledge(&mut self, received: &Frame) -> Result<()> {
        if matches!(received.kind, SETTINGS | PING) && received.flags & ACK == 0 {
            let payload = if received.kind == PING { received.payload.as_slice() } else { &[] };
            self.stream.write_all(&frame(received.kind, ACK, 0, payload)).await?;
        }
        Ok(())
    }

    async fn frame(&mut self) -> Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload).await?;
        Ok(Frame { kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff, payload })
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Each header as a literal that no table remembers, without Huffman coding.
fn literals(lines: &Lines) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in lines {
        block.push(0);
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend(text);
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn integer(block: &mut Vec<u8>, value: usize) {
    const FULL: usize = 127;
    let octet = |value: usize| u8::try_from(value).unwrap_or(u8::MAX);
    if value < FULL {
        block.push(octet(value));
        return;
    }
    block.push(octet(FULL));
    let mut rest = value - FULL;
    while rest >= 128 {
        block.push(octet(rest % 128 + 128));
        rest /= 128;
    }
    block.push(octet(rest));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let long = vec![b'x'; 5_000];
        let lines: Lines = vec![
            (b":path".to_vec(), b"/\xff \x01".to_vec()),
            (b"x-126".to_vec(), vec![b'a'; 126]),
            (b"x-127".to_vec(), vec![b'b'; 127]),
            (b"x-long".to_vec(), long),
        ];
        assert_eq!(loona_hpack::Decoder::new().decode(&literals(&lines)).unwrap(), lines);
        assert_eq!(frame(DATA, 1, 3, b"ab"), [0, 0, 2, 0, 1, 0, 0, 0, 3, b'a', b'b']);
    }
}
