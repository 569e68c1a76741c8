//! An SVID in the hands of a test: what an attacker or a driver with direct TLS would hold.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use pem_rfc7468::{LineEnding, encode_string};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::Value;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    parse_x509_certificate,
};

use crate::until;

/// A certificate chain with its key, and whom its holder trusts.
#[derive(Debug)]
pub struct FetchedSvid {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    bundle: Vec<CertificateDer<'static>>,
}

/// What a leaf certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The serial number, in hex.
    pub serial: String,
    /// The first URI among the subject's alternative names.
    pub spiffe_id: String,
    /// When it ends.
    pub not_after: SystemTime,
    /// The identifier of the key that signed it, in hex; empty if it names none.
    pub authority: String,
}

impl FetchedSvid {
    /// Reads what the program `fetch-svid` printed.
    pub fn read(printed: &str) -> Result<Self> {
        let printed: Value = serde_json::from_str(printed).context("fetch-svid printed no JSON")?;
        let certificates = |key: &str| {
            let found = printed[key].as_array();
            let found = found.with_context(|| format!("fetch-svid printed no {key}"))?;
            found.iter().map(|certificate| Ok(bytes(certificate)?.into())).collect::<Result<_>>()
        };
        let key = PrivatePkcs8KeyDer::from(bytes(&printed["key"])?).into();
        Ok(Self { chain: certificates("chain")?, key, bundle: certificates("bundle")? })
    }

    /// Reads a chain and its key from PEM files; the bundle stays empty.
    pub fn from_pem(chain: &Path, key: &Path) -> Result<Self> {
        let read = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect)
            .with_context(|| format!("no certificates in {}", chain.display()))?;
        let key = PrivateKeyDer::from_pem_file(key)
            .with_context(|| format!("no key in {}", key.display()))?;
        Ok(Self { chain: read, key, bundle: Vec::new() })
    }

    /// Writes what a driver with direct TLS reads: `svid.pem`, `svid_key.pem`, the same as DER in
    /// `svid_key.pk8`, and `svid_bundle.pem`. The files are open to the harness' own account only.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let private = |name: &str, bytes: &[u8]| {
            let path = directory.join(name);
            let file = File::options().create_new(true).write(true).mode(0o600).open(&path);
            let written = file.and_then(|mut file| file.write_all(bytes));
            written.with_context(|| format!("cannot write {}", path.display()))
        };
        fs::create_dir_all(directory)?;
        private("svid.pem", pem(&self.chain)?.as_bytes())?;
        private("svid_bundle.pem", pem(&self.bundle)?.as_bytes())?;
        private("svid_key.pk8", self.key.secret_der())?;
        let key = encode_string("PRIVATE KEY", LineEnding::LF, self.key.secret_der())?;
        private("svid_key.pem", key.as_bytes())
    }

    /// The chain, leaf first, and the key.
    pub fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.chain.clone(), self.key.clone_key())
    }

    /// What the leaf says.
    pub fn leaf(&self) -> Result<Leaf> {
        Leaf::read(self.chain.first().context("the chain is empty")?)
    }

    /// Waits until the leaf has expired.
    pub async fn expired(&self) -> Result<()> {
        let leaf = self.leaf()?;
        let remaining = leaf.not_after.duration_since(SystemTime::now()).unwrap_or_default();
        until("the SVID expires", remaining + Duration::from_secs(2), async || {
            // A certificate is still good in the very second that it names.
            if SystemTime::now() <= leaf.not_after + Duration::from_secs(1) {
                bail!("it is good until {:?}", leaf.not_after);
            }
            Ok(())
        })
        .await
    }
}

impl Leaf {
    /// Reads a certificate.
    pub fn read(certificate: &[u8]) -> Result<Self> {
        let (_, certificate) = parse_x509_certificate(certificate).context("no certificate")?;
        let names = certificate.subject_alternative_name()?.context("no alternative name")?;
        let uri = names.value.general_names.iter().find_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        });
        let not_after = u64::try_from(certificate.validity().not_after.timestamp())?;
        Ok(Self {
            serial: format!("{:x}", certificate.serial),
            spiffe_id: uri.context("no URI among the alternative names")?,
            not_after: UNIX_EPOCH + Duration::from_secs(not_after),
            authority: authority_key(&certificate),
        })
    }
}

fn authority_key(certificate: &X509Certificate<'_>) -> String {
    let named =
        certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(authority) => authority.key_identifier.as_ref(),
            _ => None,
        });
    named.map(|key| hex::encode(key.0)).unwrap_or_default()
}

/// The identifier of a CA's own key, in hex; empty if it names none.
pub(crate) fn subject_key(authority: &[u8]) -> Result<String> {
    let (_, certificate) = parse_x509_certificate(authority).context("no certificate")?;
    let named =
        certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(key) => Some(hex::encode(key.0)),
            _ => None,
        });
    Ok(named.unwrap_or_default())
}

fn pem(certificates: &[CertificateDer<'_>]) -> Result<String> {
    certificates
        .iter()
        .map(|certificate| Ok(encode_string("CERTIFICATE", LineEnding::LF, certificate)?))
        .collect()
}

fn bytes(digits: &Value) -> Result<Vec<u8>> {
    Ok(hex::decode(digits.as_str().context("no hex digits")?)?)
}
