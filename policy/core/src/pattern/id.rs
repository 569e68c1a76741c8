//! Patterns over SPIFFE IDs.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::PatternError;
use super::segments::{self, Part};
use crate::identity::{MAX_BYTES, SCHEME, SpiffeId, check_segment, check_trust_domain};

/// How many segments a rest stands for at least.
const REST: usize = 1;

/// A set of SPIFFE IDs: `spiffe://td/…`, where a segment `*` is any one segment and a last segment
/// `**` is the rest (one or more), or `**` alone: every ID of every trust domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct IdPattern(String);

impl IdPattern {
    /// Parses an absolute pattern.
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

    /// The trust domain, then the segments of the path.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.0.strip_prefix(SCHEME).unwrap_or(&self.0).split('/').map(Part::of)
    }

    /// Whether the pattern holds `id`.
    pub fn matches(&self, id: SpiffeId<'_>) -> bool {
        segments::matches(self.parts(), REST, id.segments(), |literal, found| {
            literal.as_bytes() == found
        })
    }

    /// Compares the weight of two patterns that match the same ID: the narrower is the greater.
    pub fn compare_weight(&self, other: &Self) -> Ordering {
        segments::compare_weight(self.parts(), other.parts())
    }

    /// Whether some ID matches both patterns.
    pub fn overlaps(&self, other: &Self) -> bool {
        segments::overlap(self.parts(), other.parts(), REST)
    }
}

fn check(text: &str) -> Result<(), PatternError> {
    if text.len() > MAX_BYTES {
        return Err(PatternError("a pattern over SPIFFE IDs has at most 2048 bytes"));
    }
    if text == "**" {
        return Ok(());
    }
    let (trust_domain, path) = text
        .strip_prefix(SCHEME)
        .and_then(|rest| rest.split_once('/'))
        .ok_or(PatternError("a pattern over SPIFFE IDs is `spiffe://trust-domain/path` or `**`"))?;
    check_trust_domain(trust_domain).map_err(|_| {
        PatternError(
            "a pattern's trust domain is one literal name: 1 to 255 of the characters `a-z`, \
             `0-9`, `.`, `-` and `_`",
        )
    })?;
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        match part {
            "*" => {}
            "**" if parts.peek().is_none() => {}
            "**" => return Err(PatternError("`**` is the rest of an ID and stands last")),
            literal if literal.contains('*') => {
                return Err(PatternError(
                    "patterns work on whole segments: `*` is one segment, `**` the rest",
                ));
            }
            literal => check_segment(literal.as_bytes()).map_err(|_| {
                PatternError(
                    "a segment is `*`, a last `**`, or one or more of `A-Z`, `a-z`, \
                     `0-9`, `.`, `-` and `_`, and neither `.` nor `..`",
                )
            })?,
        }
    }
    Ok(())
}

impl TryFrom<String> for IdPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        check(&text).map(|()| Self(text))
    }
}

impl fmt::Display for IdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::IdPattern;
    use crate::identity::SpiffeId;

    #[test]
    fn matching() {
        for (pattern, id, expected) in [
            ("spiffe://a/ns/x", "spiffe://a/ns/x", true),
            ("spiffe://a/ns/x", "spiffe://a/ns/x2", false),
            ("spiffe://a/ns/x", "spiffe://a/ns", false),
            ("spiffe://a/ns/x", "spiffe://a/ns/x/y", false),
            ("spiffe://a/ns/x", "spiffe://b/ns/x", false),
            ("spiffe://a/ns/*", "spiffe://a/ns/x", true),
            ("spiffe://a/ns/*", "spiffe://a/ns/x/y", false),
            ("spiffe://a/ns/*", "spiffe://a/ns", false),
            ("spiffe://a/ns/*/sa/y", "spiffe://a/ns/x/sa/y", true),
            ("spiffe://a/ns/**", "spiffe://a/ns/x", true),
            ("spiffe://a/ns/**", "spiffe://a/ns/x/y/z", true),
            ("spiffe://a/ns/**", "spiffe://a/ns", false),
            ("spiffe://a/ns/malicious", "spiffe://a/ns/malicious2", false),
            ("spiffe://a/**", "spiffe://a/x", true),
            ("spiffe://a/**", "spiffe://a.b/x", false),
            ("**", "spiffe://any/x/y", true),
        ] {
            let parsed = IdPattern::parse(pattern).unwrap();
            assert_eq!(parsed.to_string(), pattern);
            assert_eq!(parsed.matches(SpiffeId::parse(id).unwrap()), expected, "{pattern} {id}");
        }
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "*",
            "a",
            "/ns/x",
            "spiffe://a",
            "spiffe://a/",
            "spiffe://*/x",
            "spiffe://**/x",
            "spiffe://A/x",
            "spiffe://a/x*",
            "spiffe://a/**/x",
            "spiffe://a/***",
            "spiffe://a//x",
            "spiffe://a/./x",
            "spiffe://a/x/",
            "spiffe://a/{x}",
            "**/",
            "spiffe://a/x y",
        ] {
            assert!(IdPattern::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn weight() {
        let heaviest_first = [
            "spiffe://a/ns/x",
            "spiffe://a/ns/*",
            "spiffe://a/ns/**",
            "spiffe://a/*/x",
            "spiffe://a/*/*",
            "spiffe://a/**",
            "**",
        ]
        .map(|text| IdPattern::parse(text).unwrap());
        for (i, a) in heaviest_first.iter().enumerate() {
            for (j, b) in heaviest_first.iter().enumerate() {
                assert_eq!(a.compare_weight(b), j.cmp(&i), "{a} {b}");
            }
        }
        let other = IdPattern::parse("spiffe://a/ns/y").unwrap();
        assert_eq!(heaviest_first[0].compare_weight(&other), Ordering::Equal);
    }

    #[test]
    fn overlapping() {
        for (a, b, expected) in [
            ("spiffe://a/x", "spiffe://a/x", true),
            ("spiffe://a/x", "spiffe://a/y", false),
            ("spiffe://a/x", "spiffe://a/*", true),
            ("spiffe://a/x/y", "spiffe://a/*", false),
            ("spiffe://a/x/*", "spiffe://a/*/y", true),
            ("spiffe://a/x/**", "spiffe://a/*/y", true),
            ("spiffe://a/x/**", "spiffe://a/x", false),
            ("spiffe://a/**", "spiffe://b/**", false),
            ("**", "spiffe://b/x", true),
            ("spiffe://a/x/**", "spiffe://a/*/y/z/**", true),
        ] {
            let (x, y) = (IdPattern::parse(a).unwrap(), IdPattern::parse(b).unwrap());
            assert_eq!(x.overlaps(&y), expected, "{a} {b}");
            assert_eq!(y.overlaps(&x), expected, "{b} {a}");
        }
    }
}
