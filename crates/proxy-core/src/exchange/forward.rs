//! What the other side gets to see: pure decisions about heads, from one leg to the other.
//!
//! Where both legs speak the same version a head passes as it came, less what is only for one hop
//! (RFC 9110 section 7.6.1). Where they do not, the framing and the fields are put right for the other version.

use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, StatusCode, Version};

use crate::{
    head::{Headers, RequestHead, ResponseHead},
    http1::{Encoding, Framing, is_host_right, is_stripped, keeps_alive, put_host_right, strip_hop_by_hop},
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
pub(crate) fn request(head: &RequestHead, shape: Shape, to: Leg) -> (Cow<'_, RequestHead>, Encoding) {
    let passing: &[&str] =
        if head.is_upgrade() { &["keep-alive", "close", "upgrade"] } else { &["keep-alive", "close"] };
    let encoding = match (to, shape) {
        (_, Shape::Empty) => Encoding::None,
        (Leg::Http2, _) => Encoding::UntilClose,
        (Leg::Http1, Shape::Length(length)) => Encoding::Length(length),
        (Leg::Http1, Shape::Unknown | Shape::UntilClose) => Encoding::Chunked,
    };
    if passes_as_it_is(head, shape, to, encoding) && is_stripped(&head.headers, passing) {
        return (Cow::Borrowed(head), encoding);
    }
    let mut out = head.clone();
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
        return (Cow::Owned(out), encoding);
    }
    if Leg::of(head.version) == Leg::Http2 {
        join_cookies(&mut out.headers);
    }
    out.version = Version::HTTP_11;
    put_host_right(&mut out.headers, &head.authority);
    encoding.put_right(&mut out.headers);
    (Cow::Owned(out), encoding)
}

/// Whether a request needs no copy on its way, as far as hop-by-hop fields do not: it goes on in its own version and says
/// what is so.
fn passes_as_it_is(head: &RequestHead, shape: Shape, to: Leg, encoding: Encoding) -> bool {
    let headers = &head.headers;
    let is_framed = match (shape, to) {
        (Shape::Empty, _) => {
            !headers.contains("transfer-encoding")
                && headers.get_all("content-length").all(|value| value == "0")
        }
        (_, Leg::Http1) => encoding.is_right(headers),
        (_, Leg::Http2) => is_length_right(headers, shape),
    };
    let is_addressed = match to {
        Leg::Http1 => head.version == Version::HTTP_11 && is_host_right(headers, &head.authority),
        Leg::Http2 => head.version == Version::HTTP_2,
    };
    is_framed && is_addressed
}

/// Joins the cookie crumbs of HTTP/2 into one field (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut Headers) {
    let crumbs: Vec<Bytes> = headers.get_all("cookie").cloned().collect();
    if crumbs.len() > 1 {
        headers.set("cookie", crumbs.join(&b"; "[..]));
    }
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
pub(crate) struct Outgoing<'h> {
    pub(crate) head: Cow<'h, ResponseHead>,
    pub(crate) encoding: Encoding,
    /// Whether an HTTP/1 client connection must close after it.
    pub(crate) close: bool,
    /// Whether upstream's body has no place in it.
    pub(crate) drops_body: bool,
}

/// The head the client gets for upstream's response, and how its body is framed there.
pub(crate) fn response<'h>(
    request: &RequestHead,
    head: &'h ResponseHead,
    shape: Shape,
    persistence: Persistence,
) -> Outgoing<'h> {
    let has_body = may_have_body(request, head);
    let drops_body = shape != Shape::Empty && !has_body && !is_tunnel(request, head);
    let shape = if drops_body { Shape::Empty } else { shape };
    if request.version == Version::HTTP_2 {
        let encoding = if shape == Shape::Empty { Encoding::None } else { Encoding::UntilClose };
        return Outgoing {
            head: response_to_http2(head, has_body, shape),
            encoding,
            close: false,
            drops_body,
        };
    }
    let encoding = match shape {
        Shape::Empty if has_body => Encoding::Length(0),
        Shape::Empty => Encoding::None,
        Shape::Length(length) => Encoding::Length(length),
        Shape::Unknown if request.version == Version::HTTP_11 => Encoding::Chunked,
        Shape::Unknown | Shape::UntilClose => Encoding::UntilClose,
    };
    let close = persistence == Persistence::Close || encoding == Encoding::UntilClose;
    let is_usual = head.status != StatusCode::NO_CONTENT && Leg::of(head.version) == Leg::Http1;
    if is_usual
        && !is_tunnel(request, head)
        && encoding.is_right(&head.headers)
        && is_connection_right(&head.headers, request.version, close)
    {
        return Outgoing { head: Cow::Borrowed(head), encoding, close, drops_body };
    }
    let mut out = head.clone();
    drop_length_of_nothing(&mut out);
    if Leg::of(head.version) == Leg::Http2 {
        out.reason = head.status.canonical_reason().map(|reason| Bytes::from_static(reason.as_bytes()));
    }
    encoding.put_right(&mut out.headers);
    if is_tunnel(request, head) {
        strip_hop_by_hop(&mut out.headers, &["upgrade", "keep-alive"]);
    } else {
        put_connection(&mut out.headers, request.version, close);
    }
    Outgoing { head: Cow::Owned(out), encoding, close, drops_body }
}

/// The head a client gets that speaks HTTP/2.
fn response_to_http2(head: &ResponseHead, has_body: bool, shape: Shape) -> Cow<'_, ResponseHead> {
    let is_framed = !has_body || is_length_right(&head.headers, shape);
    if head.status != StatusCode::NO_CONTENT && is_framed && is_stripped(&head.headers, &[]) {
        return Cow::Borrowed(head);
    }
    let mut out = head.clone();
    drop_length_of_nothing(&mut out);
    strip_hop_by_hop(&mut out.headers, &[]);
    if has_body {
        put_length_right(&mut out.headers, shape);
    }
    Cow::Owned(out)
}

/// Takes the length off a 204. RFC 9110 section 8.6, RFC 9112 section 6.1: neither may be there, and some recipients
/// wait for what they say.
fn drop_length_of_nothing(head: &mut ResponseHead) {
    if head.status == StatusCode::NO_CONTENT {
        head.headers.remove("content-length");
        head.headers.remove("transfer-encoding");
    }
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

/// Whether [`put_length_right`] has nothing to do.
fn is_length_right(headers: &Headers, shape: Shape) -> bool {
    if headers.contains("transfer-encoding") {
        return false;
    }
    match shape {
        _ if !headers.contains("content-length") => true,
        Shape::Length(length) => Encoding::Length(length).is_right(headers),
        Shape::Empty => Encoding::Length(0).is_right(headers),
        Shape::Unknown | Shape::UntilClose => false,
    }
}

/// Takes off what was said for one hop, but for what is true of the client's connection as well, and says what
/// becomes of that where it is not what its version implies.
pub(super) fn put_connection(headers: &mut Headers, version: Version, close: bool) {
    let (option, implied) = persistence_option(version, close);
    strip_hop_by_hop(headers, &[option]);
    if !implied && !headers.has_token("connection", option) {
        headers.push("Connection", option);
    }
}

/// Whether [`put_connection`] has nothing to do.
fn is_connection_right(headers: &Headers, version: Version, close: bool) -> bool {
    let (option, implied) = persistence_option(version, close);
    is_stripped(headers, &[option]) && (implied || headers.has_token("connection", option))
}

/// The option that says what becomes of a connection, and whether its version implies it.
fn persistence_option(version: Version, close: bool) -> (&'static str, bool) {
    match close {
        true => ("close", version == Version::HTTP_10),
        false => ("keep-alive", version != Version::HTTP_10),
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
        let head = request_head(Version::HTTP_10, &[("A", "1")]);
        let (out, _) = request(&head, Shape::Empty, Leg::Http1);
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

    /// Field lists with every framing, addressing and persistence that tells the short way from the long one.
    fn lists() -> Vec<Vec<(&'static str, &'static str)>> {
        let hosts: [&[(&str, &str)]; 4] =
            [&[("Host", "EXAMPLE.com")], &[("Host", "other.test")], &[], &[("a", "1")]];
        let framings: [&[(&str, &str)]; 7] = [
            &[],
            &[("Content-Length", "5")],
            &[("content-length", "0")],
            &[("Content-Length", "05")],
            &[("Transfer-Encoding", "chunked")],
            &[("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
            &[("Content-Length", "5"), ("Content-Length", "5")],
        ];
        let others: [&[(&str, &str)]; 8] = [
            &[("Cookie", "a=1"), ("cookie", "b=2")],
            &[("Connection", "keep-alive")],
            &[("Connection", "Close")],
            &[("connection", "close"), ("Connection", "keep-alive")],
            &[("Connection", "close, x"), ("X", "1")],
            &[("Connection", "upgrade"), ("Upgrade", "websocket")],
            &[("TE", "trailers"), ("Connection", "TE")],
            &[("Proxy-Connection", "keep-alive")],
        ];
        let mut lists = Vec::new();
        for (host, framing) in
            hosts.iter().flat_map(|host| framings.iter().map(move |framing| (host, framing)))
        {
            lists.extend(others.iter().map(|other| [*host, *framing, *other].concat()));
        }
        lists
    }

    const VERSIONS: [Version; 3] = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2];
    const SHAPES: [Shape; 4] = [Shape::Empty, Shape::Length(5), Shape::Unknown, Shape::UntilClose];

    /// The same list, with a field that has to be taken off.
    fn the_long_way(fields: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
        [fields, &[("Keep-Alive", "timeout=5")]].concat()
    }

    #[test]
    fn a_request_that_passes_as_it_is_is_what_the_long_way_makes_of_it() {
        let mut short = 0;
        for fields in lists() {
            for (version, shape) in VERSIONS.iter().flat_map(|v| SHAPES.iter().map(move |s| (*v, *s))) {
                for leg in [Leg::Http1, Leg::Http2] {
                    let heads =
                        [request_head(version, &fields), request_head(version, &the_long_way(&fields))];
                    let [(out, encoding), (long, long_encoding)] =
                        heads.each_ref().map(|head| request(head, shape, leg));
                    assert_eq!(
                        (&*out, encoding),
                        (&*long, long_encoding),
                        "{fields:?} {version:?} {shape:?} {leg:?}"
                    );
                    short += usize::from(matches!(out, Cow::Borrowed(_)));
                }
            }
        }
        assert!(short > 50, "{short} went the short way");
    }

    #[test]
    fn a_response_that_passes_as_it_is_is_what_the_long_way_makes_of_it() {
        let mut short = 0;
        for (fields, status) in
            lists().into_iter().flat_map(|list| [200_u16, 204, 304].map(|status| (list.clone(), status)))
        {
            for (version, asked) in VERSIONS.iter().flat_map(|v| VERSIONS.iter().map(move |a| (*v, *a))) {
                for (shape, persistence) in SHAPES.iter().flat_map(|s| {
                    [Persistence::KeepAlive, Persistence::Close].map(|persistence| (*s, persistence))
                }) {
                    let head = |fields: &[(&str, &str)]| {
                        let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
                        (head.version, head.headers) = (version, headers(fields));
                        head
                    };
                    let (asked, heads) =
                        (request_head(asked, &[]), [head(&fields), head(&the_long_way(&fields))]);
                    let [out, long] = heads.each_ref().map(|head| response(&asked, head, shape, persistence));
                    assert_eq!(out.head, long.head, "{fields:?} {version:?} {shape:?}");
                    assert_eq!(
                        (out.encoding, out.close, out.drops_body),
                        (long.encoding, long.close, long.drops_body)
                    );
                    short += usize::from(matches!(out.head, Cow::Borrowed(_)));
                }
            }
        }
        assert!(short > 100, "{short} went the short way");
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
