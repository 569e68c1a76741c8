//! gRPC's framing over HTTP/2, with as little memory as a stream can do with.
//!
//! A codec of tonic's keeps two buffers for each stream, and the one for requests stays as large as
//! the largest request was: Envoy's have 61 KB. Here a request is [sieved](super::sieve) while it
//! arrives, and a response is sent in pieces, of which a resource is one that all streams share; so
//! private keys are not copied here either. h2 copies up to 256 bytes of each frame and only frees
//! them: none of a key, whose resource is longer, unless a peer's narrow window makes it cut the resource.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tonic::Status;

use super::budget::{Budget, Charge};
use super::sieve::{Fault, Fields, Sieve};
use super::status::Refusal;

/// The flag of compression, and the length of the message.
const PREFIX: usize = 5;

/// The requests of a body, as they come.
#[derive(Debug)]
pub(super) struct Inbound {
    body: Body,
    /// What has arrived and was not looked at yet.
    arrived: Bytes,
    /// The prefix of the request that begins, as far as it is there.
    prefix: Prefix,
    /// Bytes of the request that are still to come, after its prefix.
    left: Option<usize>,
    sieve: Sieve,
    charge: Charge,
    limit: usize,
}

/// The first bytes of a message.
#[derive(Debug, Default)]
struct Prefix {
    bytes: [u8; PREFIX],
    there: usize,
}

impl Inbound {
    /// Reads requests of at most `limit` bytes. What is kept of one that is not whole yet counts in
    /// `budget`.
    pub(super) fn new(body: Body, fields: &'static Fields, limit: usize, budget: &Budget) -> Self {
        Self {
            body,
            arrived: Bytes::new(),
            prefix: Prefix::default(),
            left: None,
            sieve: Sieve::new(fields),
            charge: budget.open(),
            limit,
        }
    }

    /// The next request, without what nobody looks at; `None` when the peer has said all or has gone.
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Refusal> {
        loop {
            if let Some(request) = self.read()? {
                return Ok(Some(request));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.arrived = data;
                    }
                }
                None if self.prefix.there > 0 => return Err(Refusal::CutOff),
                None | Some(Err(_)) => return Ok(None),
            }
        }
    }

    /// Takes in what has arrived, up to the end of a request.
    fn read(&mut self) -> Result<Option<Vec<u8>>, Refusal> {
        let left = match self.left {
            Some(left) => left,
            None => match self.prefix.take(&mut self.arrived, self.limit)? {
                Some(length) => length,
                None => return Ok(None),
            },
        };
        let these = self.arrived.split_to(left.min(self.arrived.len()));
        self.sieve.read(&these)?;
        if these.len() < left {
            self.left = Some(left - these.len());
            // Or it would hold the frame's memory.
            self.arrived = Bytes::new();
            self.charge.set(self.sieve.held(), self.limit)?;
            return Ok(None);
        }
        (self.left, self.prefix) = (None, Prefix::default());
        self.charge.set(0, self.limit)?;
        if self.arrived.is_empty() {
            self.arrived = Bytes::new();
        }
        Ok(Some(self.sieve.finish()?))
    }
}

impl Prefix {
    /// The length of the message, once the whole prefix is there.
    fn take(&mut self, arrived: &mut Bytes, limit: usize) -> Result<Option<usize>, Refusal> {
        let count = arrived.len().min(PREFIX - self.there);
        arrived.copy_to_slice(&mut self.bytes[self.there..self.there + count]);
        self.there += count;
        if self.there < PREFIX {
            return Ok(None);
        }
        let mut prefix = self.bytes.as_slice();
        match prefix.get_u8() {
            0 => {}
            1 => return Err(Refusal::Compressed),
            found => return Err(Refusal::NoFrame { found }),
        }
        let found = prefix.get_u32() as usize;
        if found > limit {
            Err(Refusal::TooLarge { found, accepted: limit })
        } else {
            Ok(Some(found))
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::NoRequest { reason: fault.to_string() }
    }
}

/// A message of a response's body, in pieces. They may hold keys: Debug does not show them.
pub(super) struct Message(std::vec::IntoIter<Bytes>);

impl fmt::Debug for Message {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Message({} pieces)", self.0.len())
    }
}

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

/// Where a stream's messages go.
pub(super) type Outbound = mpsc::Sender<Result<Message, Status>>;

/// Why a stream ends, if not well. Its place in the queue is kept from the beginning: whoever left messages unread for too
/// long finds it behind them when it reads after all, and nobody waits for that.
pub(super) struct LastWord(mpsc::OwnedPermit<Result<Message, Status>>);

impl LastWord {
    pub(super) fn say(self, status: Status) {
        self.0.send(Err(status));
    }
}

/// A response whose body is what is sent to the outbound, until that is dropped and the last word is said or dropped.
pub(super) fn respond() -> (Outbound, LastWord, Response<tonic::body::Body>) {
    // One message in the queue, besides the last word: everything behind it is the latest state when its turn comes.
    let (outbound, messages) = mpsc::channel(2);
    let last = outbound.clone().try_reserve_owned().expect("nothing is in the queue");
    let body = OutboundBody { messages, message: None, ended: false };
    let mut response = Response::new(tonic::body::Body::new(body));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    (outbound, LastWord(last), response)
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
    use futures::{FutureExt, StreamExt, stream};
    use http_body_util::BodyExt;
    use tonic::Status;

    use super::{Inbound, Message, respond};
    use crate::xds::budget::Budget;
    use crate::xds::sieve::STATE;
    use crate::xds::status::Refusal;

    fn inbound(chunks: &[&[u8]], budget: &Budget) -> Inbound {
        let chunks: Vec<_> =
            chunks.iter().map(|chunk| Ok::<_, Status>(Bytes::copy_from_slice(chunk))).collect();
        Inbound::new(Body::from_stream(stream::iter(chunks)), STATE, 10, budget)
    }

    #[tokio::test]
    async fn requests_may_come_in_any_pieces_and_nothing_of_them_stays() {
        // A version, nothing, and a field that nobody looks at before a nonce.
        let bytes = b"\0\0\0\0\x03\x0a\x01v\0\0\0\0\0\0\0\0\0\x06\x42\x01x\x2a\x01n";
        for split in 0..=bytes.len() {
            let budget = Budget::default();
            let mut inbound = inbound(&[&bytes[..split], &bytes[split..]], &budget);
            for expected in [&b"\x0a\x01v"[..], b"", b"\x2a\x01n"] {
                assert_eq!(inbound.next().await.expect("read").expect("a request"), expected);
                assert!(budget.open().set(40, 10).is_ok(), "nothing is held");
            }
            assert_eq!(inbound.next().await, Ok(None));
        }
    }

    #[tokio::test]
    async fn what_is_no_request_is_refused() {
        let cut_short = Refusal::NoRequest { reason: super::Fault::CutOff.to_string() };
        for (bytes, expected) in [
            (&b"\0\0\0\0"[..], Refusal::CutOff),
            (b"\0\0\0\0\x03\x0a\x01", Refusal::CutOff),
            (b"\0\0\0\0\x03\x0a\x02v", cut_short),
            (b"\x01\0\0\0\x01a", Refusal::Compressed),
            (b"\x02\0\0\0\x01a", Refusal::NoFrame { found: 2 }),
            (b"\0\0\0\0\x0b", Refusal::TooLarge { found: 11, accepted: 10 }),
            (b"\0\xff\xff\xff\xff", Refusal::TooLarge { found: 0xffff_ffff, accepted: 10 }),
        ] {
            let found = inbound(&[bytes], &Budget::default()).next().await;
            assert_eq!(found, Err(expected), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn requests_that_have_half_arrived_hold_little_together() {
        let budget = Budget::default();
        let half = b"\0\0\0\0\x0a\x0a\x08vvvvvvv";
        let streams = (0..6).map(|_| {
            let first = stream::iter([Ok::<_, Status>(Bytes::from_static(half))]);
            let body = Body::from_stream(first.chain(stream::pending()));
            Inbound::new(body, STATE, 10, &budget)
        });
        let mut streams: Vec<_> = streams.collect();
        let mut refused = 0;
        for inbound in &mut streams {
            match inbound.next().now_or_never() {
                Some(Err(Refusal::Crowded { accepted: 40, .. })) => refused += 1,
                other => assert_eq!(other, None),
            }
        }
        // Nine bytes are kept of each.
        assert_eq!(refused, 2);
    }

    #[tokio::test]
    async fn pieces_are_one_message_and_are_not_copied() {
        let (outbound, last, response) = respond();
        let shared = Bytes::from(vec![7; 100]);
        let pieces = vec![Bytes::from_static(b"head"), shared.clone()];
        outbound.try_send(Ok(Message::new(pieces))).expect("room");
        let mut body = response.into_body();
        let mut next = async || body.frame().await.map(|frame| frame.expect("no error"));
        let head = next().await.and_then(|frame| frame.into_data().ok()).expect("data");
        assert_eq!(head, b"\0\0\0\0\x68head".as_slice());
        let resource = next().await.and_then(|frame| frame.into_data().ok()).expect("data");
        assert_eq!(resource.as_ptr(), shared.as_ptr());
        last.say(Status::unavailable("later"));
        let trailers = next().await.and_then(|frame| frame.into_trailers().ok()).expect("trailers");
        assert_eq!(trailers["grpc-status"], "14");
        assert!(next().await.is_none());
    }

    #[tokio::test]
    async fn the_last_word_has_room_behind_what_nobody_has_read() {
        for is_told in [true, false] {
            let (outbound, last, response) = respond();
            let message = || Ok(Message::new(vec![Bytes::from_static(b"unread")]));
            outbound.try_send(message()).expect("room for one");
            assert!(outbound.try_send(message()).is_err(), "and no more");
            if is_told {
                last.say(Status::resource_exhausted("too long"));
            } else {
                drop(last);
            }
            drop(outbound);
            let read = response.into_body().collect().await.expect("no error");
            let status = read.trailers().expect("trailers")["grpc-status"].clone();
            assert_eq!(status, if is_told { "8" } else { "0" });
            assert_eq!(read.to_bytes(), b"\0\0\0\0\x06unread".as_slice());
        }
    }
}
