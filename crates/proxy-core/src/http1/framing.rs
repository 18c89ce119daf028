//! Where a body ends (RFC 9112 section 6): decided once, from the head alone, or refused.

use http::{Method, StatusCode, Version};

use crate::{
    head::{Headers, RequestHead, ResponseHead},
    wire::WireError,
};

/// How the end of a received body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body.
    Empty,
    /// So many bytes.
    Length(u64),
    /// Chunks, then a trailer section.
    Chunked,
    /// Everything until the connection closes.
    UntilClose,
}

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// There is no body, whatever the fields say (HEAD, 304).
    None,
    /// So many bytes; the writer refuses more, and refuses to end with less.
    Length(u64),
    /// Chunks, then a trailer section.
    Chunked,
    /// As they are, until the connection closes.
    UntilClose,
}

impl Encoding {
    /// Makes the framing fields say this. Fields that say it already stay as they are.
    pub(crate) fn put_right(self, headers: &mut Headers) {
        match self {
            Self::None => {}
            Self::Length(length) => {
                headers.remove("transfer-encoding");
                if !says_length(headers, length) {
                    headers.set("Content-Length", length.to_string());
                }
            }
            Self::Chunked => {
                headers.remove("content-length");
                if !says_chunked(headers) {
                    headers.set("Transfer-Encoding", "chunked");
                }
            }
            Self::UntilClose => {
                headers.remove("content-length");
                headers.remove("transfer-encoding");
            }
        }
    }

    /// Whether [`put_right`](Self::put_right) has nothing to do.
    pub(crate) fn is_right(self, headers: &Headers) -> bool {
        match self {
            Self::None => true,
            Self::Length(length) => says_length(headers, length) && !headers.contains("transfer-encoding"),
            Self::Chunked => says_chunked(headers) && !headers.contains("content-length"),
            Self::UntilClose => !headers.contains("content-length") && !headers.contains("transfer-encoding"),
        }
    }
}

/// Not `005` either: some recipients take that for octal.
fn says_length(headers: &Headers, length: u64) -> bool {
    let plain = |value: &[u8]| digits(value) == Some(length) && (value == b"0" || value[0] != b'0');
    says_once(headers, "content-length", plain)
}

fn says_chunked(headers: &Headers) -> bool {
    says_once(headers, "transfer-encoding", |value| value.eq_ignore_ascii_case(b"chunked"))
}

/// Tells whether there is exactly one field of this name, and `says` holds for its value.
fn says_once(headers: &Headers, name: &str, says: impl Fn(&[u8]) -> bool) -> bool {
    let mut values = headers.get_all(name);
    values.next().is_some_and(|value| says(value)) && values.next().is_none()
}

/// Tells where a request's body ends.
///
/// # Errors
/// Malformed when the head leaves room for doubt: both `Transfer-Encoding` and `Content-Length`, more than one of
/// either, a coding other than `chunked`, any coding in HTTP/1.0, a length that is not plain digits, or a CONNECT
/// that announces a body.
pub(crate) fn request_framing(head: &RequestHead) -> Result<Framing, WireError> {
    let framing = match transfer_coding(head.version, &head.headers)? {
        Some(framing) => framing,
        None => {
            let mut lengths = head.headers.get_all("content-length");
            match (lengths.next(), lengths.next()) {
                (None, _) => Framing::Empty,
                (Some(value), None) => Framing::Length(digits(value).ok_or_else(bad_length)?),
                (Some(_), Some(_)) => return Err(WireError::malformed("more than one Content-Length")),
            }
        }
    };
    match framing {
        // What follows a CONNECT is the tunnel (RFC 9110 section 9.3.6).
        Framing::Length(0) if head.method == Method::CONNECT => Ok(Framing::Empty),
        Framing::Length(_) | Framing::Chunked if head.method == Method::CONNECT => {
            Err(WireError::malformed("CONNECT announces a body"))
        }
        framing => Ok(framing),
    }
}

/// Tells where the body of a response to `method` ends (RFC 9112 section 6.3).
///
/// # Errors
/// Malformed as for a request, but that lengths said more than once are taken when they agree.
pub(crate) fn response_framing(method: &Method, head: &ResponseHead) -> Result<Framing, WireError> {
    let status = head.status;
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if status.is_informational() || bodiless || method == Method::HEAD {
        return Ok(Framing::Empty);
    }
    if method == Method::CONNECT && status.is_success() {
        return Ok(Framing::UntilClose);
    }
    if let Some(framing) = transfer_coding(head.version, &head.headers)? {
        return Ok(framing);
    }
    let mut lengths =
        head.headers.get_all("content-length").flat_map(|value| value.split(|byte| *byte == b','));
    let Some(first) = lengths.next() else {
        return Ok(Framing::UntilClose);
    };
    let length = digits(super::fields::trim_ows(first)).ok_or_else(bad_length)?;
    for other in lengths {
        if digits(super::fields::trim_ows(other)) != Some(length) {
            return Err(WireError::malformed("Content-Length fields contradict each other"));
        }
    }
    Ok(Framing::Length(length))
}

/// The framing `Transfer-Encoding` says, if there is one. Only plain `chunked` is taken: this proxy asks for no
/// other coding, and every other spelling is read differently by somebody.
fn transfer_coding(version: Version, headers: &Headers) -> Result<Option<Framing>, WireError> {
    let mut codings = headers.get_all("transfer-encoding");
    let Some(coding) = codings.next() else {
        return Ok(None);
    };
    if version == Version::HTTP_10 {
        return Err(WireError::malformed("Transfer-Encoding in HTTP/1.0"));
    }
    if headers.contains("content-length") {
        return Err(WireError::malformed("both Transfer-Encoding and Content-Length"));
    }
    if codings.next().is_some() {
        return Err(WireError::malformed("more than one Transfer-Encoding"));
    }
    if !coding.eq_ignore_ascii_case(b"chunked") {
        return Err(WireError::malformed("Transfer-Encoding is not \"chunked\""));
    }
    Ok(Some(Framing::Chunked))
}

/// `1*DIGIT` and nothing else: no sign, no list, no whitespace.
fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn bad_length() -> WireError {
    WireError::malformed("Content-Length is not a number")
}
