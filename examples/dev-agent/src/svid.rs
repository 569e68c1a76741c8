//! X.509-SVIDs: one as the standard wants it, and the forgeries that nothing may accept.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use serde::{Deserialize, Serialize};
use spiffe::{SpiffeId, TrustDomain};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authority::Authority;

/// How long before now a certificate begins, as with SPIRE: clocks that are a little behind accept it.
pub(crate) const BACKDATE: Duration = Duration::from_secs(10);

/// The extension "TLS feature" of RFC 7633, and its value that demands an OCSP staple.
const TLS_FEATURE: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 24];
const STATUS_REQUEST: [u8; 5] = [0x30, 0x03, 0x02, 0x01, 0x05];

/// The trust domain of forged identities where none is named.
const FORGED_TRUST_DOMAIN: &str = "forged.example";

/// What is wrong with an SVID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Variant {
    /// Nothing is
    #[default]
    Valid,
    /// It ended a second ago
    Expired,
    /// It begins in one TTL
    NotYetValid,
    /// The workload's SPIFFE ID is followed by that of `--other`
    TwoUriSans,
    /// Signed by our CA, with the SPIFFE ID of `--other` alone
    OtherId,
    /// Signed by the CA of a federated trust domain, that of `--other`, with `--other` as the SPIFFE ID
    Federated,
    /// Signed by an unknown CA that bears the names of ours
    ForeignCa,
    /// The SPIFFE ID stands in the common name; there is no SAN
    CnOnly,
    /// The leaf is a CA itself
    CaLeaf,
    /// The private key belongs to another certificate
    MismatchedKey,
    /// It demands an OCSP staple (RFC 7633): right by the standard, but an Envoy that is to serve it refuses it
    MustStaple,
}

/// A leaf's content, apart from its keys.
pub(crate) struct Leaf<'a> {
    pub(crate) id: &'a SpiffeId,
    /// DNS SANs; the first is the common name too.
    pub(crate) dns: &'a [String],
    pub(crate) ttl: Duration,
}

/// A certificate chain with its private key.
pub(crate) struct X509Svid {
    chain: Vec<Certificate>,
    key: KeyPair,
}

impl X509Svid {
    /// Issues an SVID with `variant`'s fault. `other` is the second identity, where it has one; any text is taken.
    pub(crate) fn issue(
        authority: &Authority,
        leaf: &Leaf,
        variant: Variant,
        other: Option<&str>,
    ) -> Result<Self, rcgen::Error> {
        let other = || match other {
            Some(id) => id.to_owned(),
            None => format!("spiffe://{FORGED_TRUST_DOMAIN}{}", leaf.id.path()),
        };
        let mut params = leaf_params(leaf)?;
        match variant {
            Variant::Valid => {}
            Variant::Expired => {
                params.not_after = (SystemTime::now() - Duration::from_secs(1)).into();
            }
            Variant::NotYetValid => {
                let begin = SystemTime::now() + leaf.ttl;
                params.not_before = begin.into();
                params.not_after = (begin + leaf.ttl).into();
            }
            Variant::TwoUriSans => params.subject_alt_names.insert(1, uri(&other())?),
            Variant::OtherId | Variant::Federated => params.subject_alt_names[0] = uri(&other())?,
            Variant::ForeignCa => {
                let foreign =
                    Authority::new(leaf.id.trust_domain(), authority.intermediate().is_some())?;
                return Self::sign(&foreign, &params);
            }
            Variant::CnOnly => {
                params.subject_alt_names.clear();
                params.distinguished_name = common_name(&leaf.id.to_string());
            }
            Variant::CaLeaf => {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.key_usages.push(KeyUsagePurpose::KeyCertSign);
            }
            Variant::MismatchedKey => {
                let svid = Self::sign(authority, &params)?;
                return Ok(Self { key: KeyPair::generate()?, ..svid });
            }
            Variant::MustStaple => {
                params
                    .custom_extensions
                    .push(CustomExtension::from_oid_content(TLS_FEATURE, STATUS_REQUEST.to_vec()));
            }
        }
        Self::sign(authority, &params)
    }

    fn sign(authority: &Authority, params: &CertificateParams) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, authority.issuer())?;
        let chain = std::iter::once(leaf).chain(authority.intermediate().cloned()).collect();
        Ok(Self { chain, key })
    }

    /// The chain as concatenated DER, the leaf first.
    pub(crate) fn chain_der(&self) -> Vec<u8> {
        concatenated(&self.chain)
    }

    /// The chain as PEM, the leaf first.
    pub(crate) fn chain_pem(&self) -> String {
        self.chain.iter().map(Certificate::pem).collect()
    }

    /// The private key as PKCS#8 DER.
    pub(crate) fn key_der(&self) -> Vec<u8> {
        self.key.serialize_der()
    }

    /// The private key as PKCS#8 PEM.
    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// What `status` shows: the serial number in hexadecimal, and the end in seconds since the epoch.
    pub(crate) fn serial_and_end(&self) -> (String, i64) {
        let (_, leaf) = X509Certificate::from_der(self.chain[0].der())
            .expect("rcgen writes certificates that parse");
        (leaf.raw_serial_as_string().replace(':', ""), leaf.validity().not_after.timestamp())
    }
}

/// Shows no key.
impl fmt::Debug for X509Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Svid")
            .field("serial_and_end", &self.serial_and_end())
            .finish_non_exhaustive()
    }
}

/// Certificates as the Workload API carries them: DER, one behind the other.
pub(crate) fn concatenated<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> Vec<u8> {
    certificates.into_iter().flat_map(|certificate| certificate.der().iter().copied()).collect()
}

/// The trust domain whose CA signs a `federated` SVID.
pub(crate) fn trust_domain_of(other: Option<&str>) -> Option<TrustDomain> {
    SpiffeId::new(other?).ok().map(|id| id.trust_domain().clone())
}

/// A leaf by the X509-SVID standard, sections 4 and 5: exactly one URI SAN, no CA, `digitalSignature`, both TLS purposes.
fn leaf_params(leaf: &Leaf) -> Result<CertificateParams, rcgen::Error> {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + leaf.ttl).into();
    params.distinguished_name =
        common_name(leaf.dns.first().map_or("dev-agent SVID", String::as_str));
    params.subject_alt_names = vec![uri(&leaf.id.to_string())?];
    for name in leaf.dns {
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn uri(text: &str) -> Result<SanType, rcgen::Error> {
    Ok(SanType::URI(text.try_into()?))
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "dev-agent");
    name.push(DnType::CommonName, text);
    name
}

/// Seconds since the epoch, as certificates and JWTs count.
pub(crate) fn epoch_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use x509_parser::extensions::GeneralName;

    use super::*;

    fn uris(svid: &X509Svid) -> Vec<String> {
        let (_, leaf) = X509Certificate::from_der(svid.chain[0].der()).unwrap();
        let names = leaf.subject_alternative_name().unwrap();
        names.map_or_else(Vec::new, |san| {
            san.value
                .general_names
                .iter()
                .filter_map(|name| match name {
                    GeneralName::URI(uri) => Some((*uri).to_owned()),
                    _ => None,
                })
                .collect()
        })
    }

    #[test]
    fn a_valid_svid_follows_the_standard() {
        let id = SpiffeId::new("spiffe://example.org/db").unwrap();
        let authority = Authority::new(id.trust_domain(), true).unwrap();
        let leaf = Leaf { id: &id, dns: &["customer-db".to_owned()], ttl: Duration::from_mins(1) };
        let svid = X509Svid::issue(&authority, &leaf, Variant::Valid, None).unwrap();

        let (rest, certificate) = X509Certificate::from_der(svid.chain[0].der()).unwrap();
        assert!(rest.is_empty());
        assert_eq!(uris(&svid), ["spiffe://example.org/db"]);
        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.digital_signature());
        assert!(!usage.value.key_cert_sign() && !usage.value.crl_sign());
        assert!(!certificate.is_ca());
        let purposes = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(purposes.server_auth && purposes.client_auth);
        assert_eq!(
            certificate.subject().iter_common_name().next().unwrap().as_str().unwrap(),
            "customer-db"
        );

        let (_, intermediate) = X509Certificate::from_der(svid.chain[1].der()).unwrap();
        certificate.verify_signature(Some(intermediate.public_key())).unwrap();
        assert!(intermediate.is_ca());
    }

    #[test]
    fn each_forgery_carries_the_identities_it_names() {
        let id = SpiffeId::new("spiffe://example.org/client").unwrap();
        let authority = Authority::new(id.trust_domain(), false).unwrap();
        let leaf = Leaf { id: &id, dns: &[], ttl: Duration::from_mins(1) };
        let own = "spiffe://example.org/client";
        let other = "spiffe://forged.example/client";
        for (variant, named, expected) in [
            (Variant::Valid, None, vec![own]),
            (Variant::TwoUriSans, None, vec![own, other]),
            (
                Variant::TwoUriSans,
                Some("spiffe://example.org/api"),
                vec![own, "spiffe://example.org/api"],
            ),
            (Variant::OtherId, None, vec![other]),
            (
                Variant::OtherId,
                Some("spiffe://example.org/a,b|c"),
                vec!["spiffe://example.org/a,b|c"],
            ),
            (Variant::CnOnly, None, vec![]),
            (Variant::ForeignCa, None, vec![own]),
        ] {
            let svid = X509Svid::issue(&authority, &leaf, variant, named).unwrap();
            assert_eq!(uris(&svid), expected, "{variant:?} with {named:?}");
        }
    }

    #[test]
    fn an_svid_shows_no_key() {
        let id = SpiffeId::new("spiffe://example.org/client").unwrap();
        let authority = Authority::new(id.trust_domain(), false).unwrap();
        let svid = X509Svid::issue(
            &authority,
            &Leaf { id: &id, dns: &[], ttl: BACKDATE },
            Variant::Valid,
            None,
        )
        .unwrap();
        let key: Vec<String> = svid.key_der().iter().map(u8::to_string).collect();
        assert!(!format!("{svid:?}").contains(&key.join(", ")));
    }
}
