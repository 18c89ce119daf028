//! What the other side gets to see: pure decisions about heads, from one leg to the other.
//!
//! Where both legs speak the same version a head passes as it came, less what is only for one hop
//! (RFC 9110 section 7.6.1). Where they do not, the framing and the fields are put right for the other version.

use bytes::Bytes;
use http::{Method, StatusCode, Version};

use crate::{
    head::{Headers, RequestHead, ResponseHead},
    http1::{Encoding, Framing, keeps_alive, put_host_right, strip_hop_by_hop},
    http2::PROTOCOL,
    leg::unsendable,
    wire::WireError,
};

/// How long a body is, whichever version it comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// There is none.
    Empty,
    /// This many bytes.
    Length(u64),
    /// Until its own end mark.
    Unknown,
    /// Until the connection closes (HTTP/1 responses only).
    UntilClose,
}

impl Shape {
    pub(crate) fn of_http1(framing: &Framing) -> Self {
        match framing {
            Framing::Empty => Self::Empty,
            Framing::Length(length) => Self::Length(*length),
            Framing::Chunked => Self::Unknown,
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// For HTTP/2: `ended` says that the head itself ended the stream.
    pub(crate) fn of_http2(ended: bool, headers: &Headers) -> Result<Self, WireError> {
        if ended {
            return Ok(Self::Empty);
        }
        let Some(length) = headers.get("content-length") else { return Ok(Self::Unknown) };
        let text = std::str::from_utf8(length).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        match text.and_then(|text| text.parse().ok()) {
            Some(length) => Ok(Self::Length(length)),
            None => Err(unsendable("content-length is no number")),
        }
    }
}

/// The version of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    Http1,
    Http2,
}

impl Leg {
    pub(crate) fn of(version: Version) -> Self {
        if version == Version::HTTP_2 { Self::Http2 } else { Self::Http1 }
    }
}

/// The head upstream gets for a client's request, and how its body is framed there.
///
/// What a client says about its connection's future holds for upstream's as well, which ends with it, so it passes
/// on: origins tell browsers by it.
pub(crate) fn request(head: &RequestHead, shape: Shape, to: Leg) -> (RequestHead, Encoding) {
    let mut out = head.clone();
    let passing: &[&str] =
        if is_upgrade(head) { &["keep-alive", "close", "upgrade"] } else { &["keep-alive", "close"] };
    strip_hop_by_hop(&mut out.headers, passing);
    if shape == Shape::Empty {
        // Nothing may announce what does not come, but that nothing comes.
        out.headers.remove("transfer-encoding");
        out.headers.retain(|header| !header.is("content-length") || header.value == "0");
    }
    if to == Leg::Http2 {
        out.version = Version::HTTP_2;
        if Leg::of(head.version) == Leg::Http1 {
            out.headers.remove("host");
        }
        put_length_right(&mut out.headers, shape);
        return (out, if shape == Shape::Empty { Encoding::None } else { Encoding::UntilClose });
    }
    if Leg::of(head.version) == Leg::Http2 {
        join_cookies(&mut out.headers);
    }
    out.version = Version::HTTP_11;
    put_host_right(&mut out.headers, &head.authority);
    let encoding = match shape {
        Shape::Empty => Encoding::None,
        Shape::Length(length) => Encoding::Length(length),
        Shape::Unknown | Shape::UntilClose => Encoding::Chunked,
    };
    encoding.put_right(&mut out.headers);
    (out, encoding)
}

/// Joins the cookie crumbs of HTTP/2 into one field (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut Headers) {
    let crumbs: Vec<Bytes> = headers.get_all("cookie").cloned().collect();
    if crumbs.len() > 1 {
        headers.set("cookie", crumbs.join(&b"; "[..]));
    }
}

/// Whether the client asks to switch protocols. `h2c` is not an upgrade that is passed on.
pub(crate) fn is_upgrade(head: &RequestHead) -> bool {
    head.version == Version::HTTP_11
        && head.headers.has_token("connection", "upgrade")
        && head.headers.contains("upgrade")
        && !head.headers.has_token("upgrade", "h2c")
}

/// Whether an upgrade leads to WebSocket (RFC 6455 section 4.1), or an extended CONNECT does (RFC 8441 section 5).
pub(crate) fn is_websocket(head: &RequestHead) -> bool {
    let is_upgraded = is_upgrade(head) && head.headers.has_token("upgrade", "websocket");
    is_upgraded || (head.method == Method::CONNECT && head.headers.get_str(PROTOCOL) == Some("websocket"))
}

/// Whether the client's connection may carry another request after this exchange.
pub(crate) fn client_keeps_alive(head: &RequestHead) -> bool {
    keeps_alive(head.version, &head.headers)
}

/// Whether upstream's connection may carry another request after this response.
pub(crate) fn upstream_keeps_alive(head: &ResponseHead, shape: Shape) -> bool {
    shape != Shape::UntilClose && keeps_alive(head.version, &head.headers)
}

/// What becomes of an HTTP/1 client connection after a response, as far as it is up to others than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// It may carry another request.
    KeepAlive,
    /// It is closed.
    Close,
}

/// A response on its way to the client.
pub(crate) struct Outgoing {
    pub(crate) head: ResponseHead,
    pub(crate) encoding: Encoding,
    /// Whether an HTTP/1 client connection must close after it.
    pub(crate) close: bool,
    /// Whether upstream's body has no place in it.
    pub(crate) drops_body: bool,
}

/// The head the client gets for upstream's response, and how its body is framed there.
pub(crate) fn response(
    request: &RequestHead,
    head: &ResponseHead,
    shape: Shape,
    persistence: Persistence,
) -> Outgoing {
    let mut out = head.clone();
    let has_body = may_have_body(request, head);
    let drops_body = shape != Shape::Empty && !has_body && !is_tunnel(request, head);
    let shape = if drops_body { Shape::Empty } else { shape };
    if head.status == StatusCode::NO_CONTENT {
        // RFC 9110 section 8.6, RFC 9112 section 6.1: neither may be there, and some recipients wait for what they say.
        out.headers.remove("content-length");
        out.headers.remove("transfer-encoding");
    }
    if request.version == Version::HTTP_2 {
        strip_hop_by_hop(&mut out.headers, &[]);
        if has_body {
            put_length_right(&mut out.headers, shape);
        }
        let encoding = if shape == Shape::Empty { Encoding::None } else { Encoding::UntilClose };
        return Outgoing { head: out, encoding, close: false, drops_body };
    }
    if Leg::of(head.version) == Leg::Http2 {
        out.reason = head.status.canonical_reason().map(|reason| Bytes::from_static(reason.as_bytes()));
    }
    let encoding = match shape {
        Shape::Empty if has_body => Encoding::Length(0),
        Shape::Empty => Encoding::None,
        Shape::Length(length) => Encoding::Length(length),
        Shape::Unknown if request.version == Version::HTTP_11 => Encoding::Chunked,
        Shape::Unknown | Shape::UntilClose => Encoding::UntilClose,
    };
    encoding.put_right(&mut out.headers);
    let close = persistence == Persistence::Close || encoding == Encoding::UntilClose;
    if is_tunnel(request, head) {
        strip_hop_by_hop(&mut out.headers, &["upgrade", "keep-alive"]);
    } else {
        put_connection(&mut out.headers, request.version, close);
    }
    Outgoing { head: out, encoding, close, drops_body }
}

/// The interim head the client gets for upstream's.
pub(crate) fn informational(head: &ResponseHead) -> ResponseHead {
    let mut out = head.clone();
    strip_hop_by_hop(&mut out.headers, &[]);
    // As for a 204.
    out.headers.remove("content-length");
    out.headers.remove("transfer-encoding");
    if out.reason.is_none() {
        out.reason = head.status.canonical_reason().map(|reason| Bytes::from_static(reason.as_bytes()));
    }
    out
}

/// Whether this response could carry content (RFC 9110 section 6.4.1).
fn may_have_body(request: &RequestHead, head: &ResponseHead) -> bool {
    request.method != Method::HEAD
        && !head.status.is_informational()
        && head.status != StatusCode::NO_CONTENT
        && head.status != StatusCode::NOT_MODIFIED
}

/// Whether a body follows this response, or could.
pub(super) fn has_content(request: &RequestHead, head: &ResponseHead) -> bool {
    may_have_body(request, head) && !is_tunnel(request, head)
}

/// Whether what follows this response is no body but a tunnel.
fn is_tunnel(request: &RequestHead, head: &ResponseHead) -> bool {
    head.status == StatusCode::SWITCHING_PROTOCOLS
        || (request.method == Method::CONNECT && head.status.is_success())
}

/// Makes a length that an HTTP/2 message says the right one. It need not say any.
fn put_length_right(headers: &mut Headers, shape: Shape) {
    headers.remove("transfer-encoding");
    match shape {
        Shape::Length(length) if headers.contains("content-length") => {
            Encoding::Length(length).put_right(headers);
        }
        Shape::Empty if headers.contains("content-length") => Encoding::Length(0).put_right(headers),
        Shape::Empty | Shape::Length(_) => {}
        Shape::Unknown | Shape::UntilClose => headers.remove("content-length"),
    }
}

/// Takes off what was said for one hop, but for what is true of the client's connection as well, and says what
/// becomes of that where it is not what its version implies.
pub(super) fn put_connection(headers: &mut Headers, version: Version, close: bool) {
    let (option, implied) = match close {
        true => ("close", version == Version::HTTP_10),
        false => ("keep-alive", version != Version::HTTP_10),
    };
    strip_hop_by_hop(headers, &[option]);
    if !implied && !headers.has_token("connection", option) {
        headers.push("Connection", option);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Scheme;

    fn request_head(version: Version, fields: &[(&str, &str)]) -> RequestHead {
        RequestHead {
            method: Method::GET,
            scheme: Scheme::Http,
            authority: "example.com".into(),
            target: "/x".into(),
            version,
            headers: headers(fields),
        }
    }

    fn headers(fields: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in fields {
            headers.push(name.to_string(), value.to_string());
        }
        headers
    }

    fn text(headers: &Headers) -> Vec<String> {
        headers.iter().map(|h| format!("{}: {}", h.name_text(), h.value_text())).collect()
    }

    #[test]
    fn requests_lose_only_what_is_for_one_hop() {
        let head = request_head(
            Version::HTTP_11,
            &[
                ("Host", "example.com"),
                ("X-A", "1"),
                ("Connection", "close, X-Hop"),
                ("x-hop", "gone"),
                ("Proxy-Connection", "keep-alive"),
                ("x-a", "2"),
            ],
        );
        let (out, _) = request(&head, Shape::Empty, Leg::Http1);
        assert_eq!(text(&out.headers), ["Host: example.com", "X-A: 1", "Connection: close", "x-a: 2"]);
    }

    #[test]
    fn a_request_without_host_gets_one_in_front() {
        let (out, _) = request(&request_head(Version::HTTP_10, &[("A", "1")]), Shape::Empty, Leg::Http1);
        assert_eq!(text(&out.headers), ["Host: example.com", "A: 1"]);
    }

    #[test]
    fn cookie_crumbs_are_joined_for_http1() {
        let head = request_head(Version::HTTP_2, &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")]);
        let (out, _) = request(&head, Shape::Empty, Leg::Http1);
        assert_eq!(text(&out.headers), ["Host: example.com", "cookie: a=1; b=2", "x: y"]);
    }

    #[test]
    fn a_body_of_unknown_length_is_chunked_or_closes() {
        let mut head = ResponseHead::new(StatusCode::OK);
        head.version = Version::HTTP_2;
        let to_11 =
            response(&request_head(Version::HTTP_11, &[]), &head, Shape::Unknown, Persistence::KeepAlive);
        assert!(matches!(to_11.encoding, Encoding::Chunked) && !to_11.close);
        let to_10 =
            response(&request_head(Version::HTTP_10, &[]), &head, Shape::Unknown, Persistence::KeepAlive);
        assert!(matches!(to_10.encoding, Encoding::UntilClose) && to_10.close);
    }

    #[test]
    fn framing_fields_say_what_the_framing_is_whatever_was_made_of_them() {
        let edited =
            request_head(Version::HTTP_11, &[("Host", "example.com"), ("Transfer-Encoding", "chunked")]);
        let (out, _) = request(&edited, Shape::Length(5), Leg::Http1);
        assert_eq!(text(&out.headers), ["Host: example.com", "Content-Length: 5"]);
        let mut twice = ResponseHead::new(StatusCode::OK);
        twice.headers = headers(&[("content-length", "5, 5"), ("A", "1"), ("Content-Length", "5")]);
        let out =
            response(&request_head(Version::HTTP_11, &[]), &twice, Shape::Length(5), Persistence::KeepAlive);
        assert_eq!(text(&out.head.headers), ["content-length: 5", "A: 1"]);
    }

    #[test]
    fn an_h2c_upgrade_is_not_passed_on() {
        let head = request_head(
            Version::HTTP_11,
            &[("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")],
        );
        let (out, _) = request(&head, Shape::Empty, Leg::Http1);
        assert_eq!(text(&out.headers), ["Host: example.com"]);
    }
}
