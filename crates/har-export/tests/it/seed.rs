//! Stores with something in them.

use std::{
    io::Write,
    path::Path,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use capture_store::{
    BodySide, Exchange, ExchangeState, ImportMessages, ImportedExchange, Query, Recorded, SessionId, Store,
    StoreConfig, StoredMessage,
};
use http::{Method, StatusCode, Version};
use proxy_core::{Headers, RequestHead, ResponseHead, ResponseSource, Scheme};
use serde_json::Value;
use tempfile::TempDir;

/// A directory with a store in it.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    pub(crate) store: Store,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store"), StoreConfig::default()).unwrap();
        Self { directory, store }
    }

    pub(crate) fn with(exchanges: impl IntoIterator<Item = ImportedExchange>) -> Self {
        let place = Self::new();
        let mut session = place.store.import("seed", None).unwrap();
        for exchange in exchanges {
            session.add(exchange).unwrap();
        }
        session.finish().unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn exchanges(&self, session: Option<SessionId>) -> Vec<Exchange> {
        let mut query = Query::default();
        query.session = session;
        let page = self.store.query(&query).unwrap();
        page.items.iter().map(|item| self.store.exchange(item.seq).unwrap()).collect()
    }

    pub(crate) fn body(&self, exchange: &Exchange, side: BodySide) -> Option<Vec<u8>> {
        let body = self.store.body(exchange.summary.seq, side).unwrap()?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut body.into_decoded_reader(), &mut bytes).unwrap();
        Some(bytes)
    }
}

/// Reads a written file as JSON.
pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub(crate) fn at(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_772_442_900_000 + millis)
}

pub(crate) fn fields(list: &[(&str, &str)]) -> Headers {
    list.iter()
        .map(|(name, value)| proxy_core::Header::new((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// A request of which nothing is known but its head.
pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Exchange {
    let head = RequestHead {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        scheme: Scheme::Https,
        authority: "example.com".to_owned(),
        target: target.to_owned(),
        version: Version::HTTP_11,
        headers: fields(headers),
    };
    let mut exchange = Exchange::new(head, at(0));
    exchange.request_body.complete = true;
    exchange
}

/// An exchange under construction.
pub(crate) struct Seed(ImportedExchange);

pub(crate) fn seed(exchange: Exchange) -> Seed {
    Seed(ImportedExchange {
        exchange,
        request_body: None,
        response_body: None,
        messages: ImportMessages::default(),
    })
}

impl Seed {
    pub(crate) fn change(mut self, change: impl FnOnce(&mut Exchange)) -> Self {
        change(&mut self.0.exchange);
        self
    }

    pub(crate) fn posting(mut self, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        self.0.exchange.request_body = whole(&body);
        self.0.request_body = Some(body.into());
        self
    }

    pub(crate) fn answered(mut self, status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
        head.headers = fields(headers);
        self.0.exchange.response = Some(head);
        self.0.exchange.response_source = Some(ResponseSource::Upstream);
        self.0.exchange.response_body = whole(&body);
        self.0.exchange.summary.state = ExchangeState::Response;
        self.0.response_body = Some(body.into());
        self
    }

    pub(crate) fn messages(mut self, messages: Vec<StoredMessage>) -> Self {
        self.0.messages = messages.into();
        self
    }

    pub(crate) fn done(self) -> ImportedExchange {
        self.0
    }
}

fn whole(body: &Bytes) -> Recorded {
    let mut recorded = Recorded::default();
    recorded.wire_bytes = body.len() as u64;
    recorded.stored_bytes = body.len() as u64;
    recorded.complete = true;
    recorded
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
