//! The upstream-facing leg against `h2`'s server.

use std::future::poll_fn;

use bytes::Bytes;
use h2::{Reason, RecvStream, server};
use http::{HeaderMap, Request, Response};
use tokio::{io::duplex, task::JoinHandle};

use super::*;
use crate::{
    http2::{BodyToCome, ResponseReader, Upstream, Writer, upstream::Driver},
    wire::WireErrorKind,
};

type Requests = mpsc::UnboundedReceiver<(Request<RecvStream>, server::SendResponse<Bytes>)>;

struct Leg {
    upstream: Upstream,
    requests: Requests,
    driver: JoinHandle<Result<(), WireError>>,
    server: mpsc::UnboundedSender<Shutdown>,
}

enum Shutdown {
    Graceful,
    Abrupt(Reason),
}

impl Leg {
    async fn new(settings: Settings) -> Self {
        Self::with_server(settings, &server::Builder::new()).await
    }

    async fn with_server(settings: Settings, builder: &server::Builder) -> Self {
        let (ours, theirs) = duplex(PIPE_BYTES);
        let (upstream, driver): (Upstream, Driver) = Upstream::connect(Box::new(ours), &settings);
        let driver = tokio::spawn(driver);
        let mut connection = soon(builder.handshake(theirs)).await.unwrap();
        let (sender, requests) = mpsc::unbounded_channel();
        let (server, mut shutdown) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    next = connection.accept() => match next {
                        Some(Ok(request)) => { let _ = sender.send(request); }
                        Some(Err(_)) | None => break,
                    },
                    Some(how) = shutdown.recv() => match how {
                        Shutdown::Graceful => connection.graceful_shutdown(),
                        Shutdown::Abrupt(reason) => connection.abrupt_shutdown(reason),
                    },
                }
            }
        });
        Self { upstream, requests, driver, server }
    }

    async fn send(&mut self, head: &RequestHead, body: BodyToCome) -> (Writer, ResponseReader) {
        soon(self.upstream.send(head, None, body)).await.unwrap()
    }

    async fn request(&mut self) -> (Request<RecvStream>, server::SendResponse<Bytes>) {
        soon(self.requests.recv()).await.expect("a request")
    }
}

fn respond(code: u16) -> Response<()> {
    Response::builder().status(code).body(()).unwrap()
}

async fn body_of(mut reader: ResponseReader) -> Result<(Vec<u8>, Option<Headers>), WireError> {
    soon(reader.head()).await?;
    whole(&mut reader.body().expect("the final head is read")).await
}

#[tokio::test(start_paused = true)]
async fn a_request_head_is_written_as_it_was_read() {
    let mut leg = Leg::new(tight()).await;
    let mut head = get("/a//b/../c%2F%zz;p=\"é?q=[x]{y}|^`&&=é");
    head.authority = "Example.com:443".into();
    head.headers =
        headers(&[("cookie", "a=1"), ("x-one", "1"), ("cookie", "b=2"), ("host", "other.example")]);
    leg.send(&head, BodyToCome::No).await;
    let (parts, body) = leg.request().await.0.into_parts();
    assert_eq!(parts.method, "GET");
    assert_eq!(parts.uri.scheme_str(), Some("https"));
    assert_eq!(parts.uri.authority().unwrap().as_str(), "Example.com:443");
    assert_eq!(parts.uri.path_and_query().unwrap().as_str(), head.target);
    let seen: Vec<_> =
        parts.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    assert_eq!(seen, ["cookie: a=1", "cookie: b=2", "x-one: 1", "host: other.example"]);
    assert!(body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn a_request_from_http1_loses_host_and_what_belonged_to_its_connection() {
    let mut leg = Leg::new(tight()).await;
    let mut head = get("*");
    head.method = Method::OPTIONS;
    head.version = Version::HTTP_11;
    head.headers = headers(&[
        ("Host", "example.com"),
        ("Connection", "TE, Upgrade, HTTP2-Settings, X-Hop"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ("X-Hop", "1"),
        ("TE", "gzip, trailers;q=1"),
        ("TE", "trailers"),
        ("X-Kept", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Transfer-Encoding", "chunked"),
    ]);
    leg.send(&head, BodyToCome::No).await;
    let parts = leg.request().await.0.into_parts().0;
    assert_eq!(parts.uri.path_and_query().unwrap().as_str(), "*");
    let mut seen: Vec<_> =
        parts.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    seen.sort();
    assert_eq!(seen, ["te: trailers", "x-kept: 1"]);
}

#[tokio::test(start_paused = true)]
async fn heads_that_http2_cannot_express_are_not_sent() {
    let mut leg = Leg::new(tight()).await;
    let with = |name: &'static str, value: &'static str| RequestHead {
        headers: headers(&[(name, value)]),
        ..get("/")
    };
    for bad in [
        get("relative"),
        get("/a b"),
        RequestHead { authority: String::new(), ..get("/") },
        RequestHead { authority: "a b".into(), ..get("/") },
        with("na me", "x"),
        with("x", "a\u{1}b"),
    ] {
        let error = soon(leg.upstream.send(&bad, None, BodyToCome::No)).await.err().unwrap();
        assert_eq!((error.error.kind, error.may_retry), (WireErrorKind::Malformed, false), "{bad:?}");
    }
    leg.send(&get("/good"), BodyToCome::No).await;
    assert_eq!(leg.request().await.0.uri().path(), "/good");
}

#[tokio::test(start_paused = true)]
async fn interim_responses_come_before_the_final_one_and_trailers_after() {
    let mut leg = Leg::new(tight()).await;
    let (_writer, mut reader) = leg.send(&get("/"), BodyToCome::No).await;
    let (_request, mut respond_to) = leg.request().await;
    never(reader.head()).await;
    let hints = Response::builder().status(103).header("link", "</a>").body(()).unwrap();
    respond_to.send_informational(respond(100)).unwrap();
    respond_to.send_informational(hints).unwrap();
    let first = soon(reader.head()).await.unwrap();
    let second = soon(reader.head()).await.unwrap();
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (100, 103));
    assert_eq!(lines(&second.headers), ["link: </a>"]);
    assert_eq!(reader.head_bytes(), (7 + 3 + 32) + (4 + 4 + 32));

    let mut stream = respond_to.send_response(respond(200), false).unwrap();
    let last = soon(reader.head()).await.unwrap();
    assert_eq!((last.status.as_u16(), last.reason, last.version), (200, None, Version::HTTP_2));
    assert!(soon(reader.head()).await.is_err(), "nothing follows the final head");

    stream.send_data(Bytes::from_static(b"data"), false).unwrap();
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
    stream.send_trailers(trailers).unwrap();
    let (body, trailers) = whole(&mut reader.body().unwrap()).await.unwrap();
    assert_eq!((body.as_slice(), lines(&trailers.unwrap())), (&b"data"[..], vec!["x-sum: 1".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_request_body_and_its_trailers_pass() {
    let mut leg = Leg::new(tight()).await;
    let (mut writer, _reader) = leg.send(&get("/"), BodyToCome::Yes).await;
    let mut body = leg.request().await.0.into_body();
    let writing = tokio::spawn(async move {
        writer.data(zeros(300_000)).await?;
        writer.end(Some(&headers(&[("X-Sum", "1")]))).await
    });
    let mut read = 0;
    while let Some(data) = soon(body.data()).await {
        let length = data.unwrap().len();
        body.flow_control().release_capacity(length).unwrap();
        read += length;
    }
    assert_eq!(read, 300_000);
    assert_eq!(soon(body.trailers()).await.unwrap().unwrap()["x-sum"], "1");
    soon(writing).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn resets_carry_their_code_both_ways() {
    let mut leg = Leg::new(tight()).await;
    let (mut writer, mut reader) = leg.send(&get("/"), BodyToCome::Yes).await;
    let (_request, mut respond_to) = leg.request().await;
    respond_to.send_reset(Reason::from(0xbeef));
    let reset = WireErrorKind::Reset(Some(0xbeef));
    let error = soon(reader.head()).await.unwrap_err();
    assert_eq!((error.error.kind, error.may_retry), (reset, false));
    assert_eq!(soon(writer.gone()).await.kind, reset);
    assert_eq!(soon(writer.data(zeros(1))).await.unwrap_err().kind, reset);

    let (mut writer, _reader) = leg.send(&get("/"), BodyToCome::Yes).await;
    let mut body = leg.request().await.0.into_body();
    writer.reset(0xa);
    assert_eq!(soon(body.data()).await.unwrap().unwrap_err().reason(), Some(Reason::CONNECT_ERROR));

    let (writer, reader) = leg.send(&get("/"), BodyToCome::Yes).await;
    let mut body = leg.request().await.0.into_body();
    drop((writer, reader));
    assert_eq!(soon(body.data()).await.unwrap().unwrap_err().reason(), Some(Reason::CANCEL));
}

#[tokio::test(start_paused = true)]
async fn a_reset_in_mid_body_comes_after_what_was_sent_before() {
    let mut leg = Leg::new(tight()).await;
    let (_writer, mut reader) = leg.send(&get("/"), BodyToCome::No).await;
    let (_request, mut respond_to) = leg.request().await;
    let mut stream = respond_to.send_response(respond(200), false).unwrap();
    stream.send_data(Bytes::from_static(b"part"), false).unwrap();
    soon(reader.head()).await.unwrap();
    let mut body = reader.body().unwrap();
    assert_eq!(soon(body.piece()).await, Ok(Some(Piece::Data("part".into()))));
    stream.send_reset(Reason::INTERNAL_ERROR);
    assert_eq!(soon(body.piece()).await.unwrap_err().kind, WireErrorKind::Reset(Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_response_that_came_early_is_whole_although_the_request_was_stopped() {
    let mut leg = Leg::new(tight()).await;
    let (mut writer, reader) = leg.send(&get("/"), BodyToCome::Yes).await;
    let (request, mut respond_to) = leg.request().await;
    let mut stream = respond_to.send_response(respond(413), false).unwrap();
    stream.send_data(Bytes::from_static(b"too large"), true).unwrap();
    drop((request, respond_to, stream));
    assert_eq!(soon(writer.data(zeros(1 << 20))).await.unwrap_err().kind, WireErrorKind::Reset(Some(0)));
    assert_eq!(body_of(reader).await.unwrap().0, b"too large");
}

#[tokio::test(start_paused = true)]
async fn a_refused_stream_may_be_tried_again() {
    let mut leg = Leg::new(tight()).await;
    let (_writer, mut reader) = leg.send(&get("/"), BodyToCome::No).await;
    leg.request().await.1.send_reset(Reason::REFUSED_STREAM);
    let error = soon(reader.head()).await.unwrap_err();
    assert_eq!((error.error.kind, error.may_retry), (WireErrorKind::Reset(Some(7)), true));
    assert!(!leg.upstream.is_closed());
}

#[tokio::test(start_paused = true)]
async fn after_a_goodbye_open_streams_go_on_and_new_requests_may_go_elsewhere() {
    let mut leg = Leg::new(tight()).await;
    let (_writer, reader) = leg.send(&get("/"), BodyToCome::No).await;
    let (request, mut respond_to) = leg.request().await;
    assert!(!leg.upstream.is_closed());
    leg.server.send(Shutdown::Graceful).unwrap();
    never(leg.requests.recv()).await;
    assert!(leg.upstream.is_closed());
    let error = soon(leg.upstream.send(&get("/"), None, BodyToCome::No)).await.err().unwrap();
    assert_eq!((error.error.kind, error.may_retry), (WireErrorKind::Closed, true));

    let mut stream = respond_to.send_response(respond(200), false).unwrap();
    stream.send_data(Bytes::from_static(b"whole"), true).unwrap();
    drop((request, respond_to, stream));
    assert_eq!(body_of(reader).await.unwrap().0, b"whole");
    assert_eq!(soon(leg.driver).await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_with_an_error_is_a_reset_with_its_code() {
    let mut leg = Leg::new(tight()).await;
    let (_writer, mut reader) = leg.send(&get("/"), BodyToCome::No).await;
    let _held = leg.request().await;
    leg.server.send(Shutdown::Abrupt(Reason::ENHANCE_YOUR_CALM)).unwrap();
    let error = soon(reader.head()).await.unwrap_err();
    assert!(!error.may_retry, "upstream had seen the request");
    assert_eq!(soon(leg.driver).await.unwrap().unwrap_err().kind, WireErrorKind::Reset(Some(0xb)));
    assert!(leg.upstream.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_closes_its_streams() {
    let mut leg = Leg::new(tight()).await;
    let (mut writer, mut reader) = leg.send(&get("/"), BodyToCome::Yes).await;
    leg.driver.abort();
    let error = soon(reader.head()).await.unwrap_err();
    assert_eq!((error.error.kind, error.may_retry), (WireErrorKind::Closed, false));
    assert_eq!(soon(writer.gone()).await.kind, WireErrorKind::Closed);
    assert_eq!(soon(writer.data(zeros(1))).await.unwrap_err().kind, WireErrorKind::Closed);
    assert!(leg.upstream.is_closed());
    assert!(soon(leg.upstream.send(&get("/"), None, BodyToCome::No)).await.err().unwrap().may_retry);
}

#[tokio::test(start_paused = true)]
async fn the_connection_closes_when_nobody_holds_it() {
    let leg = Leg::new(tight()).await;
    drop(leg.upstream);
    assert_eq!(soon(leg.driver).await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_room_among_upstreams_streams() {
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(1);
    let mut leg = Leg::with_server(tight(), &builder).await;
    soon(leg.upstream.settled()).await;
    let (_writer, reader) = leg.send(&get("/1"), BodyToCome::No).await;
    let (_request, mut respond_to) = leg.request().await;
    // Given up while it waits, it never leaves.
    never(leg.upstream.send(&get("/given-up"), None, BodyToCome::No)).await;
    let other = leg.upstream.clone();
    let waiting = tokio::spawn(async move { other.send(&get("/2"), None, BodyToCome::No).await.is_ok() });
    never(leg.requests.recv()).await;
    assert!(!waiting.is_finished());
    respond_to.send_response(respond(204), true).unwrap();
    body_of(reader).await.unwrap();
    assert_eq!(leg.request().await.0.uri().path(), "/2");
    assert!(soon(waiting).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_download_goes_no_further_than_its_window_ahead_of_its_reader() {
    let settings = tight();
    let window = settings.stream_window_bytes as usize;
    let mut leg = Leg::new(settings).await;
    let (_writer, mut reader) = leg.send(&get("/"), BodyToCome::No).await;
    let (_request, mut respond_to) = leg.request().await;
    let mut stream = respond_to.send_response(respond(200), false).unwrap();
    stream.send_data(zeros(1 << 20), true).unwrap();
    soon(reader.head()).await.unwrap();
    let mut body = reader.body().unwrap();
    never(poll_fn(|cx| stream.poll_reset(cx))).await;
    let mut read = 0;
    // Of what arrived before anything was read, nothing is given back until the next piece is asked for.
    while read < window {
        let Ok(Some(Piece::Data(piece))) = soon(body.piece()).await else { panic!("data") };
        read += piece.len();
    }
    while let Some(Piece::Data(piece)) = soon(body.piece()).await.unwrap() {
        read += piece.len();
    }
    assert_eq!(read, 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_download_does_not_stall_its_sibling() {
    let mut leg = Leg::new(tight()).await;
    let (_writer, stalled) = leg.send(&get("/1"), BodyToCome::No).await;
    let (_request, mut respond_to) = leg.request().await;
    respond_to.send_response(respond(200), false).unwrap().send_data(zeros(1 << 20), true).unwrap();
    never(leg.requests.recv()).await;
    let (_writer, reader) = leg.send(&get("/2"), BodyToCome::No).await;
    let (_request, mut respond_to) = leg.request().await;
    respond_to.send_response(respond(200), false).unwrap().send_data(zeros(1 << 20), true).unwrap();
    assert_eq!(body_of(reader).await.unwrap().0.len(), 1 << 20);
    assert_eq!(body_of(stalled).await.unwrap().0.len(), 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn malformed_and_oversize_responses_are_told_apart() {
    let mut settings = tight();
    settings.max_head_bytes = 1_000;
    let mut leg = Leg::new(settings).await;
    let sized =
        |length: usize| Response::builder().status(200).header("x", "a".repeat(length)).body(()).unwrap();
    for (response, kind) in [
        (respond(101), WireErrorKind::Malformed),
        (sized(1_000), WireErrorKind::Limit),
        (sized(3_000), WireErrorKind::Limit),
    ] {
        let (_writer, mut reader) = leg.send(&get("/"), BodyToCome::No).await;
        let (_request, mut respond_to) = leg.request().await;
        if response.status().is_informational() {
            respond_to.send_informational(response).unwrap();
        } else {
            respond_to.send_response(response, true).unwrap();
        }
        let error = soon(reader.head()).await.unwrap_err();
        assert_eq!((error.error.kind, error.may_retry), (kind, false));
        assert!(reader.body().is_none());
    }

    let (_writer, reader) = leg.send(&get("/"), BodyToCome::No).await;
    let (_request, mut respond_to) = leg.request().await;
    let short = Response::builder().header("content-length", "3").body(()).unwrap();
    respond_to.send_response(short, false).unwrap().send_data("ab".into(), true).unwrap();
    assert_eq!(body_of(reader).await.unwrap_err().kind, WireErrorKind::Malformed);
}

#[tokio::test(start_paused = true)]
async fn responses_without_body_may_say_how_long_it_would_be() {
    let mut leg = Leg::new(tight()).await;
    for (method, code) in [(Method::HEAD, 200), (Method::GET, 304), (Method::GET, 204)] {
        let (_writer, mut reader) = leg.send(&RequestHead { method, ..get("/") }, BodyToCome::No).await;
        let (_request, mut respond_to) = leg.request().await;
        let response = Response::builder().status(code).header("content-length", "3").body(()).unwrap();
        respond_to.send_response(response, true).unwrap();
        let head = soon(reader.head()).await.unwrap();
        assert_eq!(head.headers.get_str("content-length"), Some("3"));
        let mut body = reader.body().unwrap();
        assert!(body.is_at_end());
        assert_eq!(soon(body.piece()).await, Ok(None));
    }
}

#[tokio::test(start_paused = true)]
async fn extended_connect_is_known_once_settings_are_here() {
    for supported in [true, false] {
        let mut builder = server::Builder::new();
        if supported {
            builder.enable_connect_protocol();
        }
        let mut leg = Leg::with_server(tight(), &builder).await;
        // Given up and asked again, it still comes to its answer.
        drop(leg.upstream.settled());
        soon(leg.upstream.settled()).await;
        soon(leg.upstream.clone().settled()).await;
        assert_eq!(leg.upstream.supports_extended_connect(), supported);
        if !supported {
            continue;
        }
        let head = RequestHead { method: Method::CONNECT, ..get("/chat") };
        let sent = soon(leg.upstream.send(&head, Some("websocket"), BodyToCome::Yes)).await;
        let (mut writer, mut reader) = sent.unwrap();
        let (request, mut respond_to) = leg.request().await;
        assert_eq!(request.extensions().get::<h2::ext::Protocol>().unwrap().as_str(), "websocket");
        assert_eq!(request.uri(), "https://example.com/chat");
        let mut stream = respond_to.send_response(respond(200), false).unwrap();
        soon(reader.head()).await.unwrap();
        stream.send_data("down".into(), false).unwrap();
        assert_eq!(soon(reader.body().unwrap().piece()).await, Ok(Some(Piece::Data("down".into()))));
        soon(writer.data("up".into())).await.unwrap();
        assert_eq!(soon(request.into_body().data()).await.unwrap().unwrap(), "up");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_has_neither_scheme_nor_path() {
    let mut leg = Leg::new(tight()).await;
    let head = RequestHead {
        method: Method::CONNECT,
        authority: "example.com:443".into(),
        ..get("example.com:443")
    };
    leg.send(&head, BodyToCome::Yes).await;
    let uri = leg.request().await.0.uri().clone();
    assert_eq!((uri.to_string().as_str(), uri.scheme(), uri.path()), ("example.com:443", None, ""));
}

#[tokio::test(start_paused = true)]
async fn settled_returns_when_the_connection_breaks() {
    let leg = Leg::new(tight()).await;
    leg.driver.abort();
    assert!(soon(leg.driver).await.unwrap_err().is_cancelled());
    soon(leg.upstream.settled()).await;
    assert!(leg.upstream.is_closed());
}
