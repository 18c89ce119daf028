//! Request targets (RFC 9112 section 3.2) and the authorities they are resolved against.

use std::net::Ipv6Addr;

use http::{Method, Version};

use super::{error::HeadError, parse::Defaults};
use crate::head::{Headers, Scheme};

/// A request target taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) scheme: Scheme,
    pub(super) authority: String,
    pub(super) target: String,
}

/// Resolves the target of a request line against its `Host` and what the connection implies.
pub(super) fn resolve(
    method: &Method,
    target: &str,
    version: Version,
    headers: &Headers,
    default: &Defaults,
) -> Result<Resolved, HeadError> {
    let host = host(headers)?;
    if method == Method::CONNECT {
        check_connect(target)?;
        let authority = target.to_owned();
        return Ok(Resolved { scheme: default.scheme, target: authority.clone(), authority });
    }
    if target.starts_with('/') || (target == "*" && method == Method::OPTIONS) {
        let authority = implied(host, version, default)?;
        return Ok(Resolved { scheme: default.scheme, authority, target: target.to_owned() });
    }
    absolute(method, target)
}

/// The value of the only `Host` field, checked (RFC 9112 section 3.2: more than one, or an invalid one, is 400).
fn host(headers: &Headers) -> Result<Option<&str>, HeadError> {
    let mut values = headers.get_all("host");
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(HeadError::malformed("more than one Host field"));
    }
    let Ok(text) = std::str::from_utf8(value) else {
        return Err(HeadError::malformed("Host is not ASCII"));
    };
    if !text.is_empty() {
        check_authority(text).map_err(|what| HeadError::malformed(format!("invalid Host: {what}")))?;
    }
    Ok(Some(text))
}

/// The authority of an origin-form or asterisk-form target: `Host`, else that of the tunnel.
fn implied(host: Option<&str>, version: Version, default: &Defaults) -> Result<String, HeadError> {
    match (host, &default.authority) {
        (Some(host), _) if !host.is_empty() => Ok(host.to_owned()),
        (_, Some(tunnel)) => Ok(tunnel.clone()),
        (Some(_), None) => Err(HeadError::malformed("Host is empty")),
        (None, None) if version == Version::HTTP_10 => {
            Err(HeadError::malformed("neither the target nor a Host field names the origin"))
        }
        (None, None) => Err(HeadError::malformed("Host is missing")),
    }
}

/// Takes an absolute-form target apart; user information is dropped (RFC 9110 section 4.2.4).
fn absolute(method: &Method, target: &str) -> Result<Resolved, HeadError> {
    let Some((scheme, rest)) = target.split_once("://") else {
        return Err(HeadError::malformed("request target has no valid form"));
    };
    let scheme = match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
        _ if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
        _ => return Err(HeadError::malformed("scheme of the request target is neither http nor https")),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let authority = match authority.split_once('@') {
        Some((user, authority)) if user.bytes().all(is_user_byte) => authority,
        // A backslash is a slash to some, so that the host would be another one.
        Some(_) => return Err(HeadError::malformed("invalid user information in the request target")),
        None => authority,
    };
    check_authority(authority)
        .map_err(|what| HeadError::malformed(format!("invalid authority in the request target: {what}")))?;
    let target = match path {
        // RFC 9112 section 3.2.4: the last proxy before the origin asks it about itself.
        "" if method == Method::OPTIONS => "*".to_owned(),
        _ if path.starts_with('/') => path.to_owned(),
        _ => format!("/{path}"),
    };
    Ok(Resolved { scheme, authority: authority.to_owned(), target })
}

/// RFC 9110 section 9.3.6: CONNECT names a host and a port, and a missing or invalid port is refused.
fn check_connect(target: &str) -> Result<(), HeadError> {
    check_authority(target)
        .map_err(|what| HeadError::malformed(format!("invalid CONNECT target: {what}")))?;
    match crate::head::split_authority(target).1 {
        None | Some(0) => Err(HeadError::malformed("CONNECT target has no port")),
        Some(_) => Ok(()),
    }
}

/// Checks `host [":" port]` (RFC 3986 section 3.2) without user information.
///
/// Narrower than the RFC where the wider form cannot be dialled and only serves to confuse: percent-encoding,
/// commas and IPvFuture are refused.
pub(crate) fn check_authority(authority: &str) -> Result<(), &'static str> {
    let (host_ok, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let Some((address, tail)) = rest.split_once(']') else {
                return Err("bracket is not closed");
            };
            let Some(port) = tail.strip_prefix(':').or_else(|| tail.is_empty().then_some("")) else {
                return Err("bytes after the bracket");
            };
            (address.parse::<Ipv6Addr>().is_ok(), port)
        }
        None => {
            let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
            (!host.is_empty() && host.bytes().all(is_host_byte), port)
        }
    };
    if !host_ok {
        return Err("not a host");
    }
    // An empty port is legal (RFC 3986 section 3.2.3).
    if port.is_empty() || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()) {
        Ok(())
    } else {
        Err("not a port")
    }
}

/// A character of user information (RFC 3986 section 3.2.1).
fn is_user_byte(byte: u8) -> bool {
    is_host_byte(byte) || matches!(byte, b',' | b':' | b'%')
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')')
        || matches!(byte, b'*' | b'+' | b';' | b'=')
}
