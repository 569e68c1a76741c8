//! The one task that writes the catalogue.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::catalogue::Catalogue;
use super::registry::Registry;
use super::resource::Kind;
use super::rules::ResourceRules;
use super::stock::Stock;
use crate::policy::PolicyState;
use crate::sources::Identities;
use crate::sources::jwt::JwtSupply;

/// Changes that come within this time are published together: SPIRE sends a bundle 2 ms before its
/// SVID.
const COALESCE: Duration = Duration::from_millis(10);

/// Builds a [`Catalogue`] whenever an identity, a JWT-SVID or the policy changes, and publishes it when it
/// differs.
#[derive(Debug)]
pub struct Publisher {
    identities: watch::Receiver<Identities>,
    policy: watch::Receiver<PolicyState>,
    jwt: JwtSupply,
    rules: Arc<ResourceRules>,
    catalogue: watch::Sender<Arc<Catalogue>>,
    registry: Arc<Registry>,
}

impl Publisher {
    /// A publisher, and the catalogue that it will publish; empty at first.
    pub fn new(
        identities: watch::Receiver<Identities>,
        policy: watch::Receiver<PolicyState>,
        jwt: JwtSupply,
        rules: Arc<ResourceRules>,
        registry: Arc<Registry>,
    ) -> (Self, watch::Receiver<Arc<Catalogue>>) {
        let (catalogue, published) = watch::channel(Arc::default());
        (Self { identities, policy, jwt, rules, catalogue, registry }, published)
    }

    /// Works until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep_publishing()).await;
    }

    async fn keep_publishing(&mut self) {
        loop {
            self.publish();
            let changed = tokio::select! {
                changed = self.identities.changed() => changed,
                changed = self.policy.changed() => changed,
                changed = self.jwt.svids.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
            tokio::time::sleep(COALESCE).await;
        }
    }

    fn publish(&mut self) {
        let stock = Stock {
            snapshot: Arc::clone(&self.identities.borrow_and_update().snapshot),
            policy: self.policy.borrow_and_update().clone(),
            jwt_svids: Arc::clone(&self.jwt.svids.borrow_and_update()),
            demand: self.jwt.demand.clone(),
            rules: Arc::clone(&self.rules),
        };
        self.catalogue.send_if_modified(|current| {
            if current.same_as(&stock) {
                return false;
            }
            info!(
                svids = stock.snapshot.svids.len(),
                bundles = stock.snapshot.bundles.len(),
                policy = stock.policy.digest().unwrap_or("none"),
                "publishing a new state"
            );
            let built = Catalogue::new(stock);
            // An edit may say nothing new to a filter, which then is of the new policy all the same.
            for name in current.asked(Kind::Extension) {
                if let Some(extension) = built.find(Kind::Extension, &name)
                    && let Some(digest) = &extension.policy
                {
                    self.registry.note_policy(&extension.version, digest);
                }
            }
            *current = Arc::new(built);
            true
        });
    }
}
