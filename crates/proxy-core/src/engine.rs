//! What every connection shares: built once by the builder, read-only from then on.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use tokio::net::TcpStream;

use crate::{
    ca::CertificateAuthority,
    changes::Changes,
    dial::LoopGuard,
    event::{ClientFacts, ConnectionId, ExchangeId},
    exchange::ledger::{Ledger, Observers},
    failure::Failure,
    head::RequestHead,
    http1::HeadLimits,
    http2,
    interceptor::Interceptor,
    limits::{Limits, Timeouts},
    listener::{Clients, Listener, Loops},
    process::Processes,
    roads::Roads,
    setup_page, tls,
};

/// The name under which the proxy serves its own set-up page.
pub(crate) const SETUP_HOST: &str = setup_page::HOST;

/// What every connection shares.
pub(crate) struct Engine {
    pub(crate) ca: CertificateAuthority,
    pub(crate) acceptor: tls::Acceptor,
    pub(crate) connector: tls::Connector,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) client_settings: http2::Settings,
    pub(crate) upstream_settings: http2::Settings,
    pub(crate) changes: Changes,
    pub(crate) interceptors: Vec<Box<dyn Interceptor>>,
    pub(crate) observers: Observers,
    pub(crate) interception: tls::Interception,
    pub(crate) guard: LoopGuard,
    pub(crate) clients: Clients,
    pub(crate) loops: Loops,
    pub(crate) roads: Roads,
    pub(crate) local: SocketAddr,
    pub(crate) ids: Ids,
    pub(crate) processes: Processes,
}

/// The numbers of a proxy's connections and exchanges.
#[derive(Default)]
pub(crate) struct Ids {
    connections: AtomicU64,
    exchanges: AtomicU64,
}

impl Engine {
    pub(crate) fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.ids.connections.fetch_add(1, Relaxed) + 1)
    }

    pub(crate) fn head_limits(&self) -> HeadLimits {
        HeadLimits { max_bytes: self.limits.max_head_bytes, max_headers: self.limits.max_header_count }
    }

    /// What is known of a connection that was just accepted.
    pub(crate) fn client_facts(
        &self,
        tcp: &TcpStream,
        peer: SocketAddr,
        listener: &Listener,
    ) -> Arc<ClientFacts> {
        let local = tcp.local_addr().unwrap_or(listener.address());
        let mut facts = ClientFacts::new(self.next_connection(), peer, local);
        facts.listener = listener.kind();
        facts.sought = self.processes.seek(peer, local, facts.listener);
        Arc::new(facts)
    }

    /// Logs the refusals that no record tells of.
    pub(crate) fn tell_untold(&self) {
        let untold = self.clients.refusals.untold();
        if untold > 0 {
            tracing::warn!(untold, "refused clients more often than was recorded");
        }
    }

    /// Begins the account of an exchange.
    pub(crate) fn ledger(
        &self,
        client: &Arc<ClientFacts>,
        head: &Arc<RequestHead>,
        head_bytes: u64,
    ) -> Ledger {
        let exchange = ExchangeId(self.ids.exchanges.fetch_add(1, Relaxed) + 1);
        Ledger::begin(&self.observers, exchange, client, head, head_bytes)
    }

    /// Begins the account of an exchange that is refused before it is one, as the client may not use the proxy. A flood
    /// of them is not told in full: `failure` then says how many were not.
    pub(crate) fn refusal_ledger(
        &self,
        client: &Arc<ClientFacts>,
        head: &Arc<RequestHead>,
        head_bytes: u64,
        failure: &mut Failure,
    ) -> Ledger {
        let exchange = ExchangeId(self.ids.exchanges.fetch_add(1, Relaxed) + 1);
        tracing::debug!(client = %client.peer, %failure, "refused a client");
        match self.clients.refusals.count(Instant::now()) {
            Some(untold) => {
                if untold > 0 {
                    failure.detail += &format!(" ({untold} refusals before this one were not recorded)");
                }
                Ledger::begin(&self.observers, exchange, client, head, head_bytes)
            }
            None => Ledger::begin(&Observers::default(), exchange, client, head, head_bytes),
        }
    }
}
