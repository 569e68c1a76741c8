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
#[serde(try_from = "String", into = "String")]
pub struct HostPattern {
    wildcard: bool,
    /// The exact host, or what follows `*.`.
    name: String,
}

impl HostPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Says what would be accepted.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
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
        Ok(Self { wildcard, name: name.to_owned() })
    }

    /// The labels from right to left.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let rest = self.wildcard.then_some(Part::Rest);
        self.name.rsplit('.').map(Part::Literal).chain(rest)
    }

    /// Whether the pattern holds `host`, which has no port and no trailing dot.
    pub fn matches(&self, host: &str) -> bool {
        if !self.wildcard {
            return host.eq_ignore_ascii_case(&self.name);
        }
        let split =
            host.len().checked_sub(self.name.len()).and_then(|at| host.split_at_checked(at));
        split.is_some_and(|(labels, name)| {
            name.eq_ignore_ascii_case(&self.name)
                && labels.strip_suffix('.').is_some_and(|labels| !labels.is_empty())
        })
    }

    /// Compares the weight of two patterns that match the same host: exact, then more labels.
    pub fn compare_weight(&self, other: &Self) -> Ordering {
        other.wildcard.cmp(&self.wildcard).then_with(|| self.labels().cmp(&other.labels()))
    }

    /// Whether some host matches both patterns.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self.wildcard, other.wildcard) {
            (true, true) => {
                self.name == other.name
                    || self.name.ends_with(&format!(".{}", other.name))
                    || other.name.ends_with(&format!(".{}", self.name))
            }
            (true, false) => self.matches(&other.name),
            (false, _) => other.matches(&self.name),
        }
    }

    /// How many labels a wildcard fixes. Exact hosts that match the same host are equal anyway.
    fn labels(&self) -> usize {
        if self.wildcard { self.name.split('.').count() } else { 0 }
    }
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

impl TryFrom<String> for HostPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        Self::parse(&text)
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wildcard {
            f.write_str("*.")?;
        }
        f.write_str(&self.name)
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
