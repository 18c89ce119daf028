//! Names and values out of queries, forms and cookies.

use std::borrow::Cow;

use proxy_core::Headers;

/// The pairs of a query or form, percent-decoded, in order (the URL standard's `application/x-www-form-urlencoded`).
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

/// The query of a target, without its question mark.
pub(crate) fn query(target: &str) -> Option<&str> {
    let target = target.split_once('#').map_or(target, |(before, _)| before);
    target.split_once('?').map(|(_, query)| query)
}

/// A text with `%41` and `+` taken back; bytes that are no UTF-8 are replaced.
pub(crate) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return text.into();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match (*byte, digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (other, _) => out.push(other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned().into()
}

/// The cookies a request sends (RFC 6265 section 4.2).
pub(crate) fn sent_cookies(headers: &Headers) -> Vec<(String, String)> {
    let fields = headers.get_all("cookie").map(|value| String::from_utf8_lossy(value).into_owned());
    let pairs = fields.collect::<Vec<_>>();
    pairs.iter().flat_map(|field| field.split(';')).filter_map(cookie).collect()
}

/// The cookies a response sets, each without its attributes.
pub(crate) fn set_cookies(headers: &Headers) -> Vec<(String, String)> {
    let fields = headers.get_all("set-cookie").map(|value| String::from_utf8_lossy(value).into_owned());
    fields.filter_map(|field| cookie(field.split(';').next()?)).collect()
}

fn cookie(pair: &str) -> Option<(String, String)> {
    let (name, value) = pair.trim().split_once('=')?;
    Some((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_come_apart_decoded() {
        let told: Vec<_> = pairs("a=1&b%20c=x+y&flag&%zz=%e4").map(|(n, v)| format!("{n}:{v}")).collect();
        assert_eq!(told, ["a:1", "b c:x y", "flag:", "%zz:\u{fffd}"]);
        assert_eq!((query("/a?b=1#c"), query("/a"), query("/a#b?c")), (Some("b=1"), None, None));
    }

    #[test]
    fn cookies_are_named_with_their_values() {
        let mut headers = Headers::new();
        headers.push("Cookie", "a=1; b=2=3");
        headers.push("Set-Cookie", "sid=x; Path=/; HttpOnly");
        assert_eq!(sent_cookies(&headers), [("a".into(), "1".into()), ("b".into(), "2=3".into())]);
        assert_eq!(set_cookies(&headers), [("sid".into(), "x".into())]);
    }
}
