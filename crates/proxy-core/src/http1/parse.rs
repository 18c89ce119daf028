//! Whole heads: start lines (RFC 9112 sections 3 and 4) and what follows them.

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use memchr::{memchr, memchr3, memrchr};

use super::{
    error::HeadError,
    fields::{Blemishes, fields, is_token},
    lines::{LineEnds, lines},
    target::resolve,
};
use crate::head::{RequestHead, ResponseHead, Scheme};

/// What the connection implies about a request that does not say it itself.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    /// The scheme of an origin-form target.
    pub(crate) scheme: Scheme,
    /// The authority of the tunnel the request came through; `None` outside any, where the request must name its
    /// origin.
    pub(crate) authority: Option<String>,
}

/// Parses a whole request head, its empty line included; `capacity` is the number of fields to expect.
pub(super) fn request(head: &Bytes, default: &Defaults, capacity: usize) -> Result<RequestHead, HeadError> {
    let (line, fields_at) = start_line(head, LineEnds::Crlf)?;
    let (method, target, version) = request_line(line)?;
    let headers = fields(head, fields_at, LineEnds::Crlf, Blemishes::Refuse, capacity)?;
    let resolved = resolve(&method, target, version, &headers, default)?;
    Ok(RequestHead {
        method,
        scheme: resolved.scheme,
        authority: resolved.authority,
        target: resolved.target,
        version,
        headers,
    })
}

/// Parses a whole response head, its empty line included; `capacity` is the number of fields to expect.
pub(super) fn response(head: &Bytes, capacity: usize) -> Result<ResponseHead, HeadError> {
    let (line, fields_at) = start_line(head, LineEnds::CrlfOrLf)?;
    let (version, status, reason) = status_line(line)?;
    let reason = Some(head.slice_ref(reason));
    let headers = fields(head, fields_at, LineEnds::CrlfOrLf, Blemishes::Mend, capacity)?;
    Ok(ResponseHead { status, reason, version, headers })
}

/// The first line without its end, and where the second begins.
fn start_line(head: &Bytes, ends: LineEnds) -> Result<(&[u8], usize), HeadError> {
    let Some(range) = lines(head, 0, ends).next() else {
        return Err(HeadError::malformed("start line is empty"));
    };
    let line = &head[range?];
    if memchr3(b'\r', b'\n', 0, line).is_some() {
        return Err(HeadError::malformed("start line holds a bare CR or a NUL"));
    }
    let next = memchr(b'\n', head).map_or(head.len(), |at| at + 1);
    Ok((line, next))
}

/// `method SP request-target SP HTTP-version`, with exactly these two spaces.
fn request_line(line: &[u8]) -> Result<(Method, &str, Version), HeadError> {
    let (Some(first), Some(last)) = (memchr(b' ', line), memrchr(b' ', line)) else {
        return Err(HeadError::malformed("request line has no spaces"));
    };
    if first == last {
        return Err(HeadError::malformed("request line has no HTTP version"));
    }
    let method = Some(&line[..first]).filter(|method| is_token(method));
    let Some(method) = method.and_then(|method| Method::from_bytes(method).ok()) else {
        return Err(HeadError::malformed("method is not a token"));
    };
    let version = version(&line[last + 1..])?;
    let target = &line[first + 1..last];
    match std::str::from_utf8(target) {
        Ok(target) if is_target(target) => Ok((method, target, version)),
        Ok("") => Err(HeadError::malformed("request target is empty")),
        Ok(_) => Err(HeadError::malformed("request target holds a space or a control character")),
        Err(_) => Err(HeadError::malformed("request target is not UTF-8")),
    }
}

/// `HTTP-version SP status-code SP [ reason-phrase ]`; the second space may be missing when no phrase follows.
fn status_line(line: &[u8]) -> Result<(Version, StatusCode, &[u8]), HeadError> {
    let Some(space) = memchr(b' ', line) else {
        return Err(HeadError::malformed("status line has no spaces"));
    };
    let version = version(&line[..space])?;
    let rest = &line[space + 1..];
    let (code, reason) = match memchr(b' ', rest) {
        Some(space) => (&rest[..space], &rest[space + 1..]),
        None => (rest, &rest[rest.len()..]),
    };
    let Ok(status) = StatusCode::from_bytes(code) else {
        return Err(HeadError::malformed("status code is not three digits from 100"));
    };
    Ok((version, status, reason))
}

/// RFC 9112 section 2.3: the name is case-sensitive, the numbers are one digit each.
fn version(text: &[u8]) -> Result<Version, HeadError> {
    match text {
        b"HTTP/1.1" => Ok(Version::HTTP_11),
        b"HTTP/1.0" => Ok(Version::HTTP_10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(HeadError::UnsupportedVersion)
        }
        _ => Err(HeadError::malformed("HTTP version is malformed")),
    }
}

/// Tells whether a target may stand in a request line: not empty, no space, no control character. Bytes beyond
/// ASCII are no URI, but they are what some clients send, and they are no danger to the line.
pub(super) fn is_target(target: &str) -> bool {
    !target.is_empty() && target.bytes().all(|byte| byte > b' ' && byte != 0x7f)
}
