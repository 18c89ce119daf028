//! The reader as a connection sees it: waiting, reading ahead, being dropped and called again.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncWriteExt, duplex};

use super::*;
use crate::wire::{Piece, WireErrorKind};

#[tokio::test]
async fn readable_waits_for_a_byte_and_tells_a_clean_close() {
    let (mut peer, io) = duplex(64);
    let mut reader = Reader::new(io, LIMITS);
    assert!(reader.readable().now_or_never().is_none(), "dropped while it waits");
    peer.write_all(b"G").await.unwrap();
    assert!(reader.readable().await.unwrap());
    assert!(reader.readable().await.unwrap(), "takes nothing");
    assert_eq!(reader.buffered(), b"G");
    drop(peer);
    assert!(matches!(reader.request(&no_tunnel()).await, Err(HeadError::Truncated)));

    let (peer, io) = duplex(64);
    let mut reader = Reader::new(io, LIMITS);
    drop(peer);
    assert!(!reader.readable().await.unwrap());
    assert!(!reader.readable().await.unwrap());
}

#[tokio::test]
async fn a_request_dropped_while_it_is_read_is_taken_up_again() {
    let (mut peer, io) = duplex(64);
    let mut reader = Reader::new(io, LIMITS);
    let text = b"\r\nGET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\nrest";
    for byte in &text[..text.len() - 5] {
        peer.write_all(&[*byte]).await.unwrap();
        assert!(reader.request(&no_tunnel()).now_or_never().is_none());
    }
    peer.write_all(&text[text.len() - 5..]).await.unwrap();
    let head = reader.request(&no_tunnel()).await.unwrap().unwrap();
    assert_eq!(shown(&head.headers), ["Host: a", "X: 1"]);
    assert_eq!(reader.last_head_bytes(), text.len() as u64 - 6);
    assert_eq!(reader.buffered(), b"rest");
}

#[tokio::test]
async fn messages_follow_each_other_on_one_connection() {
    let text = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\
                \r\nPOST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nho\r\n0\r\nT: 1\r\n\r\n\
                GET /3 HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut reader = Reader::new(Pieces::whole(text), LIMITS);
    let mut seen = Vec::new();
    while let Some(head) = reader.request(&no_tunnel()).await.unwrap() {
        let mut decoder = Decoder::new(request_framing(&head).unwrap(), 1_000);
        seen.push(head.target);
        while let Some(piece) = reader.piece(&mut decoder).await.unwrap() {
            seen.push(match piece {
                Piece::Data(data) => String::from_utf8(data.to_vec()).unwrap(),
                Piece::Trailers(trailers) => shown(&trailers).join(","),
            });
        }
    }
    assert_eq!(seen, ["/1", "hi", "/2", "ho", "T: 1", "/3"]);
}

#[tokio::test]
async fn interim_responses_come_one_by_one() {
    let text =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    let mut reader = Reader::new(Pieces::whole(text), LIMITS);
    for (status, bytes) in [(100, 25), (103, 37), (200, 19)] {
        assert_eq!(reader.response().await.unwrap().status.as_u16(), status);
        assert_eq!(reader.last_head_bytes(), bytes);
    }
    assert!(matches!(reader.response().await, Err(HeadError::Closed)));
}

#[tokio::test]
async fn pieces_come_as_soon_as_their_bytes_do() {
    let (mut peer, io) = duplex(64);
    let mut reader = Reader::new(io, LIMITS);
    let mut decoder = Decoder::new(Framing::Chunked, 100);
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        assert!(reader.piece(&mut decoder).now_or_never().is_none(), "dropped while it waits");
        peer.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await.unwrap();
        assert_eq!(reader.piece(&mut decoder).await, Ok(Some(Piece::Data(event.into()))));
    }
    drop(peer);
    let error = reader.piece(&mut decoder).await.unwrap_err();
    assert_eq!(error.kind, WireErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn reading_ahead_notices_bytes_and_the_end_and_stops_at_its_bound() {
    let (mut peer, io) = duplex(1_024);
    let mut reader = Reader::new(io, LIMITS);
    assert!(reader.read_ahead(10).now_or_never().is_none());
    peer.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(reader.read_ahead(10).await.unwrap(), 10);
    let full = tokio::time::timeout(Duration::from_secs(3_600), reader.read_ahead(10)).await;
    assert!(full.is_err(), "full: it waits for ever");
    assert_eq!(reader.read_ahead(20).await.unwrap(), 6);
    peer.write_all(b"Host: a\r\n\r\n").await.unwrap();
    peer.shutdown().await.unwrap();
    assert_eq!(reader.read_ahead(1_000).await.unwrap(), 11);
    assert_eq!(reader.read_ahead(1_000).await.unwrap(), 0);
    assert_eq!(reader.read_ahead(1).await.unwrap(), 0, "the end is told also when the buffer is full");
    assert_eq!(reader.request(&no_tunnel()).await.unwrap().unwrap().authority, "a");
    assert!(reader.request(&no_tunnel()).await.unwrap().is_none());
}

/// A peer whose TLS ends without close_notify, as tokio-rustls tells it.
struct NoFarewell(BytesMut);

impl AsyncRead for NoFarewell {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        buf.put_slice(&self.0);
        self.0.clear();
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn an_end_without_farewell_is_clean_between_messages_only() {
    let peer = |text: &str| NoFarewell(BytesMut::from(text));
    assert!(!Reader::new(peer(""), LIMITS).readable().await.unwrap());
    assert_eq!(Reader::new(peer(""), LIMITS).read_ahead(10).await.unwrap(), 0);
    assert!(Reader::new(peer(""), LIMITS).request(&no_tunnel()).await.unwrap().is_none());
    assert!(Reader::new(peer("GET"), LIMITS).request(&no_tunnel()).await.is_err());
    let mut reader = Reader::new(peer("cut"), LIMITS);
    let mut decoder = Decoder::raw();
    assert_eq!(reader.piece(&mut decoder).await, Ok(Some(Piece::Data("cut".into()))));
    assert_eq!(reader.piece(&mut decoder).await.unwrap_err().kind, WireErrorKind::Closed);
}

#[tokio::test]
async fn a_large_body_passes_in_large_pieces_and_leaves_no_large_buffer() {
    let mut text = BytesMut::from("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    text.put_bytes(b'x', 1_000_000);
    let mut reader = Reader::new(Pieces::whole(text.freeze()), LIMITS);
    let head = reader.response().await.unwrap();
    let mut decoder = Decoder::new(response_framing(&http::Method::GET, &head).unwrap(), 0);
    let mut pieces = Vec::new();
    while let Some(Piece::Data(data)) = reader.piece(&mut decoder).await.unwrap() {
        pieces.push(data.len());
    }
    assert_eq!(pieces.iter().sum::<usize>(), 1_000_000);
    assert!(pieces.len() < 40, "{pieces:?}");
    assert!(!reader.readable().await.unwrap());
    let (_, mut buffer) = reader.into_parts();
    assert!(!buffer.try_reclaim(16 * 1024), "the room of the body was given back");
}
