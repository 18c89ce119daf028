//! Other origins.

use serde::{Deserialize, Serialize};

use super::{matcher::SchemeMatch, pattern::ParsePatternError, replace::Replace};

/// Another origin for a request; what is not given stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, try_from = "Form")]
#[non_exhaustive]
pub struct MapRemote {
    /// `http` or `https`. A scheme without a `port` means that scheme's own port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<SchemeMatch>,
    /// The host, without a port; an IPv6 address with or without brackets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// A search over the path (without the query).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Replace>,
    /// Leaves the `Host` field (`:authority`) as the client sent it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_host: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default)]
    scheme: Option<SchemeMatch>,
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    path: Option<Replace>,
    #[serde(default)]
    keep_host: bool,
}

impl TryFrom<Form> for MapRemote {
    type Error = ParsePatternError;

    fn try_from(form: Form) -> Result<Self, ParsePatternError> {
        let Form { scheme, host, port, path, keep_host } = form;
        if port == Some(0) {
            return Err(ParsePatternError("a port is 1 to 65535".to_owned()));
        }
        let host = host.map(|host| plain_host(&host)).transpose()?;
        Ok(Self { scheme, host, port, path, keep_host })
    }
}

/// A host alone, as it is put before a port.
fn plain_host(text: &str) -> Result<String, ParsePatternError> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let is_v6 = bare.parse::<std::net::Ipv6Addr>().is_ok();
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if is_v6 {
        return Ok(format!("[{bare}]"));
    }
    if text.is_empty() || text.len() > 255 || !text.bytes().all(named) {
        let shown: String = text.chars().take(80).collect();
        return Err(ParsePatternError(format!(
            "{shown:?} is no host to send to; write a host name or an address, the port in `port`"
        )));
    }
    Ok(text.to_owned())
}

impl MapRemote {
    /// Sends to another host and port, with the request's scheme.
    ///
    /// # Errors
    /// When the host is none.
    pub fn to_host(host: &str, port: Option<u16>) -> Result<Self, ParsePatternError> {
        Ok(Self { host: Some(plain_host(host)?), port, ..Self::default() })
    }

    /// Reads an origin: `https://staging.example.com:8443`, or `host:port`.
    ///
    /// # Errors
    /// When it has another scheme, a path or no host.
    pub fn to_origin(origin: &str) -> Result<Self, ParsePatternError> {
        let refuse = || {
            let shown: String = origin.chars().take(120).collect();
            ParsePatternError(format!("{shown:?} is no origin; write `https://host:port`, without a path"))
        };
        let (scheme, rest) = match origin.split_once("://") {
            Some(("http", rest)) => (Some(SchemeMatch::Http), rest),
            Some(("https", rest)) => (Some(SchemeMatch::Https), rest),
            Some(_) => return Err(refuse()),
            None => (None, origin),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = crate::head::split_authority(rest);
        let written = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let bracketed = port.map_or_else(|| format!("[{host}]"), |port| format!("[{host}]:{port}"));
        if rest != written && rest != bracketed || port == Some(0) {
            return Err(refuse());
        }
        Ok(Self { scheme, host: Some(plain_host(host).map_err(|_| refuse())?), port, ..Self::default() })
    }
}
