//! WebSocket and other upgrades.

use futures_util::{SinkExt, StreamExt};
use proxy_core::{Direction, FailureKind, MessageKind, Outcome, ResponseSource};
use testkit::{DeflateSocket, Opcode, Origin, RawOrigin, Step};
use tokio_tungstenite::tungstenite::Message;

use crate::lab::Lab;

#[tokio::test]
async fn websocket_messages_pass_and_are_recorded() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let tls = lab.client(&["http/1.1"]).tls(&origin.authority()).await.unwrap();
    let url = format!("wss://{}/ws", origin.authority());
    let (mut socket, response) = tokio_tungstenite::client_async(url, tls).await.unwrap();
    assert_eq!(response.status(), 101);
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    socket.send(Message::binary(vec![0, 159, 146, 150])).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::binary(vec![0, 159, 146, 150]));
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    let told = lab.log.one().await;
    assert_eq!((told.status(), told.outcome()), (Some(101), &Outcome::Upgrade));
    let seen: Vec<_> = told
        .messages
        .iter()
        .filter(|m| matches!(m.kind, MessageKind::Text | MessageKind::Binary))
        .map(|m| (m.direction, m.kind, m.data.clone()))
        .collect();
    let binary = bytes::Bytes::from_static(&[0, 159, 146, 150]);
    assert_eq!(
        seen,
        [
            (Direction::ToUpstream, MessageKind::Text, "hello".into()),
            (Direction::ToClient, MessageKind::Text, "hello".into()),
            (Direction::ToUpstream, MessageKind::Binary, binary.clone()),
            (Direction::ToClient, MessageKind::Binary, binary),
        ]
    );
}

#[tokio::test]
async fn compressed_websocket_messages_are_recorded_decoded() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let tls = lab.client(&["http/1.1"]).tls(&origin.authority()).await.unwrap();
    let mut socket = DeflateSocket::connect(tls, &origin.authority(), "/ws-deflate").await.unwrap();
    assert!(socket.is_compressed());
    let text = "the same words again and again; ".repeat(50);
    for _ in 0..3 {
        socket.send_text(&text).await.unwrap();
        assert_eq!(socket.read_message().await.unwrap(), (Opcode::Text, text.clone().into_bytes()));
    }
    drop(socket);
    let told = lab.log.one().await;
    let texts: Vec<_> = told.messages.iter().filter(|m| m.kind == MessageKind::Text).collect();
    assert_eq!(texts.len(), 6);
    assert!(texts.iter().all(|m| m.compressed && !m.truncated && m.data == text.as_bytes()));
}

#[tokio::test]
async fn a_refused_upgrade_reaches_the_client_as_it_was_refused() {
    let lab = Lab::new().await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    client
        .send(
            "GET /ws-refuse HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        .await
        .unwrap();
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 403"));
    let told = lab.log.one().await;
    assert_eq!((told.status(), told.source), (Some(403), Some(ResponseSource::Upstream)));
    assert_eq!(told.outcome(), &Outcome::Response);
    assert!(!told.response_body.is_empty());
}

#[tokio::test]
async fn another_upgrade_is_relayed_as_bytes() {
    let lab = Lab::new().await;
    let script = vec![
        Step::ReadHead,
        Step::send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\nfirst"),
        Step::Read(4),
        Step::send("pong"),
    ];
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n").await.unwrap();
    assert_eq!(
        client.read_head().await.unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\n"
    );
    assert_eq!(client.read(5).await.unwrap(), "first");
    client.send("ping").await.unwrap();
    assert_eq!(client.read(4).await.unwrap(), "pong");
    drop(client);
    let told = lab.log.one().await;
    assert_eq!(told.status(), Some(101));
    assert_eq!(told.tunnel_bytes, (4, 9));
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const ASK: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[tokio::test]
async fn a_switch_nobody_asked_for_is_a_502() {
    for (alpn, request) in [
        ("http/1.1", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("http/1.1", "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n"),
        ("http/1.1", "GET / HTTP/1.0\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ] {
        let lab = Lab::new().await;
        let script = vec![Step::ReadHead, Step::send(SWITCH), Step::ReadToEnd];
        let origin = RawOrigin::https(&lab.origin_ca, &[alpn], vec![script]).await.unwrap();
        let mut client = lab.client(&[alpn]).raw_tls(&origin.authority()).await.unwrap();
        client.send(request).await.unwrap();
        assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 502"), "{request}");
        assert_eq!(lab.log.one().await.failure(), FailureKind::UpstreamMalformed);
    }
}

#[tokio::test]
async fn a_message_right_behind_the_switch_is_recorded_and_ends_tell_how_it_ended() {
    // An unmasked text frame from the origin, in the same bytes as the switch; then one side says goodbye or not.
    let text = b"\x81\x02hi";
    let (close_up, close_down) = (&b"\x88\x80\0\0\0\0"[..], &b"\x88\x00"[..]);
    for (up, down, expected) in [
        (close_up, close_down, Ok(())),
        (close_up, b"", Ok(())),
        (b"", close_down, Ok(())),
        (b"", b"", Err(FailureKind::ClientLeft)),
    ] {
        let lab = Lab::new().await;
        let first = [SWITCH.as_bytes(), text, down].concat();
        let script = vec![Step::ReadHead, Step::send(first), Step::ReadToEnd];
        let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
        let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
        client.send(ASK).await.unwrap();
        assert_eq!(client.read_head().await.unwrap(), SWITCH);
        assert_eq!(client.read(4).await.unwrap(), &text[..]);
        client.send(up).await.unwrap();
        drop(client);
        let told = lab.log.one().await;
        assert_eq!(told.messages[0].data, "hi");
        match expected {
            Ok(()) => assert_eq!(told.outcome(), &Outcome::Upgrade, "{up:?} {down:?}"),
            Err(kind) => assert_eq!(told.failure(), kind, "{up:?} {down:?}"),
        }
    }
}

#[tokio::test]
async fn a_websocket_that_upstream_drops_is_a_failure() {
    for (last, expected) in
        [(Step::Cut, FailureKind::UpstreamClosed), (Step::Reset, FailureKind::UpstreamReset)]
    {
        let lab = Lab::new().await;
        let script =
            vec![Step::ReadHead, Step::send([SWITCH.as_bytes(), b"\x81\x02hi"].concat()), Step::Wait, last];
        let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
        let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
        client.send(ASK).await.unwrap();
        client.read_until(b"hi").await.unwrap();
        origin.release();
        let _ = client.read_to_end().await;
        drop(client);
        assert_eq!(lab.log.one().await.failure(), expected);
    }
}

#[tokio::test]
async fn a_request_body_is_whole_before_the_switched_protocol_begins() {
    let lab = Lab::new().await;
    // The origin switches as soon as it has the head.
    let script = vec![
        Step::ReadHead,
        Step::send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n"),
        Step::read_until("0\r\n\r\n"),
        Step::Read(4),
        Step::send("pong"),
    ];
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    client
        .send(
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\
             Transfer-Encoding: chunked\r\n\r\n4\r\nha",
        )
        .await
        .unwrap();
    client.read_head().await.unwrap();
    client.send("lf\r\n0\r\n\r\nping").await.unwrap();
    assert_eq!(client.read(4).await.unwrap(), "pong");
    drop(client);
    let told = lab.log.one().await;
    assert_eq!((&told.request_body[..], told.tunnel_bytes), (&b"half"[..], (4, 4)));
    assert_eq!(told.outcome(), &Outcome::Upgrade);
}

#[tokio::test]
async fn an_interceptor_may_refuse_a_switch() {
    let edits = crate::edited::Edits::responses(|_, head| {
        head.status = http::StatusCode::FORBIDDEN;
        proxy_core::Verdict::Continue
    });
    let lab = Lab::with(|builder| builder.interceptor(edits)).await;
    let script = vec![Step::ReadHead, Step::send(SWITCH), Step::ReadToEnd];
    let origin = RawOrigin::https(&lab.origin_ca, &["http/1.1"], vec![script]).await.unwrap();
    let mut client = lab.client(&["http/1.1"]).raw_tls(&origin.authority()).await.unwrap();
    client.send(ASK).await.unwrap();
    let head = client.read_head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 403") && head.contains("Content-Length: 0\r\n"), "{head}");
    assert_eq!(lab.log.one().await.outcome(), &Outcome::Response);
    origin.finished(1).await.unwrap();
}
