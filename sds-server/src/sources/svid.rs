//! One identity, checked before anything else may touch it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use spiffe::{SpiffeId, X509Svid};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::utc;

/// An X.509 SVID whose key belongs to its certificate and whose chain parses. Its Debug shows no
/// key.
#[derive(Debug)]
pub struct Svid {
    document: Arc<X509Svid>,
    serial: String,
    not_before: SystemTime,
    not_after: SystemTime,
}

/// Why an SVID must not be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SvidFault {
    /// Envoy would refuse it.
    #[error("the private key does not belong to the certificate: {0}")]
    Mismatch(String),
    /// Envoy could not read it.
    #[error("certificate {position} of the chain cannot be read: {reason}")]
    Unreadable {
        /// 0 is the leaf.
        position: usize,
        /// What the parser found.
        reason: String,
    },
    /// Peers would refuse it.
    #[error("it expired at {0}; a clock that is ahead looks the same")]
    Expired(String),
    /// Peers would refuse it for now.
    #[error("it is valid from {from} on, in {seconds} s: the clock here or the issuer's is off")]
    NotYetValid {
        /// The leaf's notBefore.
        from: String,
        /// How long that is.
        seconds: u64,
    },
}

impl Svid {
    /// Checks that the key fits the leaf and that every certificate of the chain parses. Time is
    /// asked later, by [`Svid::check_validity`], since it goes on.
    pub fn check(document: Arc<X509Svid>) -> Result<Self, SvidFault> {
        let chain = document.cert_chain().iter().map(spiffe::cert::Certificate::as_bytes);
        let (serial, not_before, not_after) = read(chain)?;
        check_key(&document)?;
        Ok(Self { document, serial, not_before, not_after })
    }

    /// Checks that the whole chain is valid at `now`.
    pub fn check_validity(&self, now: SystemTime) -> Result<(), SvidFault> {
        if now >= self.not_after {
            return Err(SvidFault::Expired(utc(self.not_after)));
        }
        match self.not_before.duration_since(now) {
            Ok(wait) if !wait.is_zero() => Err(SvidFault::NotYetValid {
                from: utc(self.not_before),
                seconds: wait.as_secs().max(1),
            }),
            _ => Ok(()),
        }
    }

    /// The SPIFFE ID, the leaf's only URI SAN.
    pub fn id(&self) -> &SpiffeId {
        self.document.spiffe_id()
    }

    /// The source's remark on what this SVID is for.
    pub fn hint(&self) -> Option<&str> {
        self.document.hint()
    }

    /// The leaf's serial number, hex in pairs.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// From when on the whole chain is valid.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// When the first certificate of the chain expires.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The certificates in DER, leaf first.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.document.cert_chain().iter().map(spiffe::cert::Certificate::as_bytes)
    }

    /// The private key, PKCS#8 in DER. Whoever copies it zeroizes the copy.
    pub fn key(&self) -> &[u8] {
        self.document.private_key().as_bytes()
    }

    /// Whether both are the same document, key, hint and all.
    pub fn same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.document, &other.document) || self.document == other.document
    }
}

/// The leaf's serial number, and from when to when the whole chain is valid. Agents' answers were read
/// once before; this is the only reading that what is served rests on.
fn read<'a>(
    chain: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(String, SystemTime, SystemTime), SvidFault> {
    let mut whole = None;
    for (position, der) in chain.into_iter().enumerate() {
        let unreadable = |reason| SvidFault::Unreadable { position, reason };
        let (_, parsed) = X509Certificate::from_der(der).map_err(|e| unreadable(e.to_string()))?;
        let validity = parsed.validity();
        let from = time(validity.not_before.timestamp());
        let to = time(validity.not_after.timestamp());
        whole = Some(match whole {
            None => (serial_number(&parsed), from, to),
            Some((serial, f, t)) => (serial, from.max(f), to.min(t)),
        });
    }
    whole.ok_or(SvidFault::Unreadable { position: 0, reason: "the chain is empty".into() })
}

/// Asks rustls whether the key signs for the leaf, without copying the key.
fn check_key(document: &X509Svid) -> Result<(), SvidFault> {
    let chain =
        document.cert_chain().iter().map(|c| CertificateDer::from(c.as_bytes().to_vec())).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(document.private_key().as_bytes()));
    let key = any_supported_type(&key).map_err(|e| SvidFault::Mismatch(e.to_string()))?;
    CertifiedKey::new(chain, key).keys_match().map_err(|e| SvidFault::Mismatch(e.to_string()))
}

/// Hex in pairs. DER puts a zero before a first digit that would look negative.
pub(crate) fn serial_number(certificate: &X509Certificate<'_>) -> String {
    let digits = certificate.tbs_certificate.raw_serial_as_string();
    digits.strip_prefix("00:").map(str::to_owned).unwrap_or(digits)
}

fn time(seconds: i64) -> SystemTime {
    u64::try_from(seconds).map_or(SystemTime::UNIX_EPOCH, |seconds| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use spiffe::X509Svid;

    use super::super::test_context::Authority;
    use super::{Svid, SvidFault, read};

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let authority = Authority::new("example.org");
        let (chain, _) = authority.pair("/a", Duration::from_mins(1));
        let (_, key) = authority.pair("/a", Duration::from_mins(1));
        let document = X509Svid::parse_from_der(&chain, &key).expect("both parse");
        assert!(matches!(Svid::check(Arc::new(document)), Err(SvidFault::Mismatch(_))));
    }

    #[test]
    fn a_certificate_that_cannot_be_read_is_named_by_its_position() {
        let signer = Authority::new("example.org").intermediate();
        let (leaf, _) = signer.pair("/a", Duration::from_mins(1));
        let (leaf, signer, cut) = (&leaf[..], &signer.certificate[..], &leaf[..leaf.len() - 1]);
        assert!(read([leaf, signer]).is_ok());
        for (chain, expected) in
            [(vec![], 0), (vec![cut], 0), (vec![leaf, cut], 1), (vec![leaf, signer, b"no"], 2)]
        {
            let fault = read(chain).expect_err("unreadable");
            let told = format!("certificate {expected} of the chain cannot be read: ");
            assert!(fault.to_string().starts_with(&told), "{fault}");
        }
    }

    #[test]
    fn a_chain_is_valid_while_all_of_it_is() {
        let root = Authority::new("example.org");
        let (long, _) = root.pair("/a", Duration::from_hours(2));
        let (short, _) = root.pair("/a", Duration::from_hours(1));
        let of = |chain: [&[u8]; 2]| read(chain).expect("readable");
        let ((_, _, one), (_, _, other)) = (of([&long, &short]), of([&short, &long]));
        assert_eq!(one, other);
        assert!(one < SystemTime::now() + Duration::from_mins(61));
    }

    #[test]
    fn validity_is_judged_at_a_moment() {
        let svid = Authority::new("example.org").svid("/a", Duration::from_mins(1));
        let svid = Svid::check(svid).expect("fits");
        let now = SystemTime::now();
        assert_eq!(svid.check_validity(now), Ok(()));
        assert!(matches!(
            svid.check_validity(now + Duration::from_secs(61)),
            Err(SvidFault::Expired(_))
        ));
        let early = svid.check_validity(now - Duration::from_hours(1)).expect_err("too early");
        assert!(early.to_string().contains("clock"), "{early}");
    }

    #[test]
    fn debug_shows_no_key() {
        let svid = Svid::check(Authority::new("example.org").svid("/a", Duration::from_mins(1)))
            .expect("fits");
        let shown = format!("{svid:?}");
        let key: Vec<String> = svid.key()[..8].iter().map(u8::to_string).collect();
        assert!(!shown.contains(&key.join(", ")), "{shown}");
    }
}
