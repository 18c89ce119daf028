//! Events made by hand, and a store to put them into.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use capture_store::{
    BodySide, ExchangeSummary, Query, Recorder, RecorderConfig, Seq, SessionSpec, Store, StoreConfig,
};
use proxy_core::{
    ClientFacts, ConnectionId, Ending, Event, EventKind, ExchangeId, Outcome, RequestHead, ResponseHead,
    ResponseSource, Sizes, Timings,
};

/// A store in a directory that goes away with it.
pub(crate) struct TestStore {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: Store,
}

impl TestStore {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreConfig::default()).unwrap();
        Self { directory, store }
    }

    pub(crate) fn scratch(&self) -> Recorder {
        self.record(SessionSpec::Scratch { max_bytes: None })
    }

    /// The directory of its body files.
    pub(crate) fn bodies(&self) -> PathBuf {
        self.directory.path().join("bodies")
    }

    pub(crate) fn record(&self, spec: SessionSpec) -> Recorder {
        Recorder::start(&self.store, spec, RecorderConfig::default()).unwrap()
    }
}

/// A query changed from its default.
pub(crate) fn query(change: impl FnOnce(&mut Query)) -> Query {
    let mut query = Query::default();
    change(&mut query);
    query
}

/// The targets of some exchanges, for short comparisons.
pub(crate) fn targets(items: &[ExchangeSummary]) -> Vec<&str> {
    items.iter().map(|item| item.target.as_str()).collect()
}

/// A body's stored bytes.
pub(crate) fn raw_body(store: &Store, seq: Seq, side: BodySide) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.body(seq, side).unwrap().unwrap().into_reader().read_to_end(&mut bytes).unwrap();
    bytes
}

/// Bytes that compress badly and repeat nowhere near.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| step()).collect()
}

/// Files below a directory.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// A GET of `https://example.test<target>`.
pub(crate) fn get(target: &str) -> RequestHead {
    request("GET", "https", "example.test", target)
}

pub(crate) fn request(method: &str, scheme: &str, authority: &str, target: &str) -> RequestHead {
    let mut headers = proxy_core::Headers::new();
    headers.push("Host", authority.to_owned());
    headers.push("User-Agent", "Test/1.0");
    RequestHead {
        method: method.parse().unwrap(),
        scheme: if scheme == "https" { proxy_core::Scheme::Https } else { proxy_core::Scheme::Http },
        authority: authority.to_owned(),
        target: target.to_owned(),
        version: http::Version::HTTP_11,
        headers,
    }
}

pub(crate) fn response(status: u16, content_type: &str) -> ResponseHead {
    let mut head = ResponseHead::new(http::StatusCode::from_u16(status).unwrap());
    head.headers.push("Content-Type", content_type.to_owned());
    head
}

/// A client on this machine.
pub(crate) fn client() -> ClientFacts {
    ClientFacts::new(ConnectionId(1), "127.0.0.1:50000".parse().unwrap(), "127.0.0.1:8080".parse().unwrap())
}

/// The life of one exchange, told step by step.
pub(crate) struct Teller<'o> {
    observer: &'o dyn proxy_core::Observer,
    id: ExchangeId,
    at: Duration,
}

impl<'o> Teller<'o> {
    pub(crate) fn begin(observer: &'o dyn proxy_core::Observer, id: u64, head: RequestHead) -> Self {
        Self::begin_by(client(), observer, id, head)
    }

    pub(crate) fn begin_by(
        client: ClientFacts,
        observer: &'o dyn proxy_core::Observer,
        id: u64,
        head: RequestHead,
    ) -> Self {
        let teller = Self { observer, id: ExchangeId(id), at: Duration::ZERO };
        teller.tell(EventKind::Request {
            client: Arc::new(client),
            head: Arc::new(head),
            started_at: SystemTime::now(),
        })
    }

    pub(crate) fn tell(mut self, kind: EventKind) -> Self {
        self.at += Duration::from_millis(1);
        self.observer.observe(&Event { exchange: self.id, at: self.at, kind });
        self
    }

    pub(crate) fn request_body(self, piece: impl Into<Bytes>) -> Self {
        self.tell(EventKind::RequestBody(piece.into()))
    }

    pub(crate) fn request_end(self) -> Self {
        self.tell(EventKind::RequestEnd)
    }

    pub(crate) fn response(self, head: ResponseHead) -> Self {
        self.tell(EventKind::Response { head: Arc::new(head), source: ResponseSource::Upstream })
    }

    pub(crate) fn response_body(self, piece: impl Into<Bytes>) -> Self {
        self.tell(EventKind::ResponseBody(piece.into()))
    }

    pub(crate) fn end(self, outcome: Outcome) {
        let mut timings = Timings::default();
        timings.total = self.at;
        self.tell(EventKind::Ended(Box::new(Ending::new(outcome, timings, Sizes::default()))));
    }
}

/// A whole exchange with a response body.
pub(crate) fn exchange(observer: &dyn proxy_core::Observer, id: u64, target: &str, body: impl Into<Bytes>) {
    Teller::begin(observer, id, get(target))
        .request_end()
        .response(response(200, "text/plain"))
        .response_body(body)
        .end(Outcome::Response);
}
