//! Heads between the engine's structs and lists of fields: pure functions, the pseudo-header fields in both
//! directions (RFC 9113 section 8.3).

use bytes::Bytes;
use http::{Method, StatusCode, Version};

use super::{
    fields::{self, Host, SectionLimits},
    hpack::Section,
};
use crate::{
    head::{Header, Headers, PROTOCOL, RequestHead, ResponseHead, Scheme},
    http1::{check_authority, is_token},
    wire::WireError,
};

/// What stands in the record for a method that is none.
const NO_METHOD: &[u8] = b"INVALID";

/// Whether clients may send extended CONNECT (RFC 8441).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extended {
    /// They were told so.
    Allowed,
    /// They were not.
    Unknown,
}

/// A request's head as it was read, and whether it may go on.
#[derive(Debug)]
pub(super) struct ReadRequest {
    pub(super) head: RequestHead,
    /// The sum of RFC 9113 section 6.5.2.
    pub(super) bytes: u64,
    /// `:protocol` of an extended CONNECT (RFC 8441 section 4).
    pub(super) protocol: Option<String>,
    /// What Content-Length says.
    pub(super) length: Option<u64>,
    /// What is wrong with it, if anything is.
    pub(super) fault: Option<WireError>,
}

/// The pseudo-fields of a section, and what is left of it.
#[derive(Default)]
struct Parts {
    method: Option<Bytes>,
    scheme: Option<Bytes>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
    protocol: Option<Bytes>,
    status: Option<Bytes>,
    headers: Headers,
    fault: Option<WireError>,
}

impl Parts {
    /// Sorts a section. The first fault is kept; what follows it is still read.
    fn new(section: Section) -> Self {
        let mut parts = Self { headers: Headers::with_capacity(section.fields.len()), ..Self::default() };
        for field in section.fields {
            if field.name.first() == Some(&b':') {
                parts.pseudo(field);
            } else {
                if let Err(error) = fields::check(&field) {
                    parts.blame(error);
                }
                parts.headers.push_header(field);
            }
        }
        parts
    }

    fn blame(&mut self, error: WireError) {
        self.fault.get_or_insert(error);
    }

    fn pseudo(&mut self, Header { name, value, .. }: Header) {
        if !self.headers.is_empty() {
            self.blame(WireError::malformed("a pseudo-field after a regular one"));
        }
        let slot = match &name[..] {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            b":path" => &mut self.path,
            b":protocol" => &mut self.protocol,
            b":status" => &mut self.status,
            _ => {
                let name = String::from_utf8_lossy(&name).into_owned();
                return self.blame(WireError::malformed(format!("the unknown pseudo-field {name:?}")));
            }
        };
        if slot.is_some() {
            let name = String::from_utf8_lossy(&name).into_owned();
            return self.blame(WireError::malformed(format!("{name} twice")));
        }
        *slot = Some(value);
    }
}

/// Pseudo-fields count by their bytes only.
fn check_limits(section: &Section, limits: SectionLimits) -> Result<(), WireError> {
    let pseudo = section.fields.iter().filter(|field| field.name.first() == Some(&b':')).count();
    limits.check(section.bytes, section.count - pseudo)
}

/// Reads a request. `fallback` is the scheme of a request that names none.
pub(super) fn read_request(
    section: Section,
    fallback: Scheme,
    limits: SectionLimits,
    extended: Extended,
) -> ReadRequest {
    let (bytes, over) = (section.bytes, check_limits(&section, limits).err());
    let parts = Parts::new(section);
    let method = parts.method.as_deref().and_then(|method| Method::from_bytes(method).ok());
    let scheme = parts.scheme.as_deref().and_then(scheme);
    let text = |value: &Option<Bytes>| value.as_deref().map(|v| String::from_utf8_lossy(v).into_owned());
    let authority = text(&parts.authority)
        .unwrap_or_else(|| parts.headers.get_str("host").unwrap_or_default().to_owned());
    let length = fields::content_length(&parts.headers);
    let head = RequestHead {
        target: text(&parts.path).unwrap_or_else(|| authority.clone()),
        authority,
        method: method.clone().unwrap_or_else(|| Method::from_bytes(NO_METHOD).unwrap_or_default()),
        scheme: scheme.unwrap_or(fallback),
        version: Version::HTTP_2,
        headers: Headers::new(),
    };
    let fault = over
        .or_else(|| parts.fault.clone())
        .or_else(|| length.as_ref().err().cloned())
        .or_else(|| check_request(&parts, &head, method.is_some(), extended).err());
    let protocol = text(&parts.protocol);
    let mut headers = parts.headers;
    if let Some(protocol) = parts.protocol {
        // It has no place of its own.
        headers = std::iter::once(Header::new(PROTOCOL, protocol)).chain(headers.iter().cloned()).collect();
    }
    let head = RequestHead { headers, ..head };
    ReadRequest { head, bytes, protocol, length: length.unwrap_or_default(), fault }
}

fn scheme(text: &[u8]) -> Option<Scheme> {
    match text {
        _ if text.eq_ignore_ascii_case(b"http") => Some(Scheme::Http),
        _ if text.eq_ignore_ascii_case(b"https") => Some(Scheme::Https),
        _ => None,
    }
}

/// What RFC 9113 section 8.3.1 asks of a request, and RFC 8441 section 4 of an extended CONNECT.
fn check_request(
    parts: &Parts,
    head: &RequestHead,
    has_method: bool,
    extended: Extended,
) -> Result<(), WireError> {
    let refuse = |detail| Err(WireError::malformed(detail));
    if parts.status.is_some() {
        return refuse("a request with :status");
    }
    if !has_method {
        return refuse("a request without a valid :method");
    }
    if parts.protocol.is_some() && (head.method != Method::CONNECT || extended == Extended::Unknown) {
        return refuse("a request with :protocol, which nobody offered");
    }
    if parts.protocol.as_deref().is_some_and(|protocol| !is_token(protocol)) {
        return refuse("a :protocol that is no token");
    }
    let is_tunnel = head.method == Method::CONNECT && parts.protocol.is_none();
    if is_tunnel && (parts.scheme.is_some() || parts.path.is_some() || parts.authority.is_none()) {
        return refuse("a CONNECT with :scheme or :path, or without :authority");
    }
    if !is_tunnel {
        check_scheme_and_path(parts, head)?;
    }
    if parts.authority.is_none() && parts.headers.get_all("host").count() > 1 {
        return refuse("a request without :authority and with several Host fields");
    }
    if head.authority.is_empty() {
        return refuse("a request without :authority and without Host");
    }
    check_authority(&head.authority)
        .map_err(|what| WireError::malformed(format!("an invalid authority: {what}")))
}

fn check_scheme_and_path(parts: &Parts, head: &RequestHead) -> Result<(), WireError> {
    match &parts.scheme {
        None => return Err(WireError::malformed("a request without :scheme")),
        Some(text) if scheme(text).is_none() => {
            return Err(WireError::malformed("a :scheme that is neither http nor https"));
        }
        Some(_) => {}
    }
    match &parts.path {
        None => Err(WireError::malformed("a request without :path")),
        Some(path) if std::str::from_utf8(path).is_err() => Err(WireError::malformed(":path is not UTF-8")),
        Some(_) => check_target(head),
    }
}

/// Checks a path: any visible octet passes.
fn check_target(head: &RequestHead) -> Result<(), WireError> {
    let is_asterisk = head.method == Method::OPTIONS && head.target == "*";
    if !is_asterisk && !head.target.starts_with('/') {
        return Err(WireError::malformed("a path that does not begin with a slash"));
    }
    if head.target.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(WireError::malformed("a path with a space or a control character"));
    }
    Ok(())
}

/// The pseudo-fields of a request to be written, in the order of Chromium. `protocol` makes a CONNECT an extended one.
///
/// # Errors
///
/// A head HTTP/2 cannot express is malformed.
pub(super) fn request_pseudo<'h>(
    head: &'h RequestHead,
    protocol: Option<&'h str>,
) -> Result<Vec<(&'static str, &'h [u8])>, WireError> {
    check_authority(&head.authority)
        .map_err(|what| WireError::malformed(format!("the authority cannot be written to HTTP/2: {what}")))?;
    let mut pseudo = Vec::with_capacity(5);
    pseudo.push((":method", head.method.as_str().as_bytes()));
    pseudo.push((":authority", head.authority.as_bytes()));
    if head.method != Method::CONNECT || protocol.is_some() {
        check_target(head)?;
        pseudo.push((":scheme", head.scheme.as_str().as_bytes()));
        pseudo.push((":path", head.target.as_bytes()));
    }
    if let Some(protocol) = protocol {
        pseudo.push((":protocol", protocol.as_bytes()));
    }
    Ok(pseudo)
}

/// The regular fields of a request to be written.
///
/// # Errors
///
/// As [`request_pseudo`].
pub(super) fn request_fields(head: &RequestHead) -> Result<std::borrow::Cow<'_, Headers>, WireError> {
    let host = if head.version == Version::HTTP_2 { Host::Keep } else { Host::Drop };
    fields::to_write(&head.headers, host)
}

/// Reads a response's head, its size, and what Content-Length says where that counts.
///
/// # Errors
///
/// One over the limits, one that is malformed, or a 101, which HTTP/2 does not have (RFC 9113 section 8.6).
pub(super) fn read_response(
    section: Section,
    limits: SectionLimits,
) -> Result<(ResponseHead, u64, Option<u64>), WireError> {
    check_limits(&section, limits)?;
    let bytes = section.bytes;
    let parts = Parts::new(section);
    let is_request = [&parts.method, &parts.scheme, &parts.authority, &parts.path, &parts.protocol];
    if let Some(fault) = parts.fault {
        return Err(fault);
    }
    if is_request.iter().any(|pseudo| pseudo.is_some()) {
        return Err(WireError::malformed("a response with a request's pseudo-fields"));
    }
    let status = parts.status.as_deref().and_then(|status| StatusCode::from_bytes(status).ok());
    let status = status.ok_or_else(|| WireError::malformed("a response without a valid :status"))?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(WireError::malformed("101 Switching Protocols in HTTP/2"));
    }
    // RFC 9110 section 8.6: there it says how long the content would have been.
    let length = match status {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => None,
        _ => fields::content_length(&parts.headers)?,
    };
    let head = ResponseHead { status, reason: None, version: Version::HTTP_2, headers: parts.headers };
    Ok((head, bytes, length))
}

/// Reads trailers.
///
/// # Errors
///
/// Those over the limits or malformed; no pseudo-field may be among them (RFC 9113 section 8.1).
pub(super) fn read_trailers(section: Section, limits: SectionLimits) -> Result<Headers, WireError> {
    check_limits(&section, limits)?;
    if section.fields.iter().any(|field| field.name.first() == Some(&b':')) {
        return Err(WireError::malformed("a pseudo-field among the trailers"));
    }
    section.fields.iter().try_for_each(fields::check)?;
    Ok(section.fields.into_iter().collect())
}

/// The fields of a response to be written; its reason phrase has no place in HTTP/2.
///
/// # Errors
///
/// A head HTTP/2 cannot express, among them a 101, is malformed.
pub(super) fn response_fields(head: &ResponseHead) -> Result<std::borrow::Cow<'_, Headers>, WireError> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(WireError::malformed("101 Switching Protocols cannot be written to HTTP/2"));
    }
    fields::to_write(&head.headers, Host::Keep)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: SectionLimits = SectionLimits { max_bytes: 1 << 20, max_count: 100 };

    fn head(authority: String, target: String, headers: Headers) -> RequestHead {
        let scheme = Scheme::Https;
        RequestHead { method: Method::GET, scheme, authority, target, version: Version::HTTP_2, headers }
    }

    /// What a peer would read of a head, if it can be written.
    fn read_back(head: &RequestHead) -> Option<ReadRequest> {
        let mut section = Section::default();
        for (name, value) in request_pseudo(head, None).ok()? {
            section.bytes += fields::field_bytes(name, value);
            section.fields.push(Header::new(name, value.to_vec()));
        }
        section.fields.extend(request_fields(head).ok()?.iter().cloned());
        section.count = section.fields.len();
        Some(read_request(section, Scheme::Http, LIMITS, Extended::Unknown))
    }

    /// A few names, so that some repeat.
    fn some_fields() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
        prop::collection::vec(("[a-dX]{1,2}", prop::collection::vec(0x20_u8..0x7f, 0..8)), 0..10)
    }

    proptest! {
        #[test]
        fn what_can_be_written_reads_back_unchanged(
            authority in "[a-z0-9.\\-_\\[\\]:@%]{1,12}",
            target in "[/*]?[ -~\u{e9}]{0,12}",
            fields in some_fields(),
        ) {
            let headers: Headers = fields.into_iter().map(|(name, value)| Header::new(name, value)).collect();
            let sent = head(authority, target, headers);
            if let Some(read) = read_back(&sent) {
                prop_assert_eq!(read.fault, None);
                prop_assert_eq!(&read.head.authority, &sent.authority);
                prop_assert_eq!(&read.head.target, &sent.target);
                prop_assert_eq!(read.head.scheme, sent.scheme);
                let lower = |header: &Header| (header.name.to_ascii_lowercase(), header.value.clone());
                let (seen, expected): (Vec<_>, Vec<_>) =
                    (read.head.headers.iter().map(lower).collect(), sent.headers.iter().map(lower).collect());
                prop_assert_eq!(seen, expected);
            }
        }

        #[test]
        fn urls_of_visible_characters_can_be_written(
            authority in "[a-z0-9.-]{1,12}(:[0-9]{1,4})?",
            target in "/[!-~\u{e9}]{0,24}",
        ) {
            let read = read_back(&head(authority, target, Headers::new()));
            prop_assert_eq!(read.map(|read| read.fault), Some(None));
        }
    }
}
