//! Heads between the engine's structs and `h2`'s: pure functions, the pseudo-header fields in both directions.

use http::{Method, Request, Response, StatusCode, Uri, Version, request, response, uri};

use super::fields::{self, Host, SectionLimits, field_bytes, map_bytes};
use crate::{
    head::{RequestHead, ResponseHead, Scheme},
    wire::WireError,
};

/// A request's head as it was read, and whether it may go on.
pub(super) struct ReadRequest {
    pub(super) head: RequestHead,
    /// The sum of RFC 9113 section 6.5.2.
    pub(super) bytes: u64,
    /// `:protocol` of an extended CONNECT (RFC 8441 section 4).
    pub(super) protocol: Option<String>,
    /// What is wrong with it, if anything is.
    pub(super) fault: Option<WireError>,
}

/// Reads what `h2` decoded. `fallback` is the scheme of a request that names none `h2` hands on: a CONNECT, or one
/// without `:authority`.
pub(super) fn read_request(parts: &request::Parts, fallback: Scheme, limits: SectionLimits) -> ReadRequest {
    let protocol = parts.extensions.get::<h2::ext::Protocol>().map(|protocol| protocol.as_str().to_owned());
    let headers = fields::received(&parts.headers);
    let scheme = scheme(&parts.uri).unwrap_or(fallback);
    let authority = match parts.uri.authority() {
        Some(authority) => authority.as_str().to_owned(),
        None => headers.get_str("host").unwrap_or_default().to_owned(),
    };
    let target = match parts.uri.path_and_query() {
        Some(path) => path.as_str().to_owned(),
        None => authority.clone(),
    };
    let head = RequestHead {
        method: parts.method.clone(),
        scheme,
        authority,
        target,
        version: Version::HTTP_2,
        headers,
    };
    let bytes = request_bytes(parts, &head, protocol.as_deref());
    let fault = limits
        .check(bytes, head.headers.len())
        .and_then(|()| check_request(parts, &head, protocol.as_deref()))
        .err();
    ReadRequest { head, bytes, protocol, fault }
}

fn scheme(uri: &Uri) -> Option<Scheme> {
    match uri.scheme_str()? {
        scheme if scheme.eq_ignore_ascii_case("http") => Some(Scheme::Http),
        scheme if scheme.eq_ignore_ascii_case("https") => Some(Scheme::Https),
        _ => None,
    }
}

/// What RFC 9113 section 8.3.1 asks of a request and `h2` leaves to its user.
fn check_request(
    parts: &request::Parts,
    head: &RequestHead,
    protocol: Option<&str>,
) -> Result<(), WireError> {
    if parts.uri.scheme().is_some() && scheme(&parts.uri).is_none() {
        return Err(WireError::malformed("request for a scheme that is neither http nor https"));
    }
    if parts.uri.authority().is_none() && head.headers.get_all("host").count() > 1 {
        return Err(WireError::malformed("request without authority and with several Host fields"));
    }
    if head.authority.is_empty() {
        return Err(WireError::malformed("request without authority and without Host"));
    }
    if head.authority.contains('@') || head.authority.parse::<uri::Authority>().is_err() {
        return Err(WireError::malformed("request with an authority that is no host and port"));
    }
    let is_target = match head.method {
        Method::CONNECT if protocol.is_none() => true,
        Method::OPTIONS if head.target == "*" => true,
        _ => head.target.starts_with('/'),
    };
    if !is_target {
        return Err(WireError::malformed("request with a path that does not begin with a slash"));
    }
    Ok(())
}

fn request_bytes(parts: &request::Parts, head: &RequestHead, protocol: Option<&str>) -> u64 {
    let mut bytes = map_bytes(&parts.headers) + field_bytes(":method", head.method.as_str().as_bytes());
    if let Some(authority) = parts.uri.authority() {
        bytes += field_bytes(":authority", authority.as_str().as_bytes());
    }
    if let Some(path) = parts.uri.path_and_query() {
        bytes += field_bytes(":path", path.as_str().as_bytes());
        bytes += field_bytes(":scheme", parts.uri.scheme_str().unwrap_or(head.scheme.as_str()).as_bytes());
    }
    if let Some(protocol) = protocol {
        bytes += field_bytes(":protocol", protocol.as_bytes());
    }
    bytes
}

/// Writes a request. `protocol` makes a CONNECT an extended one.
///
/// # Errors
///
/// A head HTTP/2 cannot express is malformed.
pub(super) fn write_request(head: &RequestHead, protocol: Option<&str>) -> Result<Request<()>, WireError> {
    let host = if head.version == Version::HTTP_2 { Host::Keep } else { Host::Drop };
    let headers = fields::to_write(&head.headers, host)?;
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = write_uri(head, protocol)?;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    if let Some(protocol) = protocol {
        request.extensions_mut().insert(h2::ext::Protocol::from(protocol));
    }
    Ok(request)
}

fn write_uri(head: &RequestHead, protocol: Option<&str>) -> Result<Uri, WireError> {
    let mut parts = uri::Parts::default();
    let authority = head.authority.parse().ok();
    parts.authority =
        Some(authority.ok_or_else(|| WireError::malformed("the authority cannot be written to HTTP/2"))?);
    if head.method != Method::CONNECT || protocol.is_some() {
        // A fragment would be cut off in silence.
        let path = if head.target.contains('#') { None } else { head.target.parse().ok() };
        parts.path_and_query =
            Some(path.ok_or_else(|| WireError::malformed("the target cannot be written to HTTP/2"))?);
        parts.scheme = Some(match head.scheme {
            Scheme::Http => uri::Scheme::HTTP,
            Scheme::Https => uri::Scheme::HTTPS,
        });
    }
    Uri::from_parts(parts).map_err(|error| WireError::malformed(format!("target cannot be written: {error}")))
}

/// Reads a response's head and its size.
///
/// # Errors
///
/// One over the limits, or a 101, which HTTP/2 does not have (RFC 9113 section 8.6).
pub(super) fn read_response(
    parts: &response::Parts,
    limits: SectionLimits,
) -> Result<(ResponseHead, u64), WireError> {
    let bytes = map_bytes(&parts.headers) + field_bytes(":status", parts.status.as_str().as_bytes());
    limits.check(bytes, parts.headers.len())?;
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(WireError::malformed("101 Switching Protocols in HTTP/2"));
    }
    let headers = fields::received(&parts.headers);
    Ok((ResponseHead { status: parts.status, reason: None, version: Version::HTTP_2, headers }, bytes))
}

/// Writes a response's head; its reason phrase has no place in HTTP/2.
///
/// # Errors
///
/// A head HTTP/2 cannot express, among them a 101, is malformed.
pub(super) fn write_response(head: &ResponseHead) -> Result<Response<()>, WireError> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(WireError::malformed("101 Switching Protocols cannot be written to HTTP/2"));
    }
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    *response.version_mut() = Version::HTTP_2;
    *response.headers_mut() = fields::to_write(&head.headers, Host::Keep)?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::head::{Header, Headers};

    const LIMITS: SectionLimits = SectionLimits { max_bytes: 1 << 20, max_count: 100 };

    fn head(authority: String, target: String, headers: Headers) -> RequestHead {
        let scheme = Scheme::Https;
        RequestHead { method: Method::GET, scheme, authority, target, version: Version::HTTP_2, headers }
    }

    /// A few names, so that some repeat.
    fn fields() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
        prop::collection::vec(("[a-dX]{1,2}", prop::collection::vec(0x20_u8..0x7f, 0..8)), 0..10)
    }

    proptest! {
        #[test]
        fn what_can_be_written_reads_back_unchanged(
            authority in "[a-z0-9.\\-_\\[\\]:@%]{1,12}",
            target in "[/*]?[ -~\u{e9}]{0,12}",
            fields in fields(),
        ) {
            let headers: Headers = fields.into_iter().map(|(name, value)| Header::new(name, value)).collect();
            let sent = head(authority, target, headers);
            if let Ok(request) = write_request(&sent, None) {
                let read = read_request(&request.into_parts().0, Scheme::Http, LIMITS);
                prop_assert_eq!(&read.head.authority, &sent.authority);
                prop_assert_eq!(&read.head.target, &sent.target);
                prop_assert_eq!(read.head.scheme, sent.scheme);
                prop_assert_eq!(read.head.headers.len(), sent.headers.len());
                for header in &sent.headers {
                    let name = header.name_text();
                    let values = |headers: &Headers| headers.get_all(&name).cloned().collect::<Vec<_>>();
                    prop_assert_eq!(values(&read.head.headers), values(&sent.headers));
                }
            }
        }

        #[test]
        fn plain_urls_can_be_written(
            authority in "[a-z0-9.-]{1,12}(:[0-9]{1,5})?",
            target in "/[a-zA-Z0-9%/;:@&=+$,._~!*'()|^\\[\\]{}-]{0,12}([?][a-zA-Z0-9%/;:@&=+$,._~!*'()|^`\\[\\]{}?\\\\-]{0,12})?",
        ) {
            let request = write_request(&head(authority, target, Headers::new()), None);
            prop_assert!(request.is_ok());
            let read = read_request(&request.unwrap().into_parts().0, Scheme::Http, LIMITS);
            prop_assert_eq!(read.fault, None);
        }
    }
}
