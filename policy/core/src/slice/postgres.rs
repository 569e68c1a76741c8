//! A rule about connections to Postgres, as it travels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{is_default, sort_optional};
use crate::names::{DatabaseName, ParameterName, RoleName, RuleName};
use crate::pattern::IdPattern;

// Fields stand in the order of their names: that is the canonical order of RFC 8785.

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
    /// Whether the client may ask for the replication protocol: in its databases (logical), and where these
    /// are `*` in none (physical). A role with REPLICATION can copy the whole server in either.
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

impl PostgresRule {
    /// The first list that is there and empty.
    pub(super) fn empty_list(&self) -> Option<&'static str> {
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
