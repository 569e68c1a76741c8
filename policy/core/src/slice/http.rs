//! A rule about HTTP requests, as it travels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::{is_default, sort_optional};
use crate::names::{ClaimName, HeaderName, Method, RoleName, RuleName, UpgradeProtocol};
use crate::pattern::{HostPattern, IdPattern, PathPattern};

// Fields stand in the order of their names: that is the canonical order of RFC 8785.

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
    /// The hosts asked for. A request that names none satisfies a deny's, and no allow's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<HostPattern>>,
    /// Conditions on the claims of the caller's JWT: all must hold.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        serialize_with = "in_order_of_utf_16"
    )]
    pub jwt: BTreeMap<ClaimName, HeaderCondition>,
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
    /// The ports that the connection came in at. One that isn't known satisfies a deny's, and no allow's.
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

/// A condition on the values of one header or of one JWT claim. Each line of a repeated header and
/// each string of a claim that is a list is a value: in an allow every value must satisfy the
/// condition, in a deny one suffices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeaderCondition {
    /// There is no value.
    Absent,
    /// One of these, exactly. In a deny also one that stands between the commas of a header line:
    /// proxies may join a repeated header's lines so.
    Equals(Vec<String>),
    /// Any value.
    Present,
}

impl HttpRule {
    /// The first list that is there and empty.
    pub(super) fn empty_list(&self) -> Option<&'static str> {
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
            ("jwt", self.jwt.values().any(no_values)),
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
        for condition in self.headers.values_mut().chain(self.jwt.values_mut()) {
            if let HeaderCondition::Equals(values) = condition {
                values.sort();
            }
        }
    }
}

/// As RFC 8785 §3.2.3 sorts keys, which beyond U+FFFF is not the order of their octets. Other keys are ASCII.
fn in_order_of_utf_16<S: Serializer>(
    conditions: &BTreeMap<ClaimName, HeaderCondition>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut sorted: Vec<_> = conditions.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.as_str().encode_utf16().cmp(b.as_str().encode_utf16()));
    serializer.collect_map(sorted)
}
