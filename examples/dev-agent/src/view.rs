//! What a socket serves at one moment, and how it behaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use spiffe::{SpiffeId, TrustDomain};
use tokio::time::Instant;

use crate::svid::X509Svid;

/// What a workload is: the identities behind one socket, never empty.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) identities: Vec<SpiffeId>,
    /// DNS SANs of each of its SVIDs.
    pub(crate) dns: Vec<String>,
}

/// What a Workload API socket serves at one moment. Replaced whole, so that a leaf never comes without its bundle.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) identity: Identity,
    pub(crate) trust: Arc<Trust>,
    /// When the SVIDs are replaced; never where a command put them there.
    pub(crate) renew_at: Option<Instant>,
}

/// Whether the workload is somebody.
#[derive(Clone)]
pub(crate) enum Identity {
    Issued(Vec<(SpiffeId, Arc<X509Svid>)>),
    /// Every call is answered with `PermissionDenied`.
    Withdrawn,
}

/// What verifies peers: the own trust domain's keys and those of the federated ones.
pub(crate) struct Trust {
    pub(crate) x509: BTreeMap<TrustDomain, Vec<u8>>,
    pub(crate) jwks: BTreeMap<TrustDomain, Vec<u8>>,
}

/// How the sockets behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conduct {
    /// False: calls are accepted and never answered, open streams stay silent.
    pub(crate) answering: bool,
    /// False: nobody listens.
    pub(crate) listening: bool,
}
