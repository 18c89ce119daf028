//! The origin a reverse listener stands for.

use std::{fmt, str::FromStr};

use crate::{
    head::{Scheme, split_authority},
    http1::check_authority,
};

/// The origin behind a reverse listener: `https://example.com`, `http://127.0.0.1:3000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginUrl {
    scheme: Scheme,
    /// Without brackets, in lower case.
    host: String,
    port: u16,
}

impl OriginUrl {
    /// What it speaks.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port: the one given, else the scheme's own.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its host and port, also where the port is the scheme's own.
    pub(crate) fn authority_with_port(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }

    /// What `Host` has to say to it: the port is left out where it is the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == self.scheme.default_port() { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for OriginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

/// The text is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read {text:?} as an origin: {what}; write https://example.com or http://127.0.0.1:3000")]
pub struct ParseOriginUrlError {
    text: String,
    what: &'static str,
}

impl FromStr for OriginUrl {
    type Err = ParseOriginUrlError;

    fn from_str(text: &str) -> Result<Self, ParseOriginUrlError> {
        let refuse = |what| ParseOriginUrlError { text: text.chars().take(200).collect(), what };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| refuse("it has no scheme"))?;
        let scheme = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
            _ if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
            _ => return Err(refuse("its scheme is neither http nor https")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(refuse("it has a path, and requests bring their own"));
        }
        if authority.contains('@') {
            return Err(refuse("it has a user, which origins are not told that way"));
        }
        check_authority(authority).map_err(refuse)?;
        let (host, port) = split_authority(authority);
        let port = port.unwrap_or_else(|| scheme.default_port());
        if port == 0 {
            return Err(refuse("port 0 cannot be dialled"));
        }
        Ok(Self { scheme, host: host.to_ascii_lowercase(), port })
    }
}

/// What `Host` (`:authority` in HTTP/2) the origin of a reverse listener gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostField {
    /// The client's own, as it came.
    #[default]
    Keep,
    /// The origin's. For origins that serve nothing under another name.
    Origin,
}

/// What a reverse listener does with what comes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reverse {
    pub(crate) origin: OriginUrl,
    pub(crate) host: HostField,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_taken_apart() {
        for (text, host, port, authority) in [
            ("https://Example.com", "example.com", 443, "example.com"),
            ("https://example.com:443/", "example.com", 443, "example.com"),
            ("http://example.com:443", "example.com", 443, "example.com:443"),
            ("HTTP://127.0.0.1:3000", "127.0.0.1", 3000, "127.0.0.1:3000"),
            ("https://[::1]:8443", "::1", 8443, "[::1]:8443"),
        ] {
            let origin: OriginUrl = text.parse().unwrap();
            assert_eq!((origin.host(), origin.port()), (host, port), "{text}");
            assert_eq!(origin.authority(), authority, "{text}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "example.com",
            "ftp://example.com",
            "https://",
            "https://example.com/path",
            "https://user@example.com",
            "https://example.com:99999",
            "https://example.com:0",
            "https://a b",
            "https://::1",
        ] {
            assert!(text.parse::<OriginUrl>().is_err(), "{text}");
        }
    }
}
