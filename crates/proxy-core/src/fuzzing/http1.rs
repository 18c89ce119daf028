//! HTTP/1 heads and bodies: the same whatever the cut, and the same when written and read again.

use bytes::BytesMut;
use futures_util::FutureExt;
use http::Method;

use super::{
    cuts::{self, pieces},
    peer::Peer,
};
use crate::{
    head::{RequestHead, ResponseHead, Scheme},
    http1::{
        Decoder, Defaults, Framing, HeadLimits, Reader, TargetForm, Writer, request_framing, response_framing,
    },
    wire::Piece,
};

const LIMITS: HeadLimits = HeadLimits { max_bytes: 4 * 1024, max_headers: 64 };
const MAX_TRAILER_BYTES: usize = 1024;
const MAX_MESSAGES: usize = 16;

/// A future over a [`Peer`] never has to wait.
#[expect(clippy::expect_used, reason = "that a parser waits for nothing is a property held here")]
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the peer always has an answer")
}

/// A body, joined, and how it ended.
fn body(reader: &mut Reader<Peer>, framing: Framing) -> (BytesMut, String, bool) {
    let mut decoder = Decoder::new(framing, MAX_TRAILER_BYTES);
    let mut joined = BytesMut::new();
    let mut trailers = String::new();
    loop {
        match now(reader.piece(&mut decoder)) {
            Ok(Some(Piece::Data(data))) => {
                assert!(!data.is_empty(), "a piece is never empty");
                joined.extend_from_slice(&data);
            }
            Ok(Some(Piece::Trailers(fields))) => trailers = format!("{fields:?}"),
            Ok(None) => return (joined, trailers, true),
            Err(error) => return (joined, format!("{error:?}"), false),
        }
    }
}

/// What a stream of requests turns out to be.
pub(super) fn requests(data: &[u8]) {
    let (at, stream) = cuts::split(data);
    let whole = read_requests(&[stream]);
    assert_eq!(whole, read_requests(&pieces(stream, &at)), "the cut of the reads makes a difference");
}

fn read_requests(pieces: &[&[u8]]) -> Vec<String> {
    let default = Defaults { scheme: Scheme::Https, authority: Some("tunnel.example:443".to_owned()) };
    let mut reader = Reader::new(Peer::new(pieces), LIMITS);
    let mut seen = Vec::new();
    while seen.len() < MAX_MESSAGES {
        let head = match now(reader.request(&default)) {
            Ok(Some(head)) => head,
            other => {
                seen.push(format!("{other:?}"));
                break;
            }
        };
        assert!(reader.last_head_bytes() <= LIMITS.max_bytes as u64);
        assert!(head.headers.len() <= LIMITS.max_headers);
        same_request_again(&head);
        let framing = match request_framing(&head) {
            Ok(framing) => framing,
            Err(error) => {
                seen.push(format!("{error:?}"));
                break;
            }
        };
        let (body, end, whole) = body(&mut reader, framing);
        seen.push(format!("{head:?} {framing:?} {body:?} {end}"));
        if !whole {
            break;
        }
    }
    seen
}

/// A head that is passed on is the same to the next one who reads it.
fn same_request_again(head: &RequestHead) {
    let form = if head.method == Method::CONNECT { TargetForm::Authority } else { TargetForm::Origin };
    let mut writer = Writer::new(Vec::new());
    if writer.put_request(head, form).is_err() {
        return;
    }
    let written = now(writer.flush()).map(|()| writer.into_inner()).unwrap_or_default();
    let default = Defaults { scheme: head.scheme, authority: Some(head.authority.clone()) };
    let limits = HeadLimits { max_bytes: written.len().max(1), ..LIMITS };
    let again = now(Reader::new(Peer::new(&[&written]), limits).request(&default));
    assert!(
        matches!(&again, Ok(Some(again)) if again.target == head.target && again.headers == head.headers),
        "{head:?} was read again as {again:?}"
    );
}

/// What a stream of responses turns out to be.
pub(super) fn responses(data: &[u8]) {
    let (at, stream) = cuts::split(data);
    let whole = read_responses(&[stream]);
    assert_eq!(whole, read_responses(&pieces(stream, &at)), "the cut of the reads makes a difference");
}

fn read_responses(pieces: &[&[u8]]) -> Vec<String> {
    let mut reader = Reader::new(Peer::new(pieces), LIMITS);
    let mut seen = Vec::new();
    while seen.len() < MAX_MESSAGES {
        let head = match now(reader.response()) {
            Ok(head) => head,
            Err(error) => {
                seen.push(format!("{error:?}"));
                break;
            }
        };
        same_response_again(&head);
        let framing = match response_framing(&Method::GET, &head) {
            Ok(framing) => framing,
            Err(error) => {
                seen.push(format!("{error:?}"));
                break;
            }
        };
        let (body, end, whole) = body(&mut reader, framing);
        seen.push(format!("{head:?} {framing:?} {body:?} {end}"));
        if !whole || framing == Framing::UntilClose {
            break;
        }
    }
    seen
}

fn same_response_again(head: &ResponseHead) {
    let mut writer = Writer::new(Vec::new());
    if writer.put_response(head).is_err() {
        return;
    }
    let written = now(writer.flush()).map(|()| writer.into_inner()).unwrap_or_default();
    let limits = HeadLimits { max_bytes: written.len().max(1), ..LIMITS };
    let again = now(Reader::new(Peer::new(&[&written]), limits).response());
    assert!(
        matches!(&again, Ok(again) if again.status == head.status && again.headers.len() == head.headers.len()),
        "{head:?} was read again as {again:?}"
    );
}

/// A chunked body, and what stands behind it.
pub(super) fn chunked(data: &[u8]) {
    let (at, stream) = cuts::split(data);
    let whole = body(&mut Reader::new(Peer::new(&[stream]), LIMITS), Framing::Chunked);
    let cut = body(&mut Reader::new(Peer::new(&pieces(stream, &at)), LIMITS), Framing::Chunked);
    assert_eq!(whole.2, cut.2, "the cut of the reads makes a difference");
    if whole.2 {
        assert_eq!(whole, cut, "the cut of the reads makes a difference");
        assert!(whole.0.len() < stream.len());
    }
}
