//! Cookies out of `Cookie` and `Set-Cookie` fields (RFC 6265), for the lists HAR keeps beside the headers.

use std::time::SystemTime;

use jiff::{civil::DateTime, tz::Offset};
use serde::Serialize;

use crate::clock;

/// One cookie as HAR 1.2 has it, with Chrome's `sameSite`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cookie {
    pub(crate) name: String,
    pub(crate) value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http_only: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secure: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) same_site: Option<String>,
}

/// The cookies of one `Cookie` field (RFC 6265 section 4.2.1).
pub(crate) fn sent(value: &str) -> impl Iterator<Item = Cookie> + '_ {
    value.split(';').map(str::trim).filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Cookie { name: name.trim().to_owned(), value: value.trim().to_owned(), ..Cookie::default() }
    })
}

/// The cookie of one `Set-Cookie` field (RFC 6265 section 5.2).
pub(crate) fn set(value: &str) -> Cookie {
    let mut parts = value.split(';');
    let pair = parts.next().unwrap_or_default();
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let mut cookie = Cookie {
        name: name.trim().to_owned(),
        value: value.trim().to_owned(),
        http_only: Some(false),
        secure: Some(false),
        ..Cookie::default()
    };
    for attribute in parts {
        let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "path" => cookie.path = Some(value.to_owned()),
            "domain" => cookie.domain = Some(value.to_owned()),
            "expires" => cookie.expires = parse_date(value).map(clock::iso),
            "httponly" => cookie.http_only = Some(true),
            "secure" => cookie.secure = Some(true),
            "samesite" => cookie.same_site = Some(value.to_owned()),
            _ => {}
        }
    }
    cookie
}

/// Reads a cookie date the way browsers do: by its parts, in whatever order (RFC 6265 section 5.1.1).
fn parse_date(text: &str) -> Option<SystemTime> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(is_delimiter).filter(|token| !token.is_empty()) {
        if time.is_none()
            && let Some(found) = parse_time(token)
        {
            time = Some(found);
        } else if day.is_none()
            && let Some(found) = leading_number(token, 2)
        {
            day = Some(found);
        } else if month.is_none()
            && let Some(found) = parse_month(token)
        {
            month = Some(found);
        } else if year.is_none()
            && let Some(found) = leading_number(token, 4).filter(|_| token.len() >= 2)
        {
            year = Some(match found {
                70..=99 => found + 1900,
                0..=69 => found + 2000,
                _ => found,
            });
        }
    }
    let (hour, minute, second) = time?;
    let year = year.filter(|year| *year >= 1601)?;
    let civil =
        DateTime::new(i16::try_from(year).ok()?, month?, i8::try_from(day?).ok()?, hour, minute, second, 0)
            .ok()?;
    Offset::UTC.to_timestamp(civil).ok().map(SystemTime::from)
}

/// The delimiters of RFC 6265 section 5.1.1: every other printable character but digits, letters and the colon.
fn is_delimiter(c: char) -> bool {
    c == '\t' || (c.is_ascii_graphic() || c == ' ') && !c.is_ascii_alphanumeric() && c != ':'
}

fn parse_time(token: &str) -> Option<(i8, i8, i8)> {
    let mut fields = token.splitn(3, ':');
    let mut field = || leading_number(fields.next()?, 2).and_then(|number| i8::try_from(number).ok());
    Some((field()?, field()?, field()?))
}

fn parse_month(token: &str) -> Option<i8> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let start = token.get(..3)?.to_ascii_lowercase();
    MONTHS.iter().position(|month| *month == start).and_then(|index| i8::try_from(index + 1).ok())
}

/// The number a token begins with, when it has one to `max_digits` digits.
fn leading_number(token: &str, max_digits: usize) -> Option<u32> {
    let digits = token.bytes().take_while(u8::is_ascii_digit).count();
    (1..=max_digits).contains(&digits).then(|| token[..digits].parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sent_cookies_are_split_at_semicolons() {
        let seen: Vec<_> = sent("a=1; b = x=y ;; flag").map(|c| (c.name, c.value)).collect();
        let expected = [("a", "1"), ("b", "x=y"), ("flag", "")];
        assert_eq!(seen, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn set_cookies_keep_their_attributes() {
        let cookie = set(
            "id=a=b; Path=/; DOMAIN=.example.com; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Secure; HttpOnly; SameSite=Lax; Max-Age=60",
        );
        assert_eq!(
            cookie,
            Cookie {
                name: "id".into(),
                value: "a=b".into(),
                path: Some("/".into()),
                domain: Some(".example.com".into()),
                expires: Some("2026-10-21T07:28:00.000Z".into()),
                http_only: Some(true),
                secure: Some(true),
                same_site: Some("Lax".into()),
            }
        );
    }

    #[test]
    fn cookie_dates_are_read_in_every_form_browsers_take() {
        for (text, expected) in [
            ("Wed, 21 Oct 2026 07:28:00 GMT", Some("2026-10-21T07:28:00.000Z")),
            ("Wednesday, 21-Oct-26 07:28:00 GMT", Some("2026-10-21T07:28:00.000Z")),
            ("Wed Oct 21 07:28:00 2026", Some("2026-10-21T07:28:00.000Z")),
            ("21 october 1999 7:8:9", Some("1999-10-21T07:08:09.000Z")),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some("1970-01-01T00:00:00.000Z")),
            ("Wed, 31 Feb 2026 07:28:00 GMT", None),
            ("21 Oct 1500 07:28:00", None),
            ("07:28:00", None),
            ("", None),
            ("0", None),
            ("ä", None),
        ] {
            assert_eq!(parse_date(text).map(clock::iso).as_deref(), expected, "{text}");
        }
    }
}
