//! How many may connect, and how often.
//!
//! Connections are limited, not streams: without ADS Envoy opens a stream for every secret, all on
//! one connection. A connection is counted when it is accepted, before anything is read from it,
//! and once more for its peer when that is known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::peer::{Account, Peer};
use crate::config::{Limits, LiveConfig};

/// Counts connections and refuses those beyond the limits, which may change at any time.
#[derive(Debug)]
pub(crate) struct Gate {
    config: LiveConfig,
    book: Mutex<Book>,
}

/// Where a connection comes in. Each door has opens of its own, so that strangers who knock at the
/// TCP socket take none from the Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Door {
    Unix,
    Tcp,
}

#[derive(Debug, Default)]
struct Book {
    by_account: HashMap<Account, usize>,
    total: usize,
    opens: HashMap<Door, Opens>,
}

/// Opens that are allowed now; they refill with time.
#[derive(Debug)]
struct Opens {
    left: f64,
    counted: Instant,
}

/// Why a connection is refused, or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error("its user is not among `listen.allowed_uids`")]
    Uid,
    #[error("its group is not among `listen.allowed_gids`")]
    Gid,
    #[error("no entry of `listen.tcp.allow` matches it")]
    NotListed,
    #[error("it has as many connections as `limits.connections_per_peer` allows")]
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
            Self::Gid => "gid",
            Self::NotListed => "not_listed",
            Self::PerPeer => "connections_per_peer",
            Self::Total => "connections",
            Self::TooFast => "opens_per_second",
        }
    }
}

/// A connection that was counted; dropping it gives its place back.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Gate>,
    account: Option<Account>,
}

impl Gate {
    /// A gate with nobody inside.
    pub(crate) fn new(config: LiveConfig) -> Arc<Self> {
        Arc::new(Self { config, book: Mutex::default() })
    }

    /// Counts a connection of which nothing is known yet, or says why it is refused.
    pub(crate) fn enter(self: &Arc<Self>, door: Door, now: Instant) -> Result<Pass, NotAdmitted> {
        let limits = self.limits();
        let mut book = self.book();
        if book.total >= limits.connections {
            return Err(NotAdmitted::Total);
        }
        if !book.opens.entry(door).or_insert_with(|| Opens::full(&limits, now)).take(&limits, now) {
            return Err(NotAdmitted::TooFast);
        }
        book.total += 1;
        Ok(Pass { gate: Arc::clone(self), account: None })
    }

    fn limits(&self) -> Limits {
        self.config.borrow().limits.clone()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opens {
    fn full(limits: &Limits, now: Instant) -> Self {
        Self { left: f64::from(limits.opens_burst), counted: now }
    }

    fn take(&mut self, limits: &Limits, now: Instant) -> bool {
        let refill = (now - self.counted).as_secs_f64() * f64::from(limits.opens_per_second);
        self.left = (self.left + refill).min(f64::from(limits.opens_burst));
        self.counted = now;
        let open = self.left >= 1.0;
        if open {
            self.left -= 1.0;
        }
        open
    }
}

impl Pass {
    /// Counts the connection for `peer`, now that it is known, or says why that is too much.
    pub(crate) fn identify(&mut self, peer: &Peer) -> Result<(), NotAdmitted> {
        let (limit, account) = (self.gate.limits().connections_per_peer, peer.account());
        let mut book = self.gate.book();
        let open = book.by_account.entry(account.clone()).or_default();
        if *open >= limit {
            return Err(NotAdmitted::PerPeer);
        }
        *open += 1;
        drop(book);
        self.account = Some(account);
        Ok(())
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut book = self.gate.book();
        book.total -= 1;
        if let Some(account) = &self.account
            && let Some(open) = book.by_account.get_mut(account)
        {
            *open -= 1;
            if *open == 0 {
                book.by_account.remove(account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::{Door, Gate, NotAdmitted, Pass};
    use crate::config::Config;
    use crate::xds::peer::{LocalPeer, Peer};

    fn gate(limits: &str) -> (Arc<Gate>, watch::Sender<Arc<Config>>) {
        let (config, live) = watch::channel(config(limits));
        (Gate::new(live), config)
    }

    fn config(limits: &str) -> Arc<Config> {
        let text = "source: {workload_api: {socket: unix:///a}}\nlisten: {path: /s}\nlimits: ";
        Arc::new(Config::parse(&format!("{text}{limits}\n")).expect("valid"))
    }

    fn admit(gate: &Arc<Gate>, uid: u32) -> Result<Pass, NotAdmitted> {
        let mut pass = gate.enter(Door::Unix, Instant::now())?;
        pass.identify(&Peer::Local(LocalPeer { uid, gid: uid, pid: None, pin: None }))?;
        Ok(pass)
    }

    #[test]
    fn places_are_limited_and_given_back() {
        let (gate, config) = gate("{connections_per_peer: 2, connections: 3}");
        let first = admit(&gate, 1).expect("a place");
        let _second = admit(&gate, 1).expect("a place");
        assert_eq!(admit(&gate, 1).err(), Some(NotAdmitted::PerPeer));
        let _third = admit(&gate, 2).expect("a place");
        assert_eq!(admit(&gate, 3).err(), Some(NotAdmitted::Total));
        drop(first);
        let _first = admit(&gate, 1).expect("its place is free");
        config.send_replace(self::config("{connections: 4}"));
        assert!(admit(&gate, 1).is_ok(), "limits are live");
    }

    #[test]
    fn a_burst_is_allowed_and_then_a_rate_at_each_door() {
        let (gate, _config) = gate("{opens_burst: 2, opens_per_second: 1}");
        let now = Instant::now();
        assert!(gate.enter(Door::Tcp, now).is_ok() && gate.enter(Door::Tcp, now).is_ok());
        assert_eq!(gate.enter(Door::Tcp, now).err(), Some(NotAdmitted::TooFast));
        assert!(gate.enter(Door::Unix, now).is_ok());
        assert!(gate.enter(Door::Tcp, now + Duration::from_secs(1)).is_ok());
    }
}
