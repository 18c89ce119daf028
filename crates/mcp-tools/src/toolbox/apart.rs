//! Engines beside the running one: they record into the same session, and their exchanges are known by their numbers.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use capture_store::{Recorder, Seq, Store};
use proxy_core::{
    BoxFuture, ClientFacts, ConnectionId, Event, EventKind, ExchangeId, HostPattern, Observer, Sender,
    UpstreamFacts,
};

use super::{Toolbox, blocking};
use crate::{
    engine::{self, Engine},
    error::ToolError,
    live::{self, LiveSession},
};

/// The numbers one engine has for connections and exchanges: more than it will ever need.
const SPAN: u64 = 1 << 40;

/// Numbers engines. Each engine counts its own exchanges from 1, so the recorder they share must be told them apart.
#[derive(Debug, Default)]
pub(super) struct Numbers(AtomicU64);

/// An engine beside the running one.
pub(crate) struct Apart {
    pub(crate) engine: Engine,
    mark: Mark,
}

/// By what the exchanges of an engine are known.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    base: u64,
    begun: Arc<AtomicU64>,
}

/// Tells a recorder of an engine's exchanges under numbers that no other engine has.
struct Renumbered {
    recorder: Recorder,
    mark: Mark,
}

impl Observer for Renumbered {
    fn observe(&self, event: &Event) {
        let base = self.mark.base;
        let kind = match &event.kind {
            EventKind::Request { client, head, started_at } => {
                self.mark.begun.fetch_add(1, Ordering::Relaxed);
                let mut facts = ClientFacts::clone(client);
                facts.connection = ConnectionId(base + facts.connection.0);
                EventKind::Request { client: Arc::new(facts), head: head.clone(), started_at: *started_at }
            }
            EventKind::Upstream { upstream, reused } => {
                let mut facts = UpstreamFacts::clone(upstream);
                facts.connection = ConnectionId(base + facts.connection.0);
                EventKind::Upstream { upstream: Arc::new(facts), reused: *reused }
            }
            other => other.clone(),
        };
        self.recorder.take(Event { exchange: ExchangeId(base + event.exchange.0), at: event.at, kind });
    }

    fn ready(&self) -> Option<BoxFuture<'static, ()>> {
        self.recorder.ready()
    }
}

impl Mark {
    /// Exchanges that began.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// The number of a connection of this engine, as records have it.
    pub(crate) fn connection(&self, connection: ConnectionId) -> u64 {
        self.base + connection.0
    }

    fn is_of(&self, connection: u64) -> bool {
        (self.base..self.base + SPAN).contains(&connection)
    }

    /// The recorded exchanges of this engine after a seq, at most so many. Blocks.
    pub(crate) fn exchanges(
        &self,
        store: &Store,
        sessions: &[LiveSession],
        after: Seq,
        most: usize,
    ) -> Result<Vec<capture_store::ExchangeSummary>, ToolError> {
        /// Exchanges that are looked at, others' included.
        const MAX_LOOKED_AT: usize = 50_000;
        let (mut found, mut cursor, mut looked_at) = (Vec::new(), after, 0);
        while found.len() < most && looked_at < MAX_LOOKED_AT {
            let tail = live::tail(store, sessions, cursor, &capture_store::Query::default(), 1_000)?;
            for summary in &tail.items {
                // What was evicted meanwhile is nobody's.
                let Ok(exchange) = store.exchange(summary.seq) else { continue };
                let ours = exchange.client.as_ref().is_some_and(|client| self.is_of(client.connection));
                if ours && found.len() < most {
                    found.push(exchange.summary);
                }
            }
            looked_at += tail.items.len();
            cursor = tail.next;
            if tail.items.is_empty() || tail.total <= tail.items.len() as u64 {
                break;
            }
        }
        Ok(found)
    }
}

impl Toolbox {
    fn mark(&self) -> Mark {
        let number = self.shared.apart.0.fetch_add(1, Ordering::Relaxed) + 1;
        Mark { base: number * SPAN, begun: Arc::default() }
    }

    /// Starts an engine like the running one beside it, at a port of its own. It ends when it is dropped.
    pub(crate) async fn start_apart(&self) -> Result<Apart, ToolError> {
        let running = self.must_run()?;
        let ca = self.ca().await?;
        let mark = self.mark();
        let observer = Renumbered { recorder: running.recorder, mark: mark.clone() };
        let engine = Engine::start(self.config(), 0, ca, observer, self.changes()).await?;
        Ok(Apart { engine, mark })
    }

    /// Sends as the running engine does, but without verifying the certificates of some hosts.
    pub(crate) async fn trusting_sender(&self, hosts: Vec<HostPattern>) -> Result<(Sender, Mark), ToolError> {
        let running = self.must_run()?;
        let ca = self.ca().await?;
        let mark = self.mark();
        let observer = Renumbered { recorder: running.recorder, mark: mark.clone() };
        let sender = engine::trusting_sender(self.config(), ca, observer, self.changes(), hosts)?;
        Ok((sender, mark))
    }

    /// The recorded exchange of a connection that had only one.
    pub(crate) async fn sent_exchange(&self, connection: u64) -> Result<Option<Seq>, ToolError> {
        /// Exchanges that are looked at, newest first.
        const LOOKED_AT: usize = 500;
        let store = self.fresh_store().await?;
        let sessions: Vec<_> =
            self.live().iter().map(|live| capture_store::Condition::Session(live.id)).collect();
        blocking(move || {
            let mut query = capture_store::Query::default();
            let own = capture_store::Pattern::equals("own");
            query.condition = Some(capture_store::Condition::All(vec![
                capture_store::Condition::Any(sessions),
                capture_store::Condition::Text(capture_store::TextField::Listener, own),
            ]));
            (query.order, query.limit) = (capture_store::Order::Descending, LOOKED_AT);
            for summary in store.query(&query)?.items {
                let Ok(exchange) = store.exchange(summary.seq) else { continue };
                if exchange.client.is_some_and(|client| client.connection == connection) {
                    return Ok(Some(summary.seq));
                }
            }
            Ok(None)
        })
        .await
    }
}

impl Apart {
    /// By what its exchanges are known.
    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }
}
