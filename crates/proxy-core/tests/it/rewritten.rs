//! What interceptors make of bodies: whole, or in passing.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, Method};
use http_body_util::BodyExt;
use proxy_core::{
    BodyTransformer, BodyWish, BoxFuture, ExchangeId, Failure, FailureKind, Interceptor, Outcome,
    RequestHead, ResponseHead, Unread, Verdict, WholeBody,
};
use testkit::{Origin, RawOrigin, Step, full, pattern, pattern_bytes};

use crate::lab::{Lab, lines};

const VERSIONS: [&[&str]; 2] = [&["http/1.1"], &["h2"]];
const MAX: usize = 64 * 1024;

/// What is done with a body that was asked for whole.
type Edit = fn(&mut WholeBody);
/// What is wished of a body.
type Wish = fn() -> BodyWish;

/// An interceptor of bodies made of functions. Notes what was said of bodies that could not be had.
#[derive(Clone)]
struct Bodies {
    request: (Wish, Edit),
    response: (Wish, Edit),
    unread: Arc<Mutex<Vec<Unread>>>,
}

fn pass() -> BodyWish {
    BodyWish::Pass
}

fn whole() -> BodyWish {
    BodyWish::Whole { max_bytes: MAX }
}

fn nothing(_: &mut WholeBody) {}

fn shout(body: &mut WholeBody) {
    let louder = body.bytes().unwrap().to_ascii_uppercase();
    body.replace(louder).unwrap();
}

impl Bodies {
    fn new(request: (Wish, Edit), response: (Wish, Edit)) -> Self {
        Self { request, response, unread: Arc::default() }
    }

    fn requests(wish: Wish, edit: Edit) -> Self {
        Self::new((wish, edit), (pass, nothing))
    }

    fn responses(wish: Wish, edit: Edit) -> Self {
        Self::new((pass, nothing), (wish, edit))
    }

    fn had(&self, edit: Edit, body: &mut WholeBody) -> Verdict {
        match body.unread().cloned() {
            None => edit(body),
            Some(unread) => {
                assert_eq!(body.replace("too late"), Err(unread.clone()));
                self.unread.lock().unwrap().push(unread);
            }
        }
        Verdict::Continue
    }
}

impl Interceptor for Bodies {
    fn request_body(&self, _: ExchangeId, _: &RequestHead) -> BodyWish {
        (self.request.0)()
    }

    fn whole_request<'a>(
        &'a self,
        _: ExchangeId,
        _: &'a mut RequestHead,
        body: &'a mut WholeBody,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async { self.had(self.request.1, body) })
    }

    fn response_body(&self, _: ExchangeId, _: &RequestHead, _: &ResponseHead) -> BodyWish {
        (self.response.0)()
    }

    fn whole_response<'a>(
        &'a self,
        _: ExchangeId,
        _: &'a RequestHead,
        _: &'a mut ResponseHead,
        body: &'a mut WholeBody,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async { self.had(self.response.1, body) })
    }
}

#[tokio::test]
async fn whole_bodies_can_be_replaced_both_ways_and_the_record_keeps_what_was_received() {
    for alpn in VERSIONS {
        let both = Bodies::new((whole, shout), (whole, |body| body.replace("instead").unwrap()));
        let lab = Lab::with(|builder| builder.interceptor(both)).await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        for _ in 0..2 {
            let answer = client.post("/echo", full("hello")).await.unwrap();
            assert_eq!(answer.text(), "instead", "{alpn:?}");
        }
        for told in lab.log.ended(2).await {
            assert_eq!(told.outcome(), &Outcome::Response);
            assert_eq!((&told.request_body[..], &told.response_body[..]), (&b"hello"[..], &b"HELLO"[..]));
            assert!(told.request_ended);
        }
        assert_eq!(origin.counts().connections, 1, "{alpn:?}: connections stay usable");
    }
}

#[tokio::test]
async fn a_longer_body_gets_its_length_and_nothing_of_it_is_mistaken_for_the_next_message() {
    let longer = Bodies::requests(whole, |body| body.replace(vec![b'x'; 1_000]).unwrap());
    let lab = Lab::with(|builder| builder.interceptor(longer)).await;
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let script = vec![Step::ReadHead, Step::Read(1_000), Step::send(ok), Step::ReadHead, Step::Read(1_000)];
    let origin =
        RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![[script, vec![Step::send(ok)]].concat()])
            .await
            .unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    for body in ["Content-Length: 2\r\n\r\nhi", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"] {
        client.send(format!("POST / HTTP/1.1\r\nHost: x\r\n{body}")).await.unwrap();
        assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 200"));
    }
    let received = String::from_utf8(origin.received(0)).unwrap();
    assert_eq!(received.matches("\r\nContent-Length: 1000\r\n").count(), 2, "{received}");
    assert!(!received.contains("chunked"), "{received}");
}

#[tokio::test]
async fn coded_bodies_are_decoded_for_the_edit_and_coded_again() {
    for (path, coding, shouted) in [
        ("/gzip", "gzip", r#"{"GREETING":"HELLO","FROM":"THE ORIGIN"}"#),
        ("/deflate", "deflate", r#"{"GREETING":"HELLO","FROM":"THE ORIGIN"}"#),
        ("/br", "br", "HELLO"),
        ("/zstd", "zstd", "HELLO"),
    ] {
        for alpn in VERSIONS {
            let edit = Bodies::responses(whole, shout);
            // The second sees what the first made of it.
            let look = Bodies::responses(whole, |body| assert!(body.bytes().unwrap().contains(&b'H')));
            let lab = Lab::with(|builder| builder.interceptor(edit).interceptor(look)).await;
            let origin = Origin::https(&lab.origin_ca).await.unwrap();
            let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
            let answer = client.get(path).await.unwrap();
            assert_eq!(answer.header("content-encoding"), Some(coding), "{alpn:?}");
            assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()), "{path}");
            assert_eq!(decoded(coding, &answer.body), shouted, "{path} {alpn:?}");
        }
    }
}

/// Decodes with tools of its own, where there are any.
fn decoded(coding: &str, body: &[u8]) -> String {
    use std::io::Read;
    let mut text = String::new();
    let mut read = |mut reader: Box<dyn Read + '_>| reader.read_to_string(&mut text).map(drop).unwrap();
    match coding {
        "gzip" => read(Box::new(flate2::read::GzDecoder::new(body))),
        "deflate" => read(Box::new(flate2::read::ZlibDecoder::new(body))),
        "br" => read(Box::new(brotli::Decompressor::new(body, 4_096))),
        _ => read(Box::new(zstd::Decoder::new(body).unwrap())),
    }
    text
}

#[tokio::test]
async fn a_body_nobody_changed_passes_byte_for_byte() {
    for path in ["/gzip", "/br", "/bytes/60000", "/chunked/60000", "/json"] {
        let lab = Lab::with(|builder| builder.interceptor(Bodies::responses(whole, nothing))).await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(&["http/1.1"]).https(&origin.authority()).await.unwrap();
        let answer = client.get(path).await.unwrap();
        let told = lab.log.one().await;
        assert_eq!(answer.body, told.response_body(), "{path}");
        let received = lines(&told.response.unwrap().headers);
        assert_eq!(answer.headers.len(), received.len(), "{path}: {received:?}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_passes_untouched_and_the_interceptor_is_told() {
    for alpn in VERSIONS {
        for path in ["/bytes/3000000", "/chunked/3000000"] {
            let both = Bodies::new((whole, shout), (whole, shout));
            let unread = both.unread.clone();
            let lab = Lab::with(|builder| builder.interceptor(both)).await;
            let origin = Origin::https(&lab.origin_ca).await.unwrap();
            let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
            assert_eq!(client.get(path).await.unwrap().body, pattern_bytes(3_000_000), "{alpn:?} {path}");
            let answer = client.post("/upload", pattern(3_000_000)).await.unwrap();
            assert!(answer.text().contains("3000000"), "{alpn:?} {}", answer.text());
            let told = lab.log.ended(2).await;
            assert_eq!(told[0].response_body(), pattern_bytes(3_000_000));
            assert_eq!(told[1].request_body.len(), 3_000_000);
            let too_large = Unread::TooLarge { max_bytes: MAX };
            assert_eq!(*unread.lock().unwrap(), [too_large.clone(), too_large]);
        }
    }
}

#[tokio::test]
async fn a_body_that_decodes_to_more_than_the_limit_passes_untouched() {
    let responses = Bodies::responses(whole, shout);
    let unread = responses.unread.clone();
    let lab = Lab::with(|builder| builder.interceptor(responses)).await;
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![0; 10_000_000]).unwrap();
    let bomb = bomb.finish().unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len());
    let script = vec![Step::ReadHead, Step::send(head), Step::send(&bomb)];
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).https(&origin.authority()).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().body, bomb);
    assert_eq!(*unread.lock().unwrap(), [Unread::TooLarge { max_bytes: MAX }]);
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let lab = Lab::with(|builder| builder.interceptor(Bodies::requests(whole, shout))).await;
    let script =
        vec![Step::ReadHead, Step::Read(5), Step::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")];
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    client.send(head).await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 100"));
    client.send("hello").await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 200"));
    let received = String::from_utf8(origin.received(0)).unwrap();
    assert!(received.ends_with("HELLO") && !received.contains("Expect"), "{received}");
    assert_eq!(lab.log.one().await.outcome(), &Outcome::Response);
}

#[tokio::test]
async fn a_client_that_asks_about_too_much_is_left_to_upstream() {
    let lab = Lab::with(|builder| builder.interceptor(Bodies::requests(whole, shout))).await;
    let refusal = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n";
    let script = vec![Step::ReadHead, Step::send(refusal)];
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\nExpect: 100-continue\r\n\r\n";
    client.send(head).await.unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 417"));
    assert!(String::from_utf8(origin.received(0)).unwrap().contains("Expect: 100-continue"));
}

#[tokio::test]
async fn a_body_that_does_not_come_to_its_end_in_time_passes_as_it_comes() {
    for alpn in VERSIONS {
        let requests = Bodies::requests(whole, shout);
        let unread = requests.unread.clone();
        let mut timeouts = proxy_core::Timeouts::default();
        timeouts.hold_body = std::time::Duration::from_millis(50);
        let lab = Lab::with(|builder| builder.interceptor(requests).timeouts(timeouts)).await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        // The second half is sent when the first came back.
        let (mut send, body) = tokio::sync::mpsc::channel::<Bytes>(1).into_body();
        let request = client.request(Method::POST, "/echo", body).unwrap();
        send.piece("first half, ").await;
        let mut echo = client.send(request).await.unwrap().into_body();
        assert_eq!(echo.frame().await.unwrap().unwrap().into_data().unwrap(), "first half, ", "{alpn:?}");
        send.piece("second half").await;
        drop(send);
        assert_eq!(echo.collect().await.unwrap().to_bytes(), "second half");
        assert_eq!(*unread.lock().unwrap(), [Unread::TooSlow]);
        assert_eq!(lab.log.one().await.request_body, "first half, second half");
    }
}

/// A body sent by hand.
trait ByHand {
    fn into_body(self) -> (Sender, testkit::Body);
}

struct Sender(tokio::sync::mpsc::Sender<Bytes>);

impl Sender {
    async fn piece(&mut self, piece: &'static str) {
        self.0.send(piece.into()).await.unwrap();
    }
}

impl ByHand for (tokio::sync::mpsc::Sender<Bytes>, tokio::sync::mpsc::Receiver<Bytes>) {
    fn into_body(self) -> (Sender, testkit::Body) {
        let pieces = futures_util::stream::unfold(self.1, async |mut pieces| {
            let piece = pieces.recv().await?;
            Some((Ok(hyper::body::Frame::data(piece)), pieces))
        });
        (Sender(self.0), BodyExt::boxed(http_body_util::StreamBody::new(Box::pin(pieces))))
    }
}

#[tokio::test]
async fn trailers_survive_a_replaced_body() {
    for alpn in VERSIONS {
        let lab = Lab::with(|builder| builder.interceptor(Bodies::responses(whole, shout))).await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        let mut request = client.request(Method::GET, "/trailers", full("")).unwrap();
        request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        let answer = client.fetch(request).await.unwrap();
        assert_eq!(answer.text(), "A BODY WITH TRAILERS\n", "{alpn:?}");
        assert_eq!(answer.trailers.unwrap()["x-checksum"], "abc123", "{alpn:?}");
    }
}

#[tokio::test]
async fn an_endless_stream_is_not_waited_for() {
    for alpn in VERSIONS {
        let responses = Bodies::responses(whole, shout);
        let unread = responses.unread.clone();
        let lab = Lab::with(|builder| builder.interceptor(responses)).await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        let request = client.request(Method::GET, "/sse?events=2", full("")).unwrap();
        let mut events = client.send(request).await.unwrap().into_body();
        for _ in 0..2 {
            origin.release();
            events.frame().await.unwrap().unwrap();
        }
        assert_eq!(*unread.lock().unwrap(), [Unread::Endless]);
    }
}

#[tokio::test]
async fn heads_without_content_are_not_asked_about() {
    let never: Edit = |_| panic!("there is no body");
    let lab = Lab::with(|builder| builder.interceptor(Bodies::responses(whole, never))).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    for alpn in VERSIONS {
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        let head = client.request(Method::HEAD, "/bytes/77", full("")).unwrap();
        let answer = client.fetch(head).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("content-length")), (200, Some("77")), "{alpn:?}");
        assert_eq!(client.get("/status/204").await.unwrap().status, 204);
        assert_eq!(client.get("/status/304").await.unwrap().status, 304);
    }
}

#[tokio::test]
async fn pieces_change_in_passing_one_by_one() {
    for alpn in VERSIONS {
        let wish: Wish = || BodyWish::Pieces(Box::new(|data: Bytes| Bytes::from(data.to_ascii_uppercase())));
        let lab =
            Lab::with(|builder| builder.interceptor(Bodies::new((wish, nothing), (wish, nothing)))).await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
        let request = client.request(Method::GET, "/sse?events=3", full("")).unwrap();
        let mut events = client.send(request).await.unwrap().into_body();
        for at in 1..=3 {
            // The next one is not sent before this one was read.
            origin.release();
            let event = events.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(event.starts_with(format!("ID: {at}\nEVENT: TICK\n").as_bytes()), "{event:?}");
        }
        while events.frame().await.is_some() {}
        let answer = client.post("/echo", full("hello")).await.unwrap();
        assert_eq!(answer.text(), "HELLO");
        let told = lab.log.ended(2).await;
        assert!(told[0].response_body.starts_with(b"id: 1\n"));
        assert_eq!(told[1].request_body, "hello");
    }
}

/// Doubles what passes, and adds a last word.
struct Double;

impl BodyTransformer for Double {
    fn piece(&mut self, data: Bytes) -> BoxFuture<'_, Result<Bytes, Failure>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok([&data[..], &data[..]].concat().into())
        })
    }

    fn end(&mut self) -> BoxFuture<'_, Result<Bytes, Failure>> {
        Box::pin(async { Ok("!".into()) })
    }
}

#[tokio::test]
async fn pieces_can_be_had_decoded_and_pass_without_their_coding() {
    for alpn in VERSIONS {
        for (path, text) in [("/br", "hellohello!"), ("/zstd", "hellohello!"), ("/", "hello from")] {
            let wish: Wish = || BodyWish::DecodedPieces(Box::new(Double));
            let lab = Lab::with(|builder| builder.interceptor(Bodies::responses(wish, nothing))).await;
            let origin = Origin::https(&lab.origin_ca).await.unwrap();
            let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
            let answer = client.get(path).await.unwrap();
            assert!(answer.text().starts_with(text), "{alpn:?} {path} {}", answer.text());
            assert!(answer.text().ends_with('!'));
            assert_eq!(answer.header("content-encoding"), None);
            assert_eq!(lab.log.one().await.outcome(), &Outcome::Response);
        }
    }
}

/// Fails at once, one way or the other.
struct Broken(fn() -> Result<Bytes, Failure>);

impl BodyTransformer for Broken {
    fn piece(&mut self, _: Bytes) -> BoxFuture<'_, Result<Bytes, Failure>> {
        Box::pin(async { (self.0)() })
    }
}

#[tokio::test]
async fn a_transformer_that_fails_breaks_the_message_off() {
    let fails: Wish =
        || BodyWish::Pieces(Box::new(Broken(|| Err(Failure::new(FailureKind::Aborted, "by the test")))));
    let panics: Wish = || BodyWish::Pieces(Box::new(Broken(|| panic!("by the test"))));
    for alpn in VERSIONS {
        for wish in [fails, panics] {
            let lab = Lab::with(|builder| builder.interceptor(Bodies::responses(wish, nothing))).await;
            let origin = Origin::https(&lab.origin_ca).await.unwrap();
            let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
            client.get("/chunked/1000").await.unwrap_err();
            assert_eq!(lab.log.one().await.failure(), FailureKind::Aborted, "{alpn:?}");
            // Nothing of a response came yet: the client is told.
            let lab = Lab::with(|builder| builder.interceptor(Bodies::requests(wish, nothing))).await;
            let origin = Origin::https(&lab.origin_ca).await.unwrap();
            let mut client = lab.client(alpn).https(&origin.authority()).await.unwrap();
            assert_eq!(client.post("/upload", full("hello")).await.unwrap().status, 502, "{alpn:?}");
            assert_eq!(lab.log.one().await.failure(), FailureKind::Aborted, "{alpn:?}");
        }
    }
}
