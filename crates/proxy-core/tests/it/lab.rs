//! A proxy, what it told its observer, and whoever is on either side.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use proxy_core::{
    CertificateAuthority, ClientFacts, Direction, Ending, Event, EventKind, ExchangeId, FailureKind, Headers,
    Observer, Outcome, Proxy, ProxyBuilder, ProxyHandle, RequestHead, ResponseHead, ResponseSource, RuleHit,
    Rules, UpstreamFacts, UpstreamTrust, WebSocketMessage,
};
use testkit::{ProxyClient, TestCa};
use tokio::sync::watch;

/// How long a test waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy under test.
pub(crate) struct Lab {
    pub(crate) proxy: Option<ProxyHandle>,
    pub(crate) addr: SocketAddr,
    pub(crate) ca_pem: String,
    pub(crate) origin_ca: TestCa,
    pub(crate) log: Log,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    /// A proxy that trusts the lab's origin CA, further set up by `set_up`.
    pub(crate) async fn with(set_up: impl FnOnce(ProxyBuilder) -> ProxyBuilder) -> Self {
        let origin_ca = TestCa::new().unwrap();
        let ca = CertificateAuthority::in_memory().unwrap();
        let ca_pem = ca.certificate_pem().to_owned();
        let log = Log::default();
        let trust = UpstreamTrust::nobody().with_ca(origin_ca.pem().as_bytes()).unwrap();
        let builder = Proxy::builder(ca).observer(log.clone()).upstream_trust(trust);
        let proxy = set_up(builder).bind("127.0.0.1:0").await.unwrap().spawn();
        Self { addr: proxy.local_addr(), proxy: Some(proxy), ca_pem, origin_ca, log }
    }

    /// A proxy with these rules, in the form of files.
    pub(crate) async fn with_rules(rules: serde_json::Value) -> (Self, Rules) {
        let handle = Rules::with_seed(7);
        for rule in rules.as_array().unwrap() {
            handle.add(serde_json::from_value(rule.clone()).unwrap()).unwrap();
        }
        (Self::with(|builder| builder.rules(handle.clone())).await, handle)
    }

    /// A client that trusts the proxy's CA.
    pub(crate) fn client(&self, alpn: &[&str]) -> ProxyClient {
        ProxyClient::new(self.addr, &self.ca_pem, alpn).unwrap()
    }
}

/// Everything the proxy told, by exchange.
#[derive(Clone)]
pub(crate) struct Log {
    told: Arc<Mutex<BTreeMap<ExchangeId, Told>>>,
    version: watch::Sender<u64>,
}

/// What was told of one exchange.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) client: Option<Arc<ClientFacts>>,
    pub(crate) request: Option<Arc<RequestHead>>,
    pub(crate) request_body: BytesMut,
    pub(crate) request_trailers: Option<Headers>,
    pub(crate) request_ended: bool,
    pub(crate) upstream: Vec<(Arc<UpstreamFacts>, bool)>,
    pub(crate) informational: Vec<Arc<ResponseHead>>,
    pub(crate) response: Option<Arc<ResponseHead>>,
    pub(crate) source: Option<ResponseSource>,
    pub(crate) response_body: BytesMut,
    pub(crate) response_trailers: Option<Headers>,
    pub(crate) messages: Vec<WebSocketMessage>,
    pub(crate) rules: Vec<RuleHit>,
    pub(crate) tunnel_bytes: (u64, u64),
    pub(crate) endings: Vec<Ending>,
}

impl Told {
    pub(crate) fn outcome(&self) -> &Outcome {
        assert_eq!(self.endings.len(), 1, "an exchange ends exactly once: {self:?}");
        &self.endings[0].outcome
    }

    /// The kind of its failure; panics when it did not fail.
    pub(crate) fn failure(&self) -> FailureKind {
        match self.outcome() {
            Outcome::Failed(failure) => failure.kind,
            other => panic!("it did not fail but ended as {other:?}"),
        }
    }

    pub(crate) fn url(&self) -> String {
        self.request.as_ref().unwrap().url()
    }

    pub(crate) fn status(&self) -> Option<u16> {
        self.response.as_ref().map(|head| head.status.as_u16())
    }

    pub(crate) fn response_body(&self) -> Bytes {
        self.response_body.clone().freeze()
    }

    /// What rules did, as `id: what`.
    pub(crate) fn changes(&self) -> Vec<String> {
        let changes = |hit: &RuleHit| -> Vec<String> {
            match hit.changes.is_empty() {
                true => vec![hit.rule.clone()],
                false => hit.changes.iter().map(|change| format!("{}: {change}", hit.rule)).collect(),
            }
        };
        self.rules.iter().flat_map(changes).collect()
    }

    fn note(&mut self, kind: &EventKind) {
        assert!(self.endings.is_empty(), "told after its ending: {kind:?}");
        match kind {
            EventKind::Request { client, head, .. } => {
                assert!(self.request.is_none(), "begun twice");
                self.client = Some(client.clone());
                self.request = Some(head.clone());
            }
            EventKind::RequestBody(data) => self.request_body.extend_from_slice(data),
            EventKind::RequestTrailers(trailers) => self.request_trailers = Some(trailers.clone()),
            EventKind::RequestEnd => self.request_ended = true,
            EventKind::Upstream { upstream, reused } => self.upstream.push((upstream.clone(), *reused)),
            EventKind::Informational(head) => self.informational.push(head.clone()),
            EventKind::Response { head, source } => {
                self.response = Some(head.clone());
                self.source = Some(*source);
            }
            EventKind::ResponseBody(data) => self.response_body.extend_from_slice(data),
            EventKind::ResponseTrailers(trailers) => self.response_trailers = Some(trailers.clone()),
            EventKind::Message(message) => self.messages.push(message.clone()),
            EventKind::Rule(hit) => self.rules.push(hit.clone()),
            EventKind::TunnelBytes { direction: Direction::ToUpstream, bytes } => {
                self.tunnel_bytes.0 += bytes
            }
            EventKind::TunnelBytes { bytes, .. } => self.tunnel_bytes.1 += bytes,
            EventKind::Ended(ending) => self.endings.push((**ending).clone()),
            other => panic!("an event this log does not know: {other:?}"),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { told: Arc::default(), version: watch::Sender::new(0) }
    }
}

impl Observer for Log {
    fn observe(&self, event: &Event) {
        self.told.lock().unwrap().entry(event.exchange).or_default().note(&event.kind);
        self.version.send_modify(|version| *version += 1);
    }
}

impl Log {
    pub(crate) fn all(&self) -> Vec<Told> {
        self.told.lock().unwrap().values().cloned().collect()
    }

    /// Waits until what was told satisfies `enough`.
    pub(crate) async fn until(&self, what: &str, enough: impl Fn(&[Told]) -> bool) -> Vec<Told> {
        let mut changed = self.version.subscribe();
        let wait = changed.wait_for(|_| enough(&self.all()));
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("waited in vain for {what}; told so far: {:#?}", self.all());
        }
        self.all()
    }

    /// Waits until `count` exchanges have ended, and gives those that have.
    pub(crate) async fn ended(&self, count: usize) -> Vec<Told> {
        let is_over = |told: &Told| !told.endings.is_empty();
        let all = self
            .until(&format!("{count} ended exchanges"), |told| {
                told.iter().filter(|t| is_over(t)).count() >= count
            })
            .await;
        all.into_iter().filter(is_over).collect()
    }

    /// Waits for the first exchange to end.
    pub(crate) async fn one(&self) -> Told {
        self.ended(1).await.remove(0)
    }
}

/// `Name: value` lines of a head, for comparing.
pub(crate) fn lines(headers: &Headers) -> Vec<String> {
    headers.iter().map(|header| format!("{}: {}", header.name_text(), header.value_text())).collect()
}
