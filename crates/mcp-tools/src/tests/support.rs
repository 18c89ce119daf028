use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use proxy_core::{
    ClientFacts, ConnectionId, Ending, Event, EventKind, ExchangeId, Headers, Observer as _, Outcome,
    RequestHead, ResponseHead, ResponseSource, Scheme, Sizes, Timings, TlsFacts, TlsFingerprint,
    WebSocketMessage,
};
use serde_json::{Value, json};

use crate::{Config, StateDir, arguments, catalogue::Catalogue, toolbox::Toolbox};

/// A toolbox whose proxy runs, in a directory that goes away with it.
pub(crate) struct Bench {
    pub(crate) toolbox: Toolbox,
    _state: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::starting(json!({})).await
    }

    pub(crate) async fn starting(arguments: Value) -> Self {
        let state = tempfile::tempdir().unwrap();
        let bench = Self { toolbox: Toolbox::new(Config::new(StateDir::new(state.path()))), _state: state };
        let params = params("proxy_start", arguments);
        bench.toolbox.proxy_start(params).await.map(drop).unwrap();
        bench
    }

    /// Tells the recorder of one whole exchange.
    pub(crate) fn feed(&self, id: u64, exchange: Fed) {
        let running = self.toolbox.running().unwrap();
        let tell = |kind| {
            let event = Event { exchange: ExchangeId(id), at: Duration::from_millis(1), kind };
            running.recorder.observe(&event);
        };
        tell(self.begun(&exchange));
        tell(EventKind::RequestEnd);
        if exchange.open {
            return;
        }
        let mut head = ResponseHead::new(StatusCode::OK);
        for (name, value) in exchange.response_headers {
            head.headers.push(name, value);
        }
        tell(EventKind::Response { head: Arc::new(head), source: ResponseSource::Upstream });
        if !exchange.body.is_empty() {
            tell(EventKind::ResponseBody(exchange.body));
        }
        for message in exchange.messages {
            tell(EventKind::Message(message));
        }
        self.end(id);
    }

    /// Ends an exchange.
    pub(crate) fn end(&self, id: u64) {
        let ending = Ending::new(Outcome::Response, Timings::default(), Sizes::default());
        let kind = EventKind::Ended(Box::new(ending));
        let event = Event { exchange: ExchangeId(id), at: Duration::from_millis(2), kind };
        self.toolbox.running().unwrap().recorder.observe(&event);
    }

    fn begun(&self, exchange: &Fed) -> EventKind {
        let address = ([127, 0, 0, 1], 4711).into();
        let mut headers = Headers::new();
        headers.push("Host", "example.test");
        let head = RequestHead {
            method: Method::GET,
            scheme: Scheme::Https,
            authority: "example.test".to_owned(),
            target: exchange.target.clone(),
            version: Version::HTTP_11,
            headers,
        };
        let mut client = ClientFacts::new(ConnectionId(1), address, address);
        if exchange.tls {
            let mut tls = TlsFacts::default();
            tls.fingerprint = Some(TlsFingerprint::new(
                "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0".to_owned(),
                "ada70206e40642a3e4461f35503241d5".to_owned(),
                "t13d1516h2_8daaf6152771_e5627efa2ab1".to_owned(),
            ));
            client.tls = Some(tls);
        }
        EventKind::Request { client: Arc::new(client), head: Arc::new(head), started_at: SystemTime::now() }
    }
}

/// An exchange to feed.
#[derive(Clone, Default)]
pub(crate) struct Fed {
    pub(crate) target: String,
    pub(crate) open: bool,
    /// Whether the client spoke TLS.
    pub(crate) tls: bool,
    pub(crate) response_headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) messages: Vec<WebSocketMessage>,
}

impl Fed {
    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self { target: target.into(), ..Self::default() }
    }

    pub(crate) fn with_body(mut self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let owned = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.response_headers.extend(owned);
        self.body = body.into();
        self
    }
}

/// A tool's parameters, checked and read as a call's are.
pub(crate) fn params<P: serde::de::DeserializeOwned>(
    tool: &str,
    arguments: Value,
) -> rmcp::handler::server::wrapper::Parameters<P> {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    let catalogue = Catalogue::new();
    let schema = &catalogue.entry(tool).unwrap().input;
    let checked = arguments::check(tool, schema, arguments).unwrap();
    rmcp::handler::server::wrapper::Parameters(serde_json::from_value(Value::Object(checked)).unwrap())
}

/// Calls a tool method with checked arguments and gives its answer as JSON.
macro_rules! call {
    ($bench:expr, $tool:ident, $arguments:expr) => {
        match $bench.toolbox.$tool($crate::tests::support::params(stringify!($tool), $arguments)).await {
            Ok(answer) => serde_json::to_value(answer.0).unwrap(),
            Err(error) => panic!("{}: {error}", stringify!($tool)),
        }
    };
}
pub(crate) use call;
