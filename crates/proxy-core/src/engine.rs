//! What every connection shares: built once by the builder, read-only from then on.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    ca::CertificateAuthority,
    changes::Changes,
    dial::LoopGuard,
    event::{ClientFacts, ConnectionId, ExchangeId},
    exchange::ledger::{Ledger, Observers},
    head::RequestHead,
    hosts::HostPattern,
    http1::HeadLimits,
    http2,
    interceptor::Interceptor,
    limits::{Limits, Timeouts},
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
    pub(crate) passthrough: Vec<HostPattern>,
    pub(crate) guard: LoopGuard,
    pub(crate) local: SocketAddr,
    pub(crate) ids: Ids,
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

    /// Whether a host is to be passed through undecrypted.
    pub(crate) fn passes_through(&self, host: &str) -> bool {
        self.passthrough.iter().any(|pattern| pattern.matches(host))
    }
}
