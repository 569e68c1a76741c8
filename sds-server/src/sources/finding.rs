//! What the custody finds, and how operators hear of it.

use std::time::Duration;

use spiffe::{SpiffeId, TrustDomain};
use tracing::{error, info, warn};

use super::SvidFault;
use crate::metrics::Metrics;

/// Something that operators want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields' names say it all")]
pub enum Finding {
    /// A new certificate is served.
    Served { id: SpiffeId, serial: String, expires: String },
    /// A new certificate waits until its authority is known to the peers.
    Held { id: SpiffeId, serial: String, wait: Duration },
    /// A certificate must not be served; the one before stays while it is valid.
    Refused { id: SpiffeId, fault: SvidFault },
    /// No authority of the bundle is found to have issued the certificate.
    UnknownIssuer { id: SpiffeId, serial: String },
    /// A certificate is no longer served: it expired and nothing newer came.
    Expired { id: SpiffeId },
    /// A certificate is no longer served: the source does not name it any more.
    Withdrawn { id: SpiffeId },
    /// A bundle is new or changed.
    Bundle { domain: TrustDomain, authorities: usize },
}

impl Finding {
    /// Logs and counts it.
    pub(super) fn tell(&self, metrics: &Metrics) {
        match self {
            Self::Served { id, serial, expires } => {
                metrics.count_svid_update("served");
                info!(spiffe_id = %id, serial, expires, "serving a new SVID");
            }
            Self::Held { id, serial, wait } => {
                metrics.count_svid_update("held");
                let wait_ms = wait.as_millis();
                info!(spiffe_id = %id, serial, wait_ms, "holding back an SVID of a new authority");
            }
            Self::Refused { id, fault } => {
                metrics.count_svid_update("refused");
                error!(spiffe_id = %id, reason = %fault, "refusing an SVID");
            }
            Self::UnknownIssuer { id, serial } => {
                warn!(spiffe_id = %id, serial, "no authority of the bundle issued this SVID");
            }
            Self::Expired { id } => {
                metrics.count_svid_update("expired");
                error!(spiffe_id = %id, "an SVID expired and nothing newer came");
            }
            Self::Withdrawn { id } => {
                metrics.count_svid_update("withdrawn");
                // There is no message that takes a certificate from an Envoy.
                warn!(spiffe_id = %id, "identity withdrawn; Envoys keep its SVID until it expires");
            }
            Self::Bundle { domain, authorities } => {
                info!(trust_domain = %domain, authorities, "serving a new bundle");
            }
        }
    }
}
