//! What happens on streams, and how operators hear of it.

use std::time::Duration;

use tracing::{debug, warn};

use super::resource::{Kind, Version};
use crate::metrics::Metrics;

/// What a peer may write into our log with one NACK, in characters.
const REASON: usize = 1024;

/// Something for the log and the metrics. Events never flow back into a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The peer accepted a response. Not `believed` where it refused the same bytes before: it goes
    /// on with older ones.
    Acked { kind: Kind, name: String, version: Version, after: Duration, believed: bool },
    /// The peer refused a response.
    Nacked { kind: Kind, name: String, version: Version, reason: String },
    /// Bytes that the peer refused before were not sent again.
    Withheld { kind: Kind, name: String, version: Version },
    /// An answer to a response that this stream never sent, or that was answered before.
    StaleNonce { kind: Kind },
    /// A name has been asked for in vain for 10 s. Not `permitted`: the peer must not have it,
    /// whether there is such a thing or not.
    Unanswered { kind: Kind, name: String, permitted: bool },
}

impl Event {
    /// Logs and counts it. `node` is what the peer calls itself.
    pub(super) fn tell(&self, metrics: &Metrics, node: &str) {
        match self {
            Self::Acked { kind, name, version, after, believed } => {
                let r#type = kind.label();
                metrics.count_ack(r#type, *after);
                if *believed {
                    debug!(r#type, name, %version, node, "accepted");
                } else {
                    warn!(r#type, name, %version, node, "accepted what it refused before: not believed");
                }
            }
            Self::Nacked { kind, name, version, reason } => {
                let r#type = kind.label();
                metrics.count_nack(r#type);
                let reason: String =
                    reason.chars().filter(|c| !c.is_control()).take(REASON).collect();
                warn!(r#type, name, %version, node, reason, "refused; what it had before stays in force");
            }
            Self::Withheld { kind, name, version } => {
                let r#type = kind.label();
                warn!(r#type, name, %version, node, "not sent again: refused before");
            }
            Self::StaleNonce { kind } => {
                debug!(r#type = kind.label(), node, "an answer to no open response");
            }
            Self::Unanswered { kind, name, permitted } => {
                let r#type = kind.label();
                metrics.count_unanswered(r#type);
                if *permitted {
                    warn!(
                        r#type,
                        name, node, "nothing of this name can be served; who needs it waits"
                    );
                } else {
                    warn!(
                        r#type,
                        name, node, "this peer may not have this name; it is left waiting"
                    );
                }
            }
        }
    }
}
