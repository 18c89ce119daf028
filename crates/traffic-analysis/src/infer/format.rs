//! Formats of texts, as JSON Schema names them.

/// A set of formats, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Formats(u8);

/// A format's name, and whether a text has it.
type Named = (&'static str, fn(&str) -> bool);

const NAMES: [Named; 7] = [
    ("date-time", is_date_time),
    ("date", is_date),
    ("uuid", is_uuid),
    ("email", is_email),
    ("uri", is_uri),
    ("ipv4", |text| text.parse::<std::net::Ipv4Addr>().is_ok()),
    ("ipv6", |text| text.contains(':') && text.parse::<std::net::Ipv6Addr>().is_ok()),
];

impl Formats {
    /// Those a text has.
    pub(super) fn of(text: &str) -> Self {
        /// No text of a format is longer.
        const LONGEST: usize = 2048;
        if text.is_empty() || text.len() > LONGEST {
            return Self(0);
        }
        let bits = NAMES.iter().enumerate().filter(|(_, (_, is))| is(text));
        Self(bits.fold(0, |bits, (at, _)| bits | 1 << at))
    }

    /// Those that both have.
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The first of them.
    pub(super) fn name(self) -> Option<&'static str> {
        NAMES.iter().enumerate().find(|(at, _)| self.0 & (1 << at) != 0).map(|(_, (name, _))| *name)
    }
}

fn digits(text: &str, lengths: &[usize], between: char) -> bool {
    let parts: Vec<&str> = text.split(between).collect();
    parts.len() == lengths.len()
        && parts
            .iter()
            .zip(lengths)
            .all(|(part, length)| part.len() == *length && part.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_date(text: &str) -> bool {
    digits(text, &[4, 2, 2], '-') && (1..=12).contains(&text[5..7].parse().unwrap_or(0))
}

/// RFC 3339 section 5.6.
fn is_date_time(text: &str) -> bool {
    let Some((date, time)) = text.split_at_checked(10).filter(|_| text.is_ascii()) else { return false };
    let Some(time) = time.strip_prefix(['T', 't']) else { return false };
    let zone = time.strip_suffix(['Z', 'z']).or_else(|| {
        let (time, zone) = time.split_at_checked(time.len().checked_sub(6)?)?;
        (zone.starts_with(['+', '-']) && digits(&zone[1..], &[2, 2], ':')).then_some(time)
    });
    let Some(time) = zone else { return false };
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    is_date(date)
        && digits(clock, &[2, 2, 2], ':')
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == 5
        && parts
            .iter()
            .zip([8, 4, 4, 4, 12])
            .all(|(part, length)| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
    !local.is_empty()
        && local.bytes().all(word)
        && domain.contains('.')
        && domain.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !rest.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_grammar() {
        for (text, want) in [
            ("2026-11-21T08:00:00Z", Some("date-time")),
            ("2026-11-21T08:00:00.123+01:00", Some("date-time")),
            ("2026-11-21T08:00", None),
            ("2026-11-21", Some("date")),
            ("2026-13-21", None),
            ("9b2e4c1d-8f3a-4b6e-9d2c-1a2b3c4d5e6f", Some("uuid")),
            ("ann@example.com", Some("email")),
            ("ann@example", None),
            ("https://example.com/a?b=c", Some("uri")),
            ("https://example.com/a b", None),
            ("192.0.2.1", Some("ipv4")),
            ("2001:db8::1", Some("ipv6")),
            ("é2026-11-21T08:00:00Z", None),
            ("", None),
            ("word", None),
        ] {
            assert_eq!(Formats::of(text).name(), want, "{text}");
        }
        let both = Formats::of("2026-11-21").and(Formats::of("word"));
        assert_eq!(both.name(), None);
    }
}
