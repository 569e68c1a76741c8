//! The host that a request asks for.

use super::Ambiguity;

/// The host of an `:authority`: without port and one trailing dot. `None` where it is empty.
///
/// # Errors
/// [`Ambiguity::Authority`] where it has user info or isn't a host with an optional port.
pub(super) fn host_of(authority: &[u8]) -> Result<Option<&str>, Ambiguity> {
    let authority = std::str::from_utf8(authority).map_err(|_| Ambiguity::Authority)?;
    if authority.is_empty() {
        return Ok(None);
    }
    split_port(authority)
        .filter(|host| is_address(host) || host.split('.').all(is_label))
        .map(Some)
        .ok_or(Ambiguity::Authority)
}

/// The host before the port, without one trailing dot; nothing where the port isn't a number.
fn split_port(authority: &str) -> Option<&str> {
    // The colons inside an IPv6 address are followed by a bracket, so the last colon decides.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    let port_is_number = port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    port_is_number.then(|| host.strip_suffix('.').unwrap_or(host))
}

/// Whether this is an IPv6 address in brackets.
fn is_address(host: &str) -> bool {
    let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|address| {
        address.contains(':')
            && address.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
    })
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::{Ambiguity, host_of};

    #[test]
    fn hosts() {
        for (authority, host) in [
            ("", None),
            ("api", Some("api")),
            ("api.example.org", Some("api.example.org")),
            ("api.example.org:8443", Some("api.example.org")),
            ("api.example.org.", Some("api.example.org")),
            ("api.example.org.:80", Some("api.example.org")),
            ("API", Some("API")),
            ("my_service", Some("my_service")),
            ("10.0.0.1:80", Some("10.0.0.1")),
            ("[::1]", Some("[::1]")),
            ("[::1]:80", Some("[::1]")),
            ("api:", Some("api")),
        ] {
            assert_eq!(host_of(authority.as_bytes()), Ok(host), "{authority}");
        }
        for authority in [
            "user@api",
            "user:pass@api",
            "@api",
            "a b",
            "a\tb",
            "a/b",
            "a\\b",
            "a?b",
            "a#b",
            "a%2eb",
            "a..",
            "..",
            ".",
            ".a",
            "a..b",
            "a:b",
            "a:80:80",
            "a:999999",
            "::1",
            "[::1",
            "[x:]",
            "é",
            ":80",
            "a,b",
            "a\0",
        ] {
            assert_eq!(host_of(authority.as_bytes()), Err(Ambiguity::Authority), "{authority:?}");
        }
        assert_eq!(host_of(b"\xff"), Err(Ambiguity::Authority));
    }
}
