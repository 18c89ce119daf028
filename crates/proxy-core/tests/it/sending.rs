//! Requests that the proxy sends of its own accord.

use std::{
    io,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Version};
use proxy_core::{
    BodySource, CertificateAuthority, FailureKind, Headers, ListenerKind, Outcome, Proxy, RequestHead,
    ResponseSource, Route, SendBody, SendRequest, SendVersion, Sender, UpstreamRoutes, UpstreamSharing,
    UpstreamTrust,
};
use serde_json::json;
use testkit::{Origin, Parent, ParentKind, RawOrigin, Step, TestCa};

use crate::lab::{Lab, Log};

fn sender(lab: &Lab) -> Sender {
    lab.proxy.as_ref().unwrap().sender()
}

fn get(url: &str) -> SendRequest {
    SendRequest::new(RequestHead::get(url).unwrap())
}

async fn text(sender: &Sender, request: SendRequest) -> (u16, String) {
    let mut response = sender.send(request).await.unwrap().response().await.unwrap();
    let (body, length) = response.body.collect(1 << 20).await.unwrap();
    assert_eq!(body.len() as u64, length);
    (response.head.status.as_u16(), String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn a_sender_and_the_clients_that_share_connections_share_none_with_each_other() {
    for (alpn, version) in [("http/1.1", SendVersion::Http1), ("h2", SendVersion::Http2)] {
        let lab = Lab::with(|builder| builder.upstream_sharing(UpstreamSharing::Shared)).await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let sender = sender(&lab);
        for round in 1..=2 {
            let mut client = lab.client(&[alpn]).https(&origin.authority()).await.unwrap();
            assert_eq!(client.get("/json").await.unwrap().status, 200);
            drop(client);
            lab.log.ended(2 * round - 1).await;
            let mut request = get(&format!("https://{}/json", origin.authority()));
            request.version = version;
            assert_eq!(text(&sender, request).await.0, 200);
            let told = lab.log.ended(2 * round).await;
            let reused: Vec<bool> = told.iter().rev().take(2).map(|told| told.upstream[0].1).collect();
            assert_eq!(reused, [round == 2; 2], "{alpn}");
            assert_eq!(origin.counts().connections, 2, "{alpn}");
        }
    }
}

#[tokio::test]
async fn what_is_sent_reaches_the_origin_byte_for_byte_and_is_told_as_any_exchange() {
    let lab = Lab::new().await;
    let origin = RawOrigin::plain(vec![vec![
        Step::read_until("body\0"),
        Step::send("HTTP/1.1 203 Fine\r\nX-One: 1\r\nContent-Length: 2\r\n\r\nok"),
        Step::ReadToEnd,
    ]])
    .await
    .unwrap();
    let authority = origin.authority();
    let mut head = RequestHead::to_url(Method::POST, &format!("http://{authority}/a//b?q=%41")).unwrap();
    head.headers = Headers::new();
    for (name, value) in
        [("X-B", "1"), ("hOST", authority.as_str()), ("x-a", "2"), ("X-b", "3"), ("Content-Length", "5")]
    {
        head.headers.push(name.to_owned(), value.to_owned());
    }
    let mut request = SendRequest::new(head.clone());
    request.body = SendBody::whole("body\0");
    request.origin = Some("e412".to_owned());
    let sending = sender(&lab).send(request).await.unwrap();
    let (exchange, connection) = (sending.exchange(), sending.connection());
    let mut response = sending.response().await.unwrap();
    assert_eq!(response.body.next().await.unwrap().as_deref(), Some(&b"ok"[..]));
    assert_eq!(response.body.next().await.unwrap(), None);
    assert_eq!((response.exchange, response.head.status.as_u16()), (exchange, 203));
    let expected = format!(
        "POST /a//b?q=%41 HTTP/1.1\r\nX-B: 1\r\nhOST: {authority}\r\nx-a: 2\r\nX-b: 3\r\nContent-Length: 5\r\n\r\nbody\0"
    );
    assert_eq!(String::from_utf8(origin.received(0)).unwrap(), expected);
    let told = lab.log.one().await;
    assert_eq!(told.outcome(), &Outcome::Response);
    assert_eq!((told.request.as_deref(), &told.request_body[..]), (Some(&head), &b"body\0"[..]));
    assert_eq!(told.response_body(), "ok");
    let client = told.client.unwrap();
    assert_eq!((client.listener, client.connection), (ListenerKind::Own, connection));
    assert_eq!(client.origin.as_deref(), Some("e412"));
}

#[tokio::test]
async fn the_http_version_is_chosen() {
    let lab = Lab::new().await;
    let both = Origin::https(&lab.origin_ca).await.unwrap();
    let old = Origin::builder().https(&lab.origin_ca).unwrap().alpn(&["http/1.1"]).start().await.unwrap();
    let plain = Origin::plain().await.unwrap();
    let sender = sender(&lab);
    for (origin, version, expected) in [
        (&both, SendVersion::Auto, Some(Version::HTTP_2)),
        (&both, SendVersion::Http1, Some(Version::HTTP_11)),
        (&both, SendVersion::Http2, Some(Version::HTTP_2)),
        (&old, SendVersion::Auto, Some(Version::HTTP_11)),
        (&old, SendVersion::Http2, None),
        (&plain, SendVersion::Auto, Some(Version::HTTP_11)),
    ] {
        let mut request = get(&origin.url("/json"));
        request.version = version;
        request.head.headers.push("X-Upper", "Kept");
        match sender.send(request).await.unwrap().response().await {
            Ok(response) => {
                assert_eq!(response.head.status, 200);
                let seen = origin.seen().pop().unwrap();
                assert_eq!(Some(seen.version), expected, "{version:?}");
                assert_eq!(seen.headers["x-upper"], "Kept");
            }
            Err(failure) => {
                assert_eq!((expected, failure.kind), (None, FailureKind::UpstreamTls), "{failure}");
            }
        }
    }
}

#[tokio::test]
async fn rules_apply_to_what_is_sent() {
    let (lab, _) = Lab::with_rules(json!([
        { "id": "mock", "when": { "path": "/mock" }, "then": [{ "mock": { "status": 418, "body": "short" } }] },
        { "id": "own", "when": { "listener": "own", "path": "/headers" },
          "then": [{ "request_headers": { "set": { "x-by": "rule" } } }] },
        { "id": "drop", "when": { "path": "/drop" }, "then": ["drop"] },
    ]))
    .await;
    let origin = Origin::plain().await.unwrap();
    let sender = sender(&lab);
    assert_eq!(text(&sender, get(&origin.url("/mock"))).await, (418, "short".to_owned()));
    let (status, seen) = text(&sender, get(&origin.url("/headers"))).await;
    assert!(status == 200 && seen.contains("x-by"), "{seen}");
    let dropped = sender.send(get(&origin.url("/drop"))).await.unwrap().response().await.unwrap_err();
    assert_eq!(dropped.kind, FailureKind::Rule, "{dropped}");
    let told = lab.log.ended(3).await;
    assert_eq!(told[0].source, Some(ResponseSource::Mock));
    assert_eq!(told[2].failure(), FailureKind::Rule);
}

#[tokio::test]
async fn parents_are_gone_through_and_connections_used_again() {
    let parent = Parent::start(ParentKind::Http).await.unwrap();
    let routes = UpstreamRoutes::new();
    routes.set(Route::new(format!("http://{}", parent.addr()).parse().unwrap()));
    let lab = Lab::with(|builder| builder.upstream_routes(routes)).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let sender = sender(&lab);
    for version in [SendVersion::Http1, SendVersion::Http2] {
        for _ in 0..3 {
            let mut request = get(&origin.url("/json"));
            request.version = version;
            assert_eq!(text(&sender.clone(), request).await.0, 200);
        }
    }
    assert_eq!(parent.asked().len(), 2, "{:?}", parent.asked());
    assert_eq!(origin.counts().connections, 2);
}

#[tokio::test]
async fn another_address_is_connected_to_while_the_url_names_its_own() {
    let lab = Lab::new().await;
    let origin = RawOrigin::plain(vec![vec![
        Step::ReadHead,
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        Step::ReadToEnd,
    ]])
    .await
    .unwrap();
    let mut request = get("http://does-not-resolve.invalid/x");
    request.connect_to = Some((origin.addr().ip().to_string(), origin.addr().port()));
    assert_eq!(text(&sender(&lab), request).await.0, 200);
    let seen = String::from_utf8(origin.received(0)).unwrap();
    assert!(seen.contains("Host: does-not-resolve.invalid\r\n"), "{seen}");
    assert_eq!(lab.log.one().await.url(), "http://does-not-resolve.invalid/x");
}

#[tokio::test]
async fn what_does_not_come_to_a_response_fails_as_it_is_recorded() {
    let lab = Lab::new().await;
    let failure = sender(&lab)
        .send(get("http://does-not-resolve.invalid/"))
        .await
        .unwrap()
        .response()
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Dns);
    let told = lab.log.one().await;
    assert_eq!((told.outcome(), told.status()), (&Outcome::Failed(failure), None));
}

#[tokio::test]
async fn what_is_no_request_with_a_response_is_refused() {
    let lab = Lab::new().await;
    let mut upgrade = get("http://a.test/");
    upgrade.head.headers.push("Connection", "Upgrade");
    upgrade.head.headers.push("Upgrade", "websocket");
    let mut connect = get("http://a.test/");
    connect.head.method = Method::CONNECT;
    for request in [upgrade, connect] {
        let refused = sender(&lab).send(request).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::ClientMalformed);
    }
    assert!(lab.log.all().is_empty());
}

#[tokio::test]
async fn heads_that_cannot_stand_on_the_wire_are_not_sent() {
    let lab = Lab::new().await;
    let origin = Origin::plain().await.unwrap();
    for (name, value) in [("X-A", "1\r\nX-B: 2"), ("X A", "1"), ("X-A", "\0")] {
        let mut request = get(&origin.url("/"));
        request.head.headers.push(name, value);
        let failure = sender(&lab).send(request).await.unwrap().response().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::ClientMalformed, "{name}");
    }
    assert_eq!(origin.counts().requests, 0);
}

/// Gives these pieces and then an end, or nothing more.
struct Pieces(Vec<&'static str>, bool);

impl BodySource for Pieces {
    fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        match self.0.is_empty() {
            true if self.1 => Poll::Pending,
            true => Poll::Ready(Ok(None)),
            false => Poll::Ready(Ok(Some(Bytes::from_static(self.0.remove(0).as_bytes())))),
        }
    }
}

#[tokio::test]
async fn a_body_that_comes_in_pieces_is_chunked_with_its_trailers() {
    let lab = Lab::new().await;
    let origin = RawOrigin::plain(vec![vec![
        Step::read_until("x-sum: 1\r\n\r\n"),
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        Step::ReadToEnd,
    ]])
    .await
    .unwrap();
    let head = RequestHead::to_url(Method::PUT, &format!("http://{}/", origin.authority())).unwrap();
    let mut request = SendRequest::new(head);
    let trailers = std::iter::once(proxy_core::Header::new("x-sum", "1")).collect();
    request.body = SendBody::stream(None, Pieces(vec!["one", "", "two"], false)).with_trailers(trailers);
    assert_eq!(text(&sender(&lab), request).await.0, 200);
    let seen = String::from_utf8(origin.received(0)).unwrap();
    assert!(seen.ends_with("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\nx-sum: 1\r\n\r\n"), "{seen}");
}

#[tokio::test]
async fn a_body_of_another_length_than_was_told_breaks_the_request_off() {
    let lab = Lab::new().await;
    let origin = Origin::plain().await.unwrap();
    for length in [1, 100] {
        let head = RequestHead::to_url(Method::POST, &origin.url("/upload")).unwrap();
        let mut request = SendRequest::new(head);
        request.body = SendBody::stream(Some(length), Pieces(vec!["three"], false));
        let failure = sender(&lab).send(request).await.unwrap().response().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::ClientMalformed, "{failure}");
    }
}

#[tokio::test]
async fn dropping_what_was_sent_ends_its_exchange_at_once() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let sender = sender(&lab);
    let before_the_head = sender.send(get(&origin.url("/slow-headers"))).await.unwrap();
    origin.until(|counts| counts.requests == 1).await.unwrap();
    drop(before_the_head);
    let mut in_the_body =
        sender.send(get(&origin.url("/bytes/100000000"))).await.unwrap().response().await.unwrap();
    in_the_body.body.next().await.unwrap().unwrap();
    drop(in_the_body);
    let mut request = get(&origin.url("/upload"));
    request.head.method = Method::POST;
    request.body = SendBody::stream(None, Pieces(vec!["one"], true));
    let in_the_upload = sender.send(request).await.unwrap();
    origin.until(|counts| counts.requests == 3).await.unwrap();
    drop(in_the_upload);
    for told in lab.log.ended(3).await {
        assert_eq!(told.failure(), FailureKind::ClientLeft, "{told:?}");
    }
}

#[tokio::test]
async fn patience_ends_an_exchange_that_takes_longer() {
    let lab = Lab::new().await;
    let origin = Origin::plain().await.unwrap();
    let mut request = get(&origin.url("/slow-headers"));
    request.patience = Some(Duration::from_millis(50));
    let failure = sender(&lab).send(request).await.unwrap().response().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::UpstreamTimeout);
    assert!(failure.detail.contains("50ms"), "{failure}");
    assert_eq!(lab.log.one().await.failure(), FailureKind::ClientLeft);
}

#[tokio::test]
async fn a_slow_reader_holds_upstream_up() {
    let lab = Lab::new().await;
    let origin = Origin::plain().await.unwrap();
    let mut response =
        sender(&lab).send(get(&origin.url("/bytes/50000000"))).await.unwrap().response().await.unwrap();
    response.body.next().await.unwrap().unwrap();
    // It cannot have ended: nobody takes what comes.
    assert!(lab.log.all()[0].endings.is_empty());
    let (_, rest) = response.body.collect(10).await.unwrap();
    assert!(rest > 49_000_000, "{rest}");
    assert_eq!(lab.log.one().await.outcome(), &Outcome::Response);
}

#[tokio::test]
async fn a_sender_needs_no_listener() {
    let origin_ca = TestCa::new().unwrap();
    let origin = Origin::https(&origin_ca).await.unwrap();
    let log = Log::default();
    let trust = UpstreamTrust::nobody().with_ca(origin_ca.pem().as_bytes()).unwrap();
    let sender = Proxy::builder(CertificateAuthority::in_memory().unwrap())
        .observer(log.clone())
        .upstream_trust(trust)
        .sender()
        .unwrap();
    assert_eq!(text(&sender, get(&origin.url("/gzip"))).await.0, 200);
    assert_eq!(log.one().await.outcome(), &Outcome::Response);
}
