//! Which JWT-SVIDs are kept and when they are renewed, as a value: wishes, answers and moments in,
//! JWT-SVIDs and errands out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use spiffe::JwtSvid;
use tokio::time::Instant;

use super::{Holding, JwtRequest, JwtSvids};
use crate::sources::Moment;

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Ledger {
    limit: usize,
    pages: BTreeMap<Arc<JwtRequest>, Page>,
}

#[derive(Debug)]
struct Page {
    holding: Holding,
    due: Due,
    retry: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Due {
    At(Instant),
    /// It has been asked for.
    Asked,
}

impl Ledger {
    /// An empty one. Beyond `limit` only what is wanted is kept.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, pages: BTreeMap::new() }
    }

    /// What is to be asked for now, of what is `wanted`, which is sorted. What is no longer wanted
    /// is forgotten when it is due: until then it is there for whoever comes back.
    pub(super) fn errands(
        &mut self,
        wanted: &[Arc<JwtRequest>],
        now: Moment,
    ) -> Vec<Arc<JwtRequest>> {
        for request in wanted {
            self.pages.entry(Arc::clone(request)).or_insert_with(|| Page {
                holding: Holding::default(),
                due: Due::At(now.steady),
                retry: FIRST_RETRY,
            });
        }
        let crowded = self.pages.len() > self.limit;
        let mut errands = Vec::new();
        self.pages.retain(|request, page| {
            let is_due = matches!(page.due, Due::At(at) if at <= now.steady);
            let is_wanted = || wanted.binary_search(request).is_ok();
            if (is_due || crowded) && !is_wanted() {
                return false;
            }
            if is_due {
                page.due = Due::Asked;
                errands.push(Arc::clone(request));
            }
            true
        });
        errands
    }

    /// Whether the answer to an errand is still of use.
    pub(super) fn awaits(&self, request: &JwtRequest) -> bool {
        self.pages.get(request).is_some_and(|page| matches!(page.due, Due::Asked))
    }

    /// Takes in the answer to an errand. What is there stays there when it fails.
    pub(super) fn answer(
        &mut self,
        request: &JwtRequest,
        answer: Result<JwtSvid, String>,
        now: Moment,
    ) {
        let Some(page) = self.pages.get_mut(request) else { return };
        match answer {
            Ok(svid) => {
                // Half of what is left: an agent hands out what it issued to others before.
                let left = expiry(&svid).duration_since(now.wall).unwrap_or_default();
                page.due = Due::At(now.steady + (left / 2).max(FIRST_RETRY));
                page.retry = FIRST_RETRY;
                page.holding = Holding { svid: Some(Arc::new(svid)), trouble: None };
            }
            Err(reason) => {
                page.due = Due::At(now.steady + page.retry);
                page.retry = (page.retry * 2).min(LAST_RETRY);
                page.holding.trouble = Some(reason);
            }
        }
    }

    /// Lets go of what has expired; returns what that was.
    pub(super) fn expire(&mut self, now: Moment) -> Vec<Arc<JwtRequest>> {
        let pages = self.pages.iter_mut();
        let expired = pages.filter_map(|(request, page)| {
            page.holding.svid.take_if(|svid| expiry(svid) <= now.wall)?;
            Some(Arc::clone(request))
        });
        expired.collect()
    }

    /// When there is something to do, as far as it is known now.
    pub(super) fn next_review(&self, now: Moment) -> Option<Instant> {
        let pages = self.pages.values();
        let times = pages.flat_map(|page| {
            let due = match page.due {
                Due::At(at) => Some(at),
                Due::Asked => None,
            };
            due.into_iter().chain(page.holding.svid.as_ref().map(|svid| now.until(expiry(svid))))
        });
        times.min()
    }

    /// What may be served.
    pub(super) fn svids(&self) -> JwtSvids {
        let pages = self.pages.iter();
        JwtSvids(pages.map(|(request, page)| (Arc::clone(request), page.holding.clone())).collect())
    }
}

/// When a JWT-SVID must not be used any more.
pub(super) fn expiry(svid: &JwtSvid) -> SystemTime {
    svid.expiry().into()
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use spiffe::JwtSvid;

    use super::super::JwtRequest;
    use super::{Ledger, Moment};
    use crate::sources::test_context::token;

    const SECOND: Duration = Duration::from_secs(1);
    const ID: &str = "spiffe://example.org/a";

    pub(in super::super) fn request(audience: &str) -> JwtRequest {
        JwtRequest { id: ID.parse().expect("an ID"), audience: [audience.to_owned()].into() }
    }

    struct Desk {
        ledger: Ledger,
        wanted: Vec<Arc<JwtRequest>>,
        now: Moment,
    }

    impl Desk {
        fn new() -> Self {
            // Whole seconds, as JWTs have them.
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("now");
            let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs());
            let now = Moment { wall, ..Moment::now() };
            Self { ledger: Ledger::new(2), wanted: vec![Arc::new(request("a"))], now }
        }

        fn errands(&mut self) -> usize {
            self.ledger.errands(&self.wanted, self.now).len()
        }

        fn answer(&mut self, life: Result<Duration, &str>) {
            let svid = |life| JwtSvid::parse_insecure(&token(ID, &["a"], self.now.wall, life));
            let answer = life.map(|life| svid(life).expect("a JWT-SVID")).map_err(str::to_owned);
            self.ledger.answer(&request("a"), answer, self.now);
        }

        fn wait(&mut self, time: Duration) {
            self.now = self.now.plus(time);
        }

        fn due_in(&self) -> Option<Duration> {
            self.ledger.next_review(self.now).map(|at| at - self.now.steady)
        }

        fn found(&self) -> Result<(), Option<String>> {
            let found = self.ledger.svids();
            found.find(&request("a")).map(drop).map_err(|reason| reason.map(str::to_owned))
        }
    }

    #[test]
    fn it_is_asked_for_once_and_renewed_at_half_its_life() {
        let mut desk = Desk::new();
        assert_eq!(desk.found(), Err(None));
        assert_eq!((desk.errands(), desk.errands()), (1, 0));
        desk.answer(Ok(60 * SECOND));
        assert_eq!((desk.found(), desk.due_in()), (Ok(()), Some(30 * SECOND)));
        desk.wait(29 * SECOND);
        assert_eq!(desk.errands(), 0);
        desk.wait(SECOND);
        assert_eq!(desk.errands(), 1);
        assert_eq!(desk.found(), Ok(()), "until the answer");
    }

    #[test]
    fn a_failure_keeps_the_last_one_until_it_expires_and_is_told() {
        let mut desk = Desk::new();
        desk.errands();
        desk.answer(Ok(60 * SECOND));
        desk.wait(30 * SECOND);
        for pause in [1, 2, 4, 8].map(Duration::from_secs) {
            assert_eq!(desk.errands(), 1);
            desk.answer(Err("denied"));
            assert_eq!((desk.found(), desk.due_in()), (Ok(()), Some(pause)));
            desk.wait(pause);
        }
        desk.wait(15 * SECOND);
        assert_eq!(desk.ledger.expire(desk.now).len(), 1);
        assert_eq!(desk.found(), Err(Some("denied".into())));
    }

    #[test]
    fn nobody_is_asked_for_what_nobody_wants() {
        let mut desk = Desk::new();
        desk.errands();
        desk.answer(Ok(60 * SECOND));
        let wanted = std::mem::take(&mut desk.wanted);
        desk.wait(29 * SECOND);
        assert_eq!((desk.errands(), desk.found()), (0, Ok(())), "there for whoever comes back");
        desk.wanted = wanted;
        assert_eq!(desk.errands(), 0);
        desk.wanted.clear();
        desk.wait(SECOND);
        assert_eq!((desk.errands(), desk.found(), desk.due_in()), (0, Err(None), None));
    }

    #[test]
    fn an_answer_that_comes_too_late_is_dropped() {
        let mut desk = Desk::new();
        desk.answer(Ok(60 * SECOND));
        assert_eq!(desk.found(), Err(None));
    }

    #[test]
    fn an_agent_that_issues_what_has_nearly_expired_is_not_asked_in_a_loop() {
        let mut desk = Desk::new();
        desk.errands();
        desk.answer(Ok(Duration::ZERO));
        assert_eq!(desk.ledger.expire(desk.now).len(), 1);
        assert_eq!(desk.due_in(), Some(SECOND));
    }

    #[test]
    fn what_nobody_wants_makes_room_for_what_somebody_does() {
        let mut desk = Desk::new();
        for audience in ["a", "b", "c"] {
            desk.wanted = vec![Arc::new(request(audience))];
            desk.errands();
        }
        assert!(!desk.ledger.awaits(&request("a")) && !desk.ledger.awaits(&request("b")));
        assert!(desk.ledger.awaits(&request("c")));
    }
}
