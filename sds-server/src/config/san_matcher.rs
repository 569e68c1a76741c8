//! Whom a validation context accepts.

use schemars::JsonSchema;
use serde::Deserialize;

/// A URI SAN, or the beginning of one: `{ exact: spiffe://example.org/ns/a/sa/db }`,
/// `{ prefix: spiffe://example.org/ns/a/ }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "Written")]
#[schemars(with = "Written")]
pub enum SanMatcher {
    /// This URI.
    Exact(String),
    /// Every URI below this one. It ends with `/`, or `/ns/a` would let `/ns/admin` in.
    Prefix(String),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    exact: Option<String>,
    prefix: Option<String>,
}

impl TryFrom<Written> for SanMatcher {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let matcher = match (written.exact, written.prefix) {
            (Some(uri), None) => Self::Exact(uri),
            (None, Some(uri)) => Self::Prefix(uri),
            _ => return Err("accepted is one of `exact: URI` and `prefix: URI`".into()),
        };
        let (Self::Exact(uri) | Self::Prefix(uri)) = &matcher;
        let (scheme, rest) = uri.split_once("://").unwrap_or_default();
        let below = matches!(&matcher, Self::Exact(_)) || rest.ends_with('/');
        if scheme.is_empty() || rest.is_empty() || rest.starts_with('/') || !below {
            return Err(format!(
                "`{uri}`: accepted are a URI as in spiffe://example.org/ns/a/sa/db, and a prefix \
                 that ends with `/` as in spiffe://example.org/ns/a/"
            ));
        }
        Ok(matcher)
    }
}

#[cfg(test)]
mod tests {
    use super::SanMatcher;

    #[test]
    fn a_matcher_is_a_whole_uri_or_all_below_one() {
        let parse = |text| serde_saphyr::from_str::<SanMatcher>(text);
        let exact = "spiffe://example.org/a".to_owned();
        assert_eq!(
            parse("exact: spiffe://example.org/a").expect("exact"),
            SanMatcher::Exact(exact)
        );
        let prefix = "spiffe://example.org/".to_owned();
        assert_eq!(
            parse("prefix: spiffe://example.org/").expect("all"),
            SanMatcher::Prefix(prefix)
        );
        for (text, part) in [
            ("prefix: spiffe://example.org", "ends with `/`"),
            ("prefix: spiffe://example.org/ns/a", "ends with `/`"),
            ("prefix: 'spiffe://'", "`spiffe://`"),
            ("exact: ''", "accepted"),
            ("exact: db", "`db`"),
            ("{exact: 's://a', prefix: 's://a/'}", "one of"),
            ("suffix: a", "suffix"),
        ] {
            let fault = parse(text).expect_err(text).to_string();
            assert!(fault.contains(part), "{text}: {fault}");
        }
    }
}
