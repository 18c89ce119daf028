//! What fields are compared with: numbers, sizes, spans of time, times.

use std::time::{Duration, SystemTime};

use jiff::{
    Timestamp, Zoned,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};

use super::lexer::Operator;

/// Reads a number with a unit, in multiples of the smallest.
pub(super) type Unit = fn(&str) -> Option<u64>;

const SIZES: [(&str, u64); 12] = [
    ("", 1),
    ("b", 1),
    ("k", 1_000),
    ("kb", 1_000),
    ("kib", 1 << 10),
    ("m", 1_000_000),
    ("mb", 1_000_000),
    ("mib", 1 << 20),
    ("g", 1_000_000_000),
    ("gb", 1_000_000_000),
    ("gib", 1 << 30),
    ("tb", 1_000_000_000_000),
];
const SPANS: [(&str, u64); 7] = [
    ("", 1_000_000),
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
const AGES: [(&str, u64); 6] =
    [("s", 1), ("m", 60), ("min", 60), ("h", 3_600), ("d", 86_400), ("w", 604_800)];
/// Decimals of a number with a unit at most.
const MAX_DECIMALS: usize = 9;
/// A number of seconds since the epoch is shorter than one of milliseconds, until the year 5138.
const EPOCH_MILLIS_DIGITS: usize = 12;

/// Reads a whole number.
pub(super) fn count(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Reads a size in bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    scaled(text, &SIZES)
}

/// Reads a span of time in nanoseconds; a plain number is milliseconds.
pub(super) fn nanos(text: &str) -> Option<u64> {
    scaled(text, &SPANS)
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, scale) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole = count(whole).filter(|_| !whole.is_empty())?.checked_mul(*scale)?;
    if part.len() > MAX_DECIMALS {
        return None;
    }
    let decimals = u128::from(if part.is_empty() { 0 } else { count(part)? });
    let places = u32::try_from(part.len()).ok()?;
    let fraction = decimals * u128::from(*scale) / 10_u128.pow(places);
    whole.checked_add(u64::try_from(fraction).ok()?)
}

/// What a comparison with a number says, as the least and the greatest, both included. `step` is how exactly a number
/// without comparison is meant.
pub(super) fn span(operator: Operator, text: &str, unit: Unit, step: u64) -> Option<(u64, u64)> {
    let (operator, text) = match (operator, text) {
        (Operator::Natural, text) => leading_operator(text),
        given => given,
    };
    if operator == Operator::Natural
        && let Some((from, to)) = text.split_once("..").or_else(|| text.split_once('-'))
    {
        let to = if to.is_empty() { u64::MAX } else { unit(to)? };
        return Some((unit(from)?, to));
    }
    let value = unit(text)?;
    Some(match operator {
        Operator::Natural | Operator::Equal => (value, value.saturating_add(step - 1)),
        Operator::AtLeast => (value, u64::MAX),
        Operator::Greater => (value.checked_add(1)?, u64::MAX),
        Operator::AtMost => (0, value),
        Operator::Less => (0, value.checked_sub(1)?),
        Operator::Unequal | Operator::Regex => return None,
    })
}

/// The comparison that a value begins with: later values of a list have theirs there.
fn leading_operator(text: &str) -> (Operator, &str) {
    for (sign, operator) in
        [(">=", Operator::AtLeast), ("<=", Operator::AtMost), (">", Operator::Greater), ("<", Operator::Less)]
    {
        if let Some(rest) = text.strip_prefix(sign) {
            return (operator, rest);
        }
    }
    (Operator::Natural, text)
}

/// Reads a status, a class like `5xx`, or a comparison.
pub(super) fn status(operator: Operator, text: &str) -> Option<(u64, u64)> {
    let class = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX"));
    if let Some(class) = class {
        let (operator, class) =
            if operator == Operator::Natural { leading_operator(class) } else { (operator, class) };
        let first = count(class).filter(|class| (1..=9).contains(class))? * 100;
        return Some(match operator {
            Operator::Natural | Operator::Equal => (first, first + 99),
            Operator::AtLeast => (first, u64::MAX),
            Operator::Greater => (first + 100, u64::MAX),
            Operator::AtMost => (0, first + 99),
            Operator::Less => (0, first - 1),
            Operator::Unequal | Operator::Regex => return None,
        });
    }
    span(operator, text, |text| count(text).filter(|status| (100..=999).contains(status)), 1)
}

/// Reads a time: an age like `10m`, `today`, a time of today, a date, a date and time (local unless it has an offset),
/// or milliseconds since the epoch.
pub(super) fn time(text: &str, now: SystemTime) -> Option<SystemTime> {
    if let Some(seconds) = age(text) {
        return now.checked_sub(Duration::from_secs(seconds));
    }
    if text.len() >= EPOCH_MILLIS_DIGITS
        && let Some(millis) = count(text)
    {
        return SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis));
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp.into());
    }
    let zone = TimeZone::system();
    let today = Zoned::new(Timestamp::try_from(now).ok()?, zone.clone()).date();
    let local = match text.to_ascii_lowercase().as_str() {
        "today" => today.to_datetime(Time::midnight()),
        "yesterday" => today.yesterday().ok()?.to_datetime(Time::midnight()),
        text => local(text, today)?,
    };
    Some(local.to_zoned(zone).ok()?.timestamp().into())
}

fn local(text: &str, today: Date) -> Option<DateTime> {
    if text.contains('-') {
        return text.to_ascii_uppercase().parse().ok();
    }
    // `9:30` is a time too.
    let padded = if text.find(':') == Some(1) { format!("0{text}") } else { text.to_owned() };
    let time: Time = padded.parse().ok().filter(|_| padded.contains(':'))?;
    Some(today.to_datetime(time))
}

fn age(text: &str) -> Option<u64> {
    let text = text.strip_suffix(" ago").unwrap_or(text).trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
    let (_, scale) = AGES.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text[end..]))?;
    count(&text[..end])?.checked_mul(*scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units() {
        for (text, value) in [("10kb", 10_000), ("1.5KiB", 1_536), ("7", 7), ("0.25m", 250_000)] {
            assert_eq!(bytes(text), Some(value), "{text}");
        }
        for (text, value) in
            [("200", 200_000_000), ("1.5s", 1_500_000_000), ("3us", 3_000), ("2m", 120_000_000_000)]
        {
            assert_eq!(nanos(text), Some(value), "{text}");
        }
        for bad in ["", "kb", "-1", "1..2", "1 x", "99999999999999gb", ".5"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn comparisons_become_spans() {
        for (text, expected) in [
            ("404", Some((404, 404))),
            ("5xx", Some((500, 599))),
            (">=5XX", Some((500, u64::MAX))),
            ("<4xx", Some((0, 399))),
            ("200-299", Some((200, 299))),
            ("200..299", Some((200, 299))),
            (">499", Some((500, u64::MAX))),
            ("40", None),
            ("abc", None),
            ("0xx", None),
            ("", None),
        ] {
            assert_eq!(status(Operator::Natural, text), expected, "{text}");
        }
        assert_eq!(status(Operator::AtLeast, "500"), Some((500, u64::MAX)));
    }

    #[test]
    fn times_are_ages_dates_and_numbers() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let epoch =
            |text| time(text, now).map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
        for (text, expected) in [
            ("10m", Some(1_800_000_000 - 600)),
            ("2h ago", Some(1_800_000_000 - 7_200)),
            ("1700000000000", Some(1_700_000_000)),
            ("2026-11-21T10:00:00Z", Some(1_795_255_200)),
            ("2026-11-21T10:00+02:00", Some(1_795_248_000)),
            ("soon", None),
            ("10", None),
            ("", None),
        ] {
            assert_eq!(epoch(text), expected, "{text}");
        }
        for local in ["2026-11-21", "2026-11-21T10:00", "2026-11-21 10:00:05", "9:30", "23:59:59", "today"] {
            assert!(epoch(local).is_some(), "{local}");
        }
        assert!(epoch("today") <= epoch("1s") && epoch("yesterday") < epoch("today"));
    }
}
