//! What recording an exchange costs: its events into the queue, put together, encoded and committed.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use capture_store::{Recorder, RecorderConfig, SessionSpec, Store, StoreConfig};
use http::{Method, StatusCode, Version};
use proxy_core::{
    ClientFacts, ConnectionId, Ending, Event, EventKind, ExchangeId, Headers, Observer, Outcome, RequestHead,
    ResponseHead, ResponseSource, Scheme, Sizes, Timings,
};

/// Exchanges of one round, and how many rounds there are; the fastest counts.
const EXCHANGES: u64 = 10_000;
const ROUNDS: u64 = 5;

fn main() {
    for (name, body) in [("without bodies", 0), ("with 1 KiB", 1024), ("with 64 KiB", 64 * 1024)] {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreConfig::default()).unwrap();
        let session = SessionSpec::Scratch { max_bytes: Some(64 << 30) };
        let recorder = Recorder::start(&store, session, RecorderConfig::default()).unwrap();
        let (mut told, mut committed) = (f64::MAX, f64::MAX);
        for round in 0..ROUNDS {
            let begin = Instant::now();
            for number in 0..EXCHANGES / if body > 1024 { 20 } else { 1 } {
                tell(&recorder, round * EXCHANGES + number + 1, body);
            }
            let exchanges = if body > 1024 { EXCHANGES as f64 / 20.0 } else { EXCHANGES as f64 };
            told = told.min(begin.elapsed().as_secs_f64() * 1e6 / exchanges);
            recorder.flush().unwrap();
            committed = committed.min(begin.elapsed().as_secs_f64() * 1e6 / exchanges);
        }
        println!("{name:<16} {told:>8.2} us to tell an exchange, {committed:>8.2} us until it is committed");
        recorder.close().unwrap();
    }
}

/// Tells the events of one exchange, each body another.
fn tell(recorder: &Recorder, number: u64, body: usize) {
    let client = ClientFacts::new(
        ConnectionId(number % 64),
        "127.0.0.1:40000".parse().unwrap(),
        "127.0.0.1:8080".parse().unwrap(),
    );
    let request = RequestHead {
        method: Method::GET,
        scheme: Scheme::Https,
        authority: "www.example.com".to_owned(),
        target: format!("/catalogue/{number}"),
        version: Version::HTTP_11,
        headers: headers(&[("Host", "www.example.com"), ("User-Agent", "bench"), ("Accept", "*/*")]),
    };
    let mut response = ResponseHead::new(StatusCode::OK);
    response.headers =
        headers(&[("Content-Type", "application/octet-stream"), ("Server", "bench"), ("ETag", "\"1\"")]);
    let mut content = vec![0_u8; body];
    let mark = number.to_le_bytes();
    content.iter_mut().zip(mark.iter().cycle()).for_each(|(byte, mark)| *byte = *mark);
    let source = ResponseSource::Upstream;
    let ending = Ending::new(Outcome::Response, Timings::default(), Sizes::default());
    let kinds = [
        EventKind::Request {
            client: Arc::new(client),
            head: Arc::new(request),
            started_at: SystemTime::now(),
        },
        EventKind::RequestEnd,
        EventKind::Response { head: Arc::new(response), source },
        EventKind::ResponseBody(Bytes::from(content)),
        EventKind::Ended(Box::new(ending)),
    ];
    for kind in kinds {
        recorder.observe(&Event { exchange: ExchangeId(number), at: Duration::from_millis(1), kind });
    }
}

fn headers(fields: &[(&'static str, &'static str)]) -> Headers {
    let mut headers = Headers::new();
    fields.iter().for_each(|(name, value)| headers.push(*name, *value));
    headers
}
