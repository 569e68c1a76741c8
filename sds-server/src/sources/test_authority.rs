//! A certificate authority for the tests of this folder.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use spiffe::{TrustDomain, X509Bundle, X509BundleSet, X509Context, X509Svid};

pub(super) struct Authority {
    domain: String,
    certificate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new(domain: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names =
            vec![SanType::URI(format!("spiffe://{domain}").try_into().expect("ascii"))];
        let key = KeyPair::generate().expect("key");
        let certificate = params.self_signed(&key).expect("self-signed").der().to_vec();
        Self { domain: domain.into(), certificate, issuer: Issuer::new(params, key) }
    }

    /// A leaf valid from a minute ago to `life` from now, with its key.
    pub(super) fn pair(&self, path: &str, life: Duration) -> (Vec<u8>, Vec<u8>) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.subject_alt_names = vec![SanType::URI(
            format!("spiffe://{}{path}", self.domain).try_into().expect("ascii"),
        )];
        params.not_before = (SystemTime::now() - Duration::from_secs(60)).into();
        params.not_after = (SystemTime::now() + life).into();
        let key = KeyPair::generate().expect("key");
        let leaf = params.signed_by(&key, &self.issuer).expect("signed");
        (leaf.der().to_vec(), key.serialize_der())
    }

    pub(super) fn svid(&self, path: &str, life: Duration) -> Arc<X509Svid> {
        let (chain, key) = self.pair(path, life);
        Arc::new(X509Svid::parse_from_der(&chain, &key).expect("a valid SVID"))
    }

    /// What a source would issue: these SVIDs, and the bundle of these authorities.
    pub(super) fn context(svids: &[&Arc<X509Svid>], authorities: &[&Self]) -> Arc<X509Context> {
        let mut bundles = X509BundleSet::new();
        for domain in
            authorities.iter().map(|a| a.domain.as_str()).collect::<std::collections::BTreeSet<_>>()
        {
            let certificates: Vec<&[u8]> = authorities
                .iter()
                .filter(|a| a.domain == domain)
                .map(|a| a.certificate.as_slice())
                .collect();
            let domain = TrustDomain::new(domain).expect("a trust domain");
            bundles.add_bundle(
                X509Bundle::from_x509_authorities(domain, &certificates).expect("authorities"),
            );
        }
        Arc::new(X509Context::new(svids.iter().map(|svid| Arc::clone(svid)), bundles))
    }
}
