//! Every CA in the process: the trust domain's own, and one for each federated trust domain.

use std::collections::BTreeMap;
use std::sync::Arc;

use spiffe::TrustDomain;

use crate::agent::Refusal;
use crate::authority::{Authority, Rollover};
use crate::jwt;
use crate::svid::{Leaf, Variant, X509Svid, concatenated, trust_domain_of};
use crate::view::{Identity, Registration, Trust};

/// What signs.
pub(crate) struct Keys {
    pub(crate) own: Rollover,
    pub(crate) foreign: BTreeMap<TrustDomain, Authority>,
}

impl Keys {
    /// What verifies everything that these keys sign.
    pub(crate) fn trust(&self) -> Arc<Trust> {
        let own = self.own.trust_domain();
        let mut trust = Trust { x509: BTreeMap::new(), jwks: BTreeMap::new() };
        trust.x509.insert(own.clone(), concatenated(self.own.trusted().map(Authority::root)));
        trust.jwks.insert(own.clone(), jwt::jwks(self.own.trusted().map(Authority::jwt)));
        for (foreign, authority) in &self.foreign {
            trust.x509.insert(foreign.clone(), concatenated([authority.root()]));
            trust.jwks.insert(foreign.clone(), jwt::jwks([authority.jwt()]));
        }
        Arc::new(trust)
    }

    /// One SVID.
    pub(crate) fn issue(
        &self,
        leaf: &Leaf,
        variant: Variant,
        other: Option<&str>,
    ) -> Result<X509Svid, Refusal> {
        Ok(X509Svid::issue(self.signer(variant, other)?, leaf, variant, other)?)
    }

    /// An SVID for each identity of a workload.
    pub(crate) fn issue_all(
        &self,
        registration: &Registration,
        ttl: std::time::Duration,
        variant: Variant,
        other: Option<&str>,
    ) -> Result<Identity, Refusal> {
        let mut svids = Vec::new();
        for id in &registration.identities {
            let leaf = Leaf { id, dns: &registration.dns, ttl };
            svids.push((id.clone(), Arc::new(self.issue(&leaf, variant, other)?)));
        }
        Ok(Identity::Issued(svids))
    }

    /// The CA that signs a variant: ours, except for identities of a federated trust domain.
    fn signer(&self, variant: Variant, other: Option<&str>) -> Result<&Authority, Refusal> {
        if variant != Variant::Federated {
            return Ok(self.own.active());
        }
        trust_domain_of(other)
            .and_then(|foreign| self.foreign.get(&foreign))
            .ok_or_else(|| Refusal::NotFederated(other.unwrap_or("(no --other)").to_owned()))
    }
}
