//! The mesh policy: one watched file, and the slice of it that the Envoys of this server enforce.

mod code;
mod file_watch;
mod keeper;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use signet_policy::{FilterOptions, SpiffeId, SpiffeIdError};
use signet_policy_document::PolicyDocument;

pub use code::CodeCheck;
pub use keeper::PolicyKeeper;
pub(crate) use keeper::read_document;

use crate::config::{Filter, Filters};

/// Which filter a configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FilterKind {
    /// `spiffe_authz.wasm`, an HTTP filter.
    Http,
    /// `pg_role.wasm`, a network filter.
    Postgres,
}

impl FilterKind {
    /// The name of its ECDS resource.
    pub const fn resource_name(self) -> &'static str {
        match self {
            Self::Http => "signet.http",
            Self::Postgres => "signet.postgres",
        }
    }
}

/// What a filter is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterConfiguration {
    /// Which filter.
    pub kind: FilterKind,
    /// Its code, as Envoy sees it.
    pub wasm: PathBuf,
    /// The slice in its canonical JSON.
    pub slice: String,
    /// The digest of the policy that it is of.
    pub digest: Arc<str>,
}

/// The policy as it stands.
#[derive(Debug, Clone, Default)]
pub struct PolicyState {
    /// Whether the server was configured to deliver a policy.
    configured: bool,
    filters: Filters,
    /// The last document without faults.
    document: Option<Arc<PolicyDocument>>,
    /// Of that document.
    digest: Option<Arc<str>>,
    /// Why the newest document is not in force.
    rejected: Option<String>,
    /// Filters whose code must not run, and why.
    code_faults: BTreeMap<FilterKind, String>,
}

impl PolicyState {
    /// Of a server that delivers no policy.
    pub fn absent() -> Self {
        Self::default()
    }

    /// Why no policy can be delivered; `None` when one can, or when none is to be.
    pub fn missing(&self) -> Option<String> {
        let no_document =
            || self.rejected.clone().unwrap_or_else(|| "the policy has not been read yet".into());
        match &self.document {
            _ if !self.configured => None,
            None => Some(no_document()),
            Some(_) => self.code_faults.values().next().cloned(),
        }
    }

    /// Why the newest document is not in force although an older one is.
    pub fn rejected(&self) -> Option<&str> {
        self.rejected.as_deref()
    }

    /// What each filter of the Envoys of `workload` is told. Nothing while there is no policy, and
    /// nothing for a filter whose code is not what was meant.
    pub fn configurations(
        &self,
        workload: &str,
    ) -> Result<Vec<FilterConfiguration>, SpiffeIdError> {
        let (Some(document), Some(digest)) = (&self.document, &self.digest) else {
            return Ok(Vec::new());
        };
        let slice = document.slice_for(SpiffeId::parse(workload)?);
        let trusted =
            self.filters.by_kind().filter(|(kind, _)| !self.code_faults.contains_key(kind));
        let configurations = trusted.map(|(kind, filter)| {
            let mut slice = match kind {
                FilterKind::Http => slice.http_only(),
                FilterKind::Postgres => slice.postgres_only(),
            };
            slice.filter = FilterOptions {
                denial_detail: filter.denial_detail,
                headers: filter.headers.clone(),
                jwt_payload: filter.jwt_payload.clone(),
            };
            let (wasm, digest) = (filter.wasm.clone(), Arc::clone(digest));
            FilterConfiguration { kind, wasm, slice: slice.to_json(), digest }
        });
        Ok(configurations.collect())
    }
}

impl Filters {
    /// The filters that are configured.
    pub fn by_kind(&self) -> impl Iterator<Item = (FilterKind, &Filter)> {
        let http = self.http.iter().map(|filter| (FilterKind::Http, filter));
        http.chain(self.postgres.iter().map(|filter| (FilterKind::Postgres, filter)))
    }
}
