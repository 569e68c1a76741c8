//! The mesh policy: one watched file, and the slice of it that the Envoys of this server enforce.

mod code;
mod keeper;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use signet_policy::{FilterOptions, Slice, SpiffeId, SpiffeIdError};
use signet_policy_document::PolicyDocument;

pub use code::CodeCheck;
pub use keeper::PolicyKeeper;
pub(crate) use keeper::read_document;

use crate::config::{Filter, Filters};
use crate::time::serialize_utc_option;

/// Which filter a configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FilterKind {
    /// `spiffe_authz.wasm`, an HTTP filter.
    Http,
    /// `pg_role.wasm`, a network filter.
    Postgres,
}

impl FilterKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Http, Self::Postgres];

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
    /// The digest of the policy that it is of, or [`WITHDRAWN`].
    pub digest: Arc<str>,
}

/// Told in a digest's place of a slice that denies everything because its workload is withdrawn.
pub const WITHDRAWN: &str = "withdrawn";

/// The policy as it stands.
#[derive(Debug, Clone, Default)]
pub struct PolicyState {
    /// Whether the server was configured to deliver a policy.
    configured: bool,
    file: PathBuf,
    filters: Filters,
    /// The last document without faults.
    document: Option<Arc<PolicyDocument>>,
    /// Of that document.
    digest: Option<Arc<str>>,
    /// Since when that document is in force.
    since: Option<SystemTime>,
    /// Why the newest document is not in force.
    rejected: Option<String>,
    /// Filters whose code must not run, and why.
    code_faults: BTreeMap<FilterKind, String>,
}

/// The policy as operators see it.
#[derive(Debug, Serialize)]
pub struct PolicyReport {
    /// Where it is written.
    pub file: String,
    /// Of the document in force; null while there is none.
    pub digest: Option<String>,
    /// Rules of the document in force.
    pub rules: usize,
    /// Since when that document is in force.
    #[serde(serialize_with = "serialize_utc_option")]
    pub since: Option<SystemTime>,
    /// Why the newest document is not in force.
    pub rejected: Option<String>,
    /// Why a filter is not configured: its code is not what was meant.
    pub code_faults: Vec<String>,
}

impl PolicyState {
    /// What operators see; `None` where no policy is configured.
    pub fn report(&self) -> Option<PolicyReport> {
        self.configured.then(|| PolicyReport {
            file: self.file.display().to_string(),
            digest: self.digest.as_deref().map(str::to_owned),
            rules: self.document.as_ref().map_or(0, |document| document.rule_count()),
            since: self.since,
            rejected: self.rejected.clone(),
            code_faults: self.code_faults.values().cloned().collect(),
        })
    }

    /// Of a server whose policy's file says this, if anything.
    #[cfg(test)]
    pub(crate) fn of(text: Option<&str>, filters: Filters) -> Self {
        let document = text.map(|text| PolicyDocument::parse("policy", text));
        let document = document.map(|parsed| Arc::new(parsed.expect("a policy")));
        let digest = document.as_ref().map(|document| document.digest().into());
        Self { configured: true, filters, document, digest, ..Self::default() }
    }

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

    /// The digest of the policy in force.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// What `filter` of the Envoys of `workload` is told. `withdrawn` are those identities of the same Envoys that
    /// must be denied everything; where `workload` is one of them, that needs no policy.
    pub fn configuration(
        &self,
        filter: FilterKind,
        workload: &str,
        withdrawn: Vec<String>,
    ) -> Result<FilterConfiguration, NoSlice> {
        let (kind, configured) = self
            .filters
            .by_kind()
            .find(|(kind, _)| *kind == filter)
            .ok_or(NoSlice::NoFilter(filter.resource_name()))?;
        if let Some(fault) = self.code_faults.get(&kind) {
            return Err(NoSlice::Code(fault.clone()));
        }
        let id = SpiffeId::parse(workload)?;
        let (slice, digest) = if withdrawn.iter().any(|id| id == workload) {
            (Slice::deny_all(workload), WITHDRAWN.into())
        } else {
            let (Some(document), Some(digest)) = (&self.document, &self.digest) else {
                return Err(NoSlice::NoPolicy(self.missing().unwrap_or_default()));
            };
            (document.slice_for(id), Arc::clone(digest))
        };
        let mut slice = match kind {
            FilterKind::Http => slice.http_only(),
            FilterKind::Postgres => slice.postgres_only(),
        };
        slice.withdrawn = withdrawn;
        slice.filter = FilterOptions {
            denial_detail: configured.denial_detail,
            headers: configured.headers.clone(),
            jwt_payload: configured.jwt_payload.clone(),
        };
        let wasm = configured.wasm.clone();
        Ok(FilterConfiguration { kind, wasm, slice: slice.to_json(), digest })
    }

    /// Whether every workload's filters are told the same by both.
    pub fn same_slices(&self, other: &Self) -> bool {
        // A document of the same digest has the same rules; the filters are of one configuration.
        (&self.digest, &self.code_faults) == (&other.digest, &other.code_faults)
    }
}

/// Why a filter is told nothing: it stays as it is, and a listener that waits for it closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSlice {
    /// Of the configuration.
    #[error("no filter `{0}` is configured, see `filters`")]
    NoFilter(&'static str),
    /// Of the file.
    #[error("there is no policy: {0}")]
    NoPolicy(String),
    /// Of the filter's file.
    #[error("its code must not run: {0}")]
    Code(String),
    /// Of the workload.
    #[error("no workload of a policy: {0}")]
    Workload(#[from] SpiffeIdError),
}

impl Filters {
    /// The filters that are configured.
    pub fn by_kind(&self) -> impl Iterator<Item = (FilterKind, &Filter)> {
        let http = self.http.iter().map(|filter| (FilterKind::Http, filter));
        http.chain(self.postgres.iter().map(|filter| (FilterKind::Postgres, filter)))
    }
}
