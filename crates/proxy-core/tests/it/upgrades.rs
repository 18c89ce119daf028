//! WebSocket and other upgrades.

use futures_util::{SinkExt, StreamExt};
use proxy_core::{Direction, MessageKind, Outcome, ResponseSource};
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
