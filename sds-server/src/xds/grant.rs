//! Who may connect, and what each peer may have.

use std::collections::BTreeMap;
use std::sync::Arc;

use spiffe::SpiffeId;

use super::absence::Absence;
use super::admission::NotAdmitted;
use super::catalogue::Catalogue;
use super::form::ValidationForm;
use super::peer::Peer;
use super::resource::{Kind, Resource};
use crate::config::{Listen, NamePattern};
use crate::sources::jwt::Want;

/// The names that a peer may be answered. What it may not have it cannot tell from what there is
/// not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Grant {
    /// All names: whoever passes the Unix socket's permissions.
    Everything,
    /// These names, as peers write them.
    Listed(Vec<NamePattern>),
}

impl Grant {
    /// What `listen` grants to `peer`, or why that peer must not be connected at all.
    pub(crate) fn of(peer: &Peer, listen: &Listen) -> Result<Arc<Self>, NotAdmitted> {
        match peer {
            Peer::Local(process) => {
                if listen.allowed_uids.as_ref().is_some_and(|list| !list.contains(&process.uid)) {
                    return Err(NotAdmitted::Uid);
                }
                if listen.allowed_gids.as_ref().is_some_and(|list| !list.contains(&process.gid)) {
                    return Err(NotAdmitted::Gid);
                }
                Ok(Arc::new(Self::Everything))
            }
            Peer::Remote(id, _) => Self::of_workload(id, listen),
        }
    }

    /// The same for a workload, wherever it is.
    pub(crate) fn of_workload(id: &SpiffeId, listen: &Listen) -> Result<Arc<Self>, NotAdmitted> {
        let entries = listen.tcp.iter().flat_map(|tcp| &tcp.allow);
        let mut entries = entries.filter(|entry| entry.peer.matches(id)).peekable();
        entries.peek().ok_or(NotAdmitted::NotListed)?;
        let names = entries.flat_map(|entry| entry.names.iter().cloned());
        Ok(Arc::new(Self::Listed(names.collect())))
    }

    /// No name at all.
    pub(crate) fn nothing() -> Arc<Self> {
        Arc::new(Self::Listed(Vec::new()))
    }

    /// Whether the peer may have the resource of that name, of whatever kind: names of secrets and
    /// of extension configurations differ.
    pub(crate) fn permits(&self, name: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Listed(names) => names.iter().any(|pattern| pattern.matches(name)),
        }
    }
}

/// The part of a catalogue that a peer may have.
#[derive(Debug, Clone)]
pub(crate) struct Permitted {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) grant: Arc<Grant>,
    /// How its bundles are written where a name does not say.
    pub(crate) form: ValidationForm,
}

impl Permitted {
    /// The part that `grant` permits, in the usual form.
    pub(crate) fn new(catalogue: Arc<Catalogue>, grant: Arc<Grant>) -> Self {
        Self { catalogue, grant, form: ValidationForm::default() }
    }

    /// The resource of that name, or why the peer gets none now.
    pub(super) fn resolve(&self, kind: Kind, name: &str) -> Result<Arc<Resource>, Absence> {
        if !self.grant.permits(name) {
            return Err(Absence::NotPermitted);
        }
        self.catalogue.resolve(kind, name, self.form)
    }

    /// The resource of that name, if it can be served now and the peer may have it.
    pub(super) fn find(&self, kind: Kind, name: &str) -> Option<Arc<Resource>> {
        self.resolve(kind, name).ok()
    }

    /// Asks for what that name stands for where it is made on demand only, for as long as the answer
    /// is held.
    pub(super) fn want(&self, kind: Kind, name: &str) -> Option<Want> {
        self.grant.permits(name).then(|| self.catalogue.want(kind, name))?
    }

    /// All resources of a kind that the peer may have: each under its own name, and under every
    /// other that was granted by name.
    pub(super) fn all(&self, kind: Kind) -> Vec<Arc<Resource>> {
        let canonical = self.catalogue.canonical(kind, self.form);
        let Grant::Listed(patterns) = &*self.grant else { return canonical.collect() };
        let permitted = canonical.filter(|resource| self.grant.permits(&resource.name));
        let named = patterns.iter().filter_map(|pattern| self.find(kind, pattern.only()?));
        let by_name: BTreeMap<_, _> =
            permitted.chain(named).map(|resource| (resource.name.clone(), resource)).collect();
        by_name.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Grant;
    use crate::config::Config;
    use crate::xds::admission::NotAdmitted;
    use crate::xds::peer::{LocalPeer, Peer};

    #[test]
    fn whoever_is_on_no_list_gets_nothing() {
        let listen = Config::parse(
            "source: {workload_api: {socket: unix:///a}}
listen:
  path: /s
  allowed_uids: [7]
  allowed_gids: [70]
  tcp:
    address: 127.0.0.1:0
    allow:
      - {peer: spiffe://a/envoy, names: [default, ROOTCA]}
      - {peer: spiffe://a/**, names: ['bundle?*']}
",
        )
        .expect("valid")
        .listen;
        let local = |uid, gid| {
            Grant::of(&Peer::Local(LocalPeer { uid, gid, pid: None, pin: None }), &listen)
        };
        assert_eq!(local(7, 70).expect("listed"), Grant::Everything.into());
        assert_eq!(local(8, 70), Err(NotAdmitted::Uid));
        assert_eq!(local(7, 0), Err(NotAdmitted::Gid));
        let remote = |id: &str| Grant::of_workload(&id.parse().expect("an ID"), &listen);
        let envoy = remote("spiffe://a/envoy").expect("listed twice");
        let other = remote("spiffe://a/other").expect("listed once");
        for (name, for_envoy, for_other) in [
            ("default", true, false),
            ("ROOTCA", true, false),
            ("bundle?td=a", true, true),
            ("ALL", false, false),
        ] {
            assert_eq!(
                (envoy.permits(name), other.permits(name)),
                (for_envoy, for_other),
                "{name}"
            );
        }
        assert_eq!(remote("spiffe://b/envoy"), Err(NotAdmitted::NotListed));
    }
}
