//! Header fields: what may come, and what may go (RFC 9113 section 8.2).

use std::borrow::Cow;

use bytes::Bytes;

use super::PROTOCOL;
use crate::{
    head::{Header, Headers},
    http1::{is_token, strip_hop_by_hop},
    wire::{WireError, WireErrorKind},
};

/// What each field costs beyond its name and value (RFC 9113 section 6.5.2).
#[cfg(test)]
const FIELD_OVERHEAD_BYTES: u64 = 32;

/// Fields that belong to one connection (RFC 9113 section 8.2.2). `TE` is another: it may say `trailers`.
const CONNECTION_SPECIFIC: [&[u8]; 5] =
    [b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"];

/// The answer to an upgrade to HTTP/2 in cleartext, which names itself in `Connection` (RFC 7540 section 3.2.1).
const HTTP2_SETTINGS: &[u8] = b"http2-settings";

/// What becomes of `Host` in an outgoing request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// It stays as it was received beside `:authority`.
    Keep,
    /// `:authority` says it (RFC 9113 section 8.3.1).
    Drop,
}

/// The size of one field, as RFC 9113 section 6.5.2 counts it.
#[cfg(test)]
pub(super) fn field_bytes(name: &str, value: &[u8]) -> u64 {
    name.len() as u64 + value.len() as u64 + FIELD_OVERHEAD_BYTES
}

/// Bounds on a head or a trailer section.
#[derive(Clone, Copy, Debug)]
pub(super) struct SectionLimits {
    pub(super) max_bytes: usize,
    pub(super) max_count: usize,
}

impl SectionLimits {
    /// Fails when a section of `count` fields and `bytes` bytes is over them.
    pub(super) fn check(self, bytes: u64, count: usize) -> Result<(), WireError> {
        let detail = if bytes > self.max_bytes as u64 {
            format!("{bytes} bytes of header fields, over the limit of {}", self.max_bytes)
        } else if count > self.max_count {
            format!("{count} header fields, over the limit of {}", self.max_count)
        } else {
            return Ok(());
        };
        Err(WireError::new(WireErrorKind::Limit, detail))
    }
}

/// Whether a value may stand in a field: visible octets, those beyond ASCII, spaces and tabs (RFC 9110 section 5.5).
/// Controls other than CR, LF and NUL break no framing, but strict peers end the whole connection over them.
pub(super) fn is_value(value: &[u8]) -> bool {
    value.iter().all(|byte| (*byte >= b' ' && *byte != 0x7f) || *byte == b'\t')
}

/// Checks a regular field that came.
///
/// # Errors
///
/// What makes the message malformed (RFC 9113 sections 8.2.1 and 8.2.2). Whitespace around a value does not: it has
/// no meaning, and clients send it.
pub(super) fn check(Header { name, value, .. }: &Header) -> Result<(), WireError> {
    let text = || String::from_utf8_lossy(name).into_owned();
    if !is_token(name) {
        return Err(WireError::malformed(format!("field name {:?} is no token", text())));
    }
    if name.iter().any(u8::is_ascii_uppercase) {
        return Err(WireError::malformed(format!("field name {:?} is not in lower case", text())));
    }
    if !is_value(value) {
        return Err(WireError::malformed(format!("value of {} holds a control character", text())));
    }
    if matches!(name.len(), 7 | 10 | 16 | 17) && CONNECTION_SPECIFIC.contains(&&name[..]) {
        return Err(WireError::malformed(format!("{} has no place in HTTP/2", text())));
    }
    if name == "te" && !value.eq_ignore_ascii_case(b"trailers") {
        return Err(WireError::malformed("te says more than trailers"));
    }
    Ok(())
}

/// What Content-Length says.
///
/// # Errors
///
/// One that is no number, and several that disagree (RFC 9110 section 8.6).
pub(super) fn content_length(headers: &Headers) -> Result<Option<u64>, WireError> {
    let mut length = None;
    for value in headers.get_all("content-length") {
        let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let Some(number) = digits.and_then(|text| text.parse().ok()) else {
            return Err(WireError::malformed("content-length is no number"));
        };
        if length.is_some_and(|length| length != number) {
            return Err(WireError::malformed("several values of content-length that disagree"));
        }
        length = Some(number);
    }
    Ok(length)
}

/// The fields to write: names in lower case, without what belongs to one connection only
/// (RFC 9113 section 8.2.2, RFC 9110 section 7.6.1).
///
/// # Errors
///
/// A name that is no token, or a value HTTP/2 cannot carry, makes the message malformed.
pub(super) fn to_write(headers: &Headers, host: Host) -> Result<Cow<'_, Headers>, WireError> {
    let mut fit = true;
    for Header { name, value, .. } in headers {
        if name.first() == Some(&b':') && name == PROTOCOL {
            fit = false;
            continue;
        }
        if !is_token(name) {
            let name = String::from_utf8_lossy(name);
            return Err(WireError::malformed(format!("field name {name:?} is no token")));
        }
        if !is_value(value) {
            let name = String::from_utf8_lossy(name);
            return Err(WireError::malformed(format!("value of {name} holds bytes HTTP/2 does not carry")));
        }
        let is_kept = !matches!(name.len(), 2 | 4 | 7 | 10 | 14 | 16 | 17)
            || (name != "te" && !is_for_one_hop(name) && (host == Host::Keep || name != "host"));
        fit &= is_kept && !name.iter().any(u8::is_ascii_uppercase);
    }
    if fit {
        return Ok(Cow::Borrowed(headers));
    }
    let mut te = headers.has_token("te", "trailers");
    let headers = without_nominated(headers);
    let mut fields = Headers::with_capacity(headers.len());
    for header in headers.iter() {
        let name = lower_case(&header.name);
        if is_for_one_hop(&name) || name == PROTOCOL || (host == Host::Drop && name == "host") {
            continue;
        }
        if name == "te" {
            // `trailers` is all that HTTP/2 leaves of it.
            if std::mem::take(&mut te) {
                fields.push("te", "trailers");
            }
            continue;
        }
        fields.push_header(Header::received(name, header.value.clone(), header.is_never_indexed()));
    }
    Ok(Cow::Owned(fields))
}

fn lower_case(name: &Bytes) -> Bytes {
    if name.iter().any(u8::is_ascii_uppercase) { name.to_ascii_lowercase().into() } else { name.clone() }
}

fn is_for_one_hop(name: &[u8]) -> bool {
    CONNECTION_SPECIFIC.contains(&name) || name == HTTP2_SETTINGS
}

/// A message with `Connection` comes from HTTP/1: what that takes away is said there.
fn without_nominated(headers: &Headers) -> Cow<'_, Headers> {
    let mut headers = Cow::Borrowed(headers);
    if headers.contains("connection") {
        strip_hop_by_hop(headers.to_mut(), &[]);
    }
    headers
}
