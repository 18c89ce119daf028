//! Moments as people write them.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::pattern::ParsePatternError;
use crate::calendar::civil;

const SECONDS_PER_DAY: i64 = 86_400;

/// A moment in RFC 3339, to the second: `2026-11-21T08:00:00Z`, `2026-11-21T09:00:00+01:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Since 1970, never negative.
    seconds: u64,
}

impl Moment {
    /// Takes a time; what is before 1970 is 1970.
    #[must_use]
    pub fn new(time: SystemTime) -> Self {
        Self { seconds: time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() }
    }

    /// The time.
    #[must_use]
    pub fn time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.seconds)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.seconds).unwrap_or(i64::MAX);
        let (year, month, day) = civil(seconds.div_euclid(SECONDS_PER_DAY));
        let within = seconds.rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = (within / 3600, within / 60 % 60, within % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl FromStr for Moment {
    type Err = ParsePatternError;

    fn from_str(text: &str) -> Result<Self, ParsePatternError> {
        parse(text).map(|seconds| Self { seconds }).ok_or_else(|| {
            let shown: String = text.chars().take(60).collect();
            ParsePatternError(format!("{shown:?} is no time; write `2026-11-21T08:00:00Z`"))
        })
    }
}

/// RFC 3339 section 5.6, without fractions. Seconds since 1970.
fn parse(text: &str) -> Option<u64> {
    let (date, clock) = text.split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, offset) = match clock.strip_suffix(['Z', 'z']) {
        Some(clock) => (clock, 0),
        None => {
            let at = clock.rfind(['+', '-'])?;
            let (hours, minutes) = clock[at + 1..].split_once(':')?;
            let minutes = number(hours)? * 60 + number(minutes)?;
            (&clock[..at], if clock[at..].starts_with('-') { -minutes * 60 } else { minutes * 60 })
        }
    };
    let mut clock = clock.splitn(3, ':').map(number);
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let days = days_of(year, month, day)?;
    // Back and forth, so that the 30th of February is refused.
    if civil(days) != (year, month, day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    u64::try_from(days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset).ok()
}

fn number(digits: &str) -> Option<i64> {
    let plain = !digits.is_empty() && digits.len() <= 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// The number of days from 1970-01-01 to a date (Hinnant, `days_from_civil`).
fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        String::deserialize(source)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        sink.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_as_rfc_3339_says() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("2026-11-20T23:59:59Z", 1_795_219_199),
            ("2026-11-21T00:59:59+01:00", 1_795_219_199),
            ("2026-11-20T18:59:59-05:00", 1_795_219_199),
        ] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment.seconds, seconds, "{text}");
            assert_eq!(moment.to_string().parse::<Moment>().unwrap(), moment);
        }
        for bad in ["", "2026-02-30T00:00:00Z", "2026-11-21", "2026-11-21T24:00:00Z", "yesterday"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }
}
