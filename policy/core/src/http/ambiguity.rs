//! Requests that two readers could read differently are refused, not interpreted.

use std::fmt;

/// Why a request is refused (400) before any rule is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// `:method` is missing or repeated.
    Method,
    /// `:path` is missing, repeated or doesn't begin with `/`.
    NotAbsolute,
    /// `//` in the path.
    EmptySegment,
    /// A segment `.` or `..`.
    DotSegment,
    /// `\`, raw or encoded.
    Backslash,
    /// A `%` that isn't followed by two hex digits.
    MalformedEscape,
    /// An encoded letter, digit, `-`, `.`, `_` or `~`: the same path has another spelling.
    EncodedUnreserved,
    /// `%2f`.
    EncodedSlash,
    /// `%25` before two hex digits: another decoding would change the path.
    DoubleEncoding,
    /// `;`, raw or encoded: some servers cut path parameters off.
    Semicolon,
    /// A control byte, DEL or a raw space.
    ControlByte,
    /// The decoded path is no UTF-8.
    InvalidUtf8,
    /// `#` in the request target.
    Fragment,
    /// `:authority` is repeated, has user info, or is no host with an optional port.
    Authority,
    /// A header by which some servers replace the path or the method.
    OverrideHeader,
}

impl Ambiguity {
    /// A short constant name for logs, metrics and response code details.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::NotAbsolute => "path_not_absolute",
            Self::EmptySegment => "path_empty_segment",
            Self::DotSegment => "path_dot_segment",
            Self::Backslash => "path_backslash",
            Self::MalformedEscape => "path_malformed_escape",
            Self::EncodedUnreserved => "path_encoded_unreserved",
            Self::EncodedSlash => "path_encoded_slash",
            Self::DoubleEncoding => "path_double_encoding",
            Self::Semicolon => "path_semicolon",
            Self::ControlByte => "path_control_byte",
            Self::InvalidUtf8 => "path_invalid_utf8",
            Self::Fragment => "path_fragment",
            Self::Authority => "authority",
            Self::OverrideHeader => "override_header",
        }
    }
}

impl fmt::Display for Ambiguity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => "the request has no single method",
            Self::NotAbsolute => "the path doesn't begin with `/`",
            Self::EmptySegment => "the path has an empty segment",
            Self::DotSegment => "the path has a segment `.` or `..`",
            Self::Backslash => "the path has a backslash",
            Self::MalformedEscape => "the path has a `%` without two hex digits",
            Self::EncodedUnreserved => "the path encodes a character that needs no encoding",
            Self::EncodedSlash => "the path has an encoded slash",
            Self::DoubleEncoding => "the path is encoded twice",
            Self::Semicolon => "the path has a semicolon",
            Self::ControlByte => "the path has a control byte or a space",
            Self::InvalidUtf8 => "the path is no UTF-8",
            Self::Fragment => "the path has a fragment",
            Self::Authority => "the authority is no host with an optional port",
            Self::OverrideHeader => "the request has a header that overrides its path or method",
        })
    }
}

impl std::error::Error for Ambiguity {}
