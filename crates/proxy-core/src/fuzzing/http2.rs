//! HTTP/2 connections, whole: frames, HPACK, the states of streams, and what is answered while more comes.

use http::{Method, StatusCode, Version};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

use super::{
    cuts::{self, pieces},
    peer::Peer,
};
use crate::{
    head::{Headers, RequestHead, ResponseHead, Scheme},
    http2::{BodyReader, BodyToCome, Downstream, DownstreamError, Incoming, Settings, Upstream},
    limits::{Limits, Timeouts},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// More than there are pseudo-fields.
const MAX_PSEUDO_FIELDS: usize = 8;

/// Streams a client is answered on at most; a connection that goes on is dropped then.
const MAX_STREAMS: usize = 64;

fn limits() -> Limits {
    Limits { max_head_bytes: 8 * 1024, max_header_count: 64, max_concurrent_streams: 16, ..Limits::default() }
}

/// A clock and nothing else: what is read is there already.
fn runtime() -> Option<Runtime> {
    Builder::new_current_thread().enable_time().build().ok()
}

/// What a client sends behind its preface: every stream and the connection come to an end.
pub(super) fn requests(data: &[u8]) {
    let (at, stream) = cuts::split(data);
    let stream = [PREFACE, SETTINGS, stream].concat();
    if let Some(runtime) = runtime() {
        runtime.block_on(serve(&pieces(&stream, &at)));
    }
}

/// As [`requests`], with each run of octets, whose length is the one before it, as the block of a HEADERS frame.
pub(super) fn blocks(mut data: &[u8]) {
    let mut stream = [PREFACE, SETTINGS].concat();
    let mut id = 1_u32;
    while let Some((length, rest)) = data.split_first() {
        let (block, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        let size = u32::try_from(block.len()).unwrap_or_default().to_be_bytes();
        // END_STREAM and END_HEADERS.
        stream.extend_from_slice(&[&size[1..], &[1, 5], &id.to_be_bytes(), block].concat());
        (data, id) = (rest, id + 2);
    }
    if let Some(runtime) = runtime() {
        runtime.block_on(serve(&[&stream]));
    }
}

async fn serve(pieces: &[&[u8]]) {
    let settings = Settings::client_facing(&limits(), &Timeouts::default());
    let accepted = Downstream::accept(Box::new(Peer::new(pieces)), Scheme::Https, &settings).await;
    let Ok(mut connection) = accepted else { return };
    let mut streams = JoinSet::new();
    let mut seen = 0;
    while seen < MAX_STREAMS {
        // What is refused for its fields is told with a few more than may pass: the pseudo-fields have room of their own.
        let (incoming, room) = match connection.next().await {
            Some(Ok(incoming)) => (incoming, 0),
            Some(Err(DownstreamError::Refused(refused))) => (refused.incoming, MAX_PSEUDO_FIELDS),
            Some(Err(DownstreamError::Connection(_))) | None => break,
        };
        assert!(incoming.head.headers.len() <= limits().max_header_count + room);
        streams.spawn(answer(incoming));
        seen += 1;
    }
    drop(connection);
    // With the connection gone, nothing is left to wait for.
    while streams.join_next().await.is_some() {}
}

async fn answer(incoming: Incoming) {
    let Incoming { mut body, mut responder, .. } = incoming;
    read(&mut body).await;
    if let Ok(mut writer) = responder.head(&ResponseHead::new(StatusCode::OK), BodyToCome::Yes) {
        let _ = writer.last("answer".into()).await;
    }
}

async fn read(body: &mut BodyReader) {
    while let Ok(Some(_piece)) = body.piece().await {}
}

/// What upstream sends to two requests.
pub(super) fn responses(data: &[u8]) {
    let (at, stream) = cuts::split(data);
    let stream = [SETTINGS, stream].concat();
    if let Some(runtime) = runtime() {
        runtime.block_on(ask(&pieces(&stream, &at)));
    }
}

async fn ask(pieces: &[&[u8]]) {
    let settings = Settings::upstream_facing(&limits(), &Timeouts::default());
    let (upstream, driver) = Upstream::connect(Box::new(Peer::new(pieces)), &settings);
    let mut tasks = JoinSet::new();
    for method in [Method::GET, Method::HEAD] {
        let head = RequestHead {
            method,
            scheme: Scheme::Https,
            authority: "a.example".to_owned(),
            target: "/".to_owned(),
            version: Version::HTTP_2,
            headers: Headers::new(),
        };
        let upstream = upstream.clone();
        tasks.spawn(async move {
            let Ok((_writer, mut reader)) = upstream.send(&head, None, BodyToCome::No).await else { return };
            while let Ok(head) = reader.head().await {
                if !head.status.is_informational() {
                    break;
                }
            }
            if let Some(mut body) = reader.body() {
                read(&mut body).await;
            }
        });
    }
    drop(upstream);
    tasks.spawn(async move {
        let _ = driver.await;
    });
    while tasks.join_next().await.is_some() {}
}
