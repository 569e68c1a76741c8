//! The one task that writes the catalogue.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::catalogue::Catalogue;
use super::registry::Registry;
use super::resource::Kind;
use crate::config::Names;
use crate::policy::PolicyState;
use crate::sources::Identities;

/// Changes that come within this time are published together: SPIRE sends a bundle 2 ms before its
/// SVID.
const COALESCE: Duration = Duration::from_millis(10);

/// Builds a [`Catalogue`] whenever an identity or the policy changes, and publishes it when it
/// differs.
#[derive(Debug)]
pub struct Publisher {
    identities: watch::Receiver<Identities>,
    policy: watch::Receiver<PolicyState>,
    names: Names,
    catalogue: watch::Sender<Arc<Catalogue>>,
    registry: Arc<Registry>,
}

impl Publisher {
    /// A publisher, and the catalogue that it will publish; empty at first.
    pub fn new(
        identities: watch::Receiver<Identities>,
        policy: watch::Receiver<PolicyState>,
        names: Names,
        registry: Arc<Registry>,
    ) -> (Self, watch::Receiver<Arc<Catalogue>>) {
        let (catalogue, published) = watch::channel(Arc::default());
        (Self { identities, policy, names, catalogue, registry }, published)
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
            };
            if changed.is_err() {
                return;
            }
            tokio::time::sleep(COALESCE).await;
        }
    }

    fn publish(&mut self) {
        let snapshot = Arc::clone(&self.identities.borrow_and_update().snapshot);
        let policy = self.policy.borrow_and_update().clone();
        let filters = match &snapshot.default {
            Some(id) => policy.configurations(&id.to_string()),
            None => Ok(Vec::new()),
        };
        let filters = filters.unwrap_or_else(|fault| {
            error!(%fault, "no filter configuration is served");
            Vec::new()
        });
        let names = &self.names;
        self.catalogue.send_if_modified(|current| {
            let built = Catalogue::build(&snapshot, &filters, names, current);
            self.registry.note_policies(built.canonical(Kind::Extension));
            if built.same_as(current) {
                return false;
            }
            info!(
                svids = snapshot.svids.len(),
                bundles = snapshot.bundles.len(),
                filters = filters.len(),
                "publishing a new state"
            );
            *current = Arc::new(built);
            true
        });
    }
}
