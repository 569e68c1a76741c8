//! What a source would issue, for the tests of this folder.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use spiffe::{TrustDomain, X509Bundle, X509BundleSet, X509Context, X509Svid};

#[path = "../../tests/support/authority.rs"]
mod authority;

#[path = "../../tests/support/token.rs"]
mod token;

pub(crate) use authority::Authority;
pub(crate) use token::token;

impl Authority {
    pub(crate) fn svid(&self, path: &str, life: Duration) -> Arc<X509Svid> {
        let (chain, key) = self.pair(path, life);
        Arc::new(X509Svid::parse_from_der(&chain, &key).expect("a valid SVID"))
    }

    /// These SVIDs, and the bundles of these authorities.
    pub(crate) fn context(svids: &[&Arc<X509Svid>], authorities: &[&Self]) -> X509Context {
        let mut bundles = X509BundleSet::new();
        for domain in authorities.iter().map(|a| a.domain.as_str()).collect::<BTreeSet<_>>() {
            let own = authorities.iter().filter(|a| a.domain == domain);
            let certificates: Vec<&[u8]> = own.map(|a| a.certificate.as_slice()).collect();
            let domain = TrustDomain::new(domain).expect("a trust domain");
            bundles.add_bundle(
                X509Bundle::from_x509_authorities(domain, &certificates).expect("authorities"),
            );
        }
        X509Context::new(svids.iter().map(|svid| Arc::clone(svid)), bundles)
    }
}
