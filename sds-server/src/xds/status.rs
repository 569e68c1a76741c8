//! Where gRPC statuses are made.

use tonic::Status;

use super::admission::NotAdmitted;
use super::resource::Kind;
use super::tls::ClientFault;

/// Why a stream or a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Another kind of resource than this service has.
    #[error("type URL `{found}` is not served here, accepted is `{}`", accepted.type_url())]
    TypeUrl { found: String, accepted: Kind },
    /// More names than the limit.
    #[error("{found} resource names in one request, accepted are {accepted}")]
    TooManyNames { found: usize, accepted: usize },
    /// The names of a stream are longer than the limit.
    #[error("resource names of {found} bytes on one stream, accepted are {accepted}")]
    NamesTooLong { found: usize, accepted: usize },
    /// The streams of a connection hold more than all of them may.
    #[error(
        "half-received requests and names of {found} bytes on one connection, accepted are {accepted}"
    )]
    Crowded { found: usize, accepted: usize },
    /// A message beyond the limit.
    #[error("a message of {found} bytes, accepted are {accepted}")]
    TooLarge { found: usize, accepted: usize },
    /// The peer compresses, which is for larger messages than these.
    #[error("a compressed message, accepted are plain ones")]
    Compressed,
    /// Not gRPC.
    #[error("a message that begins with {found}, accepted is 0")]
    NoFrame { found: u8 },
    /// Not the protobuf of a request.
    #[error("the message is no discovery request: {reason}")]
    NoRequest { reason: String },
    /// The body ends within a message.
    #[error("the request ends in the middle of a message")]
    CutOff,
    /// A fetch of which nothing is known.
    #[error("no {} of those names is served now", kind.label())]
    NothingToFetch { kind: Kind },
    /// The server is stopping.
    #[error("the server is stopping, connect again later")]
    Draining,
    /// The peer must not be connected any more.
    #[error(transparent)]
    NotAdmitted(NotAdmitted),
    /// The peer's certificate is not what lets it in any more.
    #[error(transparent)]
    Unproven(ClientFault),
    /// The transport does not say who asks.
    #[error("it is not known who asks")]
    UnknownPeer,
    /// Where each process has its own, the peer is none that we know.
    #[error("only processes of this node are served here, each by its own connection")]
    NoProcess,
    /// The process that opened the stream has ended, or is not looked after any more.
    #[error("the process that connected has ended")]
    ProcessEnded,
    /// The peer does not read.
    #[error("responses were left unread for too long")]
    SlowReader,
}

impl Refusal {
    /// The metric's label.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::TypeUrl { .. } => "type_url",
            Self::TooManyNames { .. } => "too_many_names",
            Self::NamesTooLong { .. } => "names_too_long",
            Self::Crowded { .. } => "crowded",
            Self::TooLarge { .. } => "too_large",
            Self::Compressed | Self::NoFrame { .. } | Self::NoRequest { .. } | Self::CutOff => {
                "malformed"
            }
            Self::NothingToFetch { .. } => "not_found",
            Self::Draining => "draining",
            Self::NotAdmitted(reason) => reason.class(),
            Self::Unproven(fault) => fault.class(),
            Self::UnknownPeer => "unknown_peer",
            Self::NoProcess => "no_process",
            Self::ProcessEnded => "process_ended",
            Self::SlowReader => "slow_reader",
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::TypeUrl { .. }
            | Refusal::TooManyNames { .. }
            | Refusal::NamesTooLong { .. }
            | Refusal::NoFrame { .. }
            | Refusal::NoRequest { .. }
            | Refusal::CutOff => Self::invalid_argument(message),
            Refusal::Compressed => Self::unimplemented(message),
            Refusal::NothingToFetch { .. } => Self::not_found(message),
            // Its connection is being closed: what it may not know is why.
            Refusal::NotAdmitted(_) | Refusal::Unproven(ClientFault::NotAdmitted { .. }) => {
                Self::unavailable("refused")
            }
            Refusal::Unproven(fault) => Self::unauthenticated(fault.to_peer()),
            Refusal::Draining | Refusal::ProcessEnded => Self::unavailable(message),
            Refusal::UnknownPeer | Refusal::NoProcess => Self::unauthenticated(message),
            Refusal::TooLarge { .. } | Refusal::Crowded { .. } | Refusal::SlowReader => {
                Self::resource_exhausted(message)
            }
        }
    }
}
