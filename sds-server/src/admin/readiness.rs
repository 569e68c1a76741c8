//! Whether an Envoy that starts now gets all that it needs.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::config::ConfigFault;
use crate::policy::PolicyState;
use crate::sources::{Identities, Reached};
use crate::xds::Catalogue;

const SOON: &str = "it is there and about to be published";

/// What readiness depends on.
#[derive(Debug, Clone)]
pub struct Health {
    /// What the identity is for, where Envoys are not served it; said before what is wrong with it.
    pub purpose: &'static str,
    /// The identities that are served.
    pub identities: watch::Receiver<Identities>,
    /// Whether the broker can be reached, where it is the one that issues.
    pub broker: Option<watch::Receiver<Reached>>,
    /// The policy that is served.
    pub policy: watch::Receiver<PolicyState>,
    /// What Envoys see of both, a moment later; nothing where each process sees its own.
    pub published: Option<watch::Receiver<Arc<Catalogue>>>,
    /// Why a newer configuration is not in force.
    pub configuration: watch::Receiver<ConfigFault>,
    /// Cancelled when the server begins to stop.
    pub stop: CancellationToken,
}

/// The answer of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether an Envoy that starts now gets all that it needs.
    pub ready: bool,
    /// What is missing.
    pub reasons: Vec<Reason>,
    /// What is wrong although nothing is missing: older things are served.
    pub warnings: Vec<Reason>,
}

/// A guard of readiness and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// `identity`, `broker`, `policy`, `configuration` or `stop`.
    pub guard: &'static str,
    /// What it found, and what would help.
    pub reason: String,
}

impl Health {
    /// Asks every guard.
    pub fn readiness(&self) -> Readiness {
        let identities = self.identities.borrow().clone();
        let policy = self.policy.borrow().clone();
        let stopping = self.stop.is_cancelled().then(|| "the server is stopping".to_owned());
        // The custodian drops what expired, a moment later: that moment is not ready either.
        let expired = || {
            let default = identities.snapshot.default_svid()?;
            default.check_validity(SystemTime::now()).err().map(|fault| fault.to_string())
        };
        let published = self.published.as_ref().map(|published| Arc::clone(&published.borrow()));
        // Changes that come close together are published together; a first one is ready after that.
        let unseen = |seen: fn(&Catalogue) -> bool| {
            published.as_deref().is_some_and(|catalogue| !seen(catalogue)).then(|| SOON.to_owned())
        };
        let no_identity =
            identities.missing().or_else(expired).or_else(|| unseen(Catalogue::has_identity));
        let no_policy = policy
            .missing()
            .or_else(|| policy.digest().and_then(|_| unseen(Catalogue::has_policy)));
        let stale_identity = identities.trouble.clone().filter(|_| no_identity.is_none());
        let stale_policy = policy.rejected().map(str::to_owned).filter(|_| no_policy.is_none());
        let for_what = |reason: String| format!("{}{reason}", self.purpose);
        let (no_identity, stale_identity) =
            (no_identity.map(for_what), stale_identity.map(for_what));
        // Without an identity of its own the server cannot ask, and has said so.
        let no_broker = self.broker.as_ref().and_then(|broker| broker.borrow().missing());
        let no_broker = no_broker.filter(|_| no_identity.is_none());
        let reasons = told([
            ("identity", no_identity),
            ("broker", no_broker),
            ("policy", no_policy),
            ("stop", stopping),
        ]);
        let stale_configuration = self.configuration.borrow().clone();
        let warnings = told([
            ("identity", stale_identity),
            ("policy", stale_policy),
            ("configuration", stale_configuration),
        ]);
        Readiness { ready: reasons.is_empty(), reasons, warnings }
    }

    /// Waits until a guard may say something else. Only a stop is final.
    pub async fn changed(&mut self) {
        tokio::select! {
            // A writer that has ended changes nothing any more.
            Ok(()) = self.identities.changed() => {}
            Some(Ok(())) = changed(self.broker.as_mut()) => {}
            Ok(()) = self.policy.changed() => {}
            Some(Ok(())) = changed(self.published.as_mut()) => {}
            Ok(()) = self.configuration.changed() => {}
            () = self.stop.cancelled() => {}
        }
    }
}

/// Waits for a new state where there is one to come.
async fn changed<T>(states: Option<&mut watch::Receiver<T>>) -> Option<Result<(), RecvError>> {
    Some(states?.changed().await)
}

impl Readiness {
    /// Whether this guard has nothing to say.
    pub fn passes(&self, guard: &str) -> bool {
        self.reasons.iter().all(|reason| reason.guard != guard)
    }
}

fn told<const N: usize>(guards: [(&'static str, Option<String>); N]) -> Vec<Reason> {
    guards
        .into_iter()
        .filter_map(|(guard, reason)| Some(Reason { guard, reason: reason? }))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::watch;
    use tokio_util::sync::CancellationToken;

    use super::{Health, SOON};
    use crate::policy::PolicyState;
    use crate::sources::test_context::Authority;
    use crate::sources::{Identities, Svid, SvidSnapshot};
    use crate::xds::Catalogue;

    #[test]
    fn what_is_issued_is_ready_once_envoys_can_see_it() {
        let svid = Authority::new("example.org").svid("/a", Duration::from_mins(1));
        let svid = Arc::new(Svid::check(svid).expect("fits"));
        let default = Some(svid.id().clone());
        let svids = [(svid.id().clone(), svid)].into();
        let snapshot = Arc::new(SvidSnapshot { svids, default, ..SvidSnapshot::default() });
        let issued = Identities { snapshot: Arc::clone(&snapshot), ..Identities::default() };
        let (publisher, published) = watch::channel(Arc::<Catalogue>::default());
        let (_absent, policy) = watch::channel(PolicyState::absent());
        let health = Health {
            purpose: "",
            identities: watch::channel(issued).1,
            broker: None,
            policy,
            published: Some(published),
            configuration: watch::channel(None).1,
            stop: CancellationToken::new(),
        };
        let told = health.readiness();
        assert_eq!((told.ready, told.reasons[0].reason.as_str()), (false, SOON));
        publisher.send_replace(Arc::new(Catalogue::of_snapshot(snapshot)));
        assert!(health.readiness().ready);
    }
}
