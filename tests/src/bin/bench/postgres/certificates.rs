//! Certificates for those who speak TLS without SPIFFE: of the form of an SVID (P-256), with a name that Postgres takes for
//! a user.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::Result;
use e2e::{Account, Stage};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

/// An authority of this run, and what it has signed.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// Files of somebody who has a key.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) authority: PathBuf,
}

impl Authority {
    /// Makes a key and signs itself.
    pub(super) fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "the authority of the bench");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// A certificate for a name, and for the address of this run, in a directory of `owner`.
    pub(super) fn issue(
        &self,
        stage: &Stage,
        directory: &str,
        name: &str,
        owner: &Account,
    ) -> Result<Holder> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![stage.address.to_string()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        let folder = stage.directory(directory, owner)?;
        Ok(Holder {
            certificate: write(&folder, "certificate.pem", &certificate, owner)?,
            key: write(&folder, "key.pem", &key.serialize_pem(), owner)?,
            authority: write(&folder, "authority.pem", &self.certificate, owner)?,
        })
    }
}

/// Postgres and its clients demand that nobody else can read a key.
fn write(folder: &Path, name: &str, text: &str, owner: &Account) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, text)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    owner.own(&path)?;
    Ok(path)
}
