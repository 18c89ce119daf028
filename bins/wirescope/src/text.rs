//! Text for people: captured content made harmless, sizes, durations and times.

use std::{
    borrow::Cow,
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use jiff::{Timestamp, Zoned, tz::TimeZone};

/// Makes a single line of captured text harmless for a terminal: what could move the cursor, ring, colour or reorder
/// is written as an escape, line breaks too.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// The same for a text of many lines: line breaks and tabs stay.
pub(crate) fn harmless_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |letter| matches!(letter, '\n' | '\t'))
}

/// Whitespace of any kind becomes single spaces, and the rest harmless.
pub(crate) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    harmless(&words.join(" ")).into_owned()
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    // What nearly all captured text is.
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let is_bad = |letter: char| is_active(letter) && !stays(letter);
    if !text.chars().any(is_bad) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            letter if !is_bad(letter) => safe.push(letter),
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            letter if u32::from(letter) < 0x100 => {
                // Writing to a String does not fail.
                let _ = write!(safe, "\\x{:02x}", u32::from(letter));
            }
            letter => {
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(letter));
            }
        }
    }
    Cow::Owned(safe)
}

/// Control characters of C0 and C1, and those that turn or hide text: separators of lines and paragraphs, marks and
/// overrides of direction (Unicode Standard Annex 9), and zero width.
pub(crate) fn is_active(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A size as people read it: `812 B`, `1.2 kB`, `104.9 MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut tenths = (bytes + 50) / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths = (tenths + 500) / 1_000;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or("PB");
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// A duration as people read it: `0.4 ms`, `35 ms`, `2.1 s`, `3 min 20 s`.
pub(crate) fn duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0..10_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        10_000..1_000_000 => format!("{} ms", duration.as_millis()),
        1_000_000..60_000_000 => format!("{}.{} s", duration.as_secs(), duration.subsec_millis() / 100),
        _ => format!("{} min {} s", duration.as_secs() / 60, duration.as_secs() % 60),
    }
}

/// The time of day here, to the second.
pub(crate) fn time_of_day(at: SystemTime) -> String {
    local(at).map_or_else(|| "-".to_owned(), |at| at.strftime("%H:%M:%S").to_string())
}

/// Date and time here, to the second.
pub(crate) fn date_and_time(at: SystemTime) -> String {
    local(at).map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// Date and time to the millisecond, in UTC, for machines (RFC 3339).
pub(crate) fn timestamp(at: SystemTime) -> String {
    Timestamp::try_from(at).map_or_else(|_| "-".to_owned(), |at| format!("{at:.3}"))
}

fn local(at: SystemTime) -> Option<Zoned> {
    Some(Timestamp::try_from(at).ok()?.to_zoned(TimeZone::system()))
}

/// `1 exchange`, `2 exchanges`.
pub(crate) fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_text_cannot_act_on_a_terminal() {
        for (captured, shown) in [
            ("plain /path?q=ü", "plain /path?q=ü"),
            ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\u{9b}31m", "\\x9b31m"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
            ("a\u{200b}b\u{7f}", "a\\u{200b}b\\x7f"),
        ] {
            assert_eq!(harmless(captured), shown);
        }
        assert_eq!(harmless_lines("a\n\tb\x1b[2J"), "a\n\tb\\x1b[2J");
        assert_eq!(one_line(" a\n  b\x1b"), "a b\\x1b");
    }

    #[test]
    fn sizes_and_durations_are_short() {
        for (bytes, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (1_249, "1.2 kB"),
            (999_999, "1.0 MB"),
            (104_857_600, "104.9 MB"),
            (u64::MAX / 2, "9223.4 PB"),
        ] {
            assert_eq!(size(bytes), shown, "{bytes}");
        }
        for (micros, shown) in [
            (0, "0.0 ms"),
            (450, "0.4 ms"),
            (35_400, "35 ms"),
            (2_190_000, "2.1 s"),
            (200_000_000, "3 min 20 s"),
        ] {
            assert_eq!(duration(Duration::from_micros(micros)), shown, "{micros}");
        }
    }

    #[test]
    fn times_for_machines_are_in_utc() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        assert_eq!(timestamp(at), "2023-11-14T22:13:20.123Z");
    }
}
