//! Who may connect, and how often.
//!
//! Connections are limited, not streams: without ADS Envoy opens a stream for every secret, all on
//! one connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::peer::{Account, Peer};
use crate::config::Limits;

/// Counts connections and refuses those beyond the limits.
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
    allowed_uids: Option<Vec<u32>>,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    by_account: HashMap<Account, usize>,
    total: usize,
    /// Opens that are allowed now; refills with time.
    opens: f64,
    counted: Instant,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error("its user is not among `listen.allowed_uids`")]
    Uid,
    #[error("its user has as many connections as `limits.connections_per_peer` allows")]
    PerPeer,
    #[error("there are as many connections as `limits.connections` allows")]
    Total,
    #[error("connections are opened faster than `limits.opens_per_second` allows")]
    TooFast,
}

impl NotAdmitted {
    /// The metric's label.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Uid => "uid",
            Self::PerPeer => "connections_per_peer",
            Self::Total => "connections",
            Self::TooFast => "opens_per_second",
        }
    }
}

/// A connection that was let in; dropping it gives its place back.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Gate>,
    account: Account,
}

impl Gate {
    /// A gate with nobody inside.
    pub fn new(limits: Limits, allowed_uids: Option<Vec<u32>>) -> Arc<Self> {
        let book = Book {
            by_account: HashMap::new(),
            total: 0,
            opens: f64::from(limits.opens_burst),
            counted: Instant::now(),
        };
        Arc::new(Self { limits, allowed_uids, book: Mutex::new(book) })
    }

    /// Lets `peer` in, or says why not.
    pub(crate) fn admit(self: &Arc<Self>, peer: &Peer, now: Instant) -> Result<Pass, NotAdmitted> {
        if let (Peer::Local(process), Some(allowed)) = (peer, &self.allowed_uids)
            && !allowed.contains(&process.uid)
        {
            return Err(NotAdmitted::Uid);
        }
        let account = peer.account();
        let mut book = self.book();
        let refill = (now - book.counted).as_secs_f64() * f64::from(self.limits.opens_per_second);
        book.opens = (book.opens + refill).min(f64::from(self.limits.opens_burst));
        book.counted = now;
        if book.total >= self.limits.connections {
            return Err(NotAdmitted::Total);
        }
        if book
            .by_account
            .get(&account)
            .is_some_and(|open| *open >= self.limits.connections_per_peer)
        {
            return Err(NotAdmitted::PerPeer);
        }
        if book.opens < 1.0 {
            return Err(NotAdmitted::TooFast);
        }
        book.opens -= 1.0;
        book.total += 1;
        *book.by_account.entry(account.clone()).or_default() += 1;
        Ok(Pass { gate: Arc::clone(self), account })
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut book = self.gate.book();
        book.total -= 1;
        if let Some(open) = book.by_account.get_mut(&self.account) {
            *open -= 1;
            if *open == 0 {
                book.by_account.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Gate, NotAdmitted};
    use crate::config::Limits;
    use crate::xds::peer::{LocalPeer, Peer};

    fn of(uid: u32) -> Peer {
        Peer::Local(LocalPeer { uid, gid: uid, pid: None })
    }

    fn limits() -> Limits {
        Limits {
            connections_per_peer: 2,
            connections: 3,
            opens_per_second: 1,
            opens_burst: 10,
            ..Limits::default()
        }
    }

    #[test]
    fn places_are_limited_and_given_back() {
        let (gate, now) = (Gate::new(limits(), None), Instant::now());
        let first = gate.admit(&of(1), now).expect("a place");
        let _second = gate.admit(&of(1), now).expect("a place");
        assert_eq!(gate.admit(&of(1), now).err(), Some(NotAdmitted::PerPeer));
        let _third = gate.admit(&of(2), now).expect("a place");
        assert_eq!(gate.admit(&of(3), now).err(), Some(NotAdmitted::Total));
        drop(first);
        assert!(gate.admit(&of(1), now).is_ok());
    }

    #[test]
    fn a_burst_is_allowed_and_then_a_rate() {
        let (gate, now) = (Gate::new(Limits { opens_burst: 2, ..limits() }, None), Instant::now());
        assert!(gate.admit(&of(1), now).is_ok() && gate.admit(&of(1), now).is_ok());
        assert_eq!(gate.admit(&of(1), now).err(), Some(NotAdmitted::TooFast));
        assert!(gate.admit(&of(1), now + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn other_users_stay_out() {
        let gate = Gate::new(limits(), Some(vec![7]));
        assert_eq!(gate.admit(&of(8), Instant::now()).err(), Some(NotAdmitted::Uid));
        assert!(gate.admit(&of(7), Instant::now()).is_ok());
    }
}
