//! The authority's whole state, and every change that can be made to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use spiffe::{SpiffeId, TrustDomain};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::authority::{Authority, Rollover, RolloverError};
use crate::keys::Keys;
use crate::svid::{Leaf, Variant, X509Svid};
use crate::view::{Conduct, Identity, Registration, View};

/// A change that cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("unknown workload {name:?}, accepted: {known}")]
    UnknownWorkload { name: String, known: String },
    #[error("workload {0:?} is withdrawn: grant it first")]
    Withdrawn(String),
    #[error("trust domain {0:?} is not a trust domain's name, accepted: such as partner.example")]
    TrustDomain(String),
    #[error("trust domain {0:?} is not federated")]
    NotFederated(String),
    #[error("trust domain {0:?} is our own, only foreign ones can be federated")]
    OwnTrustDomain(String),
    #[error(transparent)]
    Rollover(#[from] RolloverError),
    #[error("the certificate could not be made: {0}")]
    Signing(#[from] rcgen::Error),
}

struct Workload {
    registration: Registration,
    view: watch::Sender<View>,
}

/// The in-memory SPIFFE authority.
pub(crate) struct Agent {
    trust_domain: TrustDomain,
    svid_ttl: Duration,
    jwt_ttl: Duration,
    keys: Mutex<Keys>,
    workloads: BTreeMap<String, Workload>,
    renewal_changed: Notify,
    conduct: watch::Sender<Conduct>,
    stop: CancellationToken,
    connections: Mutex<CancellationToken>,
}

impl Agent {
    /// Makes the CA and issues each workload's first SVIDs. `stop` ends every connection.
    pub(crate) fn new(
        trust_domain: TrustDomain,
        svid_ttl: Duration,
        jwt_ttl: Duration,
        intermediate: bool,
        registrations: BTreeMap<String, Registration>,
        stop: CancellationToken,
    ) -> Result<Self, Refusal> {
        let keys = Keys {
            own: Rollover::new(trust_domain.clone(), intermediate)?,
            foreign: BTreeMap::new(),
        };
        let trust = keys.trust();
        let mut workloads = BTreeMap::new();
        for (name, registration) in registrations {
            let view = View {
                identity: keys.issue_all(&registration, svid_ttl, Variant::Valid, None)?,
                trust: Arc::clone(&trust),
                renew_at: Some(Instant::now() + svid_ttl / 2),
            };
            workloads.insert(name, Workload { registration, view: watch::Sender::new(view) });
        }
        Ok(Self {
            trust_domain,
            svid_ttl,
            jwt_ttl,
            keys: Mutex::new(keys),
            workloads,
            renewal_changed: Notify::new(),
            conduct: watch::Sender::new(Conduct { answering: true, listening: true }),
            connections: Mutex::new(stop.child_token()),
            stop,
        })
    }

    /// The trust domain that it signs for.
    pub(crate) fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Each workload's name, what it is served now, and its number of open streams and calls.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = (&str, View, usize)> {
        self.workloads.iter().map(|(name, workload)| {
            (name.as_str(), workload.view.borrow().clone(), workload.view.receiver_count())
        })
    }

    /// What a workload is served, now and later.
    pub(crate) fn watch(&self, name: &str) -> Result<watch::Receiver<View>, Refusal> {
        Ok(self.workload(name)?.view.subscribe())
    }

    /// How the sockets behave, now and later.
    pub(crate) fn conduct(&self) -> watch::Receiver<Conduct> {
        self.conduct.subscribe()
    }

    /// Ends with every connection that is open now.
    pub(crate) fn connections(&self) -> CancellationToken {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Signs a JWT-SVID.
    pub(crate) fn jwt(
        &self,
        id: &SpiffeId,
        audience: &[String],
    ) -> Result<String, jsonwebtoken::errors::Error> {
        self.keys().own.active().jwt().sign(id, audience, self.jwt_ttl)
    }

    /// Issues new SVIDs to one workload, or to all; automatic rotation goes on from here.
    pub(crate) fn rotate(&self, name: Option<&str>) -> Result<(), Refusal> {
        self.reissue(
            name,
            self.svid_ttl,
            Variant::Valid,
            None,
            Some(Instant::now() + self.svid_ttl / 2),
        )
    }

    /// Serves SVIDs that end in `within` (zero: that have ended) and rotates no more until told to.
    pub(crate) fn expire(&self, name: Option<&str>, within: Duration) -> Result<(), Refusal> {
        let variant = if within.is_zero() { Variant::Expired } else { Variant::Valid };
        self.reissue(name, within, variant, None, None)
    }

    /// Serves forged SVIDs and rotates no more until told to.
    pub(crate) fn forge(
        &self,
        name: &str,
        variant: Variant,
        other: Option<&str>,
    ) -> Result<(), Refusal> {
        self.reissue(Some(name), self.svid_ttl, variant, other, None)
    }

    /// Makes an SVID of the workload's first identity for whoever speaks TLS by himself. Nothing is served.
    pub(crate) fn mint(
        &self,
        name: &str,
        variant: Variant,
        other: Option<&str>,
        ttl: Option<Duration>,
    ) -> Result<X509Svid, Refusal> {
        let Registration { identities, dns } = &self.workload(name)?.registration;
        let leaf = Leaf { id: &identities[0], dns, ttl: ttl.unwrap_or(self.svid_ttl) };
        self.keys().issue(&leaf, variant, other)
    }

    /// The own trust domain's X.509 bundle as PEM.
    pub(crate) fn bundle_pem(&self) -> String {
        self.keys().own.trusted().map(|authority| authority.root().pem()).collect()
    }

    /// Withdraws a workload's identities.
    pub(crate) fn revoke(&self, name: &str) -> Result<(), Refusal> {
        self.workload(name)?.view.send_modify(|view| {
            view.identity = Identity::Withdrawn;
            view.renew_at = None;
        });
        Ok(())
    }

    /// Gives a workload its identities, back or anew.
    pub(crate) fn grant(&self, name: &str) -> Result<(), Refusal> {
        let workload = self.workload(name)?;
        let keys = self.keys();
        let identity =
            keys.issue_all(&workload.registration, self.svid_ttl, Variant::Valid, None)?;
        self.serve(workload, identity, Some(Instant::now() + self.svid_ttl / 2));
        Ok(())
    }

    /// Trusts a foreign trust domain, whose CA is made here and now.
    pub(crate) fn federate(&self, foreign: &TrustDomain) -> Result<(), Refusal> {
        if *foreign == self.trust_domain {
            return Err(Refusal::OwnTrustDomain(foreign.to_string()));
        }
        let mut keys = self.keys();
        if !keys.foreign.contains_key(foreign) {
            keys.foreign.insert(foreign.clone(), Authority::new(foreign, false)?);
        }
        self.publish_trust(&keys);
        Ok(())
    }

    /// Trusts a foreign trust domain no more, and forgets its CA.
    pub(crate) fn unfederate(&self, foreign: &TrustDomain) -> Result<(), Refusal> {
        let mut keys = self.keys();
        keys.foreign.remove(foreign).ok_or_else(|| Refusal::NotFederated(foreign.to_string()))?;
        self.publish_trust(&keys);
        Ok(())
    }

    /// Takes one step of a CA rollover and publishes what is trusted now. SVIDs stay as they are.
    pub(crate) fn roll_over(
        &self,
        step: impl FnOnce(&mut Rollover) -> Result<(), RolloverError>,
    ) -> Result<(), Refusal> {
        let mut keys = self.keys();
        step(&mut keys.own)?;
        self.publish_trust(&keys);
        Ok(())
    }

    /// Accepts calls and answers none.
    pub(crate) fn hang(&self) {
        self.conduct.send_modify(|conduct| conduct.answering = false);
    }

    /// Closes every connection. With `stay_away` the sockets are gone until `resume`.
    pub(crate) fn drop_connections(&self, stay_away: bool) {
        self.conduct.send_modify(|conduct| conduct.listening &= !stay_away);
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *connections, self.stop.child_token()).cancel();
    }

    /// Listens and answers again.
    pub(crate) fn resume(&self) {
        self.conduct.send_replace(Conduct { answering: true, listening: true });
    }

    /// Rotates each workload at half its SVIDs' life. Never ends.
    pub(crate) async fn renew(&self) {
        loop {
            let next = self
                .workloads
                .values()
                .filter_map(|workload| workload.view.borrow().renew_at)
                .min();
            let due = async {
                match next {
                    Some(instant) => tokio::time::sleep_until(instant).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.renewal_changed.notified() => {}
                () = due => self.renew_due(),
            }
        }
    }

    fn renew_due(&self) {
        let now = Instant::now();
        for (name, workload) in &self.workloads {
            if workload.view.borrow().renew_at.is_some_and(|instant| instant <= now)
                && let Err(error) = self.rotate(Some(name))
            {
                tracing::error!(workload = %name, %error, "rotation failed");
            }
        }
    }

    fn reissue(
        &self,
        name: Option<&str>,
        ttl: Duration,
        variant: Variant,
        other: Option<&str>,
        renew_at: Option<Instant>,
    ) -> Result<(), Refusal> {
        let chosen: Vec<&Workload> = match name {
            Some(name) => vec![self.granted(name)?],
            None => self.workloads.values().filter(|workload| workload.is_granted()).collect(),
        };
        let keys = self.keys();
        for workload in chosen {
            let identity = keys.issue_all(&workload.registration, ttl, variant, other)?;
            self.serve(workload, identity, renew_at);
        }
        Ok(())
    }

    fn serve(&self, workload: &Workload, identity: Identity, renew_at: Option<Instant>) {
        workload.view.send_modify(|view| {
            view.identity = identity;
            view.renew_at = renew_at;
        });
        self.renewal_changed.notify_one();
    }

    fn publish_trust(&self, keys: &Keys) {
        let trust = keys.trust();
        for workload in self.workloads.values() {
            workload.view.send_modify(|view| view.trust = Arc::clone(&trust));
        }
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn workload(&self, name: &str) -> Result<&Workload, Refusal> {
        self.workloads.get(name).ok_or_else(|| Refusal::UnknownWorkload {
            name: name.to_owned(),
            known: self.workloads.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        })
    }

    fn granted(&self, name: &str) -> Result<&Workload, Refusal> {
        let workload = self.workload(name)?;
        if workload.is_granted() { Ok(workload) } else { Err(Refusal::Withdrawn(name.to_owned())) }
    }
}

impl Workload {
    fn is_granted(&self) -> bool {
        matches!(self.view.borrow().identity, Identity::Issued(_))
    }
}
