//! IP addresses in the place of a host's name.
//!
//! An address has many spellings, and whoever compares texts takes two of them for two hosts. So only
//! one is accepted, in policies and in requests: of IPv6 that of RFC 5952, of IPv4 four decimal numbers.

/// Whether this is an IPv6 address, without brackets, in its one spelling. Case doesn't matter.
pub(crate) fn is_ipv6(text: &str) -> bool {
    if let Some((head, mapped)) = text.split_at_checked(7)
        && head.eq_ignore_ascii_case("::ffff:")
    {
        // IPv4 in IPv6 is written as such, and nowhere else; two groups here would be one.
        return match mapped.split(':').count() {
            1 => is_ipv4(mapped),
            2 => false,
            _ => is_short(text),
        };
    }
    is_short(text)
}

/// Whether these are groups without zeros in front, and `::` in place of the first longest run of zero groups.
fn is_short(text: &str) -> bool {
    let (before, after) = match text.split_once("::") {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    };
    let (Some(left), Some(right)) = (Groups::of(before), Groups::of(after.unwrap_or_default()))
    else {
        return false;
    };
    let written = left.count.saturating_add(right.count);
    match (after, GROUPS.checked_sub(written)) {
        (Some(_), Some(hidden @ 2..)) => {
            let ends = !left.ends_in_zero && !right.begins_with_zero;
            ends && left.longest_zeros < hidden && right.longest_zeros <= hidden
        }
        (None, Some(0)) => left.longest_zeros < 2,
        _ => false,
    }
}

const GROUPS: u32 = 8;

/// What is written on one side of `::`.
#[derive(Default)]
struct Groups {
    count: u32,
    longest_zeros: u32,
    begins_with_zero: bool,
    ends_in_zero: bool,
}

impl Groups {
    fn of(text: &str) -> Option<Self> {
        let (mut groups, mut zeros) = (Self::default(), 0_u32);
        for group in text.split(':').filter(|_| !text.is_empty()) {
            if !is_number(group, 4, u8::is_ascii_hexdigit) {
                return None;
            }
            let zero = group == "0";
            zeros = if zero { zeros.saturating_add(1) } else { 0 };
            groups.begins_with_zero |= zero && groups.count == 0;
            groups.ends_in_zero = zero;
            groups.count = groups.count.saturating_add(1);
            groups.longest_zeros = groups.longest_zeros.max(zeros);
        }
        Some(groups)
    }
}

/// Whether these are at most so many digits without zeros in front.
fn is_number(text: &str, most: usize, is_digit: fn(&u8) -> bool) -> bool {
    let one = text.len() == 1 || !text.starts_with('0');
    one && (1..=most).contains(&text.len()) && text.as_bytes().iter().all(is_digit)
}

/// Whether a name is read as an IPv4 address by some: its last label is a number (WHATWG URL §3.5).
pub(crate) fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()),
    }
}

/// Whether this is an IPv4 address in its one spelling.
pub(crate) fn is_ipv4(text: &str) -> bool {
    let is_octet = |number: &str| {
        is_number(number, 3, u8::is_ascii_digit) && (number.len() < 3 || number <= "255")
    };
    text.split('.').count() == 4 && text.split('.').all(is_octet)
}

#[cfg(test)]
mod tests {
    use super::{ends_in_number, is_ipv4, is_ipv6};

    /// The spelling of the standard library is that of RFC 5952.
    #[test]
    fn every_address_has_one_spelling() {
        for zeros in 0..=255_u16 {
            let group = |at: usize| if zeros & (1 << at) == 0 { 0xa0 } else { 0 };
            let address = std::net::Ipv6Addr::from(std::array::from_fn::<u16, 8, _>(group));
            let written = address.to_string();
            assert!(is_ipv6(&written), "{written}");
            let whole = address.segments().map(|group| format!("{group:x}")).join(":");
            assert_eq!(is_ipv6(&whole), whole == written, "{whole}");
            for start in 0..8 {
                for end in start + 1..=8 {
                    let [before, after] =
                        [&address.segments()[..start], &address.segments()[end..]].map(|list| {
                            list.iter().map(|g| format!("{g:x}")).collect::<Vec<_>>().join(":")
                        });
                    let text = format!("{before}::{after}");
                    if text.parse() == Ok(address) {
                        assert_eq!(is_ipv6(&text), text == written, "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn one_spelling_of_each_address() {
        for text in [
            "::",
            "::1",
            "1::",
            "2001:db8::1",
            "2001:DB8::A",
            "2001:db8:0:1:1:1:1:1",
            "::ffff:10.0.0.1",
            "1:2:3:4:5:6:7:8",
            "2001:0:0:1::1",
            "fe80::a00:27ff:fe8e:8aa8",
        ] {
            assert!(is_ipv6(text), "{text}");
        }
        for text in [
            "",
            ":",
            ":::",
            "0:0::1",
            "0::1",
            "::0",
            "0:0:0:0:0:0:0:1",
            "::01",
            "2001:db8::0001",
            "2001:db8::1:1:1:1:1",
            "2001:0:0:1:0:0:0:1",
            "::ffff:a00:1",
            "::ffff:010.0.0.1",
            "1:2:3",
            "fe80::1%eth0",
            "10.0.0.1",
            "1:2:3:4:5:6:7:8:9",
        ] {
            assert!(!is_ipv6(text), "{text}");
        }
        for text in ["10.0.0.1", "0.0.0.0", "255.255.255.255"] {
            assert!(ends_in_number(text) && is_ipv4(text), "{text}");
        }
        for text in [
            "127.1",
            "1",
            "10.0.0.01",
            "0x7f.0.0.1",
            "10.0.0.0x1",
            "0x",
            "2130706433",
            "256.0.0.1",
            "a.1",
        ] {
            assert!(ends_in_number(text) && !is_ipv4(text), "{text}");
        }
        for text in ["api", "1.api", "web-0", "a.0y", "a.1x", "a."] {
            assert!(!ends_in_number(text), "{text}");
        }
    }
}
