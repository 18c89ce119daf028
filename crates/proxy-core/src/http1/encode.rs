//! Heads and trailer sections into bytes, exactly as they are; what would break the framing is refused.

use bytes::{BufMut, BytesMut};
use http::Version;
use memchr::{memchr, memchr_iter};

use super::{
    fields::{is_field_value, is_token},
    parse::is_target,
    target::check_authority,
};
use crate::{
    head::{Headers, RequestHead, ResponseHead},
    wire::WireError,
};

/// In which form a request target is written (RFC 9112 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetForm {
    /// Path and query, or `*`: to an origin.
    Origin,
    /// The whole URL: to a parent proxy.
    Absolute,
    /// Host and port: CONNECT to a parent proxy.
    Authority,
}

/// Writes a request head. HTTP/1.0 stays HTTP/1.0; every other version becomes HTTP/1.1, the one spoken here.
pub(super) fn request(head: &RequestHead, form: TargetForm, out: &mut BytesMut) -> Result<(), WireError> {
    let (scheme, authority, target) = (head.scheme.as_str(), &*head.authority, &*head.target);
    let parts = match form {
        TargetForm::Origin => ["", "", "", target],
        TargetForm::Absolute if target == "*" => [scheme, "://", authority, ""],
        TargetForm::Absolute => [scheme, "://", authority, target],
        TargetForm::Authority => ["", "", authority, ""],
    };
    if form != TargetForm::Origin && check_authority(authority).is_err() {
        return Err(WireError::malformed("authority is not a host with an optional port"));
    }
    if form != TargetForm::Authority && !is_path(target) {
        return Err(WireError::malformed(
            "request target is no path, or holds a space or a control character",
        ));
    }
    let before = out.len();
    let target_bytes = parts.iter().map(|part| part.len()).sum::<usize>();
    out.reserve(head.method.as_str().len() + target_bytes + 16 + size_hint(&head.headers));
    out.put_slice(head.method.as_str().as_bytes());
    out.put_u8(b' ');
    for part in parts {
        out.put_slice(part.as_bytes());
    }
    out.put_slice(if head.version == Version::HTTP_10 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" });
    fields(&head.headers, before, out)
}

/// Tells whether this is the path and query of an origin-form target, or the asterisk.
fn is_path(target: &str) -> bool {
    (target.starts_with('/') || target == "*") && is_target(target)
}

/// Writes a response head. The version is always HTTP/1.1: a sender says its own (RFC 9110 section 2.5).
pub(super) fn response(head: &ResponseHead, out: &mut BytesMut) -> Result<(), WireError> {
    let reason = match &head.reason {
        Some(reason) => &reason[..],
        None => head.status.canonical_reason().unwrap_or("").as_bytes(),
    };
    if !is_field_value(reason) {
        return Err(WireError::malformed("reason phrase holds CR, LF or NUL"));
    }
    let before = out.len();
    out.reserve(16 + reason.len() + size_hint(&head.headers));
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(head.status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(reason);
    out.put_slice(b"\r\n");
    fields(&head.headers, before, out)
}

/// Writes the last chunk and the trailer section.
pub(super) fn last_chunk(trailers: Option<&Headers>, out: &mut BytesMut) -> Result<(), WireError> {
    if let Some(trailers) = trailers {
        super::decode::check_trailers(trailers)?;
    }
    let before = out.len();
    out.put_slice(b"0\r\n");
    match trailers {
        Some(trailers) => fields(trailers, before, out),
        None => {
            out.put_slice(b"\r\n");
            Ok(())
        }
    }
}

/// Writes a chunk-size line.
pub(super) fn chunk_size(mut size: usize, out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut line = [0; size_of::<usize>() * 2];
    let mut at = line.len();
    loop {
        at -= 1;
        line[at] = DIGITS[size % 16];
        size /= 16;
        if size == 0 {
            break;
        }
    }
    out.put_slice(&line[at..]);
    out.put_slice(b"\r\n");
}

/// Writes field lines and the empty line. Where one cannot stand on the wire, all that was written since `before` is
/// taken back.
fn fields(headers: &Headers, before: usize, out: &mut BytesMut) -> Result<(), WireError> {
    let at = out.len();
    for header in headers {
        if !is_token(&header.name) {
            out.truncate(before);
            return Err(WireError::malformed("field name is not a token"));
        }
        out.put_slice(&header.name);
        out.put_slice(b": ");
        out.put_slice(&header.value);
        out.put_slice(b"\r\n");
    }
    // Names are tokens: any more than one CR and one LF to the line, and any NUL, is in a value.
    let (written, lines) = (&out[at..], headers.len());
    let count = |byte| memchr_iter(byte, written).count();
    if count(b'\r') != lines || count(b'\n') != lines || memchr(0, written).is_some() {
        out.truncate(before);
        return Err(WireError::malformed("field value holds CR, LF or NUL"));
    }
    out.put_slice(b"\r\n");
    Ok(())
}

fn size_hint(headers: &Headers) -> usize {
    headers.iter().map(|header| header.name.len() + header.value.len() + 4).sum::<usize>() + 2
}
