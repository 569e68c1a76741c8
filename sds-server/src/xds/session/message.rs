//! Requests and responses, whichever of the two protocols they are said in.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::super::form::ValidationForm;
use super::super::resource::{Kind, Resource};
use super::super::sieve::{self, Fields};
use super::super::status::Refusal;
use super::super::wire;

/// What a peer may make us remember of its own name, in bytes.
const NAME: usize = 512;
/// The flag with which a bootstrap asks for plain validation contexts; SPIRE's agent reads it too.
const PLAIN_VALIDATION: &str = "disable_spiffe_cert_validation";

/// How a stream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Every request names all that is wanted.
    StateOfTheWorld,
    /// A request names what has changed.
    Delta,
}

impl Protocol {
    /// The fields of its requests that are read.
    pub(crate) const fn fields(self) -> &'static Fields {
        match self {
            Self::StateOfTheWorld => sieve::STATE,
            Self::Delta => sieve::DELTA,
        }
    }
}

/// What the method that was called serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// One kind of resource.
    Of(Kind),
    /// Every kind on one stream (ADS). Requests for kinds that we do not have are ignored.
    Aggregated,
}

impl Service {
    /// The name in logs and metrics.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Of(kind) => kind.label(),
            Self::Aggregated => "ads",
        }
    }

    /// The kind that a request is about. A service of one kind needs no type URL, but refuses a
    /// wrong one. An aggregated one serves several kinds of several servers, so what is not ours is
    /// `None`.
    pub(super) fn kind_of(self, type_url: &str) -> Result<Option<Kind>, Refusal> {
        let found = Kind::from_type_url(type_url);
        match self {
            Self::Aggregated => Ok(found),
            Self::Of(kind) if type_url.is_empty() || found == Some(kind) => Ok(Some(kind)),
            Self::Of(kind) => Err(Refusal::TypeUrl { found: type_url.into(), accepted: kind }),
        }
    }
}

/// What a peer says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// What kind of resource it is about.
    pub(crate) type_url: String,
    /// Who asks; may be left out after the first request of a stream.
    pub(crate) node: Option<Node>,
    /// The response that it answers; empty if none.
    pub(crate) nonce: String,
    /// Why that response was refused: present in a NACK, and only there.
    pub(crate) refusal: Option<String>,
    /// What it wants.
    pub(crate) wanted: Wanted,
}

/// Names that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of them, and the version that the peer accepted last.
    Exactly { names: Vec<String>, version: String },
    /// What has changed, and the versions that the peer holds from an earlier stream.
    Changed { more: Vec<String>, fewer: Vec<String>, held: HashMap<String, String> },
}

impl Default for Wanted {
    fn default() -> Self {
        Self::Exactly { names: Vec::new(), version: String::new() }
    }
}

impl Wanted {
    /// The length of its longest list: an Envoy that reconnects subscribes to all names, and tells
    /// the versions of all.
    pub(super) fn longest(&self) -> usize {
        match self {
            Self::Exactly { names, .. } => names.len(),
            Self::Changed { more, fewer, held } => more.len().max(fewer.len()).max(held.len()),
        }
    }
}

/// An Envoy as it describes itself. Nothing is permitted on its word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) cluster: String,
    /// How it wants its bundles where their names do not say.
    pub(crate) form: ValidationForm,
}

impl Request {
    /// Reads a request from its protobuf.
    pub(crate) fn decode(protocol: Protocol, message: &[u8]) -> Result<Self, Refusal> {
        let decoded = match protocol {
            Protocol::StateOfTheWorld => wire::DiscoveryRequest::decode(message).map(Self::from),
            Protocol::Delta => wire::DeltaDiscoveryRequest::decode(message).map(Self::from),
        };
        decoded.map_err(|error| Refusal::NoRequest { reason: error.to_string() })
    }
}

impl From<wire::DiscoveryRequest> for Request {
    fn from(request: wire::DiscoveryRequest) -> Self {
        Self {
            type_url: request.type_url,
            node: request.node.map(Node::from),
            nonce: request.response_nonce,
            refusal: request.error_detail.map(|error| error.message),
            wanted: Wanted::Exactly {
                names: request.resource_names,
                version: request.version_info,
            },
        }
    }
}

impl From<wire::DeltaDiscoveryRequest> for Request {
    fn from(request: wire::DeltaDiscoveryRequest) -> Self {
        Self {
            type_url: request.type_url,
            node: request.node.map(Node::from),
            nonce: request.response_nonce,
            refusal: request.error_detail.map(|error| error.message),
            wanted: Wanted::Changed {
                more: request.resource_names_subscribe,
                fewer: request.resource_names_unsubscribe,
                held: request.initial_resource_versions,
            },
        }
    }
}

impl From<wire::Node> for Node {
    fn from(node: wire::Node) -> Self {
        let flag = node.metadata.as_ref().and_then(|of| of.fields.get(PLAIN_VALIDATION));
        let plain = flag.is_some_and(|flag| match (&flag.bool, &flag.string) {
            (Some(flag), _) => *flag,
            // As Go's strconv.ParseBool, which SPIRE's agent uses.
            (_, Some(text)) => matches!(text.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"),
            _ => false,
        });
        let form = if plain { ValidationForm::Plain } else { ValidationForm::Spiffe };
        Self { id: cut(node.id), cluster: cut(node.cluster), form }
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(NAME));
    text.shrink_to_fit();
    text
}

/// What the peer is told.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) kind: Kind,
    pub(crate) nonce: u64,
    /// In the state-of-the-world protocol: of all that the peer holds with this response.
    pub(crate) version: String,
    pub(crate) says: Says,
}

/// One resource, or that there is none: so a refusal concerns one resource.
#[derive(Debug, Clone)]
pub(crate) enum Says {
    /// This is the resource.
    Have(Arc<Resource>),
    /// There is nothing of that name, which the delta protocol can say.
    Gone(Arc<str>),
}

impl Response {
    /// The message in pieces; a resource is one of its own, which all streams share.
    pub(crate) fn encode(self, protocol: Protocol) -> Vec<Bytes> {
        let (type_url, nonce) = (self.kind.type_url().to_owned(), self.nonce.to_string());
        match (protocol, self.says) {
            (Protocol::StateOfTheWorld, says) => {
                let resource = match says {
                    Says::Have(resource) => Some(resource.encoded.clone()),
                    Says::Gone(_) => None,
                };
                wire::DiscoveryResponse { version_info: self.version, type_url, nonce }
                    .around(resource)
            }
            (Protocol::Delta, Says::Have(resource)) => {
                let described = wire::DeltaResource {
                    version: resource.version.to_string(),
                    name: resource.name.clone(),
                };
                wire::DeltaDiscoveryResponse {
                    system_version_info: self.version,
                    type_url,
                    nonce,
                    removed_resources: Vec::new(),
                }
                .around(&described, resource.encoded.clone())
            }
            (Protocol::Delta, Says::Gone(name)) => {
                let response = wire::DeltaDiscoveryResponse {
                    system_version_info: self.version,
                    type_url,
                    nonce,
                    removed_resources: vec![name.to_string()],
                };
                vec![response.encode_to_vec().into()]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use prost::Message;

    use super::{Protocol, Request};
    use crate::xds::form::ValidationForm;
    use crate::xds::wire::{DiscoveryRequest, Metadata, Node, Value};

    #[test]
    fn a_node_may_ask_for_plain_validation_as_it_asks_spire() {
        let value = |string: Option<&str>, bool| Value { string: string.map(Into::into), bool };
        for (flag, expected) in [
            (None, false),
            (Some(value(None, Some(true))), true),
            (Some(value(None, Some(false))), false),
            (Some(value(Some("true"), None)), true),
            (Some(value(Some("yes"), None)), false),
            (Some(value(None, None)), false),
        ] {
            let fields: HashMap<_, _> = flag
                .map(|flag| ("disable_spiffe_cert_validation".to_owned(), flag))
                .into_iter()
                .collect();
            let node = Node { metadata: Some(Metadata { fields }), ..Default::default() };
            let request = DiscoveryRequest { node: Some(node), ..Default::default() };
            let read = Request::decode(Protocol::StateOfTheWorld, &request.encode_to_vec());
            let node = read.expect("a request").node.expect("a node");
            assert_eq!(node.form == ValidationForm::Plain, expected);
        }
    }

    #[test]
    fn a_peer_cannot_make_us_remember_a_long_name() {
        let node = Node { id: "é".repeat(1000), ..Default::default() };
        let request = DiscoveryRequest { node: Some(node), ..Default::default() };
        let read = Request::decode(Protocol::StateOfTheWorld, &request.encode_to_vec());
        assert_eq!(read.expect("a request").node.expect("a node").id, "é".repeat(256));
    }
}
