//! What signs: a trust domain's root, its optional intermediate and its JWT key, and how one generation follows another.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use spiffe::TrustDomain;

use crate::jwt::JwtKey;

/// Far longer than any demo or test runs.
const ROOT_LIFE: Duration = Duration::from_hours(24);

/// One generation of a trust domain's signing keys.
pub(crate) struct Authority {
    root: Certificate,
    intermediate: Option<Certificate>,
    issuer: Issuer<'static, KeyPair>,
    jwt: JwtKey,
}

impl Authority {
    /// Makes new keys. With `intermediate`, leaves are signed by an intermediate CA, which their chain then carries.
    pub(crate) fn new(
        trust_domain: &TrustDomain,
        intermediate: bool,
    ) -> Result<Self, rcgen::Error> {
        let (root, mut issuer) = self_signed(trust_domain)?;
        let mut intermediate_certificate = None;
        if intermediate {
            let key = KeyPair::generate()?;
            let params = signing_params(
                trust_domain,
                "dev-agent intermediate",
                BasicConstraints::Constrained(0),
            )?;
            intermediate_certificate = Some(params.signed_by(&key, &issuer)?);
            issuer = Issuer::new(params, key);
        }
        Ok(Self { root, intermediate: intermediate_certificate, issuer, jwt: JwtKey::new()? })
    }

    /// What signs leaves.
    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// What signs JWT-SVIDs.
    pub(crate) fn jwt(&self) -> &JwtKey {
        &self.jwt
    }

    /// What verifies leaves.
    pub(crate) fn root(&self) -> &Certificate {
        &self.root
    }

    /// What a leaf's chain carries behind the leaf.
    pub(crate) fn intermediate(&self) -> Option<&Certificate> {
        self.intermediate.as_ref()
    }
}

fn self_signed(
    trust_domain: &TrustDomain,
) -> Result<(Certificate, Issuer<'static, KeyPair>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let params = signing_params(trust_domain, "dev-agent root", BasicConstraints::Unconstrained)?;
    Ok((params.self_signed(&key)?, Issuer::new(params, key)))
}

/// A signing certificate by the X509-SVID standard: CA, `keyCertSign` and `cRLSign` only, a SPIFFE ID without a path.
fn signing_params(
    trust_domain: &TrustDomain,
    common_name: &str,
    constraints: BasicConstraints,
) -> Result<CertificateParams, rcgen::Error> {
    let now = SystemTime::now();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, trust_domain.as_str());
    name.push(DnType::CommonName, common_name);
    let mut params = CertificateParams::default();
    params.not_before = (now - crate::svid::BACKDATE).into();
    params.not_after = (now + ROOT_LIFE).into();
    params.distinguished_name = name;
    params.subject_alt_names = vec![SanType::URI(trust_domain.id_string().try_into()?)];
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// A trust domain's generations: the next is trusted before it signs, the last is trusted until its leaves are gone.
pub(crate) struct Rollover {
    trust_domain: TrustDomain,
    intermediate: bool,
    active: Authority,
    prepared: Option<Authority>,
    retiring: Option<Authority>,
}

impl Rollover {
    /// Begins with one active generation.
    pub(crate) fn new(trust_domain: TrustDomain, intermediate: bool) -> Result<Self, rcgen::Error> {
        let active = Authority::new(&trust_domain, intermediate)?;
        Ok(Self { trust_domain, intermediate, active, prepared: None, retiring: None })
    }

    /// Whose generations these are.
    pub(crate) fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The generation that signs.
    pub(crate) fn active(&self) -> &Authority {
        &self.active
    }

    /// Every generation that the bundle contains, the oldest first.
    pub(crate) fn trusted(&self) -> impl Iterator<Item = &Authority> {
        [self.retiring.as_ref(), Some(&self.active), self.prepared.as_ref()].into_iter().flatten()
    }

    /// Makes the next generation and trusts it. Nothing is signed by it yet.
    pub(crate) fn prepare(&mut self) -> Result<(), RolloverError> {
        if self.prepared.is_some() {
            return Err(RolloverError::AlreadyPrepared);
        }
        self.prepared = Some(Authority::new(&self.trust_domain, self.intermediate)?);
        Ok(())
    }

    /// Lets the prepared generation sign from now on. The one before stays trusted.
    pub(crate) fn activate(&mut self) -> Result<(), RolloverError> {
        if self.retiring.is_some() {
            return Err(RolloverError::StillRetiring);
        }
        let next = self.prepared.take().ok_or(RolloverError::NothingPrepared)?;
        self.retiring = Some(std::mem::replace(&mut self.active, next));
        Ok(())
    }

    /// Stops trusting the generation before.
    pub(crate) fn retire(&mut self) -> Result<(), RolloverError> {
        self.retiring.take().map(drop).ok_or(RolloverError::NothingToRetire)
    }
}

/// A step of the rollover that doesn't follow from the steps before it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RolloverError {
    #[error("a CA is prepared already: activate it first")]
    AlreadyPrepared,
    #[error("no CA is prepared: prepare one first")]
    NothingPrepared,
    #[error("the CA before the active one is still trusted: retire it first")]
    StillRetiring,
    #[error("no CA is waiting to be retired: activate a prepared one first")]
    NothingToRetire,
    #[error("the new CA could not be made")]
    Signing(#[from] rcgen::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_a_rollover_are_taken_in_order() {
        let mut rollover = Rollover::new(TrustDomain::new("example.org").unwrap(), false).unwrap();
        let first = rollover.active().root().der().clone();
        assert!(matches!(rollover.activate(), Err(RolloverError::NothingPrepared)));
        assert!(matches!(rollover.retire(), Err(RolloverError::NothingToRetire)));

        rollover.prepare().unwrap();
        assert!(matches!(rollover.prepare(), Err(RolloverError::AlreadyPrepared)));
        assert_eq!((rollover.trusted().count(), rollover.active().root().der()), (2, &first));

        rollover.activate().unwrap();
        assert_eq!(rollover.trusted().count(), 2);
        assert_ne!(rollover.active().root().der(), &first);

        rollover.retire().unwrap();
        assert_eq!(rollover.trusted().count(), 1);
    }
}
