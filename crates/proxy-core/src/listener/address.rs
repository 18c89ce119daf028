//! A place to listen at, and how clients reach the proxy there.

use std::{fmt, net::SocketAddr, str::FromStr, sync::Arc};

use super::origin::{HostField, OriginUrl, Reverse};
use crate::event::ListenerKind;

/// A place to listen at, and how clients reach the proxy there.
///
/// As text: `127.0.0.1:8080` or `http://127.0.0.1:8080` for HTTP proxy clients, `socks5://127.0.0.1:1080`,
/// `transparent://127.0.0.1:8443`, and `reverse://127.0.0.1:9000=https://example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    address: SocketAddr,
    mode: Mode,
}

/// How clients reach the proxy through a listener, with what it needs for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Explicit,
    Socks,
    Transparent,
    Reverse(Arc<Reverse>),
}

impl Mode {
    pub(crate) fn kind(&self) -> ListenerKind {
        match self {
            Self::Explicit => ListenerKind::Explicit,
            Self::Socks => ListenerKind::Socks,
            Self::Transparent => ListenerKind::Transparent,
            Self::Reverse(_) => ListenerKind::Reverse,
        }
    }
}

impl Listener {
    /// Listens for clients that are set up to use an HTTP proxy. Those that speak SOCKS are served as well: their
    /// first octet tells them apart.
    #[must_use]
    pub fn explicit(address: SocketAddr) -> Self {
        Self { address, mode: Mode::Explicit }
    }

    /// Listens for clients that are set up to use a SOCKS proxy: version 5 (RFC 1928, RFC 1929), 4 and 4a.
    #[must_use]
    pub fn socks(address: SocketAddr) -> Self {
        Self { address, mode: Mode::Socks }
    }

    /// Listens for connections the system redirected here. They go to their original destination where the system
    /// tells it (Linux), else to the server name of TLS or the `Host` of HTTP, on port 443 or 80 unless `Host` has
    /// one.
    #[must_use]
    pub fn transparent(address: SocketAddr) -> Self {
        Self { address, mode: Mode::Transparent }
    }

    /// Listens for clients that take the proxy for the origin, in TLS or in cleartext. Everything goes to `origin`,
    /// with the client's own `Host` and the origin's server name; see [`with_host`](Self::with_host).
    #[must_use]
    pub fn reverse(address: SocketAddr, origin: OriginUrl) -> Self {
        Self { address, mode: Mode::Reverse(Arc::new(Reverse { origin, host: HostField::Keep })) }
    }

    /// Says what `Host` a reverse listener's origin gets; nothing changes for another kind.
    #[must_use]
    pub fn with_host(self, host: HostField) -> Self {
        let Mode::Reverse(reverse) = self.mode else { return self };
        let reverse = Reverse { origin: reverse.origin.clone(), host };
        Self { mode: Mode::Reverse(Arc::new(reverse)), ..self }
    }

    /// The address; of a proxy that listens, the one the system gave.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How clients reach the proxy here.
    #[must_use]
    pub fn kind(&self) -> ListenerKind {
        self.mode.kind()
    }

    /// The origin of a reverse listener.
    #[must_use]
    pub fn origin(&self) -> Option<&OriginUrl> {
        match &self.mode {
            Mode::Reverse(reverse) => Some(&reverse.origin),
            _ => None,
        }
    }

    pub(crate) fn mode(&self) -> &Mode {
        &self.mode
    }

    pub(crate) fn at(self, address: SocketAddr) -> Self {
        Self { address, ..self }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        match &self.mode {
            Mode::Explicit => write!(f, "http://{address}"),
            Mode::Socks => write!(f, "socks5://{address}"),
            Mode::Transparent => write!(f, "transparent://{address}"),
            Mode::Reverse(reverse) => write!(f, "reverse://{address}={}", reverse.origin),
        }
    }
}

/// The text is no listener.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "read {text:?} as a listener: {what}; write 127.0.0.1:8080, socks5://127.0.0.1:1080, \
     transparent://127.0.0.1:8443 or reverse://127.0.0.1:9000=https://example.com"
)]
pub struct ParseListenerError {
    text: String,
    what: String,
}

impl FromStr for Listener {
    type Err = ParseListenerError;

    fn from_str(text: &str) -> Result<Self, ParseListenerError> {
        let refuse = |what: String| ParseListenerError { text: text.chars().take(200).collect(), what };
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let (address, origin) = match rest.split_once('=') {
            Some((address, origin)) => (address, Some(origin)),
            None => (rest, None),
        };
        let address = socket_address(address.trim_end_matches('/'))
            .ok_or_else(|| refuse("it has no IP address and port".to_owned()))?;
        let listener = match (scheme.to_ascii_lowercase().as_str(), origin) {
            ("http", None) => Self::explicit(address),
            ("socks5" | "socks5h" | "socks4" | "socks4a" | "socks", None) => Self::socks(address),
            ("transparent", None) => Self::transparent(address),
            ("reverse", Some(origin)) => {
                Self::reverse(address, origin.parse().map_err(|error| refuse(format!("{error}")))?)
            }
            ("reverse", None) => return Err(refuse("the origin is missing after `=`".to_owned())),
            ("http" | "socks5" | "socks5h" | "socks4" | "socks4a" | "socks" | "transparent", Some(_)) => {
                return Err(refuse("only `reverse` has an origin after `=`".to_owned()));
            }
            (other, _) => return Err(refuse(format!("{other:?} is no kind of listener"))),
        };
        Ok(listener)
    }
}

/// An address with its port; `localhost` is that of IPv4.
fn socket_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?))),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_and_written_as_text() {
        for (text, shown) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:0", "http://[::1]:0"),
            ("localhost:1", "http://127.0.0.1:1"),
            ("socks5://127.0.0.1:1080", "socks5://127.0.0.1:1080"),
            ("SOCKS4A://127.0.0.1:1080/", "socks5://127.0.0.1:1080"),
            ("transparent://0.0.0.0:8443", "transparent://0.0.0.0:8443"),
            (
                "reverse://127.0.0.1:9000=https://Example.com:8443/",
                "reverse://127.0.0.1:9000=https://example.com:8443",
            ),
            ("reverse://127.0.0.1:9000=http://[::1]", "reverse://127.0.0.1:9000=http://[::1]"),
        ] {
            let listener: Listener = text.parse().unwrap();
            assert_eq!(listener.to_string(), shown);
            assert_eq!(shown.parse(), Ok(listener));
        }
    }

    #[test]
    fn what_is_no_listener_is_refused_with_the_reason() {
        for (text, what) in [
            ("", "no IP address and port"),
            ("8080", "no IP address and port"),
            ("socks5://127.0.0.1", "no IP address and port"),
            ("example.com:80", "no IP address and port"),
            ("ftp://127.0.0.1:1", "no kind of listener"),
            ("reverse://127.0.0.1:1", "origin is missing"),
            ("reverse://127.0.0.1:1=example.com", "an origin"),
            ("transparent://127.0.0.1:1=https://a", "only `reverse`"),
        ] {
            let error = text.parse::<Listener>().unwrap_err().to_string();
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
