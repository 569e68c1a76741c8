//! What a peer may have.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::absence::Absence;
use super::catalogue::Catalogue;
use super::form::ValidationForm;
use super::peer::Peer;
use super::resource::{Kind, Resource};

/// The names that a peer may be answered. What it may not have it cannot tell from what there is
/// not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Grant {
    /// All names: whoever passes the Unix socket's permissions.
    Everything,
    /// These names, as peers write them.
    Listed(BTreeSet<String>),
}

impl Grant {
    /// What `peer` may have: everything where the Unix socket let it in, else nothing.
    pub(crate) fn of(peer: &Peer) -> Arc<Self> {
        Arc::new(match peer {
            Peer::Local(_) => Self::Everything,
            Peer::Remote(_) => Self::Listed(BTreeSet::new()),
        })
    }

    /// Whether the peer may have the resource of that name, of whatever kind: names of secrets and
    /// of extension configurations differ.
    pub(crate) fn permits(&self, name: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Listed(names) => names.contains(name),
        }
    }
}

/// The part of a catalogue that a peer may have.
#[derive(Debug, Clone)]
pub(crate) struct Permitted {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) grant: Arc<Grant>,
}

impl Permitted {
    /// The resource of that name, or why the peer gets none now.
    pub(super) fn resolve(&self, kind: Kind, name: &str) -> Result<Arc<Resource>, Absence> {
        if !self.grant.permits(name) {
            return Err(Absence::NotPermitted);
        }
        self.catalogue.resolve(kind, name, ValidationForm::default())
    }

    /// The resource of that name, if it can be served now and the peer may have it.
    pub(super) fn find(&self, kind: Kind, name: &str) -> Option<Arc<Resource>> {
        self.resolve(kind, name).ok()
    }

    /// All resources of a kind that the peer may have: under each name that it was granted, else
    /// each under its own name only.
    pub(super) fn all(&self, kind: Kind) -> Vec<Arc<Resource>> {
        match &*self.grant {
            Grant::Everything => self.catalogue.canonical(kind).collect(),
            Grant::Listed(names) => names.iter().filter_map(|name| self.find(kind, name)).collect(),
        }
    }
}
