//! Times as operators read them.

use std::time::SystemTime;

use serde::Serializer;
use x509_parser::time::ASN1Time;

/// Writes a time as logs and admin pages show it: RFC 3339, UTC, to the second.
pub(crate) fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let time =
        i64::try_from(seconds).ok().and_then(|seconds| ASN1Time::from_timestamp(seconds).ok());
    let Some(time) = time.map(|time| time.to_datetime()) else {
        return format!("{seconds} s after 1970");
    };
    let (date, clock) = (time.to_calendar_date(), time.to_hms());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.0,
        u8::from(date.1),
        date.2,
        clock.0,
        clock.1,
        clock.2
    )
}

/// The same for serde.
pub(crate) fn serialize_utc<S: Serializer>(
    time: &SystemTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&utc(*time))
}

/// The same for what may be missing.
#[expect(clippy::ref_option, reason = "serde calls it so")]
pub(crate) fn serialize_utc_option<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serialize_utc(time, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::utc;

    #[test]
    fn times_are_rfc_3339_as_far_as_that_goes() {
        let at = |seconds| utc(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(1_709_210_096), "2024-02-29T12:34:56Z");
        assert_eq!(at(1 << 50), "1125899906842624 s after 1970");
    }
}
