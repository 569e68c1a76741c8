//! SPIFFE IDs, valid by the SPIFFE standard.

use std::fmt;

use crate::segments::Segments;

/// The scheme and authority prefix that every SPIFFE ID begins with.
pub(crate) const SCHEME: &str = "spiffe://";
/// Longest SPIFFE ID in bytes (SPIFFE-ID §2.3).
pub(crate) const MAX_BYTES: usize = 2048;
/// Longest trust domain name in bytes (SPIFFE-ID §2.1).
const MAX_TRUST_DOMAIN_BYTES: usize = 255;

/// The SPIFFE ID of a workload: `spiffe://trust-domain/path`.
///
/// Valid by the SPIFFE-ID standard, §2, and with a path: the ID of a bare trust domain names no
/// workload, and X.509-SVID §3.1 forbids it in a leaf certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId<'a> {
    text: &'a str,
    /// Where the slash stands that ends the trust domain.
    slash: usize,
}

impl<'a> SpiffeId<'a> {
    /// Parses a whole SPIFFE ID.
    ///
    /// # Errors
    /// Says which rule of the standard the text breaks.
    pub fn parse(text: &'a str) -> Result<Self, SpiffeIdError> {
        if text.len() > MAX_BYTES {
            return Err(SpiffeIdError::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        // By bytes: it is done for each request, and searches by `char` cost several times as much.
        let slash = rest.bytes().position(|b| b == b'/').ok_or(SpiffeIdError::NoPath)?;
        let (trust_domain, path) = rest.split_at_checked(slash).ok_or(SpiffeIdError::NoPath)?;
        let path = path.get(1..).unwrap_or_default();
        check_trust_domain(trust_domain)?;
        Segments::of(path.as_bytes()).try_for_each(check_segment)?;
        Ok(Self { text, slash: SCHEME.len().saturating_add(slash) })
    }

    /// The ID as it was written, which is its only spelling.
    pub const fn as_str(self) -> &'a str {
        self.text
    }

    /// The trust domain's name, such as `example.org`.
    pub fn trust_domain(self) -> &'a str {
        self.text.get(SCHEME.len()..self.slash).unwrap_or_default()
    }

    /// The path without its leading `/`, such as `ns/default/sa/api`.
    pub fn path(self) -> &'a str {
        self.text.get(self.slash.saturating_add(1)..).unwrap_or_default()
    }

    /// The same ID in a copy of its text.
    pub(crate) const fn in_copy(self, text: &str) -> SpiffeId<'_> {
        SpiffeId { text, slash: self.slash }
    }

    /// The trust domain, then each segment of the path: what patterns are matched against.
    pub(crate) fn segments(self) -> Segments<'a> {
        Segments::of(self.text.as_bytes().get(SCHEME.len()..).unwrap_or_default())
    }
}

impl fmt::Display for SpiffeId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// Checks a trust domain's name.
pub(crate) fn check_trust_domain(name: &str) -> Result<(), SpiffeIdError> {
    let valid = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    if name.is_empty() || name.len() > MAX_TRUST_DOMAIN_BYTES || !name.bytes().all(valid) {
        return Err(SpiffeIdError::TrustDomain);
    }
    Ok(())
}

/// Checks one segment of a path.
pub(crate) fn check_segment(segment: &[u8]) -> Result<(), SpiffeIdError> {
    let valid = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if matches!(segment, b"" | b"." | b"..") || !segment.iter().all(valid) {
        return Err(SpiffeIdError::Segment);
    }
    Ok(())
}

/// Why a text is no workload's SPIFFE ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpiffeIdError {
    /// Longer than 2048 bytes.
    TooLong,
    /// Doesn't begin with `spiffe://`.
    Scheme,
    /// The trust domain is empty, over 255 bytes or has other bytes than `a-z 0-9 . - _`.
    TrustDomain,
    /// Names a trust domain only.
    NoPath,
    /// A segment is empty, `.`, `..` or has other bytes than `A-Z a-z 0-9 . - _`.
    Segment,
}

impl fmt::Display for SpiffeIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "a SPIFFE ID has at most 2048 bytes",
            Self::Scheme => "a SPIFFE ID begins with `spiffe://`",
            Self::TrustDomain => {
                "a trust domain has 1 to 255 of the characters `a-z`, `0-9`, `.`, `-` and `_`"
            }
            Self::NoPath => "a workload's SPIFFE ID has a path after its trust domain",
            Self::Segment => {
                "a path segment has one or more of the characters `A-Z`, `a-z`, `0-9`, `.`, `-` \
                 and `_`, and is neither `.` nor `..`"
            }
        })
    }
}

impl std::error::Error for SpiffeIdError {}

#[cfg(test)]
mod tests {
    use super::{SpiffeId, SpiffeIdError};

    #[test]
    fn valid_ids() {
        let id = SpiffeId::parse("spiffe://example.org/ns/default/sa/api").unwrap();
        assert_eq!(id.trust_domain(), "example.org");
        assert_eq!(id.path(), "ns/default/sa/api");
        assert_eq!(
            id.segments().collect::<Vec<_>>(),
            [&b"example.org"[..], b"ns", b"default", b"sa", b"api"]
        );
        for text in ["spiffe://a/b", "spiffe://10.0.0.1/A_b-c.d", "spiffe://a_b/..."] {
            assert_eq!(SpiffeId::parse(text).map(SpiffeId::as_str), Ok(text));
        }
    }

    #[test]
    fn invalid_ids() {
        let long = format!("spiffe://a/{}", "b".repeat(2048));
        let long_domain = format!("spiffe://{}/b", "a".repeat(256));
        for (text, error) in [
            ("", SpiffeIdError::Scheme),
            ("https://a/b", SpiffeIdError::Scheme),
            ("SPIFFE://a/b", SpiffeIdError::Scheme),
            (" spiffe://a/b", SpiffeIdError::Scheme),
            (long.as_str(), SpiffeIdError::TooLong),
            ("spiffe://a", SpiffeIdError::NoPath),
            ("spiffe:///b", SpiffeIdError::TrustDomain),
            (long_domain.as_str(), SpiffeIdError::TrustDomain),
            ("spiffe://Example.org/b", SpiffeIdError::TrustDomain),
            ("spiffe://a:80/b", SpiffeIdError::TrustDomain),
            ("spiffe://u@a/b", SpiffeIdError::TrustDomain),
            ("spiffe://a/", SpiffeIdError::Segment),
            ("spiffe://a/b/", SpiffeIdError::Segment),
            ("spiffe://a//b", SpiffeIdError::Segment),
            ("spiffe://a/./b", SpiffeIdError::Segment),
            ("spiffe://a/b/..", SpiffeIdError::Segment),
            ("spiffe://a/b?c", SpiffeIdError::Segment),
            ("spiffe://a/b#c", SpiffeIdError::Segment),
            ("spiffe://a/%62", SpiffeIdError::Segment),
            ("spiffe://a/b c", SpiffeIdError::Segment),
            ("spiffe://a/é", SpiffeIdError::Segment),
            ("spiffe://a/b\0", SpiffeIdError::Segment),
        ] {
            assert_eq!(SpiffeId::parse(text), Err(error), "{text:?}");
        }
    }
}
