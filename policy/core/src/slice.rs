//! The wire form: what concerns one destination workload, as JSON in the filters' configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::identity::SpiffeId;
use crate::names::{
    DatabaseName, HeaderName, Method, ParameterName, RoleName, RuleName, UpgradeProtocol,
};
use crate::pattern::{HostPattern, IdPattern, PathPattern};

/// The newest wire format that this build reads.
pub const FORMAT: u64 = 1;
/// Seconds for which a connection outlives its certificate, unless the policy says otherwise.
pub const DEFAULT_EXPIRY_GRACE: u64 = 60;
/// Seconds for which a Postgres session outlives its certificate, unless the policy says otherwise.
pub const DEFAULT_SESSION_GRACE: u64 = 15 * 60;

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

/// Options of a filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterOptions {
    /// How much a peer learns of its denial.
    #[serde(default, skip_serializing_if = "is_default")]
    pub denial_detail: DenialDetail,
    /// The headers that the API is told by.
    #[serde(default, skip_serializing_if = "is_default")]
    pub headers: HeaderNames,
}

/// How much a peer learns of its denial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DenialDetail {
    /// The class of the denial, and what it sent.
    #[default]
    Class,
    /// The rule's name too: for demos and development.
    Rule,
}

/// The names of the headers that the HTTP filter writes, or removes where it has nothing to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderNames {
    /// The Postgres role of the call: `x-db-role`.
    pub db_role: HeaderName,
    /// The rule that allowed the call: `x-signet-rule`.
    pub rule: HeaderName,
    /// The caller's SPIFFE ID: `x-spiffe-id`.
    pub spiffe_id: HeaderName,
}

impl Default for HeaderNames {
    fn default() -> Self {
        Self {
            db_role: HeaderName::constant("x-db-role"),
            rule: HeaderName::constant("x-signet-rule"),
            spiffe_id: HeaderName::constant("x-spiffe-id"),
        }
    }
}

/// A rule about HTTP requests. An absent list means any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpRule {
    /// The Postgres role that the API may use for the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_role: Option<RoleName>,
    /// What a match means.
    #[serde(default, skip_serializing_if = "is_default")]
    pub effect: Effect,
    /// The callers.
    pub from: Vec<IdPattern>,
    /// Conditions on headers: all must hold.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<HeaderName, HeaderCondition>,
    /// The hosts asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<HostPattern>>,
    /// The methods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<Method>>,
    /// Whether the rule is enforced.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: Mode,
    /// The rule's name.
    pub name: RuleName,
    /// The paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<PathPattern>>,
    /// The ports that the connection came in at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<u16>>,
    /// In an allow: the protocols that a request may also ask to be upgraded to. In a deny: the
    /// upgrades that are denied; without it, all requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrades: Option<Vec<UpgradeProtocol>>,
}

/// What a matching HTTP rule means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Allowed, unless a deny matches too.
    #[default]
    Allow,
    /// Denied.
    Deny,
}

/// Whether an HTTP rule is enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is.
    #[default]
    Enforce,
    /// It is decided and counted only.
    Shadow,
}

/// A condition on the values of one header. Each line of a repeated header is a value: in an allow
/// every value must satisfy the condition, in a deny one suffices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeaderCondition {
    /// The request doesn't have the header.
    Absent,
    /// One of these, exactly.
    Equals(Vec<String>),
    /// Any value.
    Present,
}

/// A rule about connections to Postgres. There are allows only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresRule {
    /// Settings that the client may choose at start-up, besides those that any client may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_parameters: Option<Vec<ParameterName>>,
    /// The databases; `*` is any.
    pub databases: Vec<DatabaseName>,
    /// The callers.
    pub from: Vec<IdPattern>,
    /// The role that the connection logs in as.
    pub login_role: RoleName,
    /// How long a session may last, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_session: Option<u64>,
    /// Other roles that the client may name as `user`. Without it, any `user` becomes the login role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_act_as: Option<Vec<RoleName>>,
    /// The rule's name.
    pub name: RuleName,
    /// Whether a session ends with the SVID that opened it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_svid_expiry: OnSvidExpiry,
    /// Whether the client may ask for the replication protocol.
    #[serde(default, skip_serializing_if = "is_default")]
    pub replication: bool,
    /// Settings that the session starts with unless the client chooses its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<ParameterName, String>,
}

/// What becomes of a session when the SVID that opened it expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnSvidExpiry {
    /// It ends, after the slice's `session_grace`.
    #[default]
    End,
    /// It goes on.
    Keep,
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
        Ok(())
    }
}

impl HttpRule {
    /// The first list that is there and empty.
    fn empty_list(&self) -> Option<&'static str> {
        fn empty<T>(list: Option<&Vec<T>>) -> bool {
            list.is_some_and(Vec::is_empty)
        }
        let no_values =
            |c: &HeaderCondition| matches!(c, HeaderCondition::Equals(v) if v.is_empty());
        [
            ("from", self.from.is_empty()),
            ("methods", empty(self.methods.as_ref())),
            ("paths", empty(self.paths.as_ref())),
            ("hosts", empty(self.hosts.as_ref())),
            ("ports", empty(self.ports.as_ref())),
            ("upgrades", empty(self.upgrades.as_ref())),
            ("headers", self.headers.values().any(no_values)),
        ]
        .into_iter()
        .find_map(|(list, empty)| empty.then_some(list))
    }

    /// Sorts the lists, which are sets: the canonical order.
    pub fn sort_sets(&mut self) {
        self.from.sort();
        sort_optional(&mut self.methods);
        sort_optional(&mut self.paths);
        sort_optional(&mut self.hosts);
        sort_optional(&mut self.ports);
        sort_optional(&mut self.upgrades);
        for condition in self.headers.values_mut() {
            if let HeaderCondition::Equals(values) = condition {
                values.sort();
            }
        }
    }
}

impl PostgresRule {
    /// The first list that is there and empty.
    fn empty_list(&self) -> Option<&'static str> {
        let empty_names =
            |list: &Option<Vec<ParameterName>>| list.as_ref().is_some_and(Vec::is_empty);
        [
            ("from", self.from.is_empty()),
            ("databases", self.databases.is_empty()),
            ("may_act_as", self.may_act_as.as_ref().is_some_and(Vec::is_empty)),
            ("client_parameters", empty_names(&self.client_parameters)),
        ]
        .into_iter()
        .find_map(|(list, empty)| empty.then_some(list))
    }

    /// Sorts the lists, which are sets: the canonical order.
    pub fn sort_sets(&mut self) {
        self.from.sort();
        self.databases.sort();
        sort_optional(&mut self.may_act_as);
        sort_optional(&mut self.client_parameters);
    }
}

fn sort_optional<T: Ord>(list: &mut Option<Vec<T>>) {
    if let Some(list) = list {
        list.sort();
    }
}

const fn default_expiry_grace() -> u64 {
    DEFAULT_EXPIRY_GRACE
}

const fn default_session_grace() -> u64 {
    DEFAULT_SESSION_GRACE
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_default_expiry_grace(seconds: &u64) -> bool {
    *seconds == DEFAULT_EXPIRY_GRACE
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_default_session_grace(seconds: &u64) -> bool {
    *seconds == DEFAULT_SESSION_GRACE
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
        }
    }
}

impl std::error::Error for SliceError {}
