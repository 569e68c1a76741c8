//! What happens on streams, and how operators hear of it.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};

use super::absence::Absence;
use super::resource::{Kind, Version};
use super::session::{Response, Says};
use crate::metrics::Metrics;

/// What a peer may write into our log with one NACK, in characters.
const REASON: usize = 1024;

/// Something for the log and the metrics. Events never flow back into a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A resource was sent; an extension is of a policy.
    Pushed { kind: Kind, name: String, version: Version, policy: Option<Arc<str>> },
    /// The peer accepted a response. Not `believed` where it refused the same bytes before: it goes
    /// on with older ones.
    Acked { kind: Kind, name: String, version: Version, after: Duration, believed: bool },
    /// The peer has already what it would be sent: from an earlier stream, or from before nothing was served under that
    /// name for a while.
    Holds { kind: Kind, name: String, version: Version, policy: Option<Arc<str>> },
    /// The peer refused a response.
    Nacked { kind: Kind, name: String, version: Version, reason: String },
    /// Bytes that the peer refused before, perhaps on an earlier stream, were not sent again.
    Withheld { kind: Kind, name: String, version: Version, reason: Arc<str> },
    /// An answer to a response that this stream never sent, or that was answered before.
    StaleNonce { kind: Kind },
    /// A name has been asked for in vain for 10 s, or can never be known.
    Unanswered { kind: Kind, name: String, absence: Absence },
    /// The peer no longer wants a name.
    Unsubscribed { kind: Kind, name: String },
    /// The peer was told that there is nothing of that name.
    Gone { kind: Kind, name: String },
    /// The peer answered that; `refused` with a reason.
    GoneAnswered { kind: Kind, name: String, refused: Option<String> },
    /// A request for resources that are none of ours, on an aggregated stream.
    Ignored { type_url: String },
}

impl Event {
    /// That `response` was sent.
    pub(super) fn sent(response: &Response) -> Self {
        let kind = response.kind;
        match &response.says {
            Says::Have(resource) => {
                let (name, version) = (resource.name.clone(), resource.version.clone());
                let policy = resource.policy.clone();
                Self::Pushed { kind, name, version, policy }
            }
            Says::Gone(name) => Self::Gone { kind, name: name.to_string() },
        }
    }

    /// Logs and counts it. `node` is what the peer calls itself.
    pub(super) fn tell(&self, metrics: &Metrics, peer: &str, node: &str) {
        match self {
            Self::Pushed { kind, name, version, .. } => {
                let r#type = kind.label();
                metrics.count_push(r#type);
                // A line for each of a thousand streams would cost more than the push.
                debug!(r#type, name, %version, peer, node, "pushed");
            }
            Self::Acked { kind, name, version, after, believed } => {
                let r#type = kind.label();
                metrics.count_ack(r#type, *after);
                if *believed {
                    debug!(r#type, name, %version, peer, node, "accepted");
                } else {
                    warn!(r#type, name, %version, peer, node, "accepted what it refused before: not believed");
                }
            }
            Self::Holds { kind, name, version, .. } => {
                debug!(r#type = kind.label(), name, %version, peer, node, "holds it already");
            }
            Self::Nacked { kind, name, version, reason } => {
                let r#type = kind.label();
                metrics.count_nack(r#type);
                let reason = printable(reason);
                warn!(r#type, name, %version, peer, node, reason, "refused; what it had before stays in force");
            }
            Self::Withheld { kind, name, version, reason } => {
                let (r#type, reason) = (kind.label(), printable(reason));
                warn!(r#type, name, %version, peer, node, reason, "not sent again: refused before");
            }
            Self::Unsubscribed { kind, name } => {
                debug!(r#type = kind.label(), name, peer, node, "no longer wanted");
            }
            Self::StaleNonce { kind } => {
                debug!(r#type = kind.label(), peer, node, "an answer to no open response");
            }
            // Peers may invent names without end, so the registry tells of them.
            Self::Unanswered { .. } => {}
            Self::Gone { kind, name } => {
                let r#type = kind.label();
                metrics.count_push(r#type);
                debug!(r#type, name, peer, node, "told that there is none");
            }
            Self::GoneAnswered { kind, name, refused: None } => {
                let r#type = kind.label();
                debug!(r#type, name, peer, node, "knows that there is none");
            }
            Self::GoneAnswered { kind, name, refused: Some(reason) } => {
                let (r#type, reason) = (kind.label(), printable(reason));
                warn!(r#type, name, peer, node, reason, "refused that there is none");
            }
            Self::Ignored { type_url } => {
                let type_url = printable(type_url);
                debug!(type_url, peer, node, "a request for what is not served here is ignored");
            }
        }
    }
}

/// Peers' words without what would confuse a log.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(REASON).collect()
}
