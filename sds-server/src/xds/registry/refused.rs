//! Who was refused lately.

use std::collections::VecDeque;
use std::time::SystemTime;

use serde::Serialize;

use super::cut;
use crate::time::serialize_utc;

/// Refusals that are remembered. A peer that is refused again and again takes one place.
const PLACES: usize = 128;

/// A peer that was refused for one reason.
#[derive(Debug, Clone, Serialize)]
pub struct RefusedPeer {
    /// Who, as the listener knew it.
    pub peer: Box<str>,
    /// The class of the reason, as in `signet_xds_rejected_total`.
    pub class: &'static str,
    /// The reason the last time.
    pub reason: Box<str>,
    /// How often, since the first time.
    pub count: u64,
    /// The first time.
    #[serde(serialize_with = "serialize_utc")]
    pub first: SystemTime,
    /// The last time.
    #[serde(serialize_with = "serialize_utc")]
    pub last: SystemTime,
}

/// The last refusals, the newest at the end.
#[derive(Debug, Default)]
pub(super) struct Refusals(VecDeque<RefusedPeer>);

impl Refusals {
    pub(super) fn add(&mut self, peer: &str, class: &'static str, reason: &str, now: SystemTime) {
        let (peer, reason) = (cut(peer), cut(reason));
        let known = self.0.iter().position(|known| known.peer == peer && known.class == class);
        let (count, first) = match known.and_then(|position| self.0.remove(position)) {
            Some(known) => (known.count + 1, known.first),
            None => (1, now),
        };
        if self.0.len() == PLACES {
            self.0.pop_front();
        }
        self.0.push_back(RefusedPeer { peer, class, reason, count, first, last: now });
    }

    pub(super) fn list(&self) -> Vec<RefusedPeer> {
        self.0.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::{PLACES, Refusals};

    #[test]
    fn a_flood_takes_one_place_and_many_peers_push_out_the_oldest() {
        let (mut refusals, now) = (Refusals::default(), SystemTime::now());
        refusals.add("uid 7", "uid", "not allowed", now);
        for _ in 0..1000 {
            refusals.add("uid 8", "uid", "not allowed", now);
        }
        let listed = refusals.list();
        assert_eq!((listed.len(), &*listed[0].peer, listed[0].count), (2, "uid 8", 1000));
        for uid in 100..100 + PLACES {
            refusals.add(&format!("uid {uid}"), "uid", "not allowed", now);
        }
        let listed = refusals.list();
        assert_eq!(listed.len(), PLACES);
        assert!(listed.iter().all(|refused| !["uid 7", "uid 8"].contains(&&*refused.peer)));
    }
}
