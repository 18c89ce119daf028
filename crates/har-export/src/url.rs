//! The URL of an entry, and the parts of a request's head back out of it.

use std::fmt::Write as _;

use http::Method;
use proxy_core::{RequestHead, Scheme};

/// The parts of a head that its URL says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    pub(crate) authority: String,
    pub(crate) target: String,
}

impl Target {
    pub(crate) fn of(head: &RequestHead) -> Self {
        Self { scheme: head.scheme, authority: head.authority.clone(), target: head.target.clone() }
    }
}

/// The URL, with what no URL may hold (spaces, controls, characters beyond ASCII) percent-encoded.
pub(crate) fn write(head: &RequestHead) -> String {
    encode(&head.url())
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Reads an absolute URL of a scheme that HTTP carries. User information and fragment are left out: they are not
/// sent. The reason is for the person who asked for the import.
pub(crate) fn read(method: &Method, url: &str) -> Result<Target, String> {
    let url = url.trim();
    let (scheme, rest) = url.split_once("://").ok_or_else(|| describe(url))?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => Scheme::Http,
        "https" | "wss" => Scheme::Https,
        _ => return Err(describe(url)),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let authority = authority.rsplit('@').next().unwrap_or_default().to_owned();
    if authority.is_empty()
        || authority.bytes().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control())
    {
        return Err(format!("its URL names no host: {}", shorten(url)));
    }
    let target = encode(target);
    let target = match target.as_bytes().first() {
        _ if *method == Method::CONNECT => authority.clone(),
        None => "/".to_owned(),
        Some(b'?') => format!("/{target}"),
        Some(_) => target,
    };
    Ok(Target { scheme, authority, target })
}

fn describe(url: &str) -> String {
    match url.split_once(':') {
        Some((scheme, _)) if !scheme.is_empty() && scheme.len() < 40 => {
            format!("its URL is neither http nor https but {scheme:?}")
        }
        _ => format!("its URL is not absolute: {}", shorten(url)),
    }
}

fn shorten(url: &str) -> String {
    format!("{:?}", url.chars().take(80).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_other_tools_give_scheme_authority_and_target() {
        for (url, scheme, authority, target) in [
            ("https://example.com/a?b#c", Scheme::Https, "example.com", "/a?b"),
            ("HTTP://Example.com:8080", Scheme::Http, "Example.com:8080", "/"),
            ("wss://user:pw@[::1]:443/ws", Scheme::Https, "[::1]:443", "/ws"),
            ("http://a.test/x y\r\nHost: \u{e9}", Scheme::Http, "a.test", "/x%20y%0D%0AHost:%20%C3%A9"),
            ("https://example.com?x=http://y/", Scheme::Https, "example.com", "/?x=http://y/"),
        ] {
            let expected = Target { scheme, authority: authority.to_owned(), target: target.to_owned() };
            assert_eq!(read(&Method::GET, url), Ok(expected), "{url}");
        }
        let tunnel = read(&Method::CONNECT, "https://example.com:443/").unwrap();
        assert_eq!(
            (tunnel.authority.as_str(), tunnel.target.as_str()),
            ("example.com:443", "example.com:443")
        );
    }

    #[test]
    fn urls_that_http_does_not_carry_are_refused_with_the_reason() {
        for (url, reason) in [
            ("data:text/plain,hi", "neither http nor https but \"data\""),
            ("chrome-extension://abc/x.js", "\"chrome-extension\""),
            ("/relative", "not absolute"),
            ("", "not absolute"),
            ("https:///path", "names no host"),
            ("https://a b/", "names no host"),
        ] {
            let error = read(&Method::GET, url).unwrap_err();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }
}
