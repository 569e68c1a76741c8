//! Where identities come from, and the care taken of them before anyone sees them.
//!
//! A source (today the SPIFFE Workload API) writes what it holds into a `watch` of [`Report`]. The
//! [`custodian`] is the one reader: it checks every key pair, holds back what peers cannot know
//! yet, drops what expired, and is the one writer of the `watch` of [`Identities`] that the rest of
//! the server reads.

mod broker;
mod custodian;
mod custody;
mod default_svid;
mod delegated;
mod finding;
pub mod jwt;
mod listener;
mod moment;
mod node;
mod reminders;
mod rotation;
mod svid;
#[cfg(test)]
pub(crate) mod test_context;
mod trouble;
pub mod workload_api;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use spiffe::{SpiffeId, TrustDomain, X509Bundle, X509Context};

pub use custodian::Custodian;
pub use custody::{Custody, CustodySettings};
pub use finding::Finding;
pub use moment::Moment;
pub(crate) use node::Holdings;
pub use node::{Node, NodeSettings, Pin, PinFault, Reached};
pub(crate) use svid::serial_number;
pub use svid::{Svid, SvidFault};

use crate::time::utc;

/// What a source says at this moment.
#[derive(Debug, Clone, Default)]
pub enum Report {
    /// Not connected, and nothing ever received. Holds why.
    #[default]
    Starting,
    /// The first connection has not succeeded yet.
    Waiting(String),
    /// Connected; this is everything the source holds for us.
    Issued(Arc<X509Context>),
    /// Connected, and the source says that we have no identity.
    Withdrawn(String),
    /// The connection is lost; what was issued last stays in force until it expires.
    Lost(String),
}

/// The identities that may be served now: valid, matching, and known to the peers.
#[derive(Debug, Clone, Default)]
pub struct SvidSnapshot {
    /// By SPIFFE ID.
    pub svids: BTreeMap<SpiffeId, Arc<Svid>>,
    /// By trust domain; never empty bundles.
    pub bundles: BTreeMap<TrustDomain, Arc<X509Bundle>>,
    /// The SVID served under the default name; a key of `svids`.
    pub default: Option<SpiffeId>,
    /// What the source does not name any more and Envoys may hold still, each with its end: no message takes
    /// a certificate from an Envoy. What comes to such an identity is denied meanwhile.
    pub withdrawn: BTreeMap<SpiffeId, SystemTime>,
    /// The one that was the default last, where it is withdrawn and none has taken its place; a key of `withdrawn`.
    pub withdrawn_default: Option<SpiffeId>,
}

impl SvidSnapshot {
    /// The default SVID.
    pub fn default_svid(&self) -> Option<&Arc<Svid>> {
        self.default.as_ref().and_then(|id| self.svids.get(id))
    }

    /// Whether both hold the same, keys and all.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.default == other.default
            && self.withdrawn_default == other.withdrawn_default
            && self.withdrawn == other.withdrawn
            && self.bundles == other.bundles
            && self.svids.len() == other.svids.len()
            && self
                .svids
                .iter()
                .all(|(id, svid)| other.svids.get(id).is_some_and(|its| its.same_as(svid)))
    }
}

/// The custodian's published state.
#[derive(Debug, Clone, Default)]
pub struct Identities {
    /// What may be served.
    pub snapshot: Arc<SvidSnapshot>,
    /// Why the default SVID is missing, or why nothing newer arrives. `None` while all is well.
    pub trouble: Option<String>,
    /// Whether the source itself says that nothing is issued.
    pub withdrawn: bool,
    /// Whether the server has none of its own: it serves others theirs, as a delegate.
    pub delegate: bool,
}

impl Identities {
    /// What the source says where it says that nothing is issued.
    pub fn refusal(&self) -> Option<String> {
        self.trouble.clone().filter(|_| self.withdrawn)
    }

    /// Why no default SVID can be served; `None` when one can.
    pub fn missing(&self) -> Option<String> {
        if self.delegate {
            return self.trouble.clone().filter(|_| self.snapshot.bundles.is_empty());
        }
        self.snapshot.default_svid().is_none().then(|| {
            self.trouble.clone().unwrap_or_else(|| "no identity has been issued yet".into())
        })
    }
}
