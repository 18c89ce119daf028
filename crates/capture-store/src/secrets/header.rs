//! Credentials in header fields.

use super::{SecretKind, SecretSpan, Secrets, names, pairs};

/// Header fields whose value is a URL, or begins with one.
const URL_HEADERS: &[&str] =
    &["referer", "location", "content-location", "origin", "refresh", "link", "x-original-url", ":path"];

pub(super) fn find(secrets: &Secrets, name: &[u8], value: &[u8]) -> Vec<SecretSpan> {
    if names::is_cookie_header(name) {
        let lower = name.to_ascii_lowercase();
        return cookies(value, lower.starts_with(b"set-"));
    }
    if secrets.is_header(name) {
        return whole(name, value);
    }
    let is_url = URL_HEADERS.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name));
    if is_url { pairs::url(secrets, value) } else { secrets.anywhere(value) }
}

/// All of a value but the scheme before credentials (RFC 9110 section 11.4): `Bearer abc` hides `abc`.
fn whole(name: &[u8], value: &[u8]) -> Vec<SecretSpan> {
    let start = value.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !byte.is_ascii_whitespace()).map_or(start, |last| last + 1);
    let value = &value[..end];
    let carries_scheme = name.to_ascii_lowercase().ends_with(b"authorization");
    let scheme = value[start..].iter().position(|byte| *byte == b' ').filter(|_| carries_scheme);
    let from = match scheme {
        Some(space) => start + space + 1,
        None => start,
    };
    if from >= end { Vec::new() } else { vec![SecretSpan::new(from..end, SecretKind::Header, name)] }
}

/// The values of cookies; of `Set-Cookie` the one before its attributes.
fn cookies(value: &[u8], only_first: bool) -> Vec<SecretSpan> {
    let mut spans = Vec::new();
    let mut at = 0;
    for (index, piece) in value.split(|byte| *byte == b';').enumerate() {
        if index > 0 && only_first {
            break;
        }
        // A cookie without `=` is a value without a name (RFC 6265bis section 5.6).
        let (name, from) = match piece.iter().position(|byte| *byte == b'=') {
            Some(equals) => (piece[..equals].trim_ascii(), equals + 1),
            None => (&b""[..], 0),
        };
        let cookie = &piece[from..];
        let lead = cookie.len() - cookie.trim_ascii_start().len();
        let length = cookie.trim_ascii().len();
        if length > 0 {
            let start = at + from + lead;
            spans.push(SecretSpan::new(start..start + length, SecretKind::Cookie, name));
        }
        at += piece.len() + 1;
    }
    spans
}
