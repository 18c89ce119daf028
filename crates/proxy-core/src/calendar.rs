//! Days of the civil calendar, for people.

use std::time::{Duration, SystemTime};

const SECONDS_PER_DAY: i64 = 86_400;

/// The UTC day of a time as `YYYY-MM-DD`.
pub(crate) fn day(time: SystemTime) -> String {
    let seconds = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => whole_seconds(after),
        Err(before) => -whole_seconds(before.duration()),
    };
    day_of_unix(seconds)
}

/// The UTC day of a Unix time as `YYYY-MM-DD`.
pub(crate) fn day_of_unix(seconds: i64) -> String {
    let (year, month, day) = civil(seconds.div_euclid(SECONDS_PER_DAY));
    format!("{year:04}-{month:02}-{day:02}")
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// The date of a number of days since 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms",
/// `civil_from_days`).
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_795_219_199, "2026-11-20"),
            (4_102_444_800, "2100-01-01"),
        ] {
            assert_eq!(day(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
        assert_eq!(day(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1969-12-31");
    }
}
