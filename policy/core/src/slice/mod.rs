//! The wire form: what concerns one destination workload, as JSON in the filters' configuration.

mod filter;
mod http;
mod postgres;

use std::collections::BTreeSet;
use std::fmt;

use serde::de::IgnoredAny;
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Slice {
    /// Seconds for which a connection outlives its certificate.
    #[serde(skip_serializing_if = "is_default_expiry_grace")]
    pub expiry_grace: u64,
    /// Options of the filter that reads this; not part of the policy.
    #[serde(skip_serializing_if = "is_default")]
    pub filter: FilterOptions,
    /// The wire format: [`FORMAT`].
    pub format: u64,
    /// The rules for requests to this workload.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpRule>,
    /// The rules for connections to this workload's Postgres.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub postgres: Vec<PostgresRule>,
    /// Seconds for which a Postgres session outlives its certificate.
    #[serde(skip_serializing_if = "is_default_session_grace")]
    pub session_grace: u64,
    /// SPIFFE IDs of the Envoys that read this which their source has withdrawn: whatever comes to one of them is
    /// denied. Where the destination is among them, its rules count for nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub withdrawn: Vec<String>,
    /// The SPIFFE ID of the destination.
    pub workload: String,
}

/// A slice as it is read: with both kinds of rules, or with [`IgnoredAny`] for those that a filter has no use for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "H: Deserialize<'de>, P: Deserialize<'de>"))]
struct Wire<H, P> {
    #[serde(default = "default_expiry_grace")]
    expiry_grace: u64,
    #[serde(default)]
    filter: FilterOptions,
    format: u64,
    #[serde(default = "Vec::new")]
    http: Vec<H>,
    #[serde(default = "Vec::new")]
    postgres: Vec<P>,
    #[serde(default = "default_session_grace")]
    session_grace: u64,
    #[serde(default)]
    withdrawn: Vec<String>,
    workload: String,
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
            withdrawn: Vec::new(),
            workload: workload.to_owned(),
        }
    }

    /// A slice of a destination that is withdrawn: without rules, with the reason.
    pub fn withdrawn(workload: &str) -> Self {
        Self { withdrawn: vec![workload.to_owned()], ..Self::deny_all(workload) }
    }

    /// Whether the destination itself is withdrawn.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.contains(&self.workload)
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// For a greater format, JSON that isn't a slice (unknown keys included), an empty list where
    /// absent means any, and two rules of one name.
    #[inline]
    pub fn from_json(json: &[u8]) -> Result<Self, SliceError> {
        read::<HttpRule, PostgresRule>(json)?.into_slice(|http| http, |postgres| postgres)
    }

    /// Reads what the HTTP filter needs: Postgres rules are passed over unread.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    #[inline]
    pub fn http_from_json(json: &[u8]) -> Result<Self, SliceError> {
        read::<HttpRule, IgnoredAny>(json)?.into_slice(|http| http, |_| Vec::new())
    }

    /// Reads what the Postgres filter needs: HTTP rules are passed over unread.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    #[inline]
    pub fn postgres_from_json(json: &[u8]) -> Result<Self, SliceError> {
        read::<IgnoredAny, PostgresRule>(json)?.into_slice(|_| Vec::new(), |postgres| postgres)
    }

    /// Writes the canonical wire form: RFC 8785, sets sorted, defaults omitted.
    pub fn to_json(mut self) -> String {
        self.http.iter_mut().for_each(HttpRule::sort_sets);
        self.http.sort_by(|a, b| a.name.cmp(&b.name));
        self.postgres.iter_mut().for_each(PostgresRule::sort_sets);
        self.postgres.sort_by(|a, b| a.name.cmp(&b.name));
        self.withdrawn.sort();
        // Strings, integers and maps with string keys: there is nothing that JSON can't hold.
        serde_json::to_string(&self).unwrap_or_default()
    }

    /// The slice for the HTTP filter: without Postgres rules.
    #[must_use]
    pub fn http_only(self) -> Self {
        Self { postgres: Vec::new(), ..self }
    }

    /// The slice for the Postgres filter: without HTTP rules.
    #[must_use]
    pub fn postgres_only(self) -> Self {
        Self { http: Vec::new(), ..self }
    }

    /// The JWT claims that some HTTP rule looks at.
    #[inline]
    pub fn claims(&self) -> BTreeSet<&ClaimName> {
        let mut claims = BTreeSet::new();
        // One by one: `collect` would sort them, with more code than all the rest of this.
        for name in self.http.iter().flat_map(|rule| rule.jwt.keys()) {
            claims.insert(name);
        }
        claims
    }

    /// What the types of the fields can't say.
    #[inline]
    fn check(&self) -> Result<(), SliceError> {
        for id in self.withdrawn.iter().chain([&self.workload]) {
            if let Err(error) = SpiffeId::parse(id) {
                return Err(SliceError::Invalid(format!("workload `{id}`: {error}")));
            }
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

/// Reads JSON of the format that this build knows.
#[inline]
fn read<'j, H: Deserialize<'j>, P: Deserialize<'j>>(
    json: &'j [u8],
) -> Result<Wire<H, P>, SliceError> {
    let invalid = |error: serde_json::Error| SliceError::Invalid(error.to_string());
    serde_json::from_slice(json).map_err(|error| {
        // A greater format may have keys that this build doesn't know.
        #[derive(Deserialize)]
        struct Format {
            format: u64,
        }
        match serde_json::from_slice(json) {
            Ok(Format { format }) if format != FORMAT => SliceError::Format(format),
            _ => invalid(error),
        }
    })
}

impl<H, P> Wire<H, P> {
    #[inline]
    fn into_slice(
        self,
        http: impl FnOnce(Vec<H>) -> Vec<HttpRule>,
        postgres: impl FnOnce(Vec<P>) -> Vec<PostgresRule>,
    ) -> Result<Slice, SliceError> {
        let Self { expiry_grace, filter, format, session_grace, withdrawn, workload, .. } = self;
        if format != FORMAT {
            return Err(SliceError::Format(format));
        }
        let (http, postgres) = (http(self.http), postgres(self.postgres));
        let slice = Slice {
            expiry_grace,
            filter,
            format,
            http,
            postgres,
            session_grace,
            withdrawn,
            workload,
        };
        slice.check()?;
        Ok(slice)
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
