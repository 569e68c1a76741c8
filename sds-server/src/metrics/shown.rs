//! Expiries of what several custodies hold: of the same identity, the earliest is shown.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::AtomicI64;
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
    /// How many show each time. A thousand processes hold the same bundle.
    times: Mutex<HashMap<L, BTreeMap<i64, usize>>>,
}

impl<L: Clone + Eq + Hash + fmt::Debug> Earliest<L> {
    pub(super) fn in_(gauges: Family<L, Gauge<i64, AtomicI64>>) -> Arc<Self> {
        Arc::new(Self { gauges, times: Mutex::default() })
    }

    /// One holder shows the time `now` where it showed `before`.
    fn change(&self, label: &L, before: Option<i64>, now: Option<i64>) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let of_label = times.entry(label.clone()).or_default();
        if let Some(now) = now {
            *of_label.entry(now).or_default() += 1;
        }
        if let Some(before) = before
            && let Some(holders) = of_label.get_mut(&before)
        {
            *holders -= 1;
            if *holders == 0 {
                of_label.remove(&before);
            }
        }
        if let Some((earliest, _)) = of_label.first_key_value() {
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
    times: HashMap<L, i64>,
}

impl<L: Clone + Eq + Hash + fmt::Debug> Shown<L> {
    fn in_(within: &Arc<Earliest<L>>) -> Self {
        Self { within: Arc::clone(within), times: HashMap::new() }
    }

    fn show(&mut self, times: impl Iterator<Item = (L, i64)>) {
        let mut before = std::mem::replace(&mut self.times, times.collect());
        for (label, time) in &self.times {
            let before = before.remove(label);
            if before != Some(*time) {
                self.within.change(label, before, Some(*time));
            }
        }
        for (label, time) in before {
            self.within.change(&label, Some(time), None);
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
        let [mut one, mut twin, mut other] = [(); 3].map(|()| Shown::in_(&earliest));
        one.show([(label.clone(), 10)].into_iter());
        twin.show([(label.clone(), 10)].into_iter());
        other.show([(label.clone(), 5)].into_iter());
        assert_eq!(shown(&label), Some(5));
        other.show([(label.clone(), 20)].into_iter());
        assert_eq!(shown(&label), Some(10));
        drop(one);
        assert_eq!(shown(&label), Some(10));
        drop(twin);
        assert_eq!(shown(&label), Some(20));
        other.show(std::iter::empty());
        assert_eq!(shown(&label), None);
    }
}
