//! Whether an Envoy that starts now gets all that it needs.

use std::time::SystemTime;

use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::ConfigFault;
use crate::policy::PolicyState;
use crate::sources::Identities;

/// What readiness depends on.
#[derive(Debug, Clone)]
pub struct Health {
    /// The identities that are served.
    pub identities: watch::Receiver<Identities>,
    /// The policy that is served.
    pub policy: watch::Receiver<PolicyState>,
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
    /// `identity`, `policy`, `configuration` or `stop`.
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
        let (no_identity, no_policy) = (identities.missing().or_else(expired), policy.missing());
        let stale_identity = identities.trouble.clone().filter(|_| no_identity.is_none());
        let stale_policy = policy.rejected().map(str::to_owned).filter(|_| no_policy.is_none());
        let reasons = told([("identity", no_identity), ("policy", no_policy), ("stop", stopping)]);
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
            Ok(()) = self.policy.changed() => {}
            Ok(()) = self.configuration.changed() => {}
            () = self.stop.cancelled() => {}
        }
    }
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
