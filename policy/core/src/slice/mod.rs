//! The wire form: what concerns one destination workload, as JSON in the filters' configuration.

mod filter;
mod http;
mod postgres;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::identity::SpiffeId;
use crate::names::{ClaimName, RuleName};

pub use filter::{DenialDetail, FilterOptions, HeaderNames};
pub use http::{Effect, HeaderCondition, HttpRule, Mode};
pub use postgres::{OnSvidExpiry, PostgresRule};

/// The newest wire format that this build reads.
pub const FORMAT: u64 = 1;
/// Seconds for which a connection outlives its certificate, unless the policy says otherwise.
pub const DEFAULT_EXPIRY_GRACE: u64 = 60;
/// Seconds for which a Postgres session outlives its certificate, unless the policy says otherwise.
pub const DEFAULT_SESSION_GRACE: u64 = 15 * 60;
/// Most JWT claims that the rules of one slice may look at: each is a question to Envoy per request.
pub const MAX_CLAIMS: usize = 64;

// Fields stand in the order of their names: that is the canonical order of RFC 8785. Lists are sets.

/// All of a policy that concerns one destination workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// Seconds for which a connection outlives its certificate.
    #[serde(default = "default_expiry_grace", skip_serializing_if = "is_default_expiry_grace")]
    pub expiry_grace: u64,
    /// Options of the filter that reads this; not part of the policy.
    #[serde(default, skip_serializing_if = "is_default")]
    pub filter: FilterOptions,
    /// The wire format: [`FORMAT`].
    pub format: u64,
    /// The rules for requests to this workload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpRule>,
    /// The rules for connections to this workload's Postgres.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub postgres: Vec<PostgresRule>,
    /// Seconds for which a Postgres session outlives its certificate.
    #[serde(default = "default_session_grace", skip_serializing_if = "is_default_session_grace")]
    pub session_grace: u64,
    /// The SPIFFE ID of the destination.
    pub workload: String,
}

impl Slice {
    /// A slice without rules, which denies everything.
    pub fn deny_all(workload: &str) -> Self {
        Self {
            expiry_grace: DEFAULT_EXPIRY_GRACE,
            filter: FilterOptions::default(),
            format: FORMAT,
            http: Vec::new(),
            postgres: Vec::new(),
            session_grace: DEFAULT_SESSION_GRACE,
            workload: workload.to_owned(),
        }
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// For a greater format, JSON that isn't a slice (unknown keys included), an empty list where
    /// absent means any, and two rules of one name.
    pub fn from_json(json: &[u8]) -> Result<Self, SliceError> {
        // A greater format may have keys that this build doesn't know: it is looked at first.
        #[derive(Deserialize)]
        struct Format {
            format: u64,
        }
        let invalid = |error: serde_json::Error| SliceError::Invalid(error.to_string());
        let Format { format } = serde_json::from_slice(json).map_err(invalid)?;
        if format != FORMAT {
            return Err(SliceError::Format(format));
        }
        let slice: Self = serde_json::from_slice(json).map_err(invalid)?;
        slice.check()?;
        Ok(slice)
    }

    /// Writes the canonical wire form: RFC 8785, sets sorted, defaults omitted.
    pub fn to_json(&self) -> String {
        let mut slice = self.clone();
        slice.http.iter_mut().for_each(HttpRule::sort_sets);
        slice.http.sort_by(|a, b| a.name.cmp(&b.name));
        slice.postgres.iter_mut().for_each(PostgresRule::sort_sets);
        slice.postgres.sort_by(|a, b| a.name.cmp(&b.name));
        // Strings, integers and maps with string keys: there is nothing that JSON can't hold.
        serde_json::to_string(&slice).unwrap_or_default()
    }

    /// The slice for the HTTP filter: without Postgres rules.
    #[must_use]
    pub fn http_only(&self) -> Self {
        Self { postgres: Vec::new(), ..self.clone() }
    }

    /// The slice for the Postgres filter: without HTTP rules.
    #[must_use]
    pub fn postgres_only(&self) -> Self {
        Self { http: Vec::new(), ..self.clone() }
    }

    /// The JWT claims that some HTTP rule looks at.
    pub fn claims(&self) -> BTreeSet<&ClaimName> {
        self.http.iter().flat_map(|rule| rule.jwt.keys()).collect()
    }

    /// What the types of the fields can't say.
    fn check(&self) -> Result<(), SliceError> {
        if let Err(error) = SpiffeId::parse(&self.workload) {
            return Err(SliceError::Invalid(format!("workload `{}`: {error}", self.workload)));
        }
        let http = self.http.iter().map(|rule| &rule.name);
        let mut seen = BTreeSet::new();
        if let Some(name) =
            http.chain(self.postgres.iter().map(|rule| &rule.name)).find(|name| !seen.insert(*name))
        {
            return Err(SliceError::DuplicateRule(name.to_string()));
        }
        let empty = |rule: &RuleName, list| SliceError::EmptyList { rule: rule.to_string(), list };
        for rule in &self.http {
            if let Some(list) = rule.empty_list() {
                return Err(empty(&rule.name, list));
            }
        }
        for rule in &self.postgres {
            if let Some(list) = rule.empty_list() {
                return Err(empty(&rule.name, list));
            }
        }
        let claims = self.claims().len();
        if claims > MAX_CLAIMS {
            return Err(SliceError::TooManyClaims(claims));
        }
        Ok(())
    }
}

const fn default_expiry_grace() -> u64 {
    DEFAULT_EXPIRY_GRACE
}

const fn default_session_grace() -> u64 {
    DEFAULT_SESSION_GRACE
}

// serde hands a reference; on wasm32 it is no larger than the number, and the lint says nothing.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_default_expiry_grace(seconds: &u64) -> bool {
    *seconds == DEFAULT_EXPIRY_GRACE
}

#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_default_session_grace(seconds: &u64) -> bool {
    *seconds == DEFAULT_SESSION_GRACE
}

fn sort_optional<T: Ord>(list: &mut Option<Vec<T>>) {
    if let Some(list) = list {
        list.sort();
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Why bytes are no slice. A filter then keeps its last good policy or denies all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SliceError {
    /// Written by another release: the format found.
    Format(u64),
    /// No JSON of the right shape: the first fault and where it stands.
    Invalid(String),
    /// Two rules have this name.
    DuplicateRule(String),
    /// A list that is there must say something.
    EmptyList {
        /// The rule's name.
        rule: String,
        /// The list's key.
        list: &'static str,
    },
    /// The rules look at more than [`MAX_CLAIMS`] different JWT claims: how many.
    TooManyClaims(usize),
}

impl fmt::Display for SliceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(found) => {
                write!(
                    f,
                    "the policy slice has format {found}, and this build reads format {FORMAT}"
                )
            }
            Self::Invalid(fault) => write!(f, "the policy slice is invalid: {fault}"),
            Self::DuplicateRule(name) => {
                write!(f, "the policy slice has two rules named `{name}`; each name is used once")
            }
            Self::EmptyList { rule, list } => {
                write!(
                    f,
                    "rule `{rule}` of the policy slice has an empty list `{list}`; absent means any"
                )
            }
            Self::TooManyClaims(found) => {
                write!(
                    f,
                    "the policy slice looks at {found} JWT claims, and at most {MAX_CLAIMS} are read"
                )
            }
        }
    }
}

impl std::error::Error for SliceError {}
