//! Both WebSocket routes, with a client of another make where there is one.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use testkit::{DeflateSocket, Frame, Opcode, Origin, TestCa};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::tungstenite::Message;

async fn stream_to(origin: &Origin, ca: &TestCa) -> TlsStream<TcpStream> {
    let tls: Arc<_> = ca.client_config(&["http/1.1"]).unwrap();
    let stream = TcpStream::connect(origin.addr()).await.unwrap();
    TlsConnector::from(tls).connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
}

#[tokio::test]
async fn plain_socket_echoes_tungstenite() {
    let ca = TestCa::new().unwrap();
    let origin = Origin::https(&ca).await.unwrap();
    for path in ["/ws", "/ws-deflate"] {
        let url = format!("wss://localhost{path}");
        let stream = stream_to(&origin, &ca).await;
        let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        for message in [Message::text("hello"), Message::binary(vec![1, 2, 3])] {
            socket.send(message.clone()).await.unwrap();
            if path == "/ws" {
                assert_eq!(socket.next().await.unwrap().unwrap(), message);
            }
        }
        socket.close(None).await.unwrap();
    }
}

#[tokio::test]
async fn compressed_messages_come_back_compressed() {
    let ca = TestCa::new().unwrap();
    let origin = Origin::https(&ca).await.unwrap();
    let stream = stream_to(&origin, &ca).await;
    let mut socket = DeflateSocket::connect(stream, "localhost", "/ws-deflate").await.unwrap();
    assert!(socket.is_compressed());
    let long = "the same words again ".repeat(1_000);
    for (message, fragments) in [("hello", 1), (long.as_str(), 5), ("hello", 2)] {
        socket.send_fragments(Opcode::Text, message.as_bytes(), fragments).await.unwrap();
        assert_eq!(socket.read_message().await.unwrap(), (Opcode::Text, message.as_bytes().to_vec()));
    }
    socket.send_frame(Frame::new(Opcode::Close, vec![0x03, 0xe8])).await.unwrap();
    assert_eq!(socket.read_frame().await.unwrap().opcode, Opcode::Close);
}

#[tokio::test]
async fn refused_upgrade_is_told_with_its_status() {
    let ca = TestCa::new().unwrap();
    let origin = Origin::https(&ca).await.unwrap();
    let stream = stream_to(&origin, &ca).await;
    let refused = DeflateSocket::connect(stream, "localhost", "/ws-refuse").await.unwrap_err();
    assert!(refused.to_string().starts_with("HTTP/1.1 403"), "{refused}");
}
