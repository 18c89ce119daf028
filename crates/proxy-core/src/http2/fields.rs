//! Header fields between the engine's lists and `http`'s maps.

use std::borrow::Cow;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE},
};

use crate::{
    head::{Header, Headers},
    http1::strip_hop_by_hop,
    wire::{WireError, WireErrorKind},
};

/// What each field costs beyond its name and value (RFC 9113 section 6.5.2).
const FIELD_OVERHEAD_BYTES: u64 = 32;

/// Connection-specific fields that are no tokens of `Connection` by custom, and the answer to an upgrade to
/// HTTP/2 in cleartext (RFC 9113 section 8.2.2, RFC 7540 section 3.2.1).
const HOP_BY_HOP: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];

/// What becomes of `Host` in an outgoing request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// It stays as it was received beside `:authority`.
    Keep,
    /// `:authority` says it (RFC 9113 section 8.3.1).
    Drop,
}

/// The size of one field, as RFC 9113 section 6.5.2 counts it.
pub(super) fn field_bytes(name: &str, value: &[u8]) -> u64 {
    name.len() as u64 + value.len() as u64 + FIELD_OVERHEAD_BYTES
}

/// The size of all fields.
pub(super) fn map_bytes(map: &HeaderMap) -> u64 {
    map.iter().map(|(name, value)| field_bytes(name.as_str(), value.as_bytes())).sum()
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

/// The fields as received. `HeaderMap` keeps the order of first appearance and groups a repeated name there.
pub(super) fn received(map: &HeaderMap) -> Headers {
    map.iter()
        .map(|(name, value)| {
            Header::new(
                Bytes::copy_from_slice(name.as_str().as_bytes()),
                Bytes::copy_from_slice(value.as_bytes()),
            )
        })
        .collect()
}

/// The fields to write: names in lower case, without what belongs to one connection only
/// (RFC 9113 section 8.2.2, RFC 9110 section 7.6.1).
///
/// # Errors
///
/// A name that is no token, or a value HTTP/2 cannot carry, makes the message malformed.
pub(super) fn to_write(headers: &Headers, host: Host) -> Result<HeaderMap, WireError> {
    let headers = without_nominated(headers);
    let mut map = HeaderMap::try_with_capacity(headers.len()).map_err(|_| too_many(headers.len()))?;
    for header in headers.iter() {
        let name = HeaderName::from_bytes(&header.name)
            .map_err(|_| WireError::malformed(format!("header name {:?} is no token", header.name_text())))?;
        if is_connection_specific(&name) || (host == Host::Drop && name == HOST) {
            continue;
        }
        let value = HeaderValue::from_maybe_shared(header.value.clone()).map_err(|_| {
            WireError::malformed(format!("value of {name} holds bytes HTTP/2 does not carry"))
        })?;
        map.try_append(name, value).map_err(|_| too_many(headers.len()))?;
    }
    if headers.has_token(TE.as_str(), "trailers") {
        map.insert(TE, HeaderValue::from_static("trailers"));
    }
    Ok(map)
}

/// A message with `Connection` comes from HTTP/1: what that takes away is said there.
fn without_nominated(headers: &Headers) -> Cow<'_, Headers> {
    let mut headers = Cow::Borrowed(headers);
    if headers.contains(CONNECTION.as_str()) {
        strip_hop_by_hop(headers.to_mut(), &[]);
    }
    headers
}

/// `TE` counts as one: it is put back when it says `trailers`, all that HTTP/2 leaves of it.
fn is_connection_specific(name: &HeaderName) -> bool {
    *name == CONNECTION
        || *name == TRANSFER_ENCODING
        || *name == UPGRADE
        || *name == TE
        || HOP_BY_HOP.contains(&name.as_str())
}

fn too_many(count: usize) -> WireError {
    WireError::new(WireErrorKind::Limit, format!("{count} header fields are more than HTTP/2 is given"))
}
