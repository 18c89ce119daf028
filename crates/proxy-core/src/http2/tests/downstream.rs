//! The client-facing leg against `h2`'s client.

use std::future::poll_fn;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client};
use http::{HeaderMap, Request, Response};
use tokio::{io::duplex, task::JoinHandle};

use super::*;
use crate::{http2::BodyToCome, wire::WireErrorKind};

async fn client(settings: Settings) -> (client::SendRequest<Bytes>, Arrivals) {
    let (ours, theirs) = duplex(PIPE_BYTES);
    let arrivals = serve(theirs, settings);
    let (sender, connection) = soon(client::handshake(ours)).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    (sender, arrivals)
}

/// A connection whose requests the test takes in by itself.
async fn undriven() -> (Downstream, client::SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let (ours, theirs) = duplex(PIPE_BYTES);
    let settings = tight();
    let accept = Downstream::accept(Box::new(theirs), Scheme::Https, &settings);
    let (accepted, connected) = soon(async { tokio::join!(accept, client::handshake(ours)) }).await;
    let (sender, connection) = connected.unwrap();
    (accepted.unwrap(), sender, tokio::spawn(connection))
}

fn request(path: &str) -> Request<()> {
    Request::post(format!("https://example.com{path}")).body(()).unwrap()
}

/// Opens a stream whose body is still to come, and takes it in on the other side.
async fn open(
    sender: &mut client::SendRequest<Bytes>,
    arrivals: &mut Arrivals,
) -> (client::ResponseFuture, SendStream<Bytes>, Incoming) {
    *sender = soon(sender.clone().ready()).await.unwrap();
    let (response, stream) = sender.send_request(request("/"), false).unwrap();
    let incoming = arrival(arrivals).await;
    (response, stream, incoming)
}

async fn data(response: Response<RecvStream>) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(data) = soon(body.data()).await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, soon(body.trailers()).await?))
}

#[tokio::test(start_paused = true)]
async fn a_request_head_is_read_as_it_was_sent() {
    let (mut sender, mut arrivals) =
        client(Settings::client_facing(&Limits::default(), &Timeouts::default())).await;
    let target = "/a//b/../c%2F%zz;p=\"é?q=[x]{y}|^`&&=é";
    let request = Request::get("https://Example.com:443/")
        .header("cookie", "a=1")
        .header("x-one", "1")
        .header("cookie", "b=2")
        .header("host", "other.example")
        .header("x-bytes", &b"\x80\xff"[..]);
    let mut request = request.body(()).unwrap();
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(target.parse().unwrap());
    *request.uri_mut() = http::Uri::from_parts(parts).unwrap();
    let _response = sender.send_request(request, true).unwrap();

    let incoming = arrival(&mut arrivals).await;
    let head = incoming.head;
    assert_eq!((head.method.as_str(), head.scheme, head.version), ("GET", Scheme::Https, Version::HTTP_2));
    assert_eq!((head.authority.as_str(), head.target.as_str()), ("Example.com:443", target));
    assert_eq!(head.headers.get("x-bytes").unwrap(), &b"\x80\xff"[..]);
    head.headers.iter().for_each(|header| assert_eq!(header.name, header.name.to_ascii_lowercase()));
    // `h2`'s client groups a repeated name where it first appeared.
    assert_eq!(lines(&head.headers)[..4], ["cookie: a=1", "cookie: b=2", "x-one: 1", "host: other.example"]);
    let pseudo = [(7, 3), (7, 5), (10, 15), (5, target.len())];
    let regular = [(6, 3), (6, 3), (5, 1), (4, 13), (7, 2)];
    let sum: usize = pseudo.iter().chain(&regular).map(|(name, value)| name + value + 32).sum();
    assert_eq!(incoming.head_bytes, sum as u64);
    assert!(incoming.body.is_at_end());
    assert_eq!(incoming.protocol, None);
}

#[tokio::test(start_paused = true)]
async fn a_missing_authority_comes_from_host() {
    let (mut sender, mut arrivals) = client(tight()).await;
    let mut request = Request::get("/path").header("host", "example.com:8443").body(()).unwrap();
    *request.version_mut() = Version::HTTP_11;
    let _response = sender.send_request(request, true).unwrap();

    let head = arrival(&mut arrivals).await.head;
    // `h2` makes it `http` where its user says nothing.
    assert_eq!(head.url(), "http://example.com:8443/path");
    assert_eq!(lines(&head.headers), ["host: example.com:8443"]);
}

#[tokio::test(start_paused = true)]
async fn connect_names_its_target_and_no_path() {
    let (mut sender, mut arrivals) = client(tight()).await;
    let request = Request::connect("example.com:443").body(()).unwrap();
    let _response = sender.send_request(request, false).unwrap();

    let incoming = arrival(&mut arrivals).await;
    assert_eq!(
        (incoming.head.authority.as_str(), incoming.head.target.as_str()),
        ("example.com:443", "example.com:443")
    );
    assert_eq!(incoming.head_bytes, (7 + 7 + 32) + (10 + 15 + 32));
}

#[tokio::test(start_paused = true)]
async fn extended_connect_shows_its_protocol() {
    let (ours, theirs) = duplex(PIPE_BYTES);
    let mut settings = tight();
    settings.extended_connect = true;
    let mut arrivals = serve(theirs, settings);
    let (mut sender, connection) = soon(client::handshake(ours)).await.unwrap();
    tokio::spawn(connection);
    // The settings are here once a response is.
    let (response, _) = sender.send_request(request("/first"), true).unwrap();
    arrival(&mut arrivals).await.responder.head(&status(204), BodyToCome::No).unwrap();
    soon(response).await.unwrap();
    assert!(sender.is_extended_connect_protocol_enabled());

    let mut request = Request::connect("https://example.com/chat?x").body(()).unwrap();
    request.extensions_mut().insert(h2::ext::Protocol::from("websocket"));
    let (response, mut stream) = sender.send_request(request, false).unwrap();
    let mut incoming = arrival(&mut arrivals).await;
    assert_eq!(incoming.protocol.as_deref(), Some("websocket"));
    assert_eq!(incoming.head.url(), "https://example.com/chat?x");

    let mut writer = incoming.responder.head(&status(200), BodyToCome::Yes).unwrap();
    stream.send_data(Bytes::from_static(b"ping"), false).unwrap();
    assert_eq!(soon(incoming.body.piece()).await, Ok(Some(Piece::Data(Bytes::from_static(b"ping")))));
    soon(writer.data(Bytes::from_static(b"pong"))).await.unwrap();
    let mut body = soon(response).await.unwrap().into_body();
    assert_eq!(soon(body.data()).await.unwrap().unwrap(), "pong");
}

#[tokio::test(start_paused = true)]
async fn extended_connect_can_be_announced_later() {
    let (mut downstream, sender, _connection) = undriven().await;
    never(downstream.next()).await;
    assert!(!sender.is_extended_connect_protocol_enabled());
    downstream.enable_extended_connect();
    never(downstream.next()).await;
    assert!(sender.is_extended_connect_protocol_enabled());
}

#[tokio::test(start_paused = true)]
async fn bodies_and_trailers_pass_both_ways() {
    let (mut sender, mut arrivals) = client(tight()).await;
    let (response, mut stream, mut incoming) = open(&mut sender, &mut arrivals).await;
    stream.send_data(Bytes::from_static(b"up"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.append("x-sum", "1".parse().unwrap());
    trailers.append("x-sum", "2".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
    let (body, trailers) = whole(&mut incoming.body).await.unwrap();
    assert_eq!(
        (body.as_slice(), lines(&trailers.unwrap())),
        (&b"up"[..], vec!["x-sum: 1".into(), "x-sum: 2".into()])
    );
    assert!(incoming.body.is_at_end());
    assert_eq!(soon(incoming.body.piece()).await, Ok(None));

    let mut writer = incoming.responder.head(&status(200), BodyToCome::Yes).unwrap();
    soon(writer.data(Bytes::from_static(b"down"))).await.unwrap();
    soon(writer.end(Some(&headers(&[("X-Sum", "3"), ("Connection", "close")])))).await.unwrap();
    let (body, trailers) = data(soon(response).await.unwrap()).await.unwrap();
    let trailers = trailers.unwrap();
    assert_eq!((body.as_slice(), trailers.len()), (&b"down"[..], 1));
    assert_eq!(trailers["x-sum"], "3");
}

#[tokio::test(start_paused = true)]
async fn interim_responses_reach_the_client_before_the_final_one() {
    let (mut sender, mut arrivals) = client(tight()).await;
    let (mut response, _stream, mut incoming) = open(&mut sender, &mut arrivals).await;
    let mut hints = status(103);
    hints.headers = headers(&[("Link", "</a.css>; rel=preload")]);
    incoming.responder.informational(&status(100)).unwrap();
    incoming.responder.informational(&hints).unwrap();
    let first = soon(poll_fn(|cx| response.poll_informational(cx))).await.unwrap().unwrap();
    let second = soon(poll_fn(|cx| response.poll_informational(cx))).await.unwrap().unwrap();
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (100, 103));
    assert_eq!(second.headers()["link"], "</a.css>; rel=preload");

    incoming.responder.head(&status(200), BodyToCome::No).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 200);
    assert!(incoming.responder.informational(&hints).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_head_that_cannot_be_written_leaves_room_for_another() {
    let (mut sender, mut arrivals) = client(tight()).await;
    let (response, _stream, mut incoming) = open(&mut sender, &mut arrivals).await;
    assert_eq!(incoming.responder.informational(&status(101)).unwrap_err().kind, WireErrorKind::Malformed);
    assert_eq!(incoming.responder.informational(&status(200)).unwrap_err().kind, WireErrorKind::Malformed);
    for bad in [101, 103] {
        let error = incoming.responder.head(&status(bad), BodyToCome::Yes).unwrap_err();
        assert_eq!(error.kind, WireErrorKind::Malformed);
    }
    let mut bad = status(200);
    bad.headers = headers(&[("x", "\u{1}")]);
    assert_eq!(incoming.responder.head(&bad, BodyToCome::No).unwrap_err().kind, WireErrorKind::Malformed);
    incoming.responder.head(&status(502), BodyToCome::No).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 502);
}

#[tokio::test(start_paused = true)]
async fn a_response_from_http1_loses_what_belonged_to_its_connection() {
    let (mut sender, mut arrivals) = client(tight()).await;
    let (response, _stream, mut incoming) = open(&mut sender, &mut arrivals).await;
    let mut head = status(200);
    head.headers = headers(&[
        ("Server", "x"),
        ("Connection", "keep-alive, X-Hop"),
        ("Keep-Alive", "timeout=5"),
        ("X-Hop", "1"),
        ("Transfer-Encoding", "chunked"),
        ("Proxy-Connection", "close"),
        ("Upgrade", "h2c"),
        ("Set-Cookie", "a"),
        ("Set-Cookie", "b"),
    ]);
    incoming.responder.head(&head, BodyToCome::No).unwrap();
    let response = soon(response).await.unwrap();
    let seen: Vec<_> =
        response.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(seen, [("server", "x"), ("set-cookie", "a"), ("set-cookie", "b")]);
}

#[tokio::test(start_paused = true)]
async fn a_reset_by_the_client_is_seen_with_its_code_by_whoever_waits() {
    for code in [0x8, 0x2, 0xbeef] {
        let (mut sender, mut arrivals) = client(tight()).await;
        let reset = WireErrorKind::Reset(Some(code));

        let (_response, mut stream, mut incoming) = open(&mut sender, &mut arrivals).await;
        never(incoming.responder.gone()).await;
        stream.send_reset(Reason::from(code));
        assert_eq!(soon(incoming.responder.gone()).await.kind, reset, "before the response");
        assert_eq!(soon(incoming.body.piece()).await.unwrap_err().kind, reset);
        assert_eq!(incoming.responder.informational(&status(103)).unwrap_err().kind, reset);
        assert_eq!(incoming.responder.head(&status(200), BodyToCome::Yes).unwrap_err().kind, reset);

        let (_response, mut stream, mut incoming) = open(&mut sender, &mut arrivals).await;
        let mut writer = incoming.responder.head(&status(200), BodyToCome::Yes).unwrap();
        never(writer.gone()).await;
        never(incoming.responder.gone()).await;
        stream.send_reset(Reason::from(code));
        assert_eq!(soon(writer.gone()).await.kind, reset, "while the response goes on");
        assert_eq!(soon(writer.data(zeros(1))).await.unwrap_err().kind, reset);
        assert_eq!(soon(writer.end(None)).await.unwrap_err().kind, reset);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_ends_a_wait_for_room() {
    let (mut sender, mut arrivals) = client(tight()).await;
    let (response, mut stream, mut incoming) = open(&mut sender, &mut arrivals).await;
    let mut writer = incoming.responder.head(&status(200), BodyToCome::Yes).unwrap();
    let _unread = soon(response).await.unwrap();
    let writing = tokio::spawn(async move { writer.data(zeros(1 << 20)).await });
    tokio::task::yield_now().await;
    assert!(!writing.is_finished());
    stream.send_reset(Reason::CANCEL);
    assert_eq!(soon(writing).await.unwrap().unwrap_err().kind, WireErrorKind::Reset(Some(8)));
}

#[tokio::test(start_paused = true)]
async fn a_reset_reaches_the_client_with_its_code() {
    let (mut sender, mut arrivals) = client(tight()).await;
    let (response, _stream, mut incoming) = open(&mut sender, &mut arrivals).await;
    incoming.responder.reset(0xd);
    assert_eq!(soon(response).await.unwrap_err().reason(), Some(Reason::HTTP_1_1_REQUIRED));

    let (response, _stream, mut incoming) = open(&mut sender, &mut arrivals).await;
    let mut writer = incoming.responder.head(&status(200), BodyToCome::Yes).unwrap();
    soon(writer.data(Bytes::from_static(b"part"))).await.unwrap();
    let mut body = soon(response).await.unwrap().into_body();
    assert_eq!(soon(body.data()).await.unwrap().unwrap(), "part");
    writer.reset(0xbeef);
    assert_eq!(soon(body.data()).await.unwrap().unwrap_err().reason(), Some(Reason::from(0xbeef)));
}

#[tokio::test(start_paused = true)]
async fn a_stream_nobody_holds_is_cancelled() {
    let (mut sender, mut arrivals) = client(tight()).await;
    let (response, _stream, incoming) = open(&mut sender, &mut arrivals).await;
    drop(incoming);
    assert_eq!(soon(response).await.unwrap_err().reason(), Some(Reason::CANCEL));
}

#[tokio::test(start_paused = true)]
async fn an_early_response_tells_the_client_to_stop_without_error() {
    let (mut sender, mut arrivals) = client(tight()).await;
    let (response, mut stream, mut incoming) = open(&mut sender, &mut arrivals).await;
    let mut writer = incoming.responder.head(&status(413), BodyToCome::Yes).unwrap();
    soon(writer.data(Bytes::from_static(b"too large"))).await.unwrap();
    soon(writer.end(None)).await.unwrap();
    drop((writer, incoming));
    assert_eq!(soon(poll_fn(|cx| stream.poll_reset(cx))).await.unwrap(), Reason::NO_ERROR);
    assert_eq!(data(soon(response).await.unwrap()).await.unwrap().0, b"too large");
}

/// Sends until the windows are full; says how much went.
async fn fill(stream: &mut SendStream<Bytes>) -> usize {
    let mut sent = 0;
    loop {
        stream.reserve_capacity(1 << 20);
        let granted = timeout(LONG, poll_fn(|cx| stream.poll_capacity(cx))).await;
        let Ok(Some(Ok(room))) = granted else { return sent };
        stream.send_data(zeros(room), false).unwrap();
        sent += room;
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_goes_no_further_than_its_window_ahead_of_its_reader() {
    let settings = tight();
    let window = settings.stream_window_bytes as usize;
    let (mut sender, mut arrivals) = client(settings).await;
    let (_response, mut stream, mut incoming) = open(&mut sender, &mut arrivals).await;
    let mut sent = fill(&mut stream).await;
    assert_eq!(sent, window);

    // The piece that is in somebody's hands still counts.
    let mut used_up = 0;
    for _ in 0..100 {
        let Ok(Some(Piece::Data(piece))) = soon(incoming.body.piece()).await else { panic!("data") };
        sent += fill(&mut stream).await;
        assert!(sent - used_up <= window, "{sent} bytes were sent, {used_up} are used up");
        used_up += piece.len();
    }
    assert!(sent > 10 * window);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_upload_does_not_stall_its_sibling() {
    let (mut sender, mut arrivals) = client(tight()).await;
    let (_response, mut stalled, _incoming) = open(&mut sender, &mut arrivals).await;
    fill(&mut stalled).await;
    let (_response, mut stream, mut incoming) = open(&mut sender, &mut arrivals).await;
    stream.send_data(zeros(1 << 20), true).unwrap();
    assert_eq!(whole(&mut incoming.body).await.unwrap().0.len(), 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn a_reader_dropped_in_mid_body_gives_its_window_back() {
    let (mut sender, mut arrivals) = client(tight()).await;
    let mut kept = Vec::new();
    for _ in 0..5 {
        let (response, mut stream, mut incoming) = open(&mut sender, &mut arrivals).await;
        assert!(fill(&mut stream).await > 0, "the connection's window is used up");
        soon(incoming.body.piece()).await.unwrap();
        // The response goes on; only the request's body is not wanted any more.
        kept.push((incoming.responder.head(&status(200), BodyToCome::Yes).unwrap(), response, stream));
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_waits_for_a_slow_client_in_a_bounded_buffer() {
    let settings = tight();
    let bound = 65_535 + settings.send_buffer_bytes;
    let (mut sender, mut arrivals) = client(settings).await;
    let (response, _stream, mut incoming) = open(&mut sender, &mut arrivals).await;
    let mut writer = incoming.responder.head(&status(200), BodyToCome::Yes).unwrap();
    let response = soon(response).await.unwrap();
    let mut taken = 0;
    while timeout(LONG, writer.data(zeros(1_000))).await.is_ok() {
        taken += 1_000;
    }
    assert!((65_000..=bound).contains(&taken), "{taken} bytes were taken");
    let reading = tokio::spawn(data(response));
    soon(writer.end(None)).await.unwrap();
    let (body, _) = soon(reading).await.unwrap().unwrap();
    assert!((taken..taken + 1_000).contains(&body.len()));
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_room_that_is_given_up_leaves_the_window_to_siblings() {
    let (mut sender, mut arrivals) = client(tight()).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let (response, stream, mut incoming) = open(&mut sender, &mut arrivals).await;
        let mut writer = incoming.responder.head(&status(200), BodyToCome::Yes).unwrap();
        let response = soon(response).await.unwrap();
        // The client's connection window is as small as the first stream's.
        let first = held.is_empty();
        let written = timeout(LONG, writer.data(zeros(1 << 20))).await;
        assert!(written.is_err());
        held.push((writer, response, stream, incoming));
        if first {
            let (_, response, ..) = held.last_mut().unwrap();
            let flow = response.body_mut().flow_control();
            let used = flow.used_capacity();
            flow.release_capacity(used).unwrap();
        }
    }
    let (_, second, ..) = held.last_mut().unwrap();
    assert!(soon(second.body_mut().data()).await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_body_shorter_than_declared_is_malformed() {
    let (mut sender, mut arrivals) = client(tight()).await;
    let mut request = request("/");
    request.headers_mut().insert("content-length", "3".parse().unwrap());
    let (response, mut stream) = sender.send_request(request, false).unwrap();
    let mut incoming = arrival(&mut arrivals).await;
    stream.send_data(Bytes::from_static(b"ab"), true).unwrap();
    assert_eq!(whole(&mut incoming.body).await.unwrap_err().kind, WireErrorKind::Malformed);
    // It may be answered; without an answer it is reset.
    drop(incoming);
    assert_eq!(soon(response).await.unwrap_err().reason(), Some(Reason::PROTOCOL_ERROR));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_closes_every_stream() {
    let (ours, theirs) = duplex(PIPE_BYTES);
    let mut arrivals = serve(theirs, tight());
    let (mut sender, connection) = soon(client::handshake(ours)).await.unwrap();
    let connection = tokio::spawn(connection);
    let (_response, _stream, mut first) = open(&mut sender, &mut arrivals).await;
    let (_response, _stream, mut second) = open(&mut sender, &mut arrivals).await;
    let mut writer = second.responder.head(&status(200), BodyToCome::Yes).unwrap();
    connection.abort();
    assert_eq!(soon(first.responder.gone()).await.kind, WireErrorKind::Closed);
    assert_eq!(soon(first.body.piece()).await.unwrap_err().kind, WireErrorKind::Closed);
    assert_eq!(soon(writer.gone()).await.kind, WireErrorKind::Closed);
    assert!(soon(arrivals.recv()).await.is_none(), "an end without a word is no error of the connection");
}

#[tokio::test(start_paused = true)]
async fn graceful_shutdown_lets_open_streams_finish() {
    let (mut downstream, mut sender, _connection) = undriven().await;
    let (response, _) = sender.send_request(request("/"), true).unwrap();
    let mut incoming = soon(downstream.next()).await.unwrap().map_err(|error| format!("{error:?}")).unwrap();
    downstream.graceful_shutdown();
    assert!(timeout(LONG, downstream.next()).await.is_err(), "a stream is open");
    assert!(soon(sender.ready()).await.is_err(), "no more streams");
    incoming.responder.head(&status(200), BodyToCome::No).unwrap();
    drop(incoming);
    assert!(soon(downstream.next()).await.is_none());
    assert_eq!(soon(response).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn abrupt_shutdown_ends_every_stream_with_its_code() {
    let (mut downstream, mut sender, connection) = undriven().await;
    let (response, _) = sender.send_request(request("/"), true).unwrap();
    let mut incoming = soon(downstream.next()).await.unwrap().map_err(|error| format!("{error:?}")).unwrap();
    downstream.abrupt_shutdown(0xb);
    assert!(soon(downstream.next()).await.is_none());
    assert!(soon(downstream.next()).await.is_none());
    assert!(soon(response).await.is_err());
    assert_eq!(soon(connection).await.unwrap().unwrap_err().reason(), Some(Reason::ENHANCE_YOUR_CALM));
    let gone = soon(incoming.responder.gone()).await.kind;
    assert_eq!(gone, WireErrorKind::Closed);
    assert_eq!(soon(incoming.body.piece()).await, Ok(None), "the request was whole");
}
