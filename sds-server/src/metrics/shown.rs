//! Expiries of what several custodies hold: of the same identity, the earliest is shown.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::{SpiffeIdLabel, TrustDomainLabel};
use crate::sources::SvidSnapshot;

/// What one custody holds, shown until this is dropped. In node mode there is one for each process,
/// and several may hold the same identity.
#[derive(Debug)]
pub(crate) struct ShownIdentities {
    svids: Shown<SpiffeIdLabel>,
    bundles: Shown<TrustDomainLabel>,
}

impl ShownIdentities {
    pub(super) fn new(
        svids: &Arc<Earliest<SpiffeIdLabel>>,
        bundles: &Arc<Earliest<TrustDomainLabel>>,
    ) -> Self {
        Self { svids: Shown::in_(svids), bundles: Shown::in_(bundles) }
    }

    /// Shows what is held now.
    pub(crate) fn show(&mut self, snapshot: &SvidSnapshot) {
        let svids = snapshot.svids.iter();
        self.svids.show(svids.map(|(id, svid)| {
            (SpiffeIdLabel { spiffe_id: id.to_string() }, unix_seconds(svid.not_after()))
        }));
        let bundles = snapshot.bundles.iter();
        self.bundles.show(bundles.map(|(domain, bundle)| {
            let ends = bundle.authorities().iter().filter_map(|authority| {
                let (_, parsed) = x509_parser::parse_x509_certificate(authority.as_bytes()).ok()?;
                Some(parsed.validity().not_after.timestamp())
            });
            let label = TrustDomainLabel { trust_domain: domain.to_string() };
            (label, ends.max().unwrap_or(0))
        }));
    }
}

/// A gauge for each label, with the earliest of the times that are shown for it.
#[derive(Debug)]
pub(super) struct Earliest<L> {
    gauges: Family<L, Gauge<i64, AtomicI64>>,
    times: Mutex<HashMap<L, BTreeMap<u64, i64>>>,
    holders: AtomicU64,
}

impl<L: Clone + Eq + Hash + fmt::Debug> Earliest<L> {
    pub(super) fn in_(gauges: Family<L, Gauge<i64, AtomicI64>>) -> Arc<Self> {
        Arc::new(Self { gauges, times: Mutex::default(), holders: AtomicU64::default() })
    }

    fn change(&self, holder: u64, label: &L, time: Option<i64>) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let of_label = times.entry(label.clone()).or_default();
        match time {
            Some(time) => of_label.insert(holder, time),
            None => of_label.remove(&holder),
        };
        if let Some(earliest) = of_label.values().min() {
            self.gauges.get_or_create(label).set(*earliest);
        } else {
            times.remove(label);
            self.gauges.remove(label);
        }
    }
}

/// One holder's times.
#[derive(Debug)]
struct Shown<L: Clone + Eq + Hash + fmt::Debug> {
    within: Arc<Earliest<L>>,
    holder: u64,
    times: HashMap<L, i64>,
}

impl<L: Clone + Eq + Hash + fmt::Debug> Shown<L> {
    fn in_(within: &Arc<Earliest<L>>) -> Self {
        let holder = within.holders.fetch_add(1, Ordering::Relaxed);
        Self { within: Arc::clone(within), holder, times: HashMap::new() }
    }

    fn show(&mut self, times: impl Iterator<Item = (L, i64)>) {
        let mut before = std::mem::replace(&mut self.times, times.collect());
        for (label, time) in &self.times {
            if before.remove(label) != Some(*time) {
                self.within.change(self.holder, label, Some(*time));
            }
        }
        for label in before.keys() {
            self.within.change(self.holder, label, None);
        }
    }
}

impl<L: Clone + Eq + Hash + fmt::Debug> Drop for Shown<L> {
    fn drop(&mut self) {
        self.show(std::iter::empty());
    }
}

fn unix_seconds(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::family::Family;

    use super::{Earliest, Shown};

    #[test]
    fn the_earliest_is_shown_and_goes_with_its_holder() {
        let gauges = Family::default();
        let earliest = Earliest::in_(gauges.clone());
        let label = vec![("id", "a")];
        let shown = |label| gauges.get(label).map(|gauge: _| gauge.get());
        let (mut one, mut other) = (Shown::in_(&earliest), Shown::in_(&earliest));
        one.show([(label.clone(), 10)].into_iter());
        other.show([(label.clone(), 5)].into_iter());
        assert_eq!(shown(&label), Some(5));
        other.show([(label.clone(), 20)].into_iter());
        assert_eq!(shown(&label), Some(10));
        drop(one);
        assert_eq!(shown(&label), Some(20));
        other.show(std::iter::empty());
        assert_eq!(shown(&label), None);
    }
}
