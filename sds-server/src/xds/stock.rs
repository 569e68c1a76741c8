//! What resources are made of, and the making of one.

use std::collections::BTreeSet;
use std::sync::Arc;

use spiffe::{SpiffeId, X509Bundle};

use super::absence::Absence;
use super::extensions::extension;
use super::form::ValidationForm;
use super::names::{ExtensionName, SecretName, WhichBundles, WhichSvid};
use super::resource::{Kind, Resource};
use super::rules::ResourceRules;
use super::secrets::{certificate, token, validation};
use crate::policy::{FilterKind, PolicyState};
use crate::sources::jwt::{Demand, JwtRequest, JwtSvids, Want};
use crate::sources::{Svid, SvidSnapshot};

/// The identities and the policy of a moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Stock {
    pub(super) snapshot: Arc<SvidSnapshot>,
    pub(super) policy: PolicyState,
    pub(super) jwt_svids: Arc<JwtSvids>,
    /// Where JWT-SVIDs are asked for.
    pub(super) demand: Demand,
    pub(super) rules: Arc<ResourceRules>,
}

impl Stock {
    /// Makes the resource of that name.
    pub(super) fn make(
        &self,
        kind: Kind,
        name: &str,
        form: ValidationForm,
    ) -> Result<Resource, Absence> {
        match kind {
            Kind::Extension => self.extension(name),
            Kind::Secret => match SecretName::parse(name, &self.rules.names)? {
                SecretName::Svid(which) => {
                    certificate(self.svid(&which)?, name.into()).ok_or(Absence::Unwritable)
                }
                SecretName::Bundle { which, form: asked } => {
                    self.bundle(&which, asked.unwrap_or(form), name)
                }
                SecretName::Jwt { audience, id } => self.token(audience, id, name),
            },
        }
    }

    /// The names by which a peer that asks for all gets each thing once.
    pub(super) fn canonical_names(&self, kind: Kind) -> Vec<String> {
        match kind {
            Kind::Secret => {
                let bundles = self.snapshot.bundles.keys().map(spiffe::TrustDomain::id_string);
                bundles.chain(self.snapshot.svids.keys().map(SpiffeId::to_string)).collect()
            }
            Kind::Extension => FilterKind::ALL.map(|filter| filter.resource_name().into()).into(),
        }
    }

    /// Whether the same resources can be made of both.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.snapshot.same_as(&other.snapshot)
            && self.policy.same_slices(&other.policy)
            && self.jwt_svids == other.jwt_svids
    }

    /// Asks for the JWT-SVID of that name, for as long as the answer is held. `None` for other
    /// names, and where it cannot be asked for now.
    pub(super) fn want(&self, name: &str) -> Option<Want> {
        if !name.starts_with("jwt?") {
            return None;
        }
        match SecretName::parse(name, &self.rules.names).ok()? {
            SecretName::Jwt { audience, id } => {
                self.demand.want(self.jwt_request(audience, id).ok()?)
            }
            _ => None,
        }
    }

    fn jwt_request(
        &self,
        audience: BTreeSet<String>,
        id: Option<SpiffeId>,
    ) -> Result<JwtRequest, Absence> {
        let subject = self.svid(&id.map_or(WhichSvid::Default, WhichSvid::Id))?;
        Ok(JwtRequest { id: subject.id().clone(), audience })
    }

    fn token(
        &self,
        audience: BTreeSet<String>,
        id: Option<SpiffeId>,
        name: &str,
    ) -> Result<Resource, Absence> {
        let request = self.jwt_request(audience, id)?;
        match self.jwt_svids.find(&request) {
            Ok(svid) => Ok(token(svid, name.into())),
            Err(Some(reason)) => Err(Absence::NoToken(reason.into())),
            Err(None) if self.demand.is_full() => Err(Absence::TooManyTokens(self.demand.limit())),
            Err(None) => Err(Absence::NoToken("it was not asked for yet".into())),
        }
    }

    fn svid(&self, which: &WhichSvid) -> Result<&Arc<Svid>, Absence> {
        let snapshot = &self.snapshot;
        match which {
            WhichSvid::Default => snapshot.default_svid().ok_or(Absence::NoDefault),
            WhichSvid::Id(id) => {
                snapshot.svids.get(id).ok_or_else(|| Absence::NotIssued(id.clone()))
            }
            WhichSvid::Hint(hint) => snapshot
                .svids
                .values()
                .find(|svid| svid.hint() == Some(hint))
                .ok_or_else(|| Absence::NoHint(hint.clone())),
        }
    }

    /// A bundle that is not there is left out of several: it is trusted as soon as it comes, and
    /// one partner that leaves takes nobody else's rotation with it.
    fn bundle(
        &self,
        which: &WhichBundles,
        form: ValidationForm,
        name: &str,
    ) -> Result<Resource, Absence> {
        let known = &self.snapshot.bundles;
        let several = match which {
            WhichBundles::Default => false,
            WhichBundles::All => true,
            WhichBundles::Of(domains) => domains.len() > 1,
        };
        if several && form == ValidationForm::Plain {
            return Err(Absence::SeveralTrustDomains);
        }
        let bundles: Vec<&X509Bundle> = match which {
            WhichBundles::Default => {
                let svid = self.snapshot.default_svid().ok_or(Absence::NoDefault)?;
                known.get(svid.id().trust_domain()).map(AsRef::as_ref).into_iter().collect()
            }
            WhichBundles::All => known.values().map(AsRef::as_ref).collect(),
            WhichBundles::Of(domains) => {
                domains.iter().filter_map(|domain| known.get(domain)).map(AsRef::as_ref).collect()
            }
        };
        if bundles.is_empty() {
            return Err(Absence::NoBundle);
        }
        Ok(validation(&bundles, form, self.rules.accepted(which), name.into()))
    }

    fn extension(&self, name: &str) -> Result<Resource, Absence> {
        let ExtensionName { filter, id } = ExtensionName::parse(name)?;
        // Only the default one can have been another's before.
        let others = id.is_none();
        let workload = self.workload(id)?;
        let withdrawn = self.snapshot.withdrawn.keys();
        let withdrawn = withdrawn.filter(|id| others || **id == workload).map(SpiffeId::to_string);
        let configuration =
            self.policy.configuration(filter, &workload.to_string(), withdrawn.collect())?;
        Ok(extension(&configuration, name.into()))
    }

    /// Whose policy is asked for: an identity that is served, or one that is withdrawn and that Envoys may hold.
    pub(super) fn workload(&self, id: Option<SpiffeId>) -> Result<SpiffeId, Absence> {
        let withdrawn = match &id {
            Some(id) => self.snapshot.withdrawn.contains_key(id).then_some(id),
            None => self.snapshot.withdrawn_default.as_ref(),
        };
        if let Some(withdrawn) = withdrawn {
            return Ok(withdrawn.clone());
        }
        Ok(self.svid(&id.map_or(WhichSvid::Default, WhichSvid::Id))?.id().clone())
    }
}
