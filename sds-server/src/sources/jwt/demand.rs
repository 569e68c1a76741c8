//! Who wants which JWT-SVIDs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::JwtRequest;

/// The requests that somebody holds a [`Want`] for. Cloned into whatever asks; its parts are
/// shared.
#[derive(Debug, Clone)]
pub struct Demand(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    wanted: Mutex<BTreeMap<Arc<JwtRequest>, usize>>,
    grown: Notify,
}

/// That somebody wants a JWT-SVID, until it is dropped.
#[derive(Debug)]
pub struct Want {
    request: Arc<JwtRequest>,
    demand: Demand,
}

/// Of nobody: there is no room for a request.
impl Default for Demand {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Demand {
    /// No demand yet; `limit` is how many different requests there may be at once.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Shared { limit, wanted: Mutex::default(), grown: Notify::new() }))
    }

    /// Notes that somebody wants it; `None` when too many others are wanted.
    pub fn want(&self, request: JwtRequest) -> Option<Want> {
        let mut wanted = self.wanted();
        let request = match wanted.get_key_value(&request) {
            Some((known, _)) => Arc::clone(known),
            None if wanted.len() >= self.limit() => return None,
            None => {
                self.0.grown.notify_one();
                Arc::new(request)
            }
        };
        *wanted.entry(Arc::clone(&request)).or_default() += 1;
        drop(wanted);
        Some(Want { request, demand: self.clone() })
    }

    /// How many different requests there may be at once.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Whether there is no room for another request.
    pub fn is_full(&self) -> bool {
        self.wanted().len() >= self.limit()
    }

    /// What is wanted now.
    pub(super) fn requests(&self) -> Vec<Arc<JwtRequest>> {
        self.wanted().keys().cloned().collect()
    }

    /// Waits until something new is wanted. Cancel safe.
    pub(super) async fn grows(&self) {
        self.0.grown.notified().await;
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeMap<Arc<JwtRequest>, usize>> {
        self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Want {
    /// What is wanted.
    pub fn request(&self) -> &JwtRequest {
        &self.request
    }
}

impl Drop for Want {
    fn drop(&mut self) {
        let mut wanted = self.demand.wanted();
        if let Some(holders) = wanted.get_mut(&self.request) {
            *holders -= 1;
            if *holders == 0 {
                wanted.remove(&self.request);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::tests::request;
    use super::Demand;

    #[test]
    fn a_request_is_wanted_until_its_last_holder_lets_go() {
        let demand = Demand::new(2);
        let (first, second) = (demand.want(request("a")), demand.want(request("a")));
        assert_eq!(demand.requests().len(), 1);
        drop(first);
        assert_eq!(demand.requests().len(), 1);
        drop(second);
        assert!(demand.requests().is_empty());
    }

    #[test]
    fn what_is_wanted_is_bounded_and_makes_room() {
        let demand = Demand::new(2);
        let held = [demand.want(request("a")), demand.want(request("b"))];
        assert!(demand.want(request("c")).is_none() && demand.is_full());
        assert!(demand.want(request("a")).is_some(), "one more holder is no new request");
        drop(held);
        assert!(demand.want(request("c")).is_some());
    }
}
