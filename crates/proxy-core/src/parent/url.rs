//! The URL of a parent proxy, read once and checked whole.

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use crate::hosts::is_host_name;

/// Octets a name or password may have where it is sent with its length in one octet (RFC 1929 section 2); kept for
/// every scheme, so that a head stays small.
const MAX_CREDENTIAL_BYTES: usize = 255;

/// Octets a host name has at most (RFC 1035 section 2.3.4).
const MAX_HOST_BYTES: usize = 253;

/// A parent proxy: what requests go through on their way to their origin.
///
/// Read from a URL: `http://`, `https://`, `socks4://`, `socks4a://`, `socks5://` or `socks5h://`, with or without
/// `user:password@` (percent-encoded where it has `:`, `@`, `/` or `%`). Without a port it is 80, 443 or, for SOCKS,
/// 1080. `socks4` and `socks5` resolve names here, `socks4a` and `socks5h` leave that to the parent, as do `http` and
/// `https`.
///
/// `Display` and `Debug` show no credentials. Clones share.
#[derive(Clone, PartialEq, Eq)]
pub struct ParentProxy(Arc<Parts>);

#[derive(PartialEq, Eq)]
struct Parts {
    scheme: ParentScheme,
    host: String,
    port: u16,
    credentials: Option<Credentials>,
}

/// How a parent proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParentScheme {
    /// HTTP in cleartext: CONNECT, and absolute targets for cleartext requests.
    Http,
    /// The same over TLS.
    Https,
    /// SOCKS 4: IPv4 addresses, resolved here.
    Socks4,
    /// SOCKS 4a: names are the parent's to resolve.
    Socks4a,
    /// SOCKS 5 (RFC 1928): addresses, resolved here.
    Socks5,
    /// SOCKS 5: names are the parent's to resolve.
    Socks5h,
}

impl ParentScheme {
    const ALL: [Self; 6] =
        [Self::Http, Self::Https, Self::Socks4, Self::Socks4a, Self::Socks5, Self::Socks5h];

    /// As it stands in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks4 => "socks4",
            Self::Socks4a => "socks4a",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    /// Whether HTTP is spoken with the parent itself.
    pub(crate) fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            _ => 1080,
        }
    }
}

/// What proves to the parent who asks.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: Vec<u8>,
    pub(super) password: Vec<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// What is wrong with the URL of a parent proxy. Says nothing of its credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseParentProxyError {
    /// There is no `scheme://`.
    #[error(
        "find a scheme in the parent proxy's URL; write one like http://proxy.example:3128 or socks5h://127.0.0.1:1080"
    )]
    NoScheme,
    /// The scheme is none that is known.
    #[error(
        "use this scheme for a parent proxy; the schemes are http, https, socks4, socks4a, socks5 and socks5h"
    )]
    UnknownScheme,
    /// There is no host, or what is there is none.
    #[error(
        "find a host in the parent proxy's URL; write a name or an address, IPv6 in brackets: http://[::1]:3128"
    )]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("use the port of the parent proxy's URL; it is a number from 1 to 65535")]
    Port,
    /// Something follows host and port.
    #[error(
        "use a parent proxy's URL with a path or query; it ends after the port, and a `/` in a password is written %2F"
    )]
    Path,
    /// A `%` is not followed by two hexadecimal digits.
    #[error("decode the user or password of the parent proxy's URL; write a `%` itself as %25")]
    PercentEncoding,
    /// A user or password is longer than 255 octets, or the user is empty.
    #[error(
        "use the user or password of the parent proxy's URL; the user has 1 to 255 octets, the password up to 255"
    )]
    CredentialLength,
    /// A user or password has characters that this scheme cannot carry.
    #[error(
        "use the user or password of the parent proxy's URL; control characters, and `:` in an HTTP user, cannot be sent"
    )]
    CredentialCharacters,
    /// SOCKS 4 knows no passwords.
    #[error("use a password with SOCKS 4, which has a user only; leave the password out, or use socks5")]
    Socks4Password,
}

impl ParentProxy {
    /// How it is spoken to.
    #[must_use]
    pub fn scheme(&self) -> ParentScheme {
        self.0.scheme
    }

    /// Its host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Whether it is told credentials.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        self.0.credentials.is_some()
    }

    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.0.credentials.as_ref()
    }

    /// The value of `Proxy-Authorization` (RFC 7617), where it is told credentials.
    pub(crate) fn authorization(&self) -> Option<Bytes> {
        let Credentials { user, password } = self.0.credentials.as_ref()?;
        let pair = [&user[..], b":", &password[..]].concat();
        Some(Bytes::from(format!("Basic {}", STANDARD.encode(pair))))
    }
}

impl FromStr for ParentProxy {
    type Err = ParseParentProxyError;

    fn from_str(text: &str) -> Result<Self, ParseParentProxyError> {
        use ParseParentProxyError as Bad;
        let (scheme, rest) = text.trim().split_once("://").ok_or(Bad::NoScheme)?;
        let scheme = ParentScheme::ALL
            .into_iter()
            .find(|known| scheme.eq_ignore_ascii_case(known.as_str()))
            .ok_or(Bad::UnknownScheme)?;
        // The last `@`: a password may have been written with one in it.
        let (user_info, rest) = match rest.rsplit_once('@') {
            Some((user_info, rest)) => (Some(user_info), rest),
            None => (None, rest),
        };
        if user_info.is_some_and(|text| text.contains(['/', '?', '#'])) {
            return Err(Bad::Path);
        }
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if !matches!(tail, "" | "/") {
            return Err(Bad::Path);
        }
        let (host, port) = host_and_port(authority)?;
        let credentials = user_info.map(|text| credentials(scheme, text)).transpose()?;
        let port = port.unwrap_or_else(|| scheme.default_port());
        Ok(Self(Arc::new(Parts { scheme, host, port, credentials })))
    }
}

fn host_and_port(authority: &str) -> Result<(String, Option<u16>), ParseParentProxyError> {
    use ParseParentProxyError as Bad;
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, tail) = rest.split_once(']').ok_or(Bad::Host)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| Bad::Host)?;
            match tail {
                "" => (host, None),
                _ => (host, Some(tail.strip_prefix(':').ok_or(Bad::Host)?)),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let is_host = host.parse::<IpAddr>().is_ok() || (is_host_name(host) && host.len() <= MAX_HOST_BYTES);
    if !is_host || host.starts_with('.') {
        return Err(Bad::Host);
    }
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|port| *port != 0).ok_or(Bad::Port)?)
        }
        Some(_) => return Err(Bad::Port),
    };
    Ok((host.to_ascii_lowercase(), port))
}

fn credentials(scheme: ParentScheme, text: &str) -> Result<Credentials, ParseParentProxyError> {
    use ParseParentProxyError as Bad;
    let (user, password) =
        text.split_once(':').map_or((text, None), |(user, password)| (user, Some(password)));
    if matches!(scheme, ParentScheme::Socks4 | ParentScheme::Socks4a)
        && password.is_some_and(|password| !password.is_empty())
    {
        return Err(Bad::Socks4Password);
    }
    let (user, password) = (percent_decoded(user)?, percent_decoded(password.unwrap_or_default())?);
    if user.is_empty() || user.len() > MAX_CREDENTIAL_BYTES || password.len() > MAX_CREDENTIAL_BYTES {
        return Err(Bad::CredentialLength);
    }
    // RFC 7617 section 2 for HTTP; a NUL would end the user of SOCKS 4.
    let is_control = |bytes: &[u8]| bytes.iter().any(u8::is_ascii_control);
    if is_control(&user) || is_control(&password) || (scheme.is_http() && user.contains(&b':')) {
        return Err(Bad::CredentialCharacters);
    }
    Ok(Credentials { user, password })
}

fn percent_decoded(text: &str) -> Result<Vec<u8>, ParseParentProxyError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || {
                    let digit = bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                    digit.and_then(|digit| u8::try_from(digit).ok())
                };
                match (digit(), digit()) {
                    (Some(high), Some(low)) => high << 4 | low,
                    _ => return Err(ParseParentProxyError::PercentEncoding),
                }
            }
            byte => byte,
        };
        decoded.push(byte);
    }
    Ok(decoded)
}

/// The URL without credentials, the port always named.
impl fmt::Display for ParentProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { scheme, host, port, .. } = &*self.0;
        match host.contains(':') {
            true => write!(f, "{}://[{host}]:{port}", scheme.as_str()),
            false => write!(f, "{}://{host}:{port}", scheme.as_str()),
        }
    }
}

impl fmt::Debug for ParentProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParentProxy({self}{})", if self.has_credentials() { ", with credentials" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<ParentProxy, ParseParentProxyError> {
        text.parse()
    }

    #[test]
    fn urls_are_read_with_the_ports_their_schemes_have() {
        for (text, shown) in [
            ("http://proxy.example", "http://proxy.example:80"),
            ("HTTPS://Proxy.Example/", "https://proxy.example:443"),
            ("socks4://10.0.0.1", "socks4://10.0.0.1:1080"),
            ("socks4a://u@p", "socks4a://p:1080"),
            ("socks5://[::1]:9", "socks5://[::1]:9"),
            (" socks5h://user:p%40ss@proxy:1081 ", "socks5h://proxy:1081"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn credentials_are_percent_decoded() {
        for (text, user, password) in [
            ("http://user:pass@p", "user", "pass"),
            ("http://user@p", "user", ""),
            ("http://us%65r:p%3Aa%40s%2Fs%25@p", "user", "p:a@s/s%"),
            ("http://user:p@ss:word@p", "user", "p@ss:word"),
            ("socks5://a%3Ab:c@p", "a:b", "c"),
            ("http://user:%E2%82%AC@p", "user", "\u{20ac}"),
        ] {
            let parent = parse(text).unwrap();
            let Credentials { user: u, password: p } = parent.credentials().unwrap();
            assert_eq!((&u[..], &p[..]), (user.as_bytes(), password.as_bytes()), "{text}");
        }
        let aladdin = parse("http://Aladdin:open%20sesame@p").unwrap();
        assert_eq!(aladdin.authorization().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[test]
    fn a_wrong_url_is_refused_with_what_is_wrong_and_without_its_password() {
        use ParseParentProxyError as Bad;
        let long = "x".repeat(256);
        for (text, expected) in [
            ("notaurl", Bad::NoScheme),
            ("proxy:3128", Bad::NoScheme),
            ("", Bad::NoScheme),
            ("ftp://user:hunter2@p", Bad::UnknownScheme),
            ("socks://p", Bad::UnknownScheme),
            ("http://", Bad::Host),
            ("http://user:hunter2@", Bad::Host),
            ("http://a b", Bad::Host),
            ("http://::1:3128", Bad::Host),
            ("http://[::1:3128", Bad::Host),
            ("http://[p]:1", Bad::Host),
            ("http://p:0", Bad::Port),
            ("http://p:65536", Bad::Port),
            ("http://p:", Bad::Port),
            ("http://p:+1", Bad::Port),
            ("http://p/path", Bad::Path),
            ("http://p?q", Bad::Path),
            ("http://p/hunter2@evil", Bad::Path),
            ("http://u:hunter2%@p", Bad::PercentEncoding),
            ("http://u:hunter2%zz@p", Bad::PercentEncoding),
            ("http://:hunter2@p", Bad::CredentialLength),
            (&format!("socks5://u:{long}@p"), Bad::CredentialLength),
            ("http://a%3Ab:hunter2@p", Bad::CredentialCharacters),
            ("http://a:hunter2%0d%0aX@p", Bad::CredentialCharacters),
            ("socks4://u:hunter2@p", Bad::Socks4Password),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(http|socks5h?|\\PC{0,3})(://)?\\PC{0,40}") {
            if let Ok(parent) = parse(&text) {
                let again = parse(&parent.to_string()).unwrap();
                prop_assert_eq!(again.to_string(), parent.to_string());
                prop_assert!(!again.has_credentials());
            }
        }

        #[test]
        fn credentials_survive_encoding_and_are_never_shown(
            user in "[ -~&&[^:]]{1,20}", password in "[ -~]{8,20}", scheme in "https?|socks5h?",
        ) {
            let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
            let url = format!("{scheme}://{}:{}@proxy.example:8", encode(&user), encode(&password));
            let parent = parse(&url).unwrap();
            let Credentials { user: u, password: p } = parent.credentials().unwrap();
            prop_assert_eq!((&u[..], &p[..]), (user.as_bytes(), password.as_bytes()));
            let shown = format!("{parent} {parent:?}");
            prop_assert_eq!(shown, format!("{scheme}://proxy.example:8 ParentProxy({scheme}://proxy.example:8, with credentials)"));
        }
    }
}
