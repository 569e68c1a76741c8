//! Patterns over request paths.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::PatternError;
use super::segments::{self, Part};
use crate::http::Target;

/// Most segments of a pattern, so that no search through patterns runs out of stack.
const MAX_SEGMENTS: usize = 256;

/// How many segments a rest stands for at least.
const REST: usize = 0;

/// The target of `OPTIONS *`.
const ASTERISK: &str = "*";

/// A set of request targets: `/…`, where a segment `*` or `{name}` is any one segment and a last
/// segment `**` is the rest (zero or more), or `*` alone: the target of `OPTIONS *`.
///
/// Literals are written decoded; one trailing `/` means nothing. Kept in the canonical spelling: `*` for
/// `{name}`, no trailing `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct PathPattern(String);

impl PathPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Says what would be accepted.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Self::try_from(text.to_owned())
    }

    /// The canonical spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments; none for the target of `OPTIONS *`.
    pub fn parts(&self) -> Option<impl Iterator<Item = Part<'_>>> {
        (self.0 != ASTERISK).then(|| self.segments())
    }

    /// Whether the pattern holds `target`.
    pub fn matches(&self, target: Target<'_>) -> bool {
        match (self.parts(), target) {
            (None, Target::Asterisk) => true,
            (Some(pattern), Target::Path(path)) => {
                segments::matches(pattern, REST, path.segments(), |literal, found| {
                    found.is(literal.as_bytes())
                })
            }
            _ => false,
        }
    }

    /// Compares the weight of two patterns that match the same target: the narrower is the greater.
    pub fn compare_weight(&self, other: &Self) -> Ordering {
        segments::compare_weight(self.segments(), other.segments())
    }

    /// Whether some target matches both patterns.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self.parts(), other.parts()) {
            (None, None) => true,
            (Some(a), Some(b)) => segments::overlap(a, b, REST),
            _ => false,
        }
    }

    /// The segments; none for the target of `OPTIONS *`, whose end weighs as a literal does.
    fn segments(&self) -> impl Iterator<Item = Part<'_>> {
        let path = self.0.strip_prefix('/').filter(|path| !path.is_empty());
        path.into_iter().flat_map(|path| path.split('/')).map(Part::of)
    }
}

/// Whether a segment is a `{name}`, which stands for any one segment.
fn is_capture(segment: &str) -> bool {
    let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    })
}

/// Checks a literal segment: a request that could match it must not be one that is always refused.
fn check_literal(literal: &str) -> Result<(), PatternError> {
    let escape = literal.as_bytes().windows(3).any(|window| match window {
        [b'%', high, low] => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
        _ => false,
    });
    let fault = match literal {
        "" => "a path has no empty segments",
        "." | ".." => "a path has no `.` and `..` segments: such requests are refused",
        _ if literal.contains('*') => {
            "patterns work on whole segments: `*` is one segment, `**` the rest"
        }
        _ if literal.contains(['{', '}']) => {
            "a `{name}` stands for a whole segment and has letters, digits, `_` or `-`"
        }
        _ if escape => "a path is written decoded, without `%` escapes",
        _ if literal.contains(['?', '#']) => {
            "a path has no query and no fragment: the query is cut off before paths are compared"
        }
        _ if literal.contains([';', '\\']) => {
            "a path has no `;` and no `\\`: such requests are refused"
        }
        _ if literal.bytes().any(|b| b.is_ascii_control()) => "a path has no control characters",
        _ => return Ok(()),
    };
    Err(PatternError(fault))
}

/// Checks a pattern; whether a segment of it is a `{name}`.
fn check(text: &str) -> Result<bool, PatternError> {
    let path = text
        .strip_prefix('/')
        .ok_or(PatternError("a path begins with `/`, or is `*` for the target of `OPTIONS *`"))?;
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        let root = text == "/";
        return root.then_some(false).ok_or(PatternError("a path has no empty segments"));
    }
    if path.split('/').count() > MAX_SEGMENTS {
        return Err(PatternError("a path has at most 256 segments"));
    }
    let mut captures = false;
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        match part {
            "*" => {}
            "**" if parts.peek().is_none() => {}
            "**" => return Err(PatternError("`**` is the rest of a path and stands last")),
            name if is_capture(name) => captures = true,
            literal => check_literal(literal)?,
        }
    }
    Ok(captures)
}

impl TryFrom<String> for PathPattern {
    type Error = PatternError;

    fn try_from(mut text: String) -> Result<Self, PatternError> {
        if text == ASTERISK {
            return Ok(Self(text));
        }
        let captures = check(&text)?;
        if text.len() > 1 && text.ends_with('/') {
            text.pop();
        }
        if captures {
            let mut canonical = String::with_capacity(text.len());
            for segment in text.split('/').skip(1) {
                canonical.push('/');
                canonical.push_str(if is_capture(segment) { "*" } else { segment });
            }
            text = canonical;
        }
        Ok(Self(text))
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::PathPattern;
    use crate::http::{RequestPath, Target};

    #[test]
    fn matching() {
        for (pattern, path, expected) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/customers", "/customers", true),
            ("/customers", "/customers/", true),
            ("/customers/", "/customers", true),
            ("/customers", "/customers?x=/..", true),
            ("/customers", "/Customers", false),
            ("/customers", "/customers2", false),
            ("/customers", "/customers/7", false),
            ("/customers/{id}", "/customers/7", true),
            ("/customers/{id}", "/customers/7/", true),
            ("/customers/{id}", "/customers/", false),
            ("/customers/{id}", "/customers", false),
            ("/customers/{id}", "/customers/7/x", false),
            ("/*/x", "/customers/x", true),
            ("/audit/**", "/audit", true),
            ("/audit/**", "/audit/", true),
            ("/audit/**", "/audit/1/2", true),
            ("/audit/**", "/audit2", false),
            ("/**", "/", true),
            ("/**", "/a/b", true),
            ("/a b", "/a%20b", true),
            ("/é", "/%C3%A9", true),
            ("/é", "/%c3%a9", true),
            ("/é", "/é", true),
            ("/100%", "/100%25", true),
            ("/a+b", "/a+b", true),
            ("/a+b", "/a%2Bb", true),
        ] {
            let target = Target::Path(RequestPath::parse(path.as_bytes()).unwrap());
            let parsed = PathPattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(target), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn the_asterisk_target() {
        let path = Target::Path(RequestPath::parse(b"/a").unwrap());
        for (pattern, expected) in [("*", true), ("/*", false), ("/**", false), ("/", false)] {
            let parsed = PathPattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(Target::Asterisk), expected, "{pattern}");
        }
        assert!(!PathPattern::parse("*").unwrap().matches(path));
    }

    #[test]
    fn canonical_spelling() {
        for (text, canonical) in
            [("/", "/"), ("/a/", "/a"), ("/a/{id}/b", "/a/*/b"), ("/a/**", "/a/**"), ("*", "*")]
        {
            assert_eq!(PathPattern::parse(text).unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn refused() {
        for text in [
            "", "a", "**", "//", "/a//b", "/a//", "/./a", "/a/..", "/a*", "/**/a", "/***", "/{}",
            "/{a b}", "/a{b}", "/a?b", "/a#b", "/a;b", "/a\\b", "/%61", "/a%2fb", "/a\n",
        ] {
            assert!(PathPattern::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn weight() {
        for (heavy, light) in [
            ("/audit", "/audit/**"),
            ("/audit/x", "/audit/*"),
            ("/audit/*", "/audit/**"),
            ("/audit/*/y", "/*/x/y"),
            ("/a/**", "/*/b"),
            ("/*", "/**"),
        ] {
            let [heavy, light] = [heavy, light].map(|text| PathPattern::parse(text).unwrap());
            assert!(heavy.compare_weight(&light).is_gt(), "{heavy} {light}");
            assert!(light.compare_weight(&heavy).is_lt(), "{light} {heavy}");
        }
    }

    #[test]
    fn overlapping() {
        for (a, b, expected) in [
            ("/a", "/a/**", true),
            ("/a/**", "/a/b/c", true),
            ("/**", "/", true),
            ("/a/**", "/b/**", false),
            ("/a/*", "/*/b", true),
            ("/a/*", "/a", false),
            ("*", "/**", false),
        ] {
            let [x, y] = [a, b].map(|text| PathPattern::parse(text).unwrap());
            assert_eq!(x.overlaps(&y), expected, "{a} {b}");
            assert_eq!(y.overlaps(&x), expected, "{b} {a}");
        }
    }
}
