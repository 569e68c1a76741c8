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
            for name in current.asked(Kind::Extension) {
                let [before, after] =
                    [&**current, &built].map(|catalogue| catalogue.find(Kind::Extension, &name));
                let Some(after) = after else { continue };
                // An edit may say nothing new to a filter, which then is of the new policy all the same.
                if let Some(digest) = &after.policy {
                    self.registry.note_policy(&after.version, digest);
                }
                let denied_all = before.is_some_and(|before| before.denies_all());
                if denied_all != after.denies_all()
                    && let Some(workload) = built.workload(&name)
                {
                    self.registry.deny_all(&name, &workload, after.denies_all());
                }
            }
            *current = Arc::new(built);
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::pin::pin;
    use std::sync::Arc;
    use std::time::Duration;

    use futures::poll;
    use spiffe::{TrustDomain, X509Bundle};
    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::{COALESCE, Publisher, Registry, ResourceRules};
    use crate::metrics::Metrics;
    use crate::policy::PolicyState;
    use crate::sources::jwt::{Demand, JwtSupply};
    use crate::sources::{Identities, Svid, SvidSnapshot, test_context::Authority};
    use crate::xds::resource::Kind;

    /// The bundle alone, or with an SVID.
    fn snapshot(authority: &Authority, with_svid: bool) -> Arc<SvidSnapshot> {
        let domain = TrustDomain::new(&authority.domain).expect("a trust domain");
        let bundle = X509Bundle::from_x509_authorities(domain.clone(), &[&authority.certificate]);
        let svid = Svid::check(authority.svid("/a", Duration::from_hours(1))).expect("fits");
        let svids = with_svid.then(|| (svid.id().clone(), Arc::new(svid)));
        Arc::new(SvidSnapshot {
            default: svids.as_ref().map(|(id, _)| id.clone()),
            svids: svids.into_iter().collect(),
            bundles: BTreeMap::from([(domain, Arc::new(bundle.expect("an authority")))]),
            ..SvidSnapshot::default()
        })
    }

    /// The timer fires only where the test awaits, so what comes between two polls comes in time.
    #[tokio::test]
    async fn a_bundle_and_the_svid_that_follows_it_are_published_as_one() {
        let authority = Authority::new("example.org");
        let (identities, said) = watch::channel(Identities::default());
        let (_policy, policy) = watch::channel(PolicyState::absent());
        let (_tokens, tokens) = watch::channel(Arc::default());
        let jwt = JwtSupply { demand: Demand::new(0), svids: tokens };
        let rules = Arc::new(ResourceRules::default());
        let registry = Registry::new(Metrics::default());
        let (mut publisher, mut published) = Publisher::new(said, policy, jwt, rules, registry);
        let mut publishing = pin!(publisher.keep_publishing());
        assert!(poll!(&mut publishing).is_pending());

        for round in 0..2 {
            let begun = Instant::now();
            for with_svid in [false, true] {
                identities.send_modify(|now| now.snapshot = snapshot(&authority, with_svid));
                assert!(poll!(&mut publishing).is_pending());
                assert!(!published.has_changed().expect("it works"), "{round}: too early");
            }
            tokio::select! {
                () = &mut publishing => panic!("it has ended"),
                changed = published.changed() => changed.expect("it works"),
            }
            assert!(begun.elapsed() >= COALESCE);
            let catalogue = Arc::clone(&published.borrow_and_update());
            assert!(catalogue.find(Kind::Secret, "default").is_some(), "{round}");
        }

        // What changes to and fro meanwhile is no change.
        let last = identities.borrow().snapshot.clone();
        for fleeting in [snapshot(&authority, false), last] {
            identities.send_modify(|now| now.snapshot = fleeting);
            assert!(poll!(&mut publishing).is_pending());
        }
        tokio::time::sleep(2 * COALESCE).await;
        assert!(poll!(&mut publishing).is_pending());
        assert!(!published.has_changed().expect("it works"));
    }
}
