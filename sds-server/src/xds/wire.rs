//! The discovery messages as far as this server needs them.
//!
//! Envoy's node carries 61 KB of extension names with every request. These messages name the same
//! fields of the same protocol (envoy/service/discovery/v3/discovery.proto) but only those that are
//! read, so that the rest is skipped while decoding and never kept. Resources are bytes that were
//! encoded once and are shared by all streams.

use bytes::Bytes;
use prost::Message;

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

/// An Envoy's self-description, without its 516 extensions.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Node {
    /// `--service-node`.
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    /// `--service-cluster`.
    #[prost(string, tag = "2")]
    pub(crate) cluster: String,
}

/// Why a response was refused: google.rpc.Status.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ErrorDetail {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

/// A response with resources that are encoded already.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct DiscoveryResponse {
    #[prost(string, tag = "1")]
    pub(crate) version_info: String,
    /// Each an encoded [`Any`].
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(crate) resources: Vec<Bytes>,
    #[prost(string, tag = "4")]
    pub(crate) type_url: String,
    #[prost(string, tag = "5")]
    pub(crate) nonce: String,
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

    use super::{Any, DiscoveryRequest, DiscoveryResponse};

    #[test]
    fn a_full_request_is_read_without_its_extensions() {
        let extension =
            core::Extension { name: "envoy.filters.http.router".into(), ..Default::default() };
        let sent = full::DiscoveryRequest {
            version_info: "v".into(),
            node: Some(core::Node {
                id: "sidecar".into(),
                cluster: "api".into(),
                extensions: vec![extension; 516],
                ..Default::default()
            }),
            resource_names: vec!["default".into()],
            type_url: "t".into(),
            response_nonce: "7".into(),
            error_detail: Some(rpc::Status {
                code: 13,
                message: "bad".into(),
                ..Default::default()
            }),
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
    fn a_response_is_what_envoy_expects() {
        let any = Any { type_url: "t".into(), value: vec![1, 2].into() };
        let sent = DiscoveryResponse {
            version_info: "v".into(),
            resources: vec![any.encode_to_vec().into()],
            type_url: "t".into(),
            nonce: "1".into(),
        };
        let expected = full::DiscoveryResponse {
            version_info: "v".into(),
            resources: vec![protobuf::Any { type_url: "t".into(), value: vec![1, 2] }],
            type_url: "t".into(),
            nonce: "1".into(),
            ..Default::default()
        };
        assert_eq!(full::DiscoveryResponse::decode(sent.encode_to_vec().as_slice()), Ok(expected));
    }
}
