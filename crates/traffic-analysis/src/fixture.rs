//! Sessions made for tests.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use capture_store::{Exchange, ExchangeState, ImportedExchange, SessionId, Store, StoreConfig};
use proxy_core::{Failure, FailureKind, Headers, RequestHead, ResponseHead, Scheme};

/// A store that goes away with it, with one session.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) session: SessionId,
    _directory: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn of(exchanges: Vec<Fed>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreConfig::default()).unwrap();
        let mut fixture = Self { store, session: SessionId(0), _directory: directory };
        fixture.session = fixture.import(exchanges);
        fixture
    }

    pub(crate) fn import(&self, exchanges: Vec<Fed>) -> SessionId {
        let mut import = self.store.import("made", None).unwrap();
        for (index, fed) in exchanges.into_iter().enumerate() {
            import.add(fed.imported(index as u64)).unwrap();
        }
        import.finish().unwrap().id
    }
}

/// An exchange to be. It begins a second after the one before it unless it says when.
pub(crate) struct Fed {
    method: &'static str,
    url: String,
    pub(crate) at_ms: Option<u64>,
    pub(crate) ms: u64,
    pub(crate) status: Option<u16>,
    pub(crate) failure: Option<FailureKind>,
    request: (Headers, Bytes),
    response: (Headers, Bytes),
}

impl Fed {
    pub(crate) fn get(url: &str) -> Self {
        Self {
            method: "GET",
            url: url.to_owned(),
            at_ms: None,
            ms: 10,
            status: Some(200),
            failure: None,
            request: (Headers::new(), Bytes::new()),
            response: (Headers::new(), Bytes::new()),
        }
    }

    pub(crate) fn post(url: &str, content_type: &str, body: impl Into<Bytes>) -> Self {
        let mut fed = Self { method: "POST", ..Self::get(url) };
        fed.request.0.push("Content-Type", content_type.to_owned());
        fed.request.1 = body.into();
        fed
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    pub(crate) fn failed(mut self, kind: FailureKind) -> Self {
        (self.status, self.failure) = (None, Some(kind));
        self
    }

    pub(crate) fn took(mut self, ms: u64) -> Self {
        self.ms = ms;
        self
    }

    pub(crate) fn at(mut self, ms: u64) -> Self {
        self.at_ms = Some(ms);
        self
    }

    pub(crate) fn sends(mut self, name: &str, value: &str) -> Self {
        self.request.0.push(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn answers(mut self, name: &str, value: &str) -> Self {
        self.response.0.push(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.response.0.push("Content-Type", content_type.to_owned());
        self.response.1 = body.into();
        self
    }

    fn imported(self, index: u64) -> ImportedExchange {
        let (scheme, rest) = match self.url.strip_prefix("https://") {
            Some(rest) => (Scheme::Https, rest),
            None => (Scheme::Http, self.url.trim_start_matches("http://")),
        };
        let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let head = RequestHead {
            method: self.method.parse().unwrap(),
            scheme,
            authority: authority.to_owned(),
            target: if target.is_empty() { "/".to_owned() } else { target.to_owned() },
            version: http::Version::HTTP_11,
            headers: self.request.0,
        };
        let at = Duration::from_millis(1_700_000_000_000 + self.at_ms.unwrap_or(index * 1_000));
        let mut exchange = Exchange::new(head, SystemTime::UNIX_EPOCH + at);
        exchange.timings.total = Duration::from_millis(self.ms);
        exchange.summary.state = ExchangeState::Response;
        if let Some(status) = self.status {
            let mut response = ResponseHead::new(http::StatusCode::from_u16(status).unwrap());
            response.headers = self.response.0;
            exchange.response = Some(response);
        }
        if let Some(kind) = self.failure {
            exchange.summary.state = ExchangeState::Failed(Failure::new(kind, "made to fail"));
        }
        (exchange.request_body.wire_bytes, exchange.request_body.complete) =
            (self.request.1.len() as u64, true);
        (exchange.response_body.wire_bytes, exchange.response_body.complete) =
            (self.response.1.len() as u64, true);
        let body = |bytes: Bytes| (!bytes.is_empty()).then_some(bytes);
        let (request_body, response_body) = (body(self.request.1), body(self.response.1));
        ImportedExchange {
            exchange,
            request_body: request_body.map(Into::into),
            response_body: response_body.map(Into::into),
            messages: capture_store::ImportMessages::default(),
        }
    }
}
