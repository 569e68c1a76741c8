//! Options of the filter that reads a slice: not part of the policy.

use serde::{Deserialize, Serialize};

use super::is_default;
use crate::names::{HeaderName, PayloadName};

// Fields stand in the order of their names: that is the canonical order of RFC 8785.

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
    /// Where Envoy's `jwt_authn` leaves the verified claims: its provider's `payload_in_metadata`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub jwt_payload: PayloadName,
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
    #[serde(skip_serializing_if = "is_default_db_role")]
    pub db_role: HeaderName,
    /// The rule that allowed the call: `x-signet-rule`.
    #[serde(skip_serializing_if = "is_default_rule")]
    pub rule: HeaderName,
    /// The caller's SPIFFE ID: `x-spiffe-id`.
    #[serde(skip_serializing_if = "is_default_spiffe_id")]
    pub spiffe_id: HeaderName,
}

const DB_ROLE: &str = "x-db-role";
const RULE: &str = "x-signet-rule";
const SPIFFE_ID: &str = "x-spiffe-id";

impl Default for HeaderNames {
    fn default() -> Self {
        Self {
            db_role: HeaderName::constant(DB_ROLE),
            rule: HeaderName::constant(RULE),
            spiffe_id: HeaderName::constant(SPIFFE_ID),
        }
    }
}

fn is_default_db_role(name: &HeaderName) -> bool {
    name.as_str() == DB_ROLE
}

fn is_default_rule(name: &HeaderName) -> bool {
    name.as_str() == RULE
}

fn is_default_spiffe_id(name: &HeaderName) -> bool {
    name.as_str() == SPIFFE_ID
}
