//! SDS as bytes: gRPC frames around the few fields that a client needs.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

/// The method that all servers here offer.
pub(super) const METHOD: &str = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets";

/// The type of every secret.
pub(super) const SECRET: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// A request without its node: envoy/service/discovery/v3/discovery.proto.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(string, tag = "1")]
    pub(super) version_info: String,
    #[prost(string, repeated, tag = "3")]
    pub(super) resource_names: Vec<String>,
    #[prost(string, tag = "4")]
    pub(super) type_url: String,
    #[prost(string, tag = "5")]
    pub(super) response_nonce: String,
}

/// A request of which only the node is looked at, as it stands.
#[derive(Clone, PartialEq, Message)]
pub(super) struct NodeOnly {
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(super) node: Option<Bytes>,
}

/// A response, with its secrets as they stand.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Response {
    #[prost(string, tag = "1")]
    pub(super) version_info: String,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) resources: Vec<Bytes>,
    #[prost(string, tag = "5")]
    pub(super) nonce: String,
}

/// The head of a gRPC frame: not compressed, and how long the message is.
const HEAD: usize = 5;

/// The beginning of a frame: its head, and the part of the message before `rest` more bytes. Fields
/// may come in any order, so the large node can follow as it lies in memory.
pub(super) fn frame(message: &impl Message, rest: usize) -> Bytes {
    let length = message.encoded_len() + rest;
    let mut frame = BytesMut::with_capacity(HEAD + message.encoded_len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // A buffer that grows cannot be too small.
    let _ = message.encode(&mut frame);
    frame.freeze()
}

/// Takes the next message out of what has arrived, if it is whole.
pub(super) fn unframe(arrived: &mut BytesMut) -> Option<Bytes> {
    let length = usize::try_from(arrived.get(1..HEAD)?.get_u32()).ok()?;
    if arrived.len() < HEAD + length {
        return None;
    }
    arrived.advance(HEAD);
    Some(arrived.split_to(length).freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_may_be_followed_by_its_node() {
        let request = Request { version_info: "7".into(), ..Request::default() };
        let node = NodeOnly { node: Some(Bytes::from_static(b"node")) }.encode_to_vec();
        let mut arrived = BytesMut::from(&frame(&request, node.len())[..]);
        assert_eq!(unframe(&mut arrived), None);
        arrived.extend_from_slice(&node);
        arrived.extend_from_slice(b"more");
        let message = unframe(&mut arrived).unwrap();
        assert_eq!(Request::decode(message.clone()), Ok(request));
        assert_eq!(NodeOnly::decode(message).unwrap().node.unwrap(), "node");
        assert_eq!(arrived, "more"[..]);
    }
}
