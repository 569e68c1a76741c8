//! The host that a request asks for.

use super::Ambiguity;
use crate::address::{ends_in_number, is_ipv4, is_ipv6};

/// The host of an `:authority`: without port and one trailing dot. `None` where it is empty.
///
/// # Errors
/// [`Ambiguity::Authority`] where it has user info, isn't a host with an optional port, or is an address
/// in another spelling than its one.
pub(super) fn host_of(authority: &[u8]) -> Result<Option<&str>, Ambiguity> {
    let authority = std::str::from_utf8(authority).map_err(|_| Ambiguity::Authority)?;
    if is_plain(authority.as_bytes()) {
        return Ok(Some(authority));
    }
    if authority.is_empty() {
        return Ok(None);
    }
    split_port(authority).filter(|host| is_host(host)).map(Some).ok_or(Ambiguity::Authority)
}

/// Most hosts at one glance: labels of letters, digits, `-` and `_`, the last of which begins with a letter and so is no
/// number; no port.
fn is_plain(authority: &[u8]) -> bool {
    let (mut begins, mut lettered) = (true, false);
    for &byte in authority {
        match byte {
            b'.' if !begins => begins = true,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => {
                if begins {
                    lettered = byte.is_ascii_alphabetic();
                }
                begins = false;
            }
            _ => return false,
        }
    }
    lettered && !begins
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => is_ipv6(address),
        None if ends_in_number(host) => is_ipv4(host),
        None => host.split('.').all(is_label),
    }
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
            ("[2001:DB8::1]", Some("[2001:DB8::1]")),
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
            "[0:0::1]",
            "[::0001]:80",
            "[::ffff:a00:1]",
            "[::1%25lo]",
            "127.1",
            "0x7f000001:80",
            "10.0.0.01",
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
