//! What happens on streams, and how operators hear of it.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::absence::Absence;
use super::resource::{Kind, Resource, Version};
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
    /// The peer refused a response.
    Nacked { kind: Kind, name: String, version: Version, reason: String },
    /// Bytes that the peer refused before were not sent again.
    Withheld { kind: Kind, name: String, version: Version },
    /// An answer to a response that this stream never sent, or that was answered before.
    StaleNonce { kind: Kind },
    /// A name has been asked for in vain for 10 s, or can never be known.
    Unanswered { kind: Kind, name: String, absence: Absence },
    /// The peer no longer wants a name.
    Unsubscribed { kind: Kind, name: String },
}

impl Event {
    /// That `resource` was sent.
    pub(super) fn pushed(resource: &Resource) -> Self {
        let (name, version) = (resource.name.clone(), resource.version.clone());
        Self::Pushed { kind: resource.kind, name, version, policy: resource.policy.clone() }
    }

    /// Logs and counts it. `node` is what the peer calls itself.
    pub(super) fn tell(&self, metrics: &Metrics, peer: &str, node: &str) {
        match self {
            Self::Pushed { kind, name, version, .. } => {
                let r#type = kind.label();
                metrics.count_push(r#type);
                info!(r#type, name, %version, peer, node, "pushed");
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
            Self::Nacked { kind, name, version, reason } => {
                let r#type = kind.label();
                metrics.count_nack(r#type);
                let reason: String =
                    reason.chars().filter(|c| !c.is_control()).take(REASON).collect();
                warn!(r#type, name, %version, peer, node, reason, "refused; what it had before stays in force");
            }
            Self::Withheld { kind, name, version } => {
                let r#type = kind.label();
                warn!(r#type, name, %version, peer, node, "not sent again: refused before");
            }
            Self::Unsubscribed { kind, name } => {
                debug!(r#type = kind.label(), name, peer, node, "no longer wanted");
            }
            Self::StaleNonce { kind } => {
                debug!(r#type = kind.label(), peer, node, "an answer to no open response");
            }
            Self::Unanswered { kind, name, absence } => {
                let (r#type, reason) = (kind.label(), absence.to_string());
                metrics.count_unanswered(r#type, absence.class());
                warn!(r#type, name, peer, node, reason, "not served; who needs it waits");
            }
        }
    }
}
