//! Patterns over the host that a request asks for.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::PatternError;
use super::segments::Part;
use crate::address::{ends_in_number, is_ipv4, is_ipv6};

/// A set of hosts: an exact name or address, or `*.example.org`: one or more labels before a name.
/// Compared in lower case, without port and without one trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct HostPattern(String);

impl HostPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Says what would be accepted.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Self::try_from(text.to_owned())
    }

    /// The pattern as it was written, which is its only spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels from right to left.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let (wildcard, name) = split(&self.0);
        name.rsplit('.').map(Part::Literal).chain(wildcard.then_some(Part::Rest))
    }

    /// Whether the pattern holds `host`, which has no port and no trailing dot.
    pub fn matches(&self, host: &str) -> bool {
        let (wildcard, name) = split(&self.0);
        if !wildcard {
            return host.eq_ignore_ascii_case(name);
        }
        let split = host.len().checked_sub(name.len()).and_then(|at| host.split_at_checked(at));
        split.is_some_and(|(labels, found)| {
            found.eq_ignore_ascii_case(name)
                && labels.strip_suffix('.').is_some_and(|labels| !labels.is_empty())
        })
    }

    /// Compares the weight of two patterns that match the same host: exact, then more labels.
    pub fn compare_weight(&self, other: &Self) -> Ordering {
        // Exact hosts that match the same host are equal anyway.
        let weight = |pattern: &Self| match split(&pattern.0) {
            (false, _) => usize::MAX,
            (true, name) => name.split('.').count(),
        };
        weight(self).cmp(&weight(other))
    }

    /// Whether some host matches both patterns.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (split(&self.0), split(&other.0)) {
            ((true, a), (true, b)) => a == b || is_below(a, b) || is_below(b, a),
            ((true, _), (false, host)) => self.matches(host),
            ((false, host), _) => other.matches(host),
        }
    }
}

/// Whether a pattern is a wildcard, and the exact host, or what follows `*.`.
fn split(text: &str) -> (bool, &str) {
    text.strip_prefix("*.").map_or((false, text), |name| (true, name))
}

/// Whether a name has labels before those of another.
fn is_below(name: &str, other: &str) -> bool {
    name.strip_suffix(other).is_some_and(|labels| labels.ends_with('.'))
}

fn check(text: &str) -> Result<(), PatternError> {
    let (wildcard, name) = split(text);
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let lower = !name.bytes().any(|b| b.is_ascii_uppercase());
    if address.is_some() || ends_in_number(name) {
        let one_spelling = address.map_or_else(|| is_ipv4(name), is_ipv6);
        if wildcard || !lower || !one_spelling {
            return Err(PatternError(
                "an address has one spelling: four decimal numbers, or IPv6 as in RFC 5952 in `[]`, such \
                 as `[2001:db8::1]`",
            ));
        }
    } else if !name.split('.').all(is_label) {
        return Err(PatternError(
            "a host is a name in lower case without port and trailing dot, an address (IPv6 in \
             `[]`), or `*.` and a name",
        ));
    }
    Ok(())
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

impl TryFrom<String> for HostPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        check(&text).map(|()| Self(text))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::HostPattern;

    #[test]
    fn matching() {
        for (pattern, host, expected) in [
            ("api.example.org", "api.example.org", true),
            ("api.example.org", "API.Example.ORG", true),
            ("api.example.org", "xapi.example.org", false),
            ("*.example.org", "api.example.org", true),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("*.example.org", ".example.org", false),
            ("*.example.org", "badexample.org", false),
            ("*.example.org", "é.example.org", true),
            ("*.example.org", "example.orgé", false),
            ("[::1]", "[::1]", true),
            ("10.0.0.1", "10.0.0.1", true),
        ] {
            let parsed = HostPattern::parse(pattern).unwrap();
            assert_eq!(parsed.to_string(), pattern);
            assert_eq!(parsed.matches(host), expected, "{pattern} {host}");
        }
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "*",
            "*.",
            "a.",
            ".a",
            "a..b",
            "A.b",
            "a:80",
            "a.*.b",
            "*a.b",
            "[::1",
            "[x]",
            "*.[::1]",
            "a/b",
            "u@a",
            "[0:0::1]",
            "[::0]",
            "[2001:DB8::1]",
            "[::1%25lo]",
            "10.0.0.01",
            "127.1",
            "a.1",
            "*.0.0.1",
            "0x7f.1",
        ] {
            assert!(HostPattern::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn weight() {
        let [exact, more, fewer] = ["a.example.org", "*.example.org", "*.org"]
            .map(|text| HostPattern::parse(text).unwrap());
        assert!(exact.compare_weight(&more).is_gt());
        assert!(more.compare_weight(&fewer).is_gt());
        assert!(fewer.compare_weight(&exact).is_lt());
        assert!(more.overlaps(&fewer) && fewer.overlaps(&more) && exact.overlaps(&fewer));
        assert!(!HostPattern::parse("*.com").unwrap().overlaps(&fewer));
    }
}
