//! Both legs over in-memory connections, against the client and server of `h2` and against raw frames.
//!
//! Time is paused: a wait in which nothing more can happen ends at once, so a test can say that nothing happens.

mod downstream;
mod refused;
mod relay;
mod upstream;

use std::{future::Future, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use tokio::{io::DuplexStream, sync::mpsc, time::timeout};

use super::{BodyReader, Downstream, DownstreamError, Incoming, Settings};
use crate::{
    head::{Header, Headers, RequestHead, ResponseHead, Scheme},
    limits::{Limits, Timeouts},
    wire::{Piece, WireError},
};

/// Longer than anything takes here; with paused time it costs nothing.
const LONG: Duration = Duration::from_secs(600);

/// What the connection between both ends holds: less than any window.
const PIPE_BYTES: usize = 16 * 1024;

/// Waits for what must happen.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(LONG, future).await.expect("it should have happened")
}

/// Tells that nothing comes of it, however long one waits.
async fn never<F: Future>(future: F) {
    assert!(timeout(LONG, future).await.is_err(), "nothing should have come of it");
}

/// Settings with the least windows, 65,535 bytes both.
fn tight() -> Settings {
    let limits = Limits { body_buffer_bytes: 8 * 1024, ..Limits::default() };
    let mut settings = Settings::client_facing(&limits, &Timeouts::default());
    settings.max_payload_bytes = 16_384;
    settings.max_stream_window_bytes = settings.stream_window_bytes;
    settings.connection_window_bytes = 2 * settings.stream_window_bytes;
    settings
}

fn headers(fields: &[(&'static str, &'static str)]) -> Headers {
    fields.iter().map(|(name, value)| Header::new(*name, *value)).collect()
}

fn lines(headers: &Headers) -> Vec<String> {
    headers.iter().map(|header| format!("{}: {}", header.name_text(), header.value_text())).collect()
}

fn get(target: &str) -> RequestHead {
    RequestHead {
        method: Method::GET,
        scheme: Scheme::Https,
        authority: "example.com".into(),
        target: target.into(),
        version: Version::HTTP_2,
        headers: Headers::new(),
    }
}

fn status(code: u16) -> ResponseHead {
    ResponseHead::new(StatusCode::from_u16(code).unwrap())
}

type Arrivals = mpsc::UnboundedReceiver<Result<Incoming, DownstreamError>>;

/// Serves one end of a connection: what [`Downstream::next`] brings arrives here until it ends.
fn serve(io: DuplexStream, settings: Settings) -> Arrivals {
    let (sender, arrivals) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut downstream =
            Downstream::accept(Box::new(io), Scheme::Https, &settings).await.expect("a preface");
        while let Some(next) = downstream.next().await {
            let _ = sender.send(next);
        }
    });
    arrivals
}

async fn arrival(arrivals: &mut Arrivals) -> Incoming {
    match soon(arrivals.recv()).await.expect("the connection goes on") {
        Ok(incoming) => incoming,
        Err(error) => panic!("a request should have come: {error:?}"),
    }
}

async fn arrival_error(arrivals: &mut Arrivals) -> DownstreamError {
    match soon(arrivals.recv()).await.expect("the connection goes on") {
        Ok(incoming) => panic!("{:?} should have been refused", incoming.head),
        Err(error) => error,
    }
}

/// Reads a body to its end.
async fn whole(body: &mut BodyReader) -> Result<(Vec<u8>, Option<Headers>), WireError> {
    let mut data = Vec::new();
    let mut trailers = None;
    while let Some(piece) = soon(body.piece()).await? {
        match piece {
            Piece::Data(bytes) => data.extend_from_slice(&bytes),
            Piece::Trailers(headers) => trailers = Some(headers),
        }
    }
    Ok((data, trailers))
}

fn zeros(length: usize) -> Bytes {
    Bytes::from(vec![0; length])
}
