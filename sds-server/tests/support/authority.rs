//! A certificate authority for tests: those of `sources` and those against the running server.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};

pub(crate) struct Authority {
    pub(crate) domain: String,
    /// DER.
    pub(crate) certificate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(domain: &str) -> Self {
        let (params, key) = authority(domain);
        let certificate = params.self_signed(&key).expect("self-signed").der().to_vec();
        Self { domain: domain.into(), certificate, issuer: Issuer::new(params, key) }
    }

    /// An authority that this one has signed; it signs leaves of the same trust domain.
    pub(crate) fn intermediate(&self) -> Self {
        let (params, key) = authority(&self.domain);
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").der().to_vec();
        Self { domain: self.domain.clone(), certificate, issuer: Issuer::new(params, key) }
    }

    /// A leaf in DER, valid from a minute ago to `life` from now, and its key in PKCS#8.
    pub(crate) fn pair(&self, path: &str, life: Duration) -> (Vec<u8>, Vec<u8>) {
        let id = format!("spiffe://{}{path}", self.domain);
        self.leaf(&[&id], SystemTime::now() + life)
    }

    /// A leaf with these URI SANs, its common name `envoy`, and its key.
    pub(crate) fn leaf(&self, uris: &[&str], not_after: SystemTime) -> (Vec<u8>, Vec<u8>) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "envoy");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.subject_alt_names = uris.iter().map(|id| uri((*id).to_owned())).collect();
        params.not_before = (SystemTime::now().min(not_after) - Duration::from_mins(1)).into();
        params.not_after = not_after.into();
        let key = KeyPair::generate().expect("key");
        let leaf = params.signed_by(&key, &self.issuer).expect("signed");
        (leaf.der().to_vec(), key.serialize_der())
    }
}

/// What a certificate authority says of itself, and its key.
fn authority(domain: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.subject_alt_names = vec![uri(format!("spiffe://{domain}"))];
    (params, KeyPair::generate().expect("key"))
}

fn uri(text: String) -> SanType {
    SanType::URI(text.try_into().expect("ascii"))
}
