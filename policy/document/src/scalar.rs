//! What a plain scalar of YAML stands for.

use std::borrow::Cow;

use crate::node::Value;

/// The value of a scalar without quotes, by the core schema of YAML 1.2. Words that YAML 1.1 takes for
/// booleans (`yes`, `off`, `n` …) are booleans too: where a text is meant, they are a fault to be told and
/// not a guess.
pub(crate) fn plain(text: Cow<'_, str>) -> Value<'_> {
    // Only these begin anything but a text: so most texts are known by their first byte.
    match text.bytes().next() {
        None | Some(b'~') if text.len() <= 1 => Value::Null,
        Some(b'0'..=b'9' | b'+' | b'-' | b'.') => number(&text).unwrap_or(Value::Text(text)),
        Some(b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'y' | b'Y' | b'o' | b'O') => {
            word(&text).unwrap_or(Value::Text(text))
        }
        _ => Value::Text(text),
    }
}

fn word(text: &str) -> Option<Value<'static>> {
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match text {
        "null" | "Null" | "NULL" => Some(Value::Null),
        _ if is(&["true", "yes", "y", "on"]) => Some(Value::Boolean(true)),
        _ if is(&["false", "no", "n", "off"]) => Some(Value::Boolean(false)),
        _ => None,
    }
}

fn number(text: &str) -> Option<Value<'static>> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return Some(Value::Float);
    }
    let digits = |text: &str, radix| text.starts_with(|c: char| c.is_digit(radix));
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(rest) = text.strip_prefix(prefix).filter(|rest| digits(rest, radix)) {
            return i128::from_str_radix(rest, radix).ok().map(Box::new).map(Value::Integer);
        }
    }
    if !digits(unsigned, 10) && !unsigned.strip_prefix('.').is_some_and(|rest| digits(rest, 10)) {
        return None;
    }
    match text.parse() {
        Ok(integer) => Some(Value::Integer(Box::new(integer))),
        Err(_) => text.parse::<f64>().ok().map(|_| Value::Float),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::plain;
    use crate::node::Value;

    #[test]
    fn plain_scalars() {
        for text in ["", "~", "null", "Null", "NULL"] {
            assert!(matches!(plain(Cow::from(text)), Value::Null), "{text}");
        }
        for (words, expected) in [
            (["true", "True", "yes", "Y", "on", "ON"], true),
            (["false", "FALSE", "no", "n", "off", "Off"], false),
        ] {
            for text in words {
                let value = plain(Cow::from(text));
                assert!(matches!(value, Value::Boolean(found) if found == expected), "{text}");
            }
        }
        for (text, expected) in
            [("0", 0), ("80", 80), ("-1", -1), ("+7", 7), ("0x1F", 31), ("0o17", 15), ("007", 7)]
        {
            let value = plain(Cow::from(text));
            assert!(matches!(value, Value::Integer(found) if *found == expected), "{text}");
        }
        let many = "9".repeat(60);
        for text in ["1.5", "-.5", "1e3", "1.", ".inf", "-.INF", ".nan", many.as_str()] {
            assert!(matches!(plain(Cow::from(text)), Value::Float), "{text}");
        }
        for text in [
            "~a", "nULL", "nobody", "truely", "-", "+", ".", "..", "-a", "1h", "1_000", "0x",
            "0xg", "inf", "nan", "infinity", "+inf", "1.2.3", "/a", "**", "10.0.0.1", "é",
        ] {
            assert!(
                matches!(plain(Cow::from(text)), Value::Text(found) if found == text),
                "{text}"
            );
        }
    }
}
