//! How many processes may be attested at once.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::metrics::{Metrics, OpenStream};

/// SPIRE's agent 1.15.3 deadlocks for good when about 1,000 streams are opened to it at once, and
/// never with 64.
const AT_ONCE: usize = 32;

/// The queue in front of the agent: first come, first attested, and at most 32 at a time.
#[derive(Debug)]
pub(super) struct Attestations {
    places: Semaphore,
    metrics: Metrics,
}

/// One place; dropping it lets the next one in.
#[derive(Debug)]
pub(super) struct Attestation<'a> {
    _place: Option<SemaphorePermit<'a>>,
    _shown: OpenStream,
}

impl Attestations {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { places: Semaphore::new(AT_ONCE), metrics }
    }

    /// Waits for a place.
    pub(super) async fn enter(&self) -> Attestation<'_> {
        // The semaphore is never closed.
        let place = self.places.acquire().await.ok();
        Attestation { _place: place, _shown: self.metrics.begin_attestation() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::task::JoinSet;

    use super::{AT_ONCE, Attestations};
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn a_thousand_at_once_are_attested_in_order_and_never_more_than_32_together() {
        let metrics = Metrics::default();
        let attestations = Arc::new(Attestations::new(metrics.clone()));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut all = JoinSet::new();
        for number in 0..1_000 {
            let attestations = Arc::clone(&attestations);
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            all.spawn(async move {
                let _place = attestations.enter().await;
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
                number
            });
        }
        let order = all.join_all().await;
        assert_eq!(order.len(), 1_000);
        assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
        let page = metrics.render();
        assert!(page.contains("signet_attestations_in_flight 0\n"), "{page}");
        assert!(page.contains("signet_attestations_in_flight_max 32\n"), "{page}");
    }
}
