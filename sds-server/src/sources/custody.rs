//! What is served and when, as a value: offers and moments in, snapshots and findings out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use spiffe::{SpiffeId, TrustDomain, X509Bundle, X509Context};
use tokio::time::Instant;

use super::rotation::{Authorities, AuthorityId, issuer};
use super::{Moment, Svid, SvidFault, SvidSnapshot, default_svid, utc};
use crate::config::DefaultSvid;

/// How the custody behaves.
#[derive(Debug, Clone)]
pub struct CustodySettings {
    /// Which SVID is the default one.
    pub default_svid: DefaultSvid,
    /// See `rotation.hold`.
    pub hold: Duration,
    /// See `rotation.withdrawal_delay`.
    pub withdrawal_delay: Duration,
}

/// Something that operators want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A new certificate is served.
    Served { id: SpiffeId, serial: String, expires: String },
    /// A new certificate waits until its authority is known to the peers.
    Held { id: SpiffeId, serial: String, wait: Duration },
    /// A certificate must not be served; the one before stays while it is valid.
    Refused { id: SpiffeId, fault: SvidFault },
    /// No authority of the bundle is found to have issued the certificate.
    UnknownIssuer { id: SpiffeId, serial: String },
    /// A certificate is no longer served: it expired and nothing newer came.
    Expired { id: SpiffeId },
    /// A certificate is no longer served: the source does not name it any more.
    Withdrawn { id: SpiffeId },
    /// A bundle is new or changed.
    Bundle { domain: TrustDomain, authorities: usize },
}

/// The keeper of all identities.
#[derive(Debug)]
pub struct Custody {
    settings: CustodySettings,
    authorities: Authorities,
    /// What the source names now.
    candidates: BTreeMap<SpiffeId, Candidate>,
    /// What is served now.
    current: BTreeMap<SpiffeId, Current>,
    offered_bundles: BTreeMap<TrustDomain, Arc<X509Bundle>>,
    bundles: BTreeMap<TrustDomain, Kept<Arc<X509Bundle>>>,
    default: Option<SpiffeId>,
}

#[derive(Debug)]
struct Candidate {
    svid: Arc<Svid>,
    issuer: Option<AuthorityId>,
    hold_until: Option<Instant>,
    reported: bool,
}

type Current = Kept<(Arc<Svid>, Option<AuthorityId>)>;

/// Something served, and until when although the source has stopped naming it.
#[derive(Debug)]
struct Kept<T> {
    value: T,
    leaves_at: Option<Instant>,
}

impl Custody {
    /// A custody of nothing.
    pub fn new(settings: CustodySettings) -> Self {
        Self {
            settings,
            authorities: Authorities::default(),
            candidates: BTreeMap::new(),
            current: BTreeMap::new(),
            offered_bundles: BTreeMap::new(),
            bundles: BTreeMap::new(),
            default: None,
        }
    }

    /// Takes in everything that the source holds.
    pub fn offer(&mut self, context: &X509Context, now: Moment) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.authorities.observe(context.bundle_set().iter(), now.steady);
        self.offered_bundles = context
            .bundle_set()
            .iter()
            .filter(|(_, bundle)| !bundle.authorities().is_empty())
            .map(|(domain, bundle)| (domain.clone(), Arc::clone(bundle)))
            .collect();

        let mut before = std::mem::take(&mut self.candidates);
        for document in context.svids() {
            let id = document.spiffe_id().clone();
            match Svid::check(Arc::clone(document)) {
                Ok(svid) => {
                    if self
                        .candidates
                        .get(&id)
                        .is_some_and(|other| other.svid.not_after() >= svid.not_after())
                    {
                        continue;
                    }
                    let candidate = match before.remove(&id) {
                        Some(known) if known.svid.same_as(&svid) => known,
                        _ => self.candidate(svid, now, &mut findings),
                    };
                    self.candidates.insert(id, candidate);
                }
                Err(fault) => {
                    // What was good before stays a candidate: it is what the source said last that
                    // made sense.
                    if let Some(known) = before.remove(&id) {
                        self.candidates.entry(id.clone()).or_insert(known);
                    }
                    findings.push(Finding::Refused { id, fault });
                }
            }
        }
        findings
    }

    /// The source says that we have no identity any more.
    pub fn withdraw(&mut self) {
        self.candidates.clear();
        self.offered_bundles.clear();
    }

    fn candidate(&self, svid: Svid, now: Moment, findings: &mut Vec<Finding>) -> Candidate {
        let issuer = self
            .offered_bundles
            .get(svid.id().trust_domain())
            .and_then(|bundle| issuer(&svid, bundle, now));
        if issuer.is_none() {
            findings.push(Finding::UnknownIssuer {
                id: svid.id().clone(),
                serial: svid.serial().into(),
            });
        }
        let hold_until = self.current.get(svid.id()).zip(issuer).and_then(|(old, issuer)| {
            let remaining = old.value.0.not_after().duration_since(now.wall).unwrap_or_default();
            self.authorities.hold_until(issuer, self.settings.hold, remaining, now.steady)
        });
        Candidate { svid: Arc::new(svid), issuer, hold_until, reported: false }
    }

    /// Brings what is served up to `now`. Call it after every offer and at
    /// [`Custody::next_review`].
    pub fn review(&mut self, now: Moment) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.review_bundles(now, &mut findings);
        self.promote(now, &mut findings);
        self.retire(now, &mut findings);
        let svids = self.served();
        // While there is none at all, the one chosen first is remembered: it may come back.
        if !svids.is_empty() {
            self.default =
                default_svid::choose(&self.settings.default_svid, &svids, self.default.as_ref());
        }
        findings
    }

    /// Candidates become current where nothing speaks against it.
    fn promote(&mut self, now: Moment, findings: &mut Vec<Finding>) {
        for (id, candidate) in &mut self.candidates {
            let current = self.current.get_mut(id);
            if let Some(old) = current {
                old.leaves_at = None;
                if old.value.0.same_as(&candidate.svid) {
                    continue;
                }
                let old_is_good = old.value.0.check_validity(now.wall).is_ok()
                    && old.value.1.is_some_and(|issuer| self.authorities.trusts(issuer));
                if let Some(until) =
                    candidate.hold_until.filter(|until| *until > now.steady && old_is_good)
                {
                    if !std::mem::replace(&mut candidate.reported, true) {
                        findings.push(Finding::Held {
                            id: id.clone(),
                            serial: candidate.svid.serial().into(),
                            wait: until - now.steady,
                        });
                    }
                    continue;
                }
            }
            if let Err(fault) = candidate.svid.check_validity(now.wall) {
                if !std::mem::replace(&mut candidate.reported, true) {
                    findings.push(Finding::Refused { id: id.clone(), fault });
                }
                continue;
            }
            findings.push(Finding::Served {
                id: id.clone(),
                serial: candidate.svid.serial().into(),
                expires: utc(candidate.svid.not_after()),
            });
            self.current.insert(
                id.clone(),
                Kept { value: (Arc::clone(&candidate.svid), candidate.issuer), leaves_at: None },
            );
        }
    }

    /// What expired goes at once; what the source no longer names goes after the delay.
    fn retire(&mut self, now: Moment, findings: &mut Vec<Finding>) {
        let (candidates, delay) = (&self.candidates, self.settings.withdrawal_delay);
        self.current.retain(|id, kept| {
            if kept.value.0.check_validity(now.wall).is_err() {
                findings.push(Finding::Expired { id: id.clone() });
                return false;
            }
            if candidates.contains_key(id)
                || now.steady < *kept.leaves_at.get_or_insert(now.steady + delay)
            {
                return true;
            }
            findings.push(Finding::Withdrawn { id: id.clone() });
            false
        });
    }

    fn review_bundles(&mut self, now: Moment, findings: &mut Vec<Finding>) {
        for (domain, bundle) in &self.offered_bundles {
            let kept = self.bundles.get_mut(domain);
            if let Some(kept) = kept.filter(|kept| kept.value == *bundle) {
                kept.leaves_at = None;
                continue;
            }
            findings.push(Finding::Bundle {
                domain: domain.clone(),
                authorities: bundle.authorities().len(),
            });
            self.bundles
                .insert(domain.clone(), Kept { value: Arc::clone(bundle), leaves_at: None });
        }
        let (offered, delay) = (&self.offered_bundles, self.settings.withdrawal_delay);
        self.bundles.retain(|domain, kept| {
            offered.contains_key(domain)
                || now.steady < *kept.leaves_at.get_or_insert(now.steady + delay)
        });
    }

    /// When the next thing is due without a new offer: an expiry, the end of a hold, a withdrawal.
    pub fn next_review(&self, now: Moment) -> Option<Instant> {
        let waiting = self.candidates.values().filter(|candidate| {
            self.current
                .get(candidate.svid.id())
                .is_none_or(|current| !current.value.0.same_as(&candidate.svid))
        });
        let waiting = waiting.filter_map(|candidate| {
            let valid_from =
                Some(now.until(candidate.svid.not_before())).filter(|at| *at > now.steady);
            candidate.hold_until.filter(|until| *until > now.steady).max(valid_from)
        });
        let served = self.current.values().map(|kept| now.until(kept.value.0.not_after()));
        let leaving = self.current.values().filter_map(|kept| kept.leaves_at);
        let leaving_bundles = self.bundles.values().filter_map(|kept| kept.leaves_at);
        waiting.chain(served).chain(leaving).chain(leaving_bundles).min()
    }

    /// What may be served.
    pub fn snapshot(&self) -> SvidSnapshot {
        let svids = self.served();
        let default = self.default.clone().filter(|id| svids.contains_key(id));
        let bundles = self
            .bundles
            .iter()
            .map(|(domain, kept)| (domain.clone(), Arc::clone(&kept.value)))
            .collect();
        SvidSnapshot { svids, bundles, default }
    }

    /// Why no default SVID can be served although the source issued something; `None` when one can.
    pub fn missing_default(&self, now: Moment) -> Option<String> {
        if self.snapshot().default.is_some() {
            return None;
        }
        let fault = self.candidates.iter().find_map(|(id, candidate)| {
            candidate
                .svid
                .check_validity(now.wall)
                .err()
                .map(|fault| format!("the SVID {id} cannot be served: {fault}"))
        });
        Some(fault.unwrap_or_else(|| {
            default_svid::explain_none(&self.settings.default_svid, &self.served())
        }))
    }

    fn served(&self) -> BTreeMap<SpiffeId, Arc<Svid>> {
        self.current.iter().map(|(id, kept)| (id.clone(), Arc::clone(&kept.value.0))).collect()
    }
}

#[cfg(test)]
#[path = "custody_tests.rs"]
mod tests;
