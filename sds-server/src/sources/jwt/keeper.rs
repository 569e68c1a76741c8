//! The one task that fetches JWT-SVIDs and writes what may be served of them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use spiffe::JwtSvid;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::ledger::{Ledger, expiry};
use super::{Demand, JwtIssuer, JwtRequest, JwtSvids};
use crate::metrics::Metrics;
use crate::sources::{Moment, utc};

/// Requests to the issuer at once; the agent attests for each of them.
const AT_ONCE: usize = 4;
/// Clocks may be turned while we sleep: expiry is looked at this often at least.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// Fetches what is wanted, renews it at half its life, and publishes [`JwtSvids`] when they differ.
#[derive(Debug)]
pub struct JwtKeeper<I> {
    issuer: Arc<I>,
    demand: Demand,
    svids: watch::Sender<Arc<JwtSvids>>,
    metrics: Metrics,
    ledger: Ledger,
    waiting: Vec<Arc<JwtRequest>>,
    fetches: JoinSet<(Arc<JwtRequest>, Result<JwtSvid, String>)>,
}

impl<I: JwtIssuer> JwtKeeper<I> {
    /// A keeper of what `demand` asks for, and the state that it will publish.
    pub fn new(
        issuer: I,
        demand: Demand,
        metrics: Metrics,
    ) -> (Self, watch::Receiver<Arc<JwtSvids>>) {
        let (svids, published) = watch::channel(Arc::default());
        let ledger = Ledger::new(demand.limit());
        let keeper = Self {
            issuer: Arc::new(issuer),
            demand,
            svids,
            metrics,
            ledger,
            waiting: Vec::new(),
            fetches: JoinSet::new(),
        };
        (keeper, published)
    }

    /// Works until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.clone().run_until_cancelled(self.keep_fetching()).await;
    }

    /// Works until it is dropped.
    pub(in crate::sources) async fn keep_fetching(&mut self) {
        loop {
            let now = Moment::now();
            self.tell_expired(now);
            self.waiting.extend(self.ledger.errands(&self.demand.requests(), now));
            self.fetch();
            self.publish();
            let latest = now.steady + LONGEST_SLEEP;
            let wake: Option<Instant> = self.ledger.next_review(now).map(|due| due.min(latest));
            tokio::select! {
                () = self.demand.grows() => {}
                Some(Ok((request, answer))) = self.fetches.join_next() => {
                    self.take(&request, answer);
                }
                () = sleep_until(wake.unwrap_or(latest)), if wake.is_some() => {}
            }
        }
    }

    fn fetch(&mut self) {
        while self.fetches.len() < AT_ONCE
            && let Some(request) = self.waiting.pop()
        {
            if !self.ledger.awaits(&request) {
                continue;
            }
            let issuer = Arc::clone(&self.issuer);
            self.fetches.spawn(async move {
                // Whatever becomes of it, it is answered: what is awaited for ever is never renewed.
                let fetch = AssertUnwindSafe(issuer.fetch(&request)).catch_unwind();
                let answer = fetch.await.unwrap_or_else(|_| Err("the request panicked".to_owned()));
                (request, answer)
            });
        }
    }

    fn take(&mut self, request: &JwtRequest, answer: Result<JwtSvid, String>) {
        match &answer {
            Ok(svid) => {
                self.metrics.count_jwt_svid_update("fetched");
                info!(%request, expires = utc(expiry(svid)), "a new JWT-SVID");
            }
            Err(reason) => {
                self.metrics.count_jwt_svid_update("failed");
                warn!(%request, reason, "no new JWT-SVID; an older one is good until it expires");
            }
        }
        self.ledger.answer(request, answer, Moment::now());
    }

    fn tell_expired(&mut self, now: Moment) {
        for request in self.ledger.expire(now) {
            self.metrics.count_jwt_svid_update("expired");
            warn!(%request, "a JWT-SVID expired and nothing newer came");
        }
    }

    fn publish(&self) {
        let svids = self.ledger.svids();
        self.svids.send_if_modified(|published| {
            let differs = **published != svids;
            if differs {
                *published = Arc::new(svids);
            }
            differs
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use spiffe::{JwtSvid, SpiffeId};
    use tokio_util::sync::CancellationToken;

    use crate::metrics::Metrics;
    use crate::sources::jwt::{JwtIssuer, JwtRequest, JwtSupply, JwtSvids};

    #[derive(Debug)]
    struct Panicking;

    impl JwtIssuer for Panicking {
        async fn fetch(&self, request: &JwtRequest) -> Result<JwtSvid, String> {
            panic!("asked for {request}")
        }
    }

    #[tokio::test]
    async fn a_request_that_panics_has_failed_like_others() {
        let (mut supply, keeper) = JwtSupply::of(Panicking, 1, Metrics::default());
        let stop = CancellationToken::new();
        let keeping = tokio::spawn(keeper.run(stop.clone()));
        let id = SpiffeId::new("spiffe://example.org/a").expect("an ID");
        let request = JwtRequest { id, audience: BTreeSet::from(["x".to_owned()]) };
        let _want = supply.demand.want(request.clone());
        let answered = |svids: &Arc<JwtSvids>| matches!(svids.find(&request), Err(Some(_)));
        let svids = supply.svids.wait_for(answered).await.expect("a keeper").clone();
        assert_eq!(svids.find(&request).err(), Some(Some("the request panicked")));
        stop.cancel();
        keeping.await.expect("the keeper goes on");
    }
}
