//! Who calls, as the sidecar's filter says: it removes these headers from requests and writes its own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde::Serialize;

use crate::App;
use crate::problem::Problem;

/// The caller's identity, the rule that let it in, and the Postgres role that it may use.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Caller {
    pub(crate) spiffe_id: String,
    /// Absent if the filter is told not to name its rule.
    pub(crate) rule: Option<String>,
    pub(crate) db_role: DbRole,
}

/// A Postgres role that may be taken for a caller: any but those that mean "no role" or "everyone".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct DbRole(String);

impl DbRole {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DbRole {
    type Err = String;

    /// `none` would keep the login's own rights (`SET ROLE NONE`); names are cut silently after 63 bytes.
    fn from_str(name: &str) -> Result<Self, String> {
        if name.is_empty()
            || name.len() > 63
            || name.contains('\0')
            || matches!(name, "none" | "public")
        {
            return Err(format!(
                "{name:?} is no role, accepted: 1 to 63 bytes, neither none nor public"
            ));
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for DbRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let spiffe_id =
            only(&parts.headers, "x-spiffe-id")?.ok_or(Problem::NoHeader("x-spiffe-id"))?;
        if !spiffe_id.starts_with("spiffe://") {
            return Err(Problem::Header("x-spiffe-id"));
        }
        let named = only(&parts.headers, "x-db-role")?.ok_or(Problem::NoHeader("x-db-role"))?;
        let db_role =
            app.database.role(&named).ok_or_else(|| Problem::UnknownRole(named.clone()))?;
        Ok(Self {
            spiffe_id,
            rule: only(&parts.headers, "x-signet-rule")?,
            db_role: db_role.clone(),
        })
    }
}

/// The header's value. One that comes twice is as bad as none: nobody knows which of them the filter wrote.
fn only(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(value) => Ok(Some(value.to_owned())),
            Err(_) => Err(Problem::Header(name)),
        },
        (Some(_), Some(_)) => Err(Problem::Header(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_one_that_can_be_set() {
        let long = "a".repeat(64);
        for (name, accepted) in [
            ("customers_reader", true),
            ("None", true), // a role of that name can exist; only the keyword is reserved
            ("none", false),
            ("public", false),
            ("", false),
            (long.as_str(), false),
            ("a\0b", false),
        ] {
            assert_eq!(name.parse::<DbRole>().is_ok(), accepted, "{name:?}");
        }
    }

    #[test]
    fn a_header_counts_only_when_it_comes_once() {
        let mut headers = HeaderMap::new();
        assert!(only(&headers, "x-db-role").unwrap().is_none());
        headers.append("x-db-role", "customers_reader".parse().unwrap());
        assert_eq!(only(&headers, "x-db-role").unwrap().as_deref(), Some("customers_reader"));
        headers.append("x-db-role", "customers_writer".parse().unwrap());
        assert!(only(&headers, "x-db-role").is_err());
    }
}
