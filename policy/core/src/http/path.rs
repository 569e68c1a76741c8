//! The path of a request, taken literally or refused.

use super::Ambiguity;
use crate::segments::Segments;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A path.
    Path(RequestPath<'a>),
    /// The `*` of `OPTIONS *`: the server as a whole.
    Asterisk,
    /// A CONNECT's: there is none.
    Connect,
}

/// A path that has one reading only. The query is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestPath<'a> {
    /// Without the leading `/` and one trailing `/`.
    segments: &'a [u8],
    /// Whether some octet is percent-encoded.
    encoded: bool,
}

impl<'a> RequestPath<'a> {
    /// Parses a request target that should begin with `/`.
    ///
    /// # Errors
    /// Names what makes the path ambiguous.
    pub fn parse(target: &'a [u8]) -> Result<Self, Ambiguity> {
        Self::plain(target).map_or_else(|| Self::parse_whatever(target), Ok)
    }

    /// Most paths at one glance: without a query, each segment begins with a letter, a digit, `-`, `_` or `~`, and goes
    /// on with these and dots. Nothing in them has a second reading.
    fn plain(target: &'a [u8]) -> Option<Self> {
        let path = target.strip_prefix(b"/")?;
        let mut begins = true;
        for &byte in path {
            begins = match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => false,
                b'.' if !begins => false,
                b'/' if !begins => true,
                _ => return None,
            };
        }
        Some(Self { segments: path.strip_suffix(b"/").unwrap_or(path), encoded: false })
    }

    fn parse_whatever(target: &'a [u8]) -> Result<Self, Ambiguity> {
        if target.iter().any(|&b| b <= b' ' || b == 0x7f) {
            return Err(Ambiguity::ControlByte);
        }
        if target.contains(&b'#') {
            return Err(Ambiguity::Fragment);
        }
        let path = target.split(|&b| b == b'?').next().unwrap_or_default();
        let path = path.strip_prefix(b"/").ok_or(Ambiguity::NotAbsolute)?;
        if path.starts_with(b"/") {
            return Err(Ambiguity::EmptySegment);
        }
        let segments = path.strip_suffix(b"/").unwrap_or(path);
        let parsed = Self { segments, encoded: segments.contains(&b'%') };
        parsed.segments().try_for_each(PathSegment::check)?;
        Ok(parsed)
    }

    /// The segments from left to right; none for `/`.
    pub(crate) fn segments(self) -> impl Iterator<Item = PathSegment<'a>> + Clone {
        let Self { segments, encoded } = self;
        let split = if segments.is_empty() { Segments::NONE } else { Segments::of(segments) };
        split.map(move |octets| PathSegment { octets, encoded })
    }
}

/// One segment, still percent-encoded.
#[derive(Clone, Copy)]
pub(crate) struct PathSegment<'a> {
    octets: &'a [u8],
    /// Whether the path that it is part of has an encoded octet somewhere.
    encoded: bool,
}

impl<'a> PathSegment<'a> {
    /// Whether the decoded octets are those of `literal`.
    pub(crate) fn is(self, literal: &[u8]) -> bool {
        match self.as_literal() {
            Some(octets) => octets == literal,
            None => self.decoded().eq(literal.iter().copied()),
        }
    }

    /// The octets where the path has nothing encoded, as nearly always.
    pub(crate) fn as_literal(self) -> Option<&'a [u8]> {
        if self.encoded { None } else { Some(self.octets) }
    }

    /// The decoded octets of a segment whose escapes have been checked.
    pub(crate) fn decoded(self) -> impl Iterator<Item = u8> + 'a {
        self.octets().map(Result::unwrap_or_default)
    }

    fn check(self) -> Result<(), Ambiguity> {
        match self.octets {
            b"" => return Err(Ambiguity::EmptySegment),
            b"." | b".." => return Err(Ambiguity::DotSegment),
            raw if raw.contains(&b'\\') => return Err(Ambiguity::Backslash),
            raw if raw.contains(&b';') => return Err(Ambiguity::Semicolon),
            _ => {}
        }
        self.octets().try_for_each(|octet| octet.map(drop))?;
        if is_utf8(self.decoded()) { Ok(()) } else { Err(Ambiguity::InvalidUtf8) }
    }

    /// The octets after one percent-decoding, each escape checked.
    fn octets(self) -> impl Iterator<Item = Result<u8, Ambiguity>> + 'a {
        let mut rest = self.octets;
        std::iter::from_fn(move || {
            let (&byte, after) = rest.split_first()?;
            rest = after;
            if byte != b'%' {
                return Some(Ok(byte));
            }
            let Some(octet) = escape(after) else {
                return Some(Err(Ambiguity::MalformedEscape));
            };
            rest = after.get(2..).unwrap_or_default();
            Some(check_escaped(octet, rest))
        })
    }
}

/// Whether octets are UTF-8, without a place to put them all.
fn is_utf8(mut octets: impl Iterator<Item = u8>) -> bool {
    while let Some(first) = octets.next() {
        let size = match first {
            0..=0x7f => continue,
            0x80..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
        };
        let mut character = [first, 0, 0, 0];
        for place in character.iter_mut().take(size).skip(1) {
            let Some(octet) = octets.next() else { return false };
            *place = octet;
        }
        if std::str::from_utf8(character.get(..size).unwrap_or_default()).is_err() {
            return false;
        }
    }
    true
}

/// The octet that two hex digits stand for.
fn escape(digits: &[u8]) -> Option<u8> {
    let hex = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match digits {
        [high, low, ..] => Some(hex(*high)? << 4 | hex(*low)?),
        _ => None,
    }
}

/// Refuses escapes that another reader may take for something else.
fn check_escaped(octet: u8, rest: &[u8]) -> Result<u8, Ambiguity> {
    match octet {
        0..=0x1f | 0x7f => Err(Ambiguity::ControlByte),
        b'/' => Err(Ambiguity::EncodedSlash),
        b'\\' => Err(Ambiguity::Backslash),
        b';' => Err(Ambiguity::Semicolon),
        b'%' if escape(rest).is_some() => Err(Ambiguity::DoubleEncoding),
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            Err(Ambiguity::EncodedUnreserved)
        }
        _ => Ok(octet),
    }
}

#[cfg(test)]
mod tests {
    use super::{Ambiguity, RequestPath};

    #[test]
    fn plain_paths() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/a/b",
            "/a?",
            "/a?x=//../%2e;",
            "/a?x=%zz",
            "/...",
            "/.a",
            "/a..",
            "/a.b",
            "/~a",
            "/a%20b",
            "/a%2Bb",
            "/a%3Fb",
            "/a%23b",
            "/a%25",
            "/a%25z",
            "/a%25g0",
            "/%C3%A9",
            "/é",
            "/a,b=c:d@e!$&'()*+",
            "/package.Service/Method",
            "/a%22b",
            "/%E2%82%AC",
            "/a%25%20",
        ] {
            assert!(RequestPath::parse(path.as_bytes()).is_ok(), "{path}");
        }
    }

    #[test]
    fn ambiguous_paths() {
        use Ambiguity as A;
        let cases: &[(&[u8], A)] = &[
            (b"", A::NotAbsolute),
            (b"*", A::NotAbsolute),
            (b"a", A::NotAbsolute),
            (b"?a", A::NotAbsolute),
            (b"%2fa", A::NotAbsolute),
            (b"http://host/a", A::NotAbsolute),
            (b"\\a", A::NotAbsolute),
            (b"//", A::EmptySegment),
            (b"//a", A::EmptySegment),
            (b"//host/a", A::EmptySegment),
            (b"/a//b", A::EmptySegment),
            (b"/a//", A::EmptySegment),
            (b"/.", A::DotSegment),
            (b"/./", A::DotSegment),
            (b"/..", A::DotSegment),
            (b"/a/./b", A::DotSegment),
            (b"/a/../b", A::DotSegment),
            (b"/a/..", A::DotSegment),
            (b"/a/../", A::DotSegment),
            (b"/../../a", A::DotSegment),
            (b"/a/..?x", A::DotSegment),
            (b"/%2e", A::EncodedUnreserved),
            (b"/%2E%2e/a", A::EncodedUnreserved),
            (b"/.%2e/a", A::EncodedUnreserved),
            (b"/a/%2e%2e%2fb", A::EncodedUnreserved),
            (b"/%61dmin", A::EncodedUnreserved),
            (b"/%41", A::EncodedUnreserved),
            (b"/%7E", A::EncodedUnreserved),
            (b"/%2D", A::EncodedUnreserved),
            (b"/%5f", A::EncodedUnreserved),
            (b"/%30", A::EncodedUnreserved),
            (b"/a%2fb", A::EncodedSlash),
            (b"/a%2Fb", A::EncodedSlash),
            (b"/%2f", A::EncodedSlash),
            (b"/a\\b", A::Backslash),
            (b"/a\\..\\b", A::Backslash),
            (b"/\\", A::Backslash),
            (b"/a%5cb", A::Backslash),
            (b"/a%5C..", A::Backslash),
            (b"/a;b", A::Semicolon),
            (b"/a;jsessionid=1", A::Semicolon),
            (b"/..;/a", A::Semicolon),
            (b"/a%3bb", A::Semicolon),
            (b"/a%3B", A::Semicolon),
            (b"/a%2561", A::DoubleEncoding),
            (b"/a%252f", A::DoubleEncoding),
            (b"/%252e%252e/", A::DoubleEncoding),
            (b"/a%", A::MalformedEscape),
            (b"/a%2", A::MalformedEscape),
            (b"/a%2/b", A::MalformedEscape),
            (b"/a%zz", A::MalformedEscape),
            (b"/a%u002e", A::MalformedEscape),
            (b"/a%+1", A::MalformedEscape),
            (b"/a%%20", A::MalformedEscape),
            (b"/a%25%61", A::EncodedUnreserved),
            (b"/a%00", A::ControlByte),
            (b"/a%0a", A::ControlByte),
            (b"/a%0D%0A", A::ControlByte),
            (b"/a%1F", A::ControlByte),
            (b"/a%7f", A::ControlByte),
            (b"/a\x00", A::ControlByte),
            (b"/a\tb", A::ControlByte),
            (b"/a\nb", A::ControlByte),
            (b"/a\x7f", A::ControlByte),
            (b"/a b", A::ControlByte),
            (b"/a?b c", A::ControlByte),
            (b"/a?\r\n", A::ControlByte),
            (b"/a#b", A::Fragment),
            (b"/a?b#c", A::Fragment),
            (b"/#/../b", A::Fragment),
            (b"/%ff", A::InvalidUtf8),
            (b"/\xff", A::InvalidUtf8),
            (b"/%c0%ae", A::InvalidUtf8),
            (b"/%c0%af", A::InvalidUtf8),
            (b"/%e0%80%ae", A::InvalidUtf8),
            (b"/%ed%a0%80", A::InvalidUtf8),
            (b"/%c3", A::InvalidUtf8),
            (b"/%c3/%a9", A::InvalidUtf8),
            (b"/\xc3%28", A::InvalidUtf8),
        ];
        for (path, ambiguity) in cases {
            let shown = path.escape_ascii();
            assert_eq!(RequestPath::parse(path), Err(*ambiguity), "{shown}");
        }
    }

    #[test]
    fn every_escape_of_one_byte() {
        for octet in 0..=u8::MAX {
            for path in [format!("/a%{octet:02x}b"), format!("/a%{octet:02X}b")] {
                let accepted = RequestPath::parse(path.as_bytes()).is_ok();
                let expected = b" \"#$%&'()*+,:<=>?@[]^`{|}!".contains(&octet);
                assert_eq!(accepted, expected, "{path}");
            }
        }
    }
}
