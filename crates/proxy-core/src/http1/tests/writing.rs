//! The writer: exact bytes out, and nothing that would break the framing.

use std::io::IoSlice;

use http::{Method, StatusCode, Version};
use tokio::io::AsyncWrite;

use super::*;

fn head(method: Method, target: &str, fields: &[(&'static str, &'static str)]) -> RequestHead {
    RequestHead {
        method,
        scheme: Scheme::Https,
        authority: "o:8443".to_owned(),
        target: target.to_owned(),
        version: Version::HTTP_11,
        headers: headers(fields),
    }
}

fn text(writer: Writer<Vec<u8>>) -> String {
    String::from_utf8(writer.into_inner()).unwrap()
}

#[test]
fn targets_are_written_in_the_form_asked_for() {
    for (method, target, form, line) in [
        (Method::GET, "/a?b", TargetForm::Origin, "GET /a?b HTTP/1.1"),
        (Method::GET, "/a?b", TargetForm::Absolute, "GET https://o:8443/a?b HTTP/1.1"),
        (Method::OPTIONS, "*", TargetForm::Origin, "OPTIONS * HTTP/1.1"),
        (Method::OPTIONS, "*", TargetForm::Absolute, "OPTIONS https://o:8443 HTTP/1.1"),
        (Method::CONNECT, "o:8443", TargetForm::Authority, "CONNECT o:8443 HTTP/1.1"),
        (Method::CONNECT, "", TargetForm::Authority, "CONNECT o:8443 HTTP/1.1"),
    ] {
        let mut writer = Writer::new(Vec::new());
        let bytes = writer.put_request(&head(method, target, &[("hOST", "o")]), form).unwrap();
        now(writer.flush()).unwrap();
        let out = text(writer);
        assert_eq!(out, format!("{line}\r\nhOST: o\r\n\r\n"));
        assert_eq!(bytes, out.len() as u64);
    }
}

#[test]
fn versions_are_ours_but_an_http_1_0_request_stays_one() {
    for (version, line) in [
        (Version::HTTP_10, "GET / HTTP/1.0\r\n\r\n"),
        (Version::HTTP_11, "GET / HTTP/1.1\r\n\r\n"),
        (Version::HTTP_2, "GET / HTTP/1.1\r\n\r\n"),
    ] {
        let mut writer = Writer::new(Vec::new());
        let request = RequestHead { version, ..head(Method::GET, "/", &[]) };
        writer.put_request(&request, TargetForm::Origin).unwrap();
        now(writer.flush()).unwrap();
        assert_eq!(text(writer), line);

        let mut writer = Writer::new(Vec::new());
        let reason = (version != Version::HTTP_2).then(|| Bytes::from_static(b"My  reason"));
        let response = ResponseHead { version, reason, ..ResponseHead::new(StatusCode::NOT_FOUND) };
        let expected = if version == Version::HTTP_2 { "Not Found" } else { "My  reason" };
        writer.put_response(&response).unwrap();
        now(writer.flush()).unwrap();
        assert_eq!(text(writer), format!("HTTP/1.1 404 {expected}\r\n\r\n"));
    }
}

#[test]
fn heads_that_would_split_the_message_are_refused_and_leave_nothing() {
    let mut requests = Vec::new();
    for target in
        ["", "a", "http://o/", "/ x", "/\r\nX: 1", "/\0", "/\x7f", "/a HTTP/1.1\r\n\r\n", "/\t", "*x"]
    {
        requests.push(head(Method::GET, target, &[]));
    }
    for value in ["a\r\nX: 1", "a\rb", "a\nb", "a\0b", "\r\n\r\n"] {
        requests.push(head(Method::GET, "/", &[("X", value)]));
        let mut response = ResponseHead::new(StatusCode::OK);
        response.headers = headers(&[("X", value)]);
        refuse_response(&response);
        let reason = Some(Bytes::from_static(value.as_bytes()));
        refuse_response(&ResponseHead { reason, ..ResponseHead::new(StatusCode::OK) });
    }
    for name in ["", "A B", "A:", "A\r\nB", "A\0", "\u{e9}", " A", "A "] {
        requests.push(head(Method::GET, "/", &[(name, "1")]));
        let mut response = ResponseHead::new(StatusCode::OK);
        response.headers = headers(&[(name, "1")]);
        refuse_response(&response);
    }
    for request in requests {
        let mut writer = Writer::new(Vec::<u8>::new());
        assert!(writer.put_request(&request, TargetForm::Origin).is_err(), "{request:?}");
        assert!(writer.is_clean());
    }
    for authority in ["", "o/x", "a b", "o\r\n", "u@o", "o:x"] {
        let request = RequestHead { authority: authority.to_owned(), ..head(Method::GET, "/", &[]) };
        for form in [TargetForm::Absolute, TargetForm::Authority] {
            assert!(Writer::new(Vec::<u8>::new()).put_request(&request, form).is_err(), "{authority}");
        }
    }
}

fn refuse_response(head: &ResponseHead) {
    let mut writer = Writer::new(Vec::<u8>::new());
    assert!(writer.put_response(head).is_err(), "{head:?}");
    assert!(writer.is_clean());
}

/// Writes a response with this body and tells what went out, and whether the connection can go on.
fn body(encoding: Encoding, pieces: &[&'static str], trailers: Option<&Headers>) -> (String, bool) {
    let mut writer = Writer::new(Vec::new());
    writer.put_response(&ResponseHead::new(StatusCode::OK)).unwrap();
    writer.begin(encoding);
    for piece in pieces {
        now(writer.data(Bytes::from_static(piece.as_bytes()))).unwrap();
    }
    assert!(!writer.is_clean());
    now(writer.end(trailers)).unwrap();
    let clean = writer.is_clean();
    let out = text(writer);
    (out.strip_prefix("HTTP/1.1 200 OK\r\n\r\n").unwrap().to_owned(), clean)
}

#[test]
fn bodies_are_written_as_their_encoding_says() {
    let trailers = headers(&[("T", "1"), ("u", "")]);
    for (encoding, pieces, trailers, out, clean) in [
        (Encoding::None, &[][..], None, "", true),
        (Encoding::None, &[""], None, "", true),
        (Encoding::Length(0), &[], None, "", true),
        (Encoding::Length(5), &["hel", "", "lo"], None, "hello", true),
        (Encoding::Length(5), &["hello"], Some(&trailers), "hello", true),
        (Encoding::Chunked, &[], None, "0\r\n\r\n", true),
        (Encoding::Chunked, &["hel", "", "lo"], None, "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", true),
        (Encoding::Chunked, &["0123456789abcdef"], None, "10\r\n0123456789abcdef\r\n0\r\n\r\n", true),
        (Encoding::Chunked, &["x"], Some(&trailers), "1\r\nx\r\n0\r\nT: 1\r\nu: \r\n\r\n", true),
        (Encoding::UntilClose, &["hel", "lo"], Some(&trailers), "hello", false),
    ] {
        assert_eq!(body(encoding, pieces, trailers), (out.to_owned(), clean), "{encoding:?}");
    }
}

#[test]
fn large_pieces_go_out_whole() {
    let data = Bytes::from(vec![b'x'; 100_000]);
    for (encoding, before, after) in [
        (Encoding::Chunked, "186a0\r\n", "\r\n"),
        (Encoding::Length(100_000), "", ""),
        (Encoding::UntilClose, "", ""),
    ] {
        let mut writer = Writer::new(Vec::new());
        writer.begin(encoding);
        now(writer.data(data.clone())).unwrap();
        let out = writer.into_inner();
        assert_eq!(out.len(), before.len() + data.len() + after.len());
        assert!(out.starts_with(before.as_bytes()) && out.ends_with(after.as_bytes()));
    }
}

#[test]
fn a_body_that_does_not_fit_its_encoding_is_an_error_and_spends_the_connection() {
    for (encoding, piece) in
        [(Encoding::None, "x"), (Encoding::Length(0), "x"), (Encoding::Length(3), "hello")]
    {
        let mut writer = Writer::new(Vec::new());
        writer.begin(encoding);
        assert!(now(writer.data(Bytes::from_static(piece.as_bytes()))).is_err(), "{encoding:?}");
        assert!(!writer.is_clean());
        assert!(now(writer.end(None)).is_err());
        assert_eq!(text(writer), "");
    }
    let mut writer = Writer::new(Vec::new());
    writer.begin(Encoding::Length(5));
    now(writer.data(Bytes::from_static(b"hell"))).unwrap();
    assert!(now(writer.end(None)).is_err());
    assert!(!writer.is_clean());
    for trailers in [[("Content-Length", "1")], [("X", "a\r\nb")], [("A B", "1")]] {
        let mut writer = Writer::new(Vec::new());
        writer.begin(Encoding::Chunked);
        assert!(now(writer.end(Some(&headers(&trailers)))).is_err());
        assert!(!writer.is_clean());
        assert_eq!(text(writer), "");
    }
}

#[test]
fn heads_come_only_between_messages() {
    let ok = ResponseHead::new(StatusCode::OK);
    let mut writer = Writer::new(Vec::new());
    for interim in [StatusCode::CONTINUE, StatusCode::EARLY_HINTS, StatusCode::PROCESSING] {
        writer.put_response(&ResponseHead::new(interim)).unwrap();
        assert!(!writer.is_clean(), "not written yet");
        now(writer.flush()).unwrap();
        assert!(writer.is_clean());
    }
    writer.put_response(&ok).unwrap();
    assert!(writer.put_response(&ok).is_err(), "head after head");
    writer.begin(Encoding::Length(1));
    assert!(writer.put_response(&ok).is_err(), "head in a body");
    now(writer.data(Bytes::from_static(b"x"))).unwrap();
    assert!(writer.put_response(&ResponseHead::new(StatusCode::CONTINUE)).is_err(), "interim in a body");
    now(writer.end(None)).unwrap();
    writer.put_response(&ResponseHead::new(StatusCode::SWITCHING_PROTOCOLS)).unwrap();
    now(writer.flush()).unwrap();
    assert!(!writer.is_clean(), "the connection is another protocol's now");
    writer.begin(Encoding::UntilClose);
    now(writer.data(Bytes::from_static(b"raw"))).unwrap();
    now(writer.shutdown()).unwrap();
    assert!(writer.put_response(&ok).is_err(), "closed");
    assert!(text(writer).ends_with("HTTP/1.1 101 Switching Protocols\r\n\r\nraw"));
}

#[test]
fn raw_bytes_follow_an_upgrade_on_either_half() {
    let mut upstream = Writer::new(Vec::new());
    upstream.put_request(&head(Method::GET, "/", &[]), TargetForm::Origin).unwrap();
    upstream.begin(Encoding::None);
    now(upstream.end(None)).unwrap();
    let mut client = Writer::new(Vec::new());
    client.put_response(&ResponseHead::new(StatusCode::SWITCHING_PROTOCOLS)).unwrap();
    client.begin(Encoding::None);
    let tunnel = Writer::new(Vec::new());
    for (mut writer, before) in [
        (upstream, "GET / HTTP/1.1\r\n\r\n"),
        (client, "HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        (tunnel, ""),
    ] {
        writer.make_raw();
        now(writer.data(Bytes::from_static(b"frame"))).unwrap();
        assert!(!writer.is_clean());
        now(writer.shutdown()).unwrap();
        writer.make_raw();
        assert!(now(writer.data(Bytes::from_static(b"late"))).is_err(), "closed");
        assert_eq!(text(writer), format!("{before}frame"));
    }
}

#[tokio::test]
async fn a_write_that_is_dropped_or_fails_spends_the_connection() {
    let (peer, io) = tokio::io::duplex(10);
    let mut writer = Writer::new(io);
    writer.begin(Encoding::Chunked);
    assert!(writer.data(Bytes::from(vec![b'x'; 5_000])).now_or_never().is_none());
    assert!(!writer.is_clean());
    assert!(writer.end(None).await.is_err());
    drop(peer);

    let (peer, io) = tokio::io::duplex(10);
    let mut writer = Writer::new(io);
    drop(peer);
    writer.begin(Encoding::Chunked);
    assert!(writer.data(Bytes::from_static(b"x")).await.is_err());
    assert!(!writer.is_clean());
}

/// A peer that counts the writes it gets.
struct Counting {
    vectored: bool,
    writes: usize,
    out: Vec<u8>,
}

impl AsyncWrite for Counting {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.writes += 1;
        self.out.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes += 1;
        let before = self.out.len();
        bufs.iter().for_each(|buf| self.out.extend_from_slice(buf));
        Poll::Ready(Ok(self.out.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        self.vectored
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn head_and_first_piece_leave_in_one_write() {
    for vectored in [true, false] {
        for size in [1, 1_024, 1_025, 50_000] {
            let mut writer = Writer::new(Counting { vectored, writes: 0, out: Vec::new() });
            writer.put_response(&ResponseHead::new(StatusCode::OK)).unwrap();
            writer.begin(Encoding::Chunked);
            now(writer.data(Bytes::from(vec![b'x'; size]))).unwrap();
            let peer = writer.into_inner();
            assert_eq!(peer.writes, 1, "{size} bytes, vectored: {vectored}");
            let framing = format!("HTTP/1.1 200 OK\r\n\r\n{size:x}\r\n\r\n");
            assert_eq!(peer.out.len(), framing.len() + size);
        }
    }
}

#[test]
fn the_last_piece_and_the_end_leave_in_one_write() {
    let trailers = headers(&[("T", "1")]);
    for (encoding, trailers, end) in [
        (Encoding::Length(2_000), None, ""),
        (Encoding::Chunked, None, "\r\n0\r\n\r\n"),
        (Encoding::Chunked, Some(&trailers), "\r\n0\r\nT: 1\r\n\r\n"),
    ] {
        for (vectored, size) in [(true, 1_000), (true, 2_000), (false, 2_000)] {
            let mut writer = Writer::new(Counting { vectored, writes: 0, out: Vec::new() });
            let size = if matches!(encoding, Encoding::Length(_)) { 2_000 } else { size };
            writer.put_response(&ResponseHead::new(StatusCode::OK)).unwrap();
            writer.begin(encoding);
            now(writer.last(Bytes::from(vec![b'x'; size]), trailers)).unwrap();
            assert!(writer.is_clean());
            let peer = writer.into_inner();
            assert_eq!(peer.writes, 1, "{encoding:?}, {size} bytes, vectored: {vectored}");
            assert!(peer.out.ends_with(format!("x{end}").as_bytes()));
        }
    }
    let mut short = Writer::new(Vec::new());
    short.begin(Encoding::Length(5));
    assert!(now(short.last(Bytes::from_static(b"hel"), None)).is_err());
    assert!(!short.is_clean());
}
