//! gRPC's framing over HTTP/2, with as little memory as a stream can do with.
//!
//! A codec of tonic's keeps two buffers for each stream, and the one for requests stays as large as
//! the largest request was: Envoy's first has 61 KB. Here a request's buffer lives until the request
//! is decoded, and a response is sent in pieces, of which a resource is one that all streams share;
//! so private keys are not copied either.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tonic::Status;

use super::status::Refusal;

/// The flag of compression, and the length of the message.
const PREFIX: usize = 5;
/// What is set aside for a message that was only announced: room for Envoy's first request.
const ROOM: usize = 1 << 16;

/// The messages of a request's body, as they come.
#[derive(Debug)]
pub(super) struct Inbound {
    body: Body,
    partial: BytesMut,
    limit: usize,
}

impl Inbound {
    /// Reads messages of at most `limit` bytes.
    pub(super) fn new(body: Body, limit: usize) -> Self {
        Self { body, partial: BytesMut::new(), limit }
    }

    /// The next message; `None` when the peer has said all or has gone. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            if let Some(message) = self.split()? {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.partial.extend_from_slice(&data);
                    }
                }
                None if !self.partial.is_empty() => return Err(Refusal::CutOff),
                None | Some(Err(_)) => return Ok(None),
            }
        }
    }

    fn split(&mut self) -> Result<Option<Bytes>, Refusal> {
        let Some((mut prefix, rest)) = self.partial.split_at_checked(PREFIX) else {
            return Ok(None);
        };
        match prefix.get_u8() {
            0 => {}
            1 => return Err(Refusal::Compressed),
            found => return Err(Refusal::NoFrame { found }),
        }
        let length = prefix.get_u32() as usize;
        if length > self.limit {
            return Err(Refusal::TooLarge { found: length, accepted: self.limit });
        }
        if rest.len() < length {
            let missing = length - rest.len();
            self.partial.reserve(missing.min(ROOM));
            return Ok(None);
        }
        self.partial.advance(PREFIX);
        let message = self.partial.split_to(length).freeze();
        if self.partial.is_empty() {
            // Or it would hold the message's memory.
            self.partial = BytesMut::new();
        }
        Ok(Some(message))
    }
}

/// A message of a response's body, in pieces.
#[derive(Debug)]
pub(super) struct Message(std::vec::IntoIter<Bytes>);

impl Message {
    /// A message whose bytes are those of the pieces.
    pub(super) fn new(mut pieces: Vec<Bytes>) -> Self {
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let head = pieces.first().map_or(&[][..], |first| first);
        let mut first = BytesMut::with_capacity(PREFIX + head.len());
        first.put_u8(0);
        // What we send is far from 4 GiB.
        first.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        first.put_slice(head);
        match pieces.first_mut() {
            Some(head) => *head = first.freeze(),
            None => pieces.push(first.freeze()),
        }
        Self(pieces.into_iter())
    }
}

/// Where a stream's messages go; the second, if it is an error, is the stream's last word.
pub(super) type Outbound = mpsc::Sender<Result<Message, Status>>;

/// A response whose body is what is sent to the outbound, until that is dropped.
pub(super) fn respond() -> (Outbound, Response<tonic::body::Body>) {
    // One message in the queue: everything behind it is the latest state when its turn comes.
    let (outbound, messages) = mpsc::channel(1);
    let body = OutboundBody { messages, message: None, ended: false };
    let mut response = Response::new(tonic::body::Body::new(body));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    (outbound, response)
}

struct OutboundBody {
    messages: mpsc::Receiver<Result<Message, Status>>,
    message: Option<Message>,
    ended: bool,
}

impl http_body::Body for OutboundBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(piece) = self.message.as_mut().and_then(|message| message.0.next()) {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            self.message = None;
            if self.ended {
                return Poll::Ready(None);
            }
            let status = match std::task::ready!(self.messages.poll_recv(context)) {
                Some(Ok(message)) => {
                    self.message = Some(message);
                    continue;
                }
                Some(Err(status)) => status,
                None => Status::ok(""),
            };
            self.ended = true;
            let mut trailers = HeaderMap::new();
            let written = status.add_header(&mut trailers);
            debug_assert!(written.is_ok(), "statuses are made of plain text");
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.message.is_none()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use bytes::Bytes;
    use futures::stream;
    use http_body_util::BodyExt;
    use tonic::Status;

    use super::{Inbound, Message, respond};
    use crate::xds::status::Refusal;

    fn inbound(chunks: &[&[u8]]) -> Inbound {
        let chunks: Vec<_> =
            chunks.iter().map(|chunk| Ok::<_, Status>(Bytes::copy_from_slice(chunk))).collect();
        Inbound::new(Body::from_stream(stream::iter(chunks)), 10)
    }

    #[tokio::test]
    async fn messages_may_come_in_any_pieces_and_their_memory_is_given_back() {
        let bytes = b"\0\0\0\0\x03abc\0\0\0\0\0\0\0\0\0\x02de";
        for split in 0..=bytes.len() {
            let mut inbound = inbound(&[&bytes[..split], &bytes[split..]]);
            for expected in [&b"abc"[..], b"", b"de"] {
                assert_eq!(inbound.next().await.expect("read").expect("a message"), expected);
            }
            assert_eq!(inbound.next().await, Ok(None));
            assert_eq!(inbound.partial.capacity(), 0);
        }
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused() {
        for (bytes, expected) in [
            (&b"\0\0\0\0"[..], Refusal::CutOff),
            (b"\0\0\0\0\x03ab", Refusal::CutOff),
            (b"\x01\0\0\0\x01a", Refusal::Compressed),
            (b"\x02\0\0\0\x01a", Refusal::NoFrame { found: 2 }),
            (b"\0\0\0\0\x0b", Refusal::TooLarge { found: 11, accepted: 10 }),
            (b"\0\xff\xff\xff\xff", Refusal::TooLarge { found: 0xffff_ffff, accepted: 10 }),
        ] {
            assert_eq!(inbound(&[bytes]).next().await, Err(expected), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn pieces_are_one_message_and_are_not_copied() {
        let (outbound, response) = respond();
        let shared = Bytes::from(vec![7; 100]);
        let pieces = vec![Bytes::from_static(b"head"), shared.clone()];
        outbound.try_send(Ok(Message::new(pieces))).expect("room");
        let mut body = response.into_body();
        let mut next = async || body.frame().await.map(|frame| frame.expect("no error"));
        let head = next().await.and_then(|frame| frame.into_data().ok()).expect("data");
        assert_eq!(head, b"\0\0\0\0\x68head".as_slice());
        let resource = next().await.and_then(|frame| frame.into_data().ok()).expect("data");
        assert_eq!(resource.as_ptr(), shared.as_ptr());
        outbound.try_send(Err(Status::unavailable("later"))).expect("room");
        let trailers = next().await.and_then(|frame| frame.into_trailers().ok()).expect("trailers");
        assert_eq!(trailers["grpc-status"], "14");
        assert!(next().await.is_none());
    }
}
