//! The writer alone, without its thread.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use proxy_core::{ClientFacts, ConnectionId, Event, EventKind, ExchangeId, Headers, RequestHead, Scheme};

use super::Writer;
use crate::{
    recorder::{RecorderConfig, SessionSpec, Shared},
    store::{Store, StoreConfig},
};

/// A writer, and the store it writes to.
struct Bench {
    writer: Writer,
    _store: Store,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new(config: RecorderConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreConfig::default()).unwrap();
        let parts = store.recording_parts().unwrap();
        let mut writer = Writer::new(Arc::new(Shared::new(&config)), parts, config);
        writer.begin_with(&SessionSpec::Scratch { max_bytes: None }).unwrap();
        Self { writer, _store: store, _directory: directory }
    }
}

fn event(exchange: u64, kind: EventKind) -> Event {
    Event { exchange: ExchangeId(exchange), at: Duration::ZERO, kind }
}

fn request(exchange: u64) -> Event {
    let address = "127.0.0.1:1".parse().unwrap();
    let head = RequestHead {
        method: http::Method::GET,
        scheme: Scheme::Http,
        authority: "a.test".to_owned(),
        target: "/".to_owned(),
        version: http::Version::HTTP_11,
        headers: Headers::new(),
    };
    let client = Arc::new(ClientFacts::new(ConnectionId(1), address, address));
    event(exchange, EventKind::Request { client, head: Arc::new(head), started_at: SystemTime::now() })
}

#[test]
fn an_exchange_that_was_gathered_is_due_from_its_beginning_on() {
    let config = RecorderConfig::default();
    let open_after = config.open_after;
    let mut bench = Bench::new(config);
    let begun = Instant::now();
    bench.writer.late(request(1), begun);
    assert_eq!(bench.writer.open_due, Some(begun + open_after));
}
