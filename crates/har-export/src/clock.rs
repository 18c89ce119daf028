//! Times as HAR writes them: instants in ISO 8601, spans in milliseconds.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, civil::DateTime, tz::Offset};

/// The years a store can hold to the nanosecond: 1700 up to and including 2261, in seconds since 1970. What lies
/// outside (0001-01-01 is what some tools write for "not known") is no time.
const STORED_SECONDS: std::ops::Range<i64> = -8_520_336_000..9_214_646_400;

/// Writes an instant in UTC with milliseconds, or as many more digits as it takes to say it exactly.
pub(crate) fn iso(at: SystemTime) -> String {
    let at = Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH);
    let nanos = at.subsec_nanosecond();
    let digits = match nanos {
        _ if nanos % 1_000_000 == 0 => 3,
        _ if nanos % 1_000 == 0 => 6,
        _ => 9,
    };
    format!("{at:.digits$}")
}

/// Reads an instant in ISO 8601 that a store can hold. One without an offset counts as UTC.
pub(crate) fn parse_iso(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    let at = text.parse::<Timestamp>().ok().or_else(|| {
        let civil = text.parse::<DateTime>().ok()?;
        Offset::UTC.to_timestamp(civil).ok()
    })?;
    STORED_SECONDS.contains(&at.as_second()).then(|| SystemTime::from(at))
}

/// A span in milliseconds, exact to the nanosecond up to 26 days.
#[expect(clippy::cast_precision_loss, reason = "beyond 26 days a nanosecond does not matter")]
pub(crate) fn millis(span: Duration) -> f64 {
    span.as_nanos() as f64 / 1e6
}

/// A span of so many milliseconds; `None` when it is negative or no number (HAR's "does not apply").
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be within range before"
)]
pub(crate) fn from_millis(millis: f64) -> Option<Duration> {
    /// A thousand years: what is longer is no span of an exchange.
    const LONGEST_MS: f64 = 1000.0 * 365.25 * 86_400_000.0;
    (0.0..=LONGEST_MS).contains(&millis).then(|| {
        let nanos = (millis * 1e6).round() as u128;
        Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)
    })
}

/// Seconds since 1970, as `_webSocketMessages` has them: a double, which holds microseconds but not nanoseconds.
pub(crate) fn epoch_seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The instant so many seconds after 1970, rounded to microseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be within range before"
)]
pub(crate) fn from_epoch_seconds(seconds: f64) -> Option<SystemTime> {
    let last = STORED_SECONDS.end as f64;
    let since =
        (0.0..last).contains(&seconds).then(|| Duration::from_micros((seconds * 1e6).round() as u64))?;
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// Nanoseconds since 1970 of an instant that a store can hold.
pub(crate) fn nanos(at: SystemTime) -> i64 {
    let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => nanos(since),
        Err(before) => -nanos(before.duration()),
    }
}

/// The instant so many nanoseconds after 1970.
pub(crate) fn from_nanos(nanos: i64) -> SystemTime {
    let span = Duration::from_nanos(nanos.unsigned_abs());
    let at = if nanos < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(span)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(span)
    };
    at.unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(secs: u64, nanos: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::new(secs, nanos)
    }

    #[test]
    fn instants_are_written_with_milliseconds_or_what_more_it_takes() {
        for (nanos, text) in [
            (0, "2026-11-21T02:44:18.000Z"),
            (120_000_000, "2026-11-21T02:44:18.120Z"),
            (120_456_000, "2026-11-21T02:44:18.120456Z"),
            (120_456_789, "2026-11-21T02:44:18.120456789Z"),
        ] {
            assert_eq!(iso(at(1_795_229_058, nanos)), text);
        }
    }

    #[test]
    fn instants_of_other_tools_are_read() {
        let expected = Some(at(1_795_229_058, 120_000_000));
        for text in [
            "2026-11-21T02:44:18.120Z",
            "2026-11-21T03:44:18.120+01:00",
            "2026-11-21T03:44:18.12+0100",
            "2026-11-20T21:44:18.1200000-05:00",
            "2026-11-21T02:44:18.120",
            " 2026-11-21 02:44:18.120Z",
        ] {
            assert_eq!(parse_iso(text), expected, "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2026-13-01T00:00:00Z",
            "1795229058",
            "0001-01-01T00:00:00Z",
            "1699-12-31T23:59:59Z",
            "2262-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
        ] {
            assert_eq!(parse_iso(text), None, "{text}");
        }
        assert!(parse_iso("1700-01-01T00:00:00Z").is_some() && parse_iso("2261-12-31T23:59:59Z").is_some());
    }

    #[test]
    fn what_is_no_span_is_none() {
        for millis in [-1.0, -0.5, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(from_millis(millis), None, "{millis}");
        }
    }

    proptest! {
        #[test]
        fn times_read_back_as_written(secs in 0u64..4_000_000_000, nanos in 0u32..1_000_000_000, span in 0u64..(1 << 51)) {
            let instant = at(secs, nanos);
            prop_assert_eq!(parse_iso(&iso(instant)), Some(instant));
            let span = Duration::from_nanos(span);
            prop_assert_eq!(from_millis(millis(span)), Some(span));
            let micros = at(secs, nanos / 1000 * 1000);
            prop_assert_eq!(from_epoch_seconds(epoch_seconds(micros)), Some(micros));
        }
    }
}
