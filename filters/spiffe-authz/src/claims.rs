//! The claims of the caller's JWT, as Envoy's `jwt_authn` left them in the request's metadata.
//!
//! Each claim that some rule looks at is one question to Envoy, which walks the keys by the types that they have in the
//! payload. It hands a value over without its type: a string as its bytes, a list as header pairs with the elements for
//! names, numbers and booleans in binary. So a string of control bytes could pose as a list; its issuer signed it, and
//! whoever gets such a string signed could have had the plain one. A value with a null in it is not handed over at all,
//! and its request is denied. All of this was tried with Envoy 1.40.

use host_calls::{HeaderPairs, HostError, property};
use signet_policy::{Claim, Slice};

/// Where `jwt_authn` writes, under the name that its provider's `payload_in_metadata` gives.
const JWT_AUTHN: &str = "metadata\0filter_metadata\0envoy.filters.http.jwt_authn";

/// A claim that some rule looks at.
#[derive(Debug)]
pub(crate) struct WantedClaim {
    name: String,
    /// Its property, the parts joined by NUL.
    path: String,
}

/// The claims that the rules of `slice` look at.
pub(crate) fn wanted(slice: &Slice) -> Vec<WantedClaim> {
    let payload = slice.filter.jwt_payload.as_str();
    let path = |start: String, key: String| format!("{start}\0{key}");
    slice
        .claims()
        .into_iter()
        .map(|name| WantedClaim {
            name: name.to_string(),
            path: name.keys().fold(format!("{JWT_AUTHN}\0{payload}"), path),
        })
        .collect()
}

/// What a request's payload says of the claims in question.
#[derive(Debug, Default)]
pub(crate) struct FoundClaims<'c>(Vec<(&'c str, Value)>);

#[derive(Debug)]
enum Value {
    One(Vec<u8>),
    List(HeaderPairs),
}

impl<'c> FoundClaims<'c> {
    /// Asks Envoy for each of `wanted`.
    pub(crate) fn read(wanted: &'c [WantedClaim]) -> Result<Self, HostError> {
        let mut found = Vec::with_capacity(wanted.len());
        for WantedClaim { name, path } in wanted {
            match property(path) {
                Ok(Some(bytes)) => found.push((name.as_str(), Value::of(bytes))),
                // A key of something that has no keys: the claim isn't there either.
                Ok(None) | Err(HostError::BadArgument) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self(found))
    }

    /// Each value of each claim.
    pub(crate) fn values(&self) -> Vec<Claim<'_>> {
        let mut values = Vec::with_capacity(self.0.len());
        for (name, value) in &self.0 {
            match value {
                Value::One(bytes) => values.push((*name, bytes.as_slice())),
                Value::List(list) => values.extend(list.iter().map(|(value, _)| (*name, value))),
            }
        }
        values
    }
}

impl Value {
    fn of(bytes: Vec<u8>) -> Self {
        let pairs = HeaderPairs::from(bytes);
        if pairs.is_whole() && pairs.iter().all(|(_, value)| value.is_empty()) {
            Self::List(pairs)
        } else {
            Self::One(pairs.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted_of(http: &str) -> Vec<WantedClaim> {
        let slice = format!(
            r#"{{"format":1,"workload":"spiffe://a/b","filter":{{"jwt_payload":"p"}},"http":{http}}}"#
        );
        wanted(&Slice::http_from_json(slice.as_bytes()).unwrap())
    }

    #[test]
    fn only_claims_that_a_rule_looks_at_are_asked_for() {
        assert!(wanted_of(r#"[{"name":"a","from":["**"]}]"#).is_empty());
        let wanted = wanted_of(
            r#"[{"name":"a","from":["**"],"jwt":{"sub":"present","x\\.y.z":"absent"}},{"name":"b","from":["**"],"jwt":{"sub":"absent"}}]"#,
        );
        let paths: Vec<_> = wanted.iter().map(|claim| claim.path.replace('\0', "|")).collect();
        assert_eq!(
            paths,
            [
                "metadata|filter_metadata|envoy.filters.http.jwt_authn|p|sub",
                "metadata|filter_metadata|envoy.filters.http.jwt_authn|p|x.y|z"
            ]
        );
    }

    #[test]
    fn values_are_strings_or_lists() {
        let values = |bytes: &[u8]| {
            let found = FoundClaims(vec![("c", Value::of(bytes.to_vec()))]);
            found
                .values()
                .into_iter()
                .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(values(b"alice"), ["alice"]);
        assert_eq!(values(b""), [""]);
        assert_eq!(values(b"\0\0\0\0"), [""; 0]);
        let list = b"\x02\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0a\0\0bc\0\0";
        assert_eq!(values(list), ["a", "bc"]);
        for size in 5..list.len() {
            assert_eq!(values(&list[..size]).len(), 1, "a list cut short is a string");
        }
        let map = b"\x01\0\0\0\x01\0\0\0\x01\0\0\0k\0v\0";
        assert_eq!(values(map).len(), 1);
    }
}
