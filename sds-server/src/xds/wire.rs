//! The discovery messages as far as this server needs them.
//!
//! Envoy's node carries 61 KB of extension names with every request. These messages name the same
//! fields of the same protocol (envoy/service/discovery/v3/discovery.proto) but only those that are
//! read, so that the rest is skipped while decoding and never kept. A response is encoded around its
//! resource: the resource's bytes come last and are shared by all streams, never copied.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// The field of both responses that holds resources.
const RESOURCES: u32 = 2;
/// The field of a delta resource that holds the resource itself.
const RESOURCE: u32 = 2;

/// A request of the state-of-the-world protocol: a subscription, an ACK or a NACK.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct DiscoveryRequest {
    /// The version that the peer accepted last; empty on the very first request.
    #[prost(string, tag = "1")]
    pub(crate) version_info: String,
    /// Who asks. May be left out after the first request of a stream.
    #[prost(message, optional, tag = "2")]
    pub(crate) node: Option<Node>,
    /// All names that the peer wants.
    #[prost(string, repeated, tag = "3")]
    pub(crate) resource_names: Vec<String>,
    /// What kind of resource.
    #[prost(string, tag = "4")]
    pub(crate) type_url: String,
    /// The response that this request answers; empty on the first request of a stream.
    #[prost(string, tag = "5")]
    pub(crate) response_nonce: String,
    /// Present in a NACK, and only there.
    #[prost(message, optional, tag = "6")]
    pub(crate) error_detail: Option<ErrorDetail>,
}

/// A request of the delta protocol: a change of names, an ACK, a NACK, or several of them.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct DeltaDiscoveryRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) node: Option<Node>,
    #[prost(string, tag = "2")]
    pub(crate) type_url: String,
    /// Names that the peer wants from now on.
    #[prost(string, repeated, tag = "3")]
    pub(crate) resource_names_subscribe: Vec<String>,
    /// Names that it no longer wants.
    #[prost(string, repeated, tag = "4")]
    pub(crate) resource_names_unsubscribe: Vec<String>,
    /// What it has from an earlier stream; in the first request only.
    #[prost(map = "string, string", tag = "5")]
    pub(crate) initial_resource_versions: HashMap<String, String>,
    #[prost(string, tag = "6")]
    pub(crate) response_nonce: String,
    #[prost(message, optional, tag = "7")]
    pub(crate) error_detail: Option<ErrorDetail>,
}

/// An Envoy's self-description, without its 516 extensions.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Node {
    /// `--service-node`.
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    /// `--service-cluster`.
    #[prost(string, tag = "2")]
    pub(crate) cluster: String,
    /// What the bootstrap's author wrote there.
    #[prost(message, optional, tag = "3")]
    pub(crate) metadata: Option<Metadata>,
}

/// google.protobuf.Struct, of whose values only flags are kept.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metadata {
    #[prost(map = "string, message", tag = "1")]
    pub(crate) fields: HashMap<String, Value>,
}

/// google.protobuf.Value as far as a flag can be written in it.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Value {
    #[prost(string, optional, tag = "3")]
    pub(crate) string: Option<String>,
    #[prost(bool, optional, tag = "4")]
    pub(crate) bool: Option<bool>,
}

/// Why a response was refused: google.rpc.Status.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ErrorDetail {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

/// A response of the state-of-the-world protocol; its resources follow.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct DiscoveryResponse {
    #[prost(string, tag = "1")]
    pub(crate) version_info: String,
    #[prost(string, tag = "4")]
    pub(crate) type_url: String,
    #[prost(string, tag = "5")]
    pub(crate) nonce: String,
}

impl DiscoveryResponse {
    /// The message in pieces, with resources that are encoded already.
    pub(crate) fn around(&self, resources: impl IntoIterator<Item = Bytes>) -> Vec<Bytes> {
        let mut pieces = Vec::with_capacity(2);
        let mut head = BytesMut::from(self.encode_to_vec().as_slice());
        for resource in resources {
            encode_key(RESOURCES, WireType::LengthDelimited, &mut head);
            encode_varint(resource.len() as u64, &mut head);
            pieces.extend([head.split().freeze(), resource]);
        }
        if pieces.is_empty() {
            pieces.push(head.freeze());
        }
        pieces
    }
}

/// A response of the delta protocol; its resource, if any, follows.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct DeltaDiscoveryResponse {
    #[prost(string, tag = "1")]
    pub(crate) system_version_info: String,
    #[prost(string, tag = "4")]
    pub(crate) type_url: String,
    #[prost(string, tag = "5")]
    pub(crate) nonce: String,
    #[prost(string, repeated, tag = "6")]
    pub(crate) removed_resources: Vec<String>,
}

/// What the delta protocol says of a resource; the resource follows.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct DeltaResource {
    #[prost(string, tag = "1")]
    pub(crate) version: String,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
}

impl DeltaDiscoveryResponse {
    /// The message in pieces, with one resource that is encoded already.
    pub(crate) fn around(&self, described: &DeltaResource, resource: Bytes) -> Vec<Bytes> {
        let inner = key_len(RESOURCE) + encoded_len_varint(resource.len() as u64) + resource.len();
        let mut head = BytesMut::from(self.encode_to_vec().as_slice());
        encode_key(RESOURCES, WireType::LengthDelimited, &mut head);
        encode_varint((described.encoded_len() + inner) as u64, &mut head);
        head.extend_from_slice(&described.encode_to_vec());
        encode_key(RESOURCE, WireType::LengthDelimited, &mut head);
        encode_varint(resource.len() as u64, &mut head);
        vec![head.freeze(), resource]
    }
}

/// google.protobuf.Any over shared bytes.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3 as core;
    use envoy_types::pb::envoy::service::discovery::v3 as full;
    use envoy_types::pb::google::{protobuf, rpc};
    use prost::Message;

    use super::{
        Any, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DeltaResource, DiscoveryRequest,
        DiscoveryResponse,
    };

    fn node() -> core::Node {
        let extension =
            core::Extension { name: "envoy.filters.http.router".into(), ..Default::default() };
        core::Node {
            id: "sidecar".into(),
            cluster: "api".into(),
            extensions: vec![extension; 516],
            ..Default::default()
        }
    }

    fn error() -> rpc::Status {
        rpc::Status { code: 13, message: "bad".into(), ..Default::default() }
    }

    #[test]
    fn a_full_request_is_read_without_its_extensions() {
        let sent = full::DiscoveryRequest {
            version_info: "v".into(),
            node: Some(node()),
            resource_names: vec!["default".into()],
            type_url: "t".into(),
            response_nonce: "7".into(),
            error_detail: Some(error()),
            ..Default::default()
        };
        let read = DiscoveryRequest::decode(sent.encode_to_vec().as_slice()).expect("compatible");
        let node = read.node.as_ref().expect("a node");
        assert_eq!((node.id.as_str(), node.cluster.as_str()), ("sidecar", "api"));
        assert_eq!(
            read.error_detail.as_ref().map(|e| (e.code, e.message.as_str())),
            Some((13, "bad"))
        );
        assert_eq!((read.version_info.as_str(), read.response_nonce.as_str()), ("v", "7"));
        assert!(read.encoded_len() < 100);
    }

    #[test]
    fn a_full_delta_request_is_read_without_its_extensions() {
        let sent = full::DeltaDiscoveryRequest {
            node: Some(node()),
            type_url: "t".into(),
            resource_names_subscribe: vec!["default".into()],
            resource_names_unsubscribe: vec!["ROOTCA".into()],
            initial_resource_versions: [("ALL".to_owned(), "v".to_owned())].into(),
            response_nonce: "7".into(),
            error_detail: Some(error()),
            ..Default::default()
        };
        let read =
            DeltaDiscoveryRequest::decode(sent.encode_to_vec().as_slice()).expect("compatible");
        assert_eq!(read.resource_names_subscribe, ["default"]);
        assert_eq!(read.resource_names_unsubscribe, ["ROOTCA"]);
        assert_eq!(read.initial_resource_versions["ALL"], "v");
        assert_eq!((read.type_url.as_str(), read.response_nonce.as_str()), ("t", "7"));
        assert_eq!(read.error_detail.as_ref().map(|e| e.code), Some(13));
        assert!(read.encoded_len() < 100);
    }

    fn any(value: &[u8]) -> (Any, protobuf::Any) {
        (
            Any { type_url: "t".into(), value: value.to_vec().into() },
            protobuf::Any { type_url: "t".into(), value: value.to_vec() },
        )
    }

    #[test]
    fn a_response_is_what_envoy_expects() {
        let sent =
            DiscoveryResponse { version_info: "v".into(), type_url: "t".into(), nonce: "1".into() };
        let ((one, full_one), (two, full_two)) = (any(&[1; 300]), any(&[]));
        for (resources, expected) in [(vec![], vec![]), (vec![one, two], vec![full_one, full_two])]
        {
            let pieces = sent.around(resources.iter().map(|any| any.encode_to_vec().into()));
            let expected = full::DiscoveryResponse {
                version_info: "v".into(),
                resources: expected,
                type_url: "t".into(),
                nonce: "1".into(),
                ..Default::default()
            };
            assert_eq!(full::DiscoveryResponse::decode(pieces.concat().as_slice()), Ok(expected));
        }
    }

    #[test]
    fn a_delta_response_is_what_envoy_expects() {
        let (any, full_any) = any(&[1; 300]);
        let sent = DeltaDiscoveryResponse {
            system_version_info: "s".into(),
            type_url: "t".into(),
            nonce: "1".into(),
            removed_resources: Vec::new(),
        };
        let described = DeltaResource { version: "v".into(), name: "default".into() };
        let pieces = sent.around(&described, any.encode_to_vec().into());
        let expected = full::DeltaDiscoveryResponse {
            system_version_info: "s".into(),
            resources: vec![full::Resource {
                name: "default".into(),
                version: "v".into(),
                resource: Some(full_any),
                ..Default::default()
            }],
            type_url: "t".into(),
            nonce: "1".into(),
            ..Default::default()
        };
        assert_eq!(full::DeltaDiscoveryResponse::decode(pieces.concat().as_slice()), Ok(expected));
    }
}
