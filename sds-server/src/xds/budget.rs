//! What the peers of one connection may make us remember.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::status::Refusal;

/// How many requests as large as may be a connection's streams can hold: requests that have only
/// half arrived, and the names that are subscribed to.
const REQUESTS: usize = 4;

/// Bytes that are held for all streams of one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Budget(Arc<AtomicUsize>);

/// The bytes that are held for one purpose, until it is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    /// A purpose for which nothing is held yet.
    pub(super) fn open(&self) -> Charge {
        Charge { budget: self.clone(), bytes: 0 }
    }
}

impl Charge {
    /// That `bytes` are held now, where one request may have `message_bytes`.
    pub(super) fn set(&mut self, bytes: usize, message_bytes: usize) -> Result<(), Refusal> {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes <= before {
            self.budget.0.fetch_sub(before - bytes, Ordering::Relaxed);
            return Ok(());
        }
        let more = bytes - before;
        let found = self.budget.0.fetch_add(more, Ordering::Relaxed) + more;
        let accepted = message_bytes.saturating_mul(REQUESTS);
        if found > accepted { Err(Refusal::Crowded { found, accepted }) } else { Ok(()) }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, Refusal};

    #[test]
    fn what_all_hold_together_is_bounded_and_given_back() {
        let budget = Budget::default();
        let (mut one, mut other) = (budget.open(), budget.open());
        assert_eq!((one.set(30, 10), other.set(10, 10)), (Ok(()), Ok(())));
        assert_eq!(other.set(11, 10), Err(Refusal::Crowded { found: 41, accepted: 40 }));
        assert_eq!(one.set(5, 10), Ok(()));
        drop(other);
        assert_eq!(one.set(40, 10), Ok(()));
        assert!(budget.open().set(1, 10).is_err());
    }
}
