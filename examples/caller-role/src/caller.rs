//! Who calls, as the sidecar's filter says.

use axum::Json;
use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::role::{Role, Roles};

const SPIFFE_ID: &str = "x-spiffe-id";
const RULE: &str = "x-signet-rule";
const DB_ROLE: &str = "x-db-role";

/// A SPIFFE ID has no more. Unit: bytes. Source: SPIFFE-ID, section 2.3.
const LONGEST_ID: usize = 2048;

/// The caller of a request, as an extractor for every router whose state holds [`Roles`].
///
/// Whatever the filter did not write whole refuses the request with [`CallerRefused`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Caller {
    /// The identity in its certificate.
    pub spiffe_id: String,
    /// The rule of the policy that let it in.
    pub rule: String,
    /// The Postgres role that the rule gives it, one of the API's own list.
    #[serde(rename = "db_role")]
    pub role: Role,
}

/// Why a request has no caller. Answered as 403 with the text as JSON's `error`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallerRefused {
    /// The request did not come through the filter, or its rule gives no role.
    #[error("the header {0} is missing, which the sidecar's filter writes")]
    Missing(&'static str),
    /// Nobody knows which of them the filter wrote.
    #[error("the header {0} comes more than once")]
    Repeated(&'static str),
    /// Not what the filter writes.
    #[error("the header {0} is not what the sidecar's filter writes: {1:?}")]
    Malformed(&'static str, String),
    /// The policy gives a role that this API was not told of, for its operator to repair.
    #[error("the role {0:?} is not one that this API may take")]
    UnknownRole(String),
}

impl Caller {
    /// Reads the headers; the role must be one of `roles`.
    pub fn from_headers(headers: &HeaderMap, roles: &Roles) -> Result<Self, CallerRefused> {
        let spiffe_id = only(headers, SPIFFE_ID)?;
        if !is_spiffe_id(spiffe_id) {
            return Err(CallerRefused::Malformed(SPIFFE_ID, spiffe_id.to_owned()));
        }
        let rule = only(headers, RULE)?;
        let name = only(headers, DB_ROLE)?;
        let role = roles.find(name).ok_or_else(|| CallerRefused::UnknownRole(name.to_owned()))?;
        Ok(Self { spiffe_id: spiffe_id.to_owned(), rule: rule.to_owned(), role: role.clone() })
    }
}

/// The header's value, if it is one and says something.
fn only<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<&'h str, CallerRefused> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(CallerRefused::Missing(name))?;
    if values.next().is_some() {
        return Err(CallerRefused::Repeated(name));
    }
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) if !text.is_empty() => Ok(text),
        _ => {
            let found = String::from_utf8_lossy(value.as_bytes()).into_owned();
            Err(CallerRefused::Malformed(name, found))
        }
    }
}

/// The characters of a SPIFFE ID exclude those by which proxies join repeated headers.
fn is_spiffe_id(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    text.len() <= LONGEST_ID
        && text.strip_prefix("spiffe://").is_some_and(|rest| {
            !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(allowed)
        })
}

impl<S> FromRequestParts<S> for Caller
where
    Roles: FromRef<S>,
    S: Sync,
{
    type Rejection = CallerRefused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, CallerRefused> {
        Self::from_headers(&parts.headers, &Roles::from_ref(state))
    }
}

impl IntoResponse for CallerRefused {
    fn into_response(self) -> Response {
        tracing::warn!("request refused: {self}");
        let body = serde_json::json!({ "error": self.to_string() });
        (StatusCode::FORBIDDEN, Json(body)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use CallerRefused::{Malformed, Missing, Repeated, UnknownRole};

    type Header = (&'static str, &'static [u8]);

    const ID: Header = (SPIFFE_ID, b"spiffe://example.org/ns/shop/sa/web");
    const READS: Header = (RULE, b"reads");
    const READER: Header = (DB_ROLE, b"reader");

    fn caller(headers: &[Header]) -> Result<Caller, CallerRefused> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let roles = ["reader", "läser", "Odd \"; role"].map(|name| name.parse().unwrap());
        Caller::from_headers(&map, &Roles::new(roles))
    }

    #[test]
    fn the_filters_word_is_taken_as_it_is() {
        let found = caller(&[ID, READS, READER]).unwrap();
        assert_eq!(found.spiffe_id.as_bytes(), ID.1);
        assert_eq!((found.rule.as_str(), found.role.as_str()), ("reads", "reader"));
        for role in ["läser", "Odd \"; role"] {
            let found = caller(&[ID, READS, (DB_ROLE, role.as_bytes())]).unwrap();
            assert_eq!(found.role.as_str(), role);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let malformed = |name, text: &str| Malformed(name, text.to_owned());
        let unknown = |text: &str| UnknownRole(text.to_owned());
        let role = |value: &'static str| vec![ID, READS, (DB_ROLE, value.as_bytes())];
        let id = |value: &'static str| vec![(SPIFFE_ID, value.as_bytes()), READS, READER];
        let cases: Vec<(Vec<Header>, CallerRefused)> = vec![
            (vec![], Missing(SPIFFE_ID)),
            (vec![READS, READER], Missing(SPIFFE_ID)),
            (vec![ID, READER], Missing(RULE)),
            (vec![ID, READS], Missing(DB_ROLE)),
            (vec![ID, READS, ("x_db_role", b"reader")], Missing(DB_ROLE)),
            (vec![ID, ID, READS, READER], Repeated(SPIFFE_ID)),
            (vec![ID, READS, READS, READER], Repeated(RULE)),
            (vec![ID, READS, READER, READER], Repeated(DB_ROLE)),
            (vec![ID, READS, READER, (DB_ROLE, b"")], Repeated(DB_ROLE)),
            (id("web"), malformed(SPIFFE_ID, "web")),
            (id("spiffe://"), malformed(SPIFFE_ID, "spiffe://")),
            (id("spiffe:///web"), malformed(SPIFFE_ID, "spiffe:///web")),
            (id("spiffe://a/b, spiffe://a/c"), malformed(SPIFFE_ID, "spiffe://a/b, spiffe://a/c")),
            (role(""), malformed(DB_ROLE, "")),
            (vec![ID, READS, (DB_ROLE, b"\xff")], malformed(DB_ROLE, "\u{fffd}")),
            (role("none"), unknown("none")),
            (role("None"), unknown("None")),
            (role("public"), unknown("public")),
            (role("postgres"), unknown("postgres")),
            (role("READER"), unknown("READER")),
            (role("reader, reader"), unknown("reader, reader")),
            (role("\"reader\""), unknown("\"reader\"")),
            (role("reader'; reset role; --"), unknown("reader'; reset role; --")),
            (role("reаder"), unknown("reаder")), // a Cyrillic а
        ];
        for (headers, expected) in cases {
            assert_eq!(caller(&headers), Err(expected), "{headers:?}");
        }
    }

    #[test]
    fn nul_is_no_header_at_all() {
        assert!(HeaderValue::from_bytes(b"reader\0").is_err());
    }
}
