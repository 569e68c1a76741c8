//! What is served and when, as a value: offers and moments in, snapshots and findings out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use spiffe::{SpiffeId, TrustDomain, X509Bundle, X509Context};
use tokio::time::Instant;

use super::finding::Finding;
use super::rotation::{Authorities, AuthorityId, issuer};
use super::{Moment, Svid, SvidFault, SvidSnapshot, default_svid, utc};
use crate::config::DefaultSvid;

/// How much longer a bundle is trusted than an SVID that is withdrawn with it: by that trust Envoys are connected over
/// TCP, which shall hear what the withdrawal means to them.
const TRUST_LONGER: Duration = Duration::from_secs(1);

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

/// The keeper of all identities.
#[derive(Debug)]
pub struct Custody {
    settings: CustodySettings,
    authorities: Authorities,
    /// What the source names now.
    candidates: BTreeMap<SpiffeId, Candidate>,
    /// What the source names now and nobody must have.
    refused: BTreeMap<SpiffeId, SvidFault>,
    /// What is served now.
    current: BTreeMap<SpiffeId, Kept<Leaf>>,
    offered_bundles: BTreeMap<TrustDomain, Arc<X509Bundle>>,
    bundles: BTreeMap<TrustDomain, Kept<Arc<X509Bundle>>>,
    default: Option<SpiffeId>,
    /// The last default that there was.
    last_default: Option<SpiffeId>,
    /// What was withdrawn before it expired, and when it will: Envoys keep it until then.
    withdrawn: BTreeMap<SpiffeId, SystemTime>,
}

#[derive(Debug)]
struct Candidate {
    leaf: Leaf,
    hold_until: Option<Instant>,
    /// Whether it was told why this is not served.
    reported: bool,
}

/// An SVID, and who issued it where that is known.
#[derive(Debug, Clone)]
struct Leaf {
    svid: Arc<Svid>,
    issuer: Option<AuthorityId>,
}

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
            refused: BTreeMap::new(),
            current: BTreeMap::new(),
            offered_bundles: BTreeMap::new(),
            bundles: BTreeMap::new(),
            default: None,
            last_default: None,
            withdrawn: BTreeMap::new(),
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
        self.refused.clear();
        for document in context.svids() {
            let id = document.spiffe_id().clone();
            match Svid::check(Arc::clone(document)) {
                Ok(svid) => {
                    if self
                        .candidates
                        .get(&id)
                        .is_some_and(|other| other.leaf.svid.not_after() >= svid.not_after())
                    {
                        continue;
                    }
                    let known = before.remove(&id).filter(|it| it.leaf.svid.same_as(&svid));
                    let candidate = match known {
                        Some(known) => self.reconsider(known, now),
                        None => self.candidate(svid, now, &mut findings),
                    };
                    self.candidates.insert(id, candidate);
                }
                Err(fault) => {
                    // What was good before stays a candidate: it is what the source said last that
                    // made sense.
                    if let Some(known) = before.remove(&id) {
                        self.candidates.entry(id.clone()).or_insert(known);
                    }
                    self.refused.insert(id.clone(), fault.clone());
                    findings.push(Finding::Refused { id, fault });
                }
            }
        }
        findings
    }

    /// The source says that we have no identity any more.
    pub fn withdraw(&mut self) {
        self.candidates.clear();
        self.refused.clear();
        self.offered_bundles.clear();
    }

    /// A candidate of an earlier offer: its authority may have come since.
    fn reconsider(&self, known: Candidate, now: Moment) -> Candidate {
        let svid = &known.leaf.svid;
        match self.issuer(svid, now) {
            Some(issuer) if known.leaf.issuer.is_none() => Candidate {
                hold_until: self.hold(svid, Some(issuer), now),
                leaf: Leaf { svid: Arc::clone(svid), issuer: Some(issuer) },
                reported: known.reported,
            },
            _ => known,
        }
    }

    fn candidate(&self, svid: Svid, now: Moment, findings: &mut Vec<Finding>) -> Candidate {
        let issuer = self.issuer(&svid, now);
        if issuer.is_none() {
            findings.push(Finding::UnknownIssuer {
                id: svid.id().clone(),
                serial: svid.serial().into(),
            });
        }
        let hold_until = self.hold(&svid, issuer, now);
        Candidate { leaf: Leaf { svid: Arc::new(svid), issuer }, hold_until, reported: false }
    }

    fn issuer(&self, svid: &Svid, now: Moment) -> Option<AuthorityId> {
        let bundle = self.offered_bundles.get(svid.id().trust_domain())?;
        issuer(svid, bundle, now)
    }

    /// Until when a renewed leaf waits: until every peer can know its authority. Where that is not
    /// known to us either, for half of what the old one has left.
    fn hold(&self, svid: &Svid, issuer: Option<AuthorityId>, now: Moment) -> Option<Instant> {
        let old = self.current.get(svid.id())?;
        let remaining = old.value.svid.not_after().duration_since(now.wall).unwrap_or_default();
        match issuer {
            Some(issuer) => {
                self.authorities.hold_until(issuer, self.settings.hold, remaining, now.steady)
            }
            None => Some(now.steady + remaining / 2),
        }
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
            self.last_default = self.default.clone().or(self.last_default.take());
        }
        findings
    }

    /// Candidates become current where nothing speaks against it.
    fn promote(&mut self, now: Moment, findings: &mut Vec<Finding>) {
        for (id, candidate) in &mut self.candidates {
            let current = self.current.get_mut(id);
            if let Some(old) = current {
                old.leaves_at = None;
                if old.value.svid.same_as(&candidate.leaf.svid) {
                    old.value.issuer = candidate.leaf.issuer;
                    continue;
                }
                let old_is_good = old.value.svid.check_validity(now.wall).is_ok()
                    && old.value.issuer.is_some_and(|issuer| self.authorities.trusts(issuer));
                if let Some(until) =
                    candidate.hold_until.filter(|until| *until > now.steady && old_is_good)
                {
                    if !std::mem::replace(&mut candidate.reported, true) {
                        findings.push(Finding::Held {
                            id: id.clone(),
                            serial: candidate.leaf.svid.serial().into(),
                            wait: until - now.steady,
                        });
                    }
                    continue;
                }
            }
            if let Err(fault) = candidate.leaf.svid.check_validity(now.wall) {
                if !std::mem::replace(&mut candidate.reported, true) {
                    findings.push(Finding::Refused { id: id.clone(), fault });
                }
                continue;
            }
            findings.push(Finding::Served {
                id: id.clone(),
                serial: candidate.leaf.svid.serial().into(),
                expires: utc(candidate.leaf.svid.not_after()),
            });
            self.withdrawn.remove(id);
            self.current
                .insert(id.clone(), Kept { value: candidate.leaf.clone(), leaves_at: None });
        }
    }

    /// What expired goes at once; what the source no longer names goes after the delay.
    fn retire(&mut self, now: Moment, findings: &mut Vec<Finding>) {
        let (candidates, delay) = (&self.candidates, self.settings.withdrawal_delay);
        self.current.retain(|id, kept| {
            if kept.value.svid.check_validity(now.wall).is_err() {
                findings.push(Finding::Expired { id: id.clone() });
                return false;
            }
            if candidates.contains_key(id)
                || now.steady < *kept.leaves_at.get_or_insert(now.steady + delay)
            {
                return true;
            }
            findings.push(Finding::Withdrawn { id: id.clone() });
            self.withdrawn.insert(id.clone(), kept.value.svid.not_after());
            false
        });
        self.withdrawn.retain(|_, expires| now.wall < *expires);
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
        let offered = &self.offered_bundles;
        let delay = self.settings.withdrawal_delay + TRUST_LONGER;
        self.bundles.retain(|domain, kept| {
            offered.contains_key(domain)
                || now.steady < *kept.leaves_at.get_or_insert(now.steady + delay)
        });
    }

    /// When the next thing is due without a new offer: an expiry, the end of a hold, a withdrawal.
    pub fn next_review(&self, now: Moment) -> Option<Instant> {
        let waiting = self.candidates.values().filter(|candidate| {
            self.current
                .get(candidate.leaf.svid.id())
                .is_none_or(|current| !current.value.svid.same_as(&candidate.leaf.svid))
        });
        let waiting = waiting.filter_map(|candidate| {
            let valid_from =
                Some(now.until(candidate.leaf.svid.not_before())).filter(|at| *at > now.steady);
            candidate.hold_until.filter(|until| *until > now.steady).max(valid_from)
        });
        let served = self.current.values().map(|kept| now.until(kept.value.svid.not_after()));
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
        let withdrawn = self.withdrawn.clone();
        let last_default = self.last_default.clone().filter(|_| default.is_none());
        let withdrawn_default = last_default.filter(|id| withdrawn.contains_key(id));
        SvidSnapshot { svids, bundles, default, withdrawn, withdrawn_default }
    }

    /// What is wrong with what the source issued, although something older may be served; `None`
    /// while all is well.
    pub fn trouble(&self, now: Moment) -> Option<String> {
        let refused = self.refused.iter().map(|(id, fault)| (id, fault.clone()));
        let not_now = self.candidates.iter().filter_map(|(id, candidate)| {
            Some((id, candidate.leaf.svid.check_validity(now.wall).err()?))
        });
        if let Some((id, fault)) = refused.chain(not_now).next() {
            return Some(format!("the newest SVID of {id} cannot be served: {fault}"));
        }
        let SvidSnapshot { svids, default, .. } = self.snapshot();
        default.is_none().then(|| default_svid::explain_none(&self.settings.default_svid, &svids))
    }

    fn served(&self) -> BTreeMap<SpiffeId, Arc<Svid>> {
        self.current.iter().map(|(id, kept)| (id.clone(), Arc::clone(&kept.value.svid))).collect()
    }
}

#[cfg(test)]
#[path = "custody_tests.rs"]
mod tests;
