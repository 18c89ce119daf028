//! What rules do to WebSocket messages.

use futures_util::{SinkExt, StreamExt};
use proxy_core::{Direction, MessageKind, Outcome};
use serde_json::{Value, json};
use testkit::{DeflateSocket, Opcode, Origin};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use crate::lab::{Lab, Told};

type Socket = WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>>;

async fn open(lab: &Lab, origin: &Origin) -> Socket {
    let tls = lab.client(&["http/1.1"]).tls(&origin.authority()).await.unwrap();
    let url = format!("wss://{}/ws", origin.authority());
    tokio_tungstenite::client_async(url, tls).await.unwrap().0
}

async fn text(socket: &mut Socket) -> String {
    socket.next().await.unwrap().unwrap().into_text().unwrap().to_string()
}

/// Opens a WebSocket that echoes, under these actions.
async fn echo(actions: Value) -> (Lab, Origin, Socket) {
    let (lab, _) = Lab::with_rules(json!([{ "id": "r", "then": actions }])).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let socket = open(&lab, &origin).await;
    (lab, origin, socket)
}

async fn close(lab: &Lab, mut socket: Socket) -> Told {
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    lab.log.one().await
}

#[tokio::test]
async fn messages_are_dropped_replaced_edited_and_answered() {
    let (lab, _origin, mut socket) = echo(json!([
        { "edit_messages": { "matching": { "contains": "secret" }, "then": "drop" } },
        { "edit_messages": { "from": "client", "matching": "swap", "then": { "replace": "swapped" } } },
        { "edit_messages": { "from": "upstream", "matching": { "contains": "edit" },
                             "then": { "edit": { "find": "edit", "with": "EDIT" } } } },
        { "edit_messages": { "from": "client", "matching": "ping?", "then": { "answer": "pong!" } } },
        { "edit_messages": { "kind": "binary", "then": { "replace": { "base64": "AAEC" } } } },
    ]))
    .await;
    for (sent, back) in
        [("plain", "plain"), ("swap", "swapped"), ("please edit", "please EDIT"), ("ping?", "pong!")]
    {
        socket.send(Message::text(sent)).await.unwrap();
        assert_eq!(text(&mut socket).await, back);
    }
    socket.send(Message::text("a secret")).await.unwrap();
    socket.send(Message::binary(vec![9; 70_000])).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::binary(vec![0, 1, 2]), "the secret is gone");
    let told = close(&lab, socket).await;
    assert_eq!(told.outcome(), &Outcome::Upgrade);
    let changes = told.changes();
    for change in [
        "r: replaced a message of the client",
        "r: edited a message of upstream",
        "r: answered a message of the client",
        "r: dropped a message of the client",
    ] {
        assert!(changes.iter().any(|told| told == change), "{change}: {changes:?}");
    }
    // The record has what each side sent.
    let sent: Vec<_> = told
        .messages
        .iter()
        .filter(|message| message.kind == MessageKind::Text && message.direction == Direction::ToUpstream)
        .map(|message| String::from_utf8(message.data.to_vec()).unwrap())
        .collect();
    assert_eq!(sent, ["plain", "swap", "please edit", "ping?", "a secret"]);
}

#[tokio::test]
async fn messages_of_our_own_are_sent_to_either_side() {
    let (lab, _origin, mut socket) = echo(json!([
        { "inject_message": { "to": "client", "content": "welcome" } },
        { "inject_message": { "to": "upstream", "content": "for the echo", "after_ms": 10 } },
    ]))
    .await;
    assert_eq!(text(&mut socket).await, "welcome");
    assert_eq!(text(&mut socket).await, "for the echo", "the origin took it for the client's, masked");
    let told = close(&lab, socket).await;
    let mut changes = told.changes();
    changes.sort();
    let follows = "r: follows the messages of the WebSocket, which go uncompressed";
    let expected =
        [follows, "r: sent the client a message of its own", "r: sent upstream a message of its own"];
    assert_eq!(changes, expected);
}

#[tokio::test]
async fn pings_and_the_goodbye_pass_beside_edits() {
    let (lab, _origin, mut socket) =
        echo(json!([{ "edit_messages": { "then": { "edit": { "find": "a", "with": "b" } } } }])).await;
    socket.send(Message::Ping("?".into())).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong("?".into()));
    socket.send(Message::text("a cat")).await.unwrap();
    assert_eq!(text(&mut socket).await, "b cbt");
    let told = close(&lab, socket).await;
    assert_eq!(told.outcome(), &Outcome::Upgrade);
}

#[tokio::test]
async fn compression_is_not_offered_where_messages_are_edited_and_is_elsewhere() {
    for (actions, compressed) in [
        (json!([{ "edit_messages": { "then": { "edit": { "find": "a", "with": "b" } } } }]), false),
        (json!([{ "request_headers": { "set": { "x": "1" } } }]), true),
    ] {
        let (lab, _) = Lab::with_rules(json!([{ "then": actions }])).await;
        let origin = Origin::https(&lab.origin_ca).await.unwrap();
        let tls = lab.client(&["http/1.1"]).tls(&origin.authority()).await.unwrap();
        let path = if compressed { "/ws-deflate" } else { "/ws" };
        let mut socket = DeflateSocket::connect(tls, &origin.authority(), path).await.unwrap();
        assert_eq!(socket.is_compressed(), compressed);
        socket.send_fragments(Opcode::Text, b"a fragmented tale", 4).await.unwrap();
        let back = if compressed { "a fragmented tale" } else { "b frbgmented tble" };
        assert_eq!(socket.read_message().await.unwrap(), (Opcode::Text, back.into()));
    }
}

#[tokio::test]
async fn a_message_over_the_limit_passes_unedited_and_the_next_is_edited() {
    let rules = proxy_core::Rules::new();
    let rule = json!({ "then": [{ "edit_messages": { "then": { "edit": { "find": "a", "with": "b" } } } }] });
    rules.add(serde_json::from_value(rule).unwrap()).unwrap();
    let mut limits = proxy_core::Limits::default();
    limits.max_recorded_message_bytes = 1_000;
    let lab = Lab::with(|builder| builder.rules(rules).limits(limits)).await;
    let origin = Origin::https(&lab.origin_ca).await.unwrap();
    let mut socket = open(&lab, &origin).await;
    let large = "a".repeat(200_000);
    socket.send(Message::text(large.clone())).await.unwrap();
    assert!(text(&mut socket).await == large);
    socket.send(Message::text("aa")).await.unwrap();
    assert_eq!(text(&mut socket).await, "bb");
    close(&lab, socket).await;
}

#[tokio::test]
async fn a_slow_line_slows_messages_too() {
    let (lab, _origin, mut socket) = echo(json!([{ "throttle": { "down_bytes_per_second": 50_000 } }])).await;
    let begun = std::time::Instant::now();
    socket.send(Message::binary(vec![1; 10_000])).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().into_data().len(), 10_000);
    assert!(begun.elapsed() >= std::time::Duration::from_millis(150), "{:?}", begun.elapsed());
    close(&lab, socket).await;
}
