//! What people want to know of a certificate.

use std::time::{Duration, SystemTime};

use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::sources::serial_number;

/// A certificate that was parsed before, so that what cannot be read is left empty.
#[derive(Debug, Default)]
pub(super) struct Certificate {
    /// Distinguished name.
    pub(super) subject: String,
    pub(super) serial: String,
    /// Distinguished name of who signed it.
    pub(super) issuer: String,
    /// The signer's key.
    pub(super) issuer_key: Option<String>,
    /// Its own key.
    pub(super) key: Option<String>,
    pub(super) not_after: Option<SystemTime>,
}

impl Certificate {
    pub(super) fn read(der: &[u8]) -> Self {
        let Ok((_, parsed)) = X509Certificate::from_der(der) else { return Self::default() };
        let mut certificate = Self {
            subject: parsed.subject().to_string(),
            serial: serial_number(&parsed),
            issuer: parsed.issuer().to_string(),
            not_after: u64::try_from(parsed.validity().not_after.timestamp())
                .ok()
                .map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
            ..Self::default()
        };
        for extension in parsed.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(authority) => {
                    certificate.issuer_key =
                        authority.key_identifier.as_ref().map(|key| hex::encode(key.0));
                }
                ParsedExtension::SubjectKeyIdentifier(key) => {
                    certificate.key = Some(hex::encode(key.0));
                }
                _ => {}
            }
        }
        certificate
    }
}
