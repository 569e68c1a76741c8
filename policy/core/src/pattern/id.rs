//! Patterns over SPIFFE IDs.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::PatternError;
use super::segments::{self, Part, Segment};
use crate::identity::{MAX_BYTES, SpiffeId, check_segment, check_trust_domain};

/// A set of SPIFFE IDs: `spiffe://td/…`, where a segment `*` is any one segment and a last segment
/// `**` is the rest (one or more), or `**` alone: every ID of every trust domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdPattern {
    /// The trust domain, then the path.
    segments: Vec<Segment>,
}

impl IdPattern {
    /// Parses an absolute pattern.
    ///
    /// # Errors
    /// Says what would be accepted.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_BYTES {
            return Err(PatternError("a pattern over SPIFFE IDs has at most 2048 bytes"));
        }
        let rest = Segment::Rest { min: 1 };
        if text == "**" {
            return Ok(Self { segments: vec![rest] });
        }
        let (trust_domain, path) =
            text.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')).ok_or(
                PatternError("a pattern over SPIFFE IDs is `spiffe://trust-domain/path` or `**`"),
            )?;
        check_trust_domain(trust_domain).map_err(|_| {
            PatternError(
                "a pattern's trust domain is one literal name: 1 to 255 of the characters `a-z`, \
                 `0-9`, `.`, `-` and `_`",
            )
        })?;
        let mut segments = vec![Segment::Literal(trust_domain.to_owned())];
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            segments.push(match part {
                "*" => Segment::One,
                "**" if parts.peek().is_none() => rest.clone(),
                "**" => return Err(PatternError("`**` is the rest of an ID and stands last")),
                literal if literal.contains('*') => {
                    return Err(PatternError(
                        "patterns work on whole segments: `*` is one segment, `**` the rest",
                    ));
                }
                literal => {
                    check_segment(literal.as_bytes()).map_err(|_| {
                        PatternError(
                            "a segment is `*`, a last `**`, or one or more of `A-Z`, `a-z`, \
                             `0-9`, `.`, `-` and `_`, and neither `.` nor `..`",
                        )
                    })?;
                    Segment::Literal(literal.to_owned())
                }
            });
        }
        Ok(Self { segments })
    }

    /// The trust domain, then the segments of the path.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.segments.iter().map(Segment::part)
    }

    /// Whether the pattern holds `id`.
    pub fn matches(&self, id: SpiffeId<'_>) -> bool {
        segments::matches(&self.segments, id.segments(), |literal, found| {
            literal.as_bytes() == found
        })
    }

    /// Compares the weight of two patterns that match the same ID: the narrower is the greater.
    pub fn compare_weight(&self, other: &Self) -> Ordering {
        segments::compare_weight(&self.segments, &other.segments)
    }

    /// Whether some ID matches both patterns.
    pub fn overlaps(&self, other: &Self) -> bool {
        segments::overlap(&self.segments, &other.segments)
    }
}

impl TryFrom<String> for IdPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        Self::parse(&text)
    }
}

impl From<IdPattern> for String {
    fn from(pattern: IdPattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for IdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.segments.iter().enumerate() {
            match segment {
                Segment::Literal(literal) if i == 0 => write!(f, "spiffe://{literal}")?,
                Segment::Literal(literal) => write!(f, "/{literal}")?,
                Segment::One => f.write_str("/*")?,
                Segment::Rest { .. } if i == 0 => f.write_str("**")?,
                Segment::Rest { .. } => f.write_str("/**")?,
            }
        }
        Ok(())
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
