//! Lengths of time as operators write them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A length of time: a whole number and its unit, as in `500ms`, `10s`, `5m`, `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Interval(Duration);

impl Interval {
    /// An interval of whole seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The same as the standard library counts it.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl From<Interval> for String {
    fn from(interval: Interval) -> Self {
        match interval.0.as_millis() {
            millis if millis % 1_000 != 0 => format!("{millis}ms"),
            millis if millis % 60_000 != 0 => format!("{}s", millis / 1_000),
            millis if millis % 3_600_000 != 0 => format!("{}m", millis / 60_000),
            0 => "0s".into(),
            millis => format!("{}h", millis / 3_600_000),
        }
    }
}

impl TryFrom<String> for Interval {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let millis = match &text[digits..] {
            "ms" => Some(1),
            "s" => Some(1_000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            _ => None,
        };
        millis
            .zip(text[..digits].parse::<u32>().ok())
            .map(|(unit, count)| Self(Duration::from_millis(u64::from(count) * unit)))
            .ok_or_else(|| {
                format!("interval `{text}`: accepted is a whole number and its unit, as in 500ms, 5s, 10m, 1h")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::Interval;

    #[test]
    fn an_interval_is_a_number_and_a_unit() {
        for (text, millis) in
            [("0s", 0), ("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(
                Interval::try_from(text.to_owned()).expect(text).duration().as_millis(),
                millis
            );
        }
        for text in ["0s", "500ms", "1500ms", "10s", "90s", "2m", "1h"] {
            let interval = Interval::try_from(text.to_owned()).expect(text);
            assert_eq!(String::from(interval), text);
        }
        for text in ["", "5", "s", "-1s", "1.5s", "1 s", "1d", "99999999999h", "é"] {
            assert!(Interval::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
