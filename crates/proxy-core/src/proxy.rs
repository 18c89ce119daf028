//! The proxy: built, bound, served, drained.

use std::{
    future::Future,
    net::SocketAddr,
    num::NonZeroUsize,
    path::Path,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    ca::{CertificateAuthority, Leafs},
    changes::Changes,
    connection::{self, Layer},
    crew::Crew,
    cut::{Cut, Socket},
    dial::LoopGuard,
    engine::{Engine, Ids},
    error::{Error, ErrorKind},
    event::ListenerKind,
    exchange::ledger::Observers,
    hosts::HostPattern,
    http2,
    interceptor::Interceptor,
    limits::{Limits, Timeouts},
    listener::{Accepted, Doors, Listener, Loops, Mode, Plan, enter, original_destination},
    observer::Observer,
    process::Processes,
    roads::Roads,
    serving::{Drained, Serving, serve},
    tls::{Acceptor, Connector, Interception, TlsOptions, UpstreamTrust},
    unstalled::Unstalled,
};

/// Collects what a proxy is made of. See [`Proxy::builder`].
#[must_use = "a builder does nothing until it is bound"]
pub struct ProxyBuilder {
    ca: CertificateAuthority,
    trust: UpstreamTrust,
    interceptors: Vec<Box<dyn Interceptor>>,
    pub(crate) changes: Changes,
    observers: Observers,
    passthrough: Vec<HostPattern>,
    limits: Limits,
    timeouts: Timeouts,
    /// Where to listen, and whom to let in.
    pub(crate) plan: Plan,
    pub(crate) roads: Roads,
    pub(crate) tls: TlsOptions,
    pub(crate) threads: Option<NonZeroUsize>,
    pub(crate) processes: Processes,
}

impl ProxyBuilder {
    /// Adds someone who looks. Every observer sees every event.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Adds someone who may change. They are asked in the order they were added.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.interceptors.push(Box::new(interceptor));
        self
    }

    /// Says whose certificates upstream may show; [`UpstreamTrust::system`] without this.
    pub fn upstream_trust(mut self, trust: UpstreamTrust) -> Self {
        self.trust = trust;
        self
    }

    /// Trusts the authorities in a PEM file for upstream, beside those it trusts already.
    ///
    /// # Errors
    /// When the file cannot be read or holds no certificate.
    pub fn upstream_ca_file(mut self, path: impl AsRef<Path>) -> Result<Self, Error> {
        self.trust = self.trust.with_ca_file(path)?;
        Ok(self)
    }

    /// Does not verify upstream's certificate for these hosts.
    pub fn insecure_upstream(mut self, hosts: HostPattern) -> Self {
        self.trust = self.trust.with_insecure_host(hosts);
        self
    }

    /// Passes TLS to these hosts through undecrypted. Matched against the CONNECT's host and the SNI.
    pub fn passthrough(mut self, hosts: HostPattern) -> Self {
        self.passthrough.push(hosts);
        self
    }

    /// Bounds what peers control.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Bounds the waits peers control.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Makes the proxy whose listeners are open.
    pub(crate) fn build(self, doors: Doors) -> Result<Proxy, Error> {
        let listeners: Arc<[Listener]> = doors.listeners().into();
        let main = listeners.iter().find(|listener| listener.kind() == ListenerKind::Explicit);
        let local = main.or(listeners.first()).map(Listener::address).ok_or(ErrorKind::NoListener)?;
        let threads = self.threads;
        let engine = Arc::new(self.engine(&listeners, local)?);
        Ok(Proxy { engine, doors, listeners, crew: Arc::new(Crew::start(threads)?) })
    }

    /// Makes the engine behind these listeners.
    pub(crate) fn engine(self, listeners: &[Listener], local: SocketAddr) -> Result<Engine, Error> {
        let leafs = Leafs::new(self.ca.clone(), self.limits.max_cached_leafs)?;
        Ok(Engine {
            acceptor: Acceptor::new(leafs, self.tls.key_log())?,
            connector: Connector::new(self.trust, &self.tls)?,
            ca: self.ca,
            client_settings: http2::Settings::client_facing(&self.limits, &self.timeouts),
            upstream_settings: http2::Settings::upstream_facing(&self.limits, &self.timeouts),
            roads: self.roads.ready(&self.limits, &self.timeouts),
            limits: self.limits,
            timeouts: self.timeouts,
            interceptors: self.interceptors,
            changes: self.changes,
            observers: self.observers,
            interception: Interception::new(self.passthrough, &self.tls),
            guard: LoopGuard::new(listeners.iter().map(Listener::address)),
            clients: self.plan.clients()?,
            loops: Loops::default(),
            local,
            ids: Ids::default(),
            processes: self.processes,
        })
    }
}

/// An intercepting proxy that listens.
pub struct Proxy {
    engine: Arc<Engine>,
    doors: Doors,
    listeners: Arc<[Listener]>,
    crew: Arc<Crew>,
}

impl Proxy {
    /// Begins to build a proxy whose leaf certificates this authority signs.
    pub fn builder(ca: CertificateAuthority) -> ProxyBuilder {
        ProxyBuilder {
            ca,
            trust: UpstreamTrust::system(),
            interceptors: Vec::new(),
            changes: Changes::default(),
            observers: Observers::default(),
            passthrough: Vec::new(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            plan: Plan::default(),
            roads: Roads::default(),
            tls: TlsOptions::default(),
            threads: None,
            processes: Processes::default(),
        }
    }

    /// Where it listens: at the first listener.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listeners[0].address()
    }

    /// Where it listens, listener by listener.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(Listener::address).collect()
    }

    /// Its listeners, with the addresses the system gave them.
    #[must_use]
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Serves until `shutdown` resolves, then stops accepting, lets the exchanges under way go on for
    /// [`Timeouts::drain`], and cuts what is left then. Dropping the future cuts everything at once.
    pub async fn serve_until(self, shutdown: impl Future<Output = ()>) -> Drained {
        let drain = self.engine.timeouts.drain;
        self.serve(async {
            shutdown.await;
            drain
        })
        .await
    }

    /// Serves on a task of its own.
    #[must_use = "dropping the handle cuts every connection"]
    pub fn spawn(self) -> ProxyHandle {
        let (engine, listeners) = (self.engine.clone(), self.listeners.clone());
        let crew = Arc::downgrade(&self.crew);
        let serving = Serving::begin(|stopped| self.serve(stopped.deadline()));
        ProxyHandle { engine, listeners, crew, serving }
    }

    async fn serve(self, shutdown: impl Future<Output = Duration>) -> Drained {
        let ending = LastWords(self.engine);
        serve(ending.0.clone(), self.doors, self.crew, shutdown).await
    }
}

/// Has everything told that is left to tell when a proxy has ended, or is dropped.
struct LastWords(Arc<Engine>);

impl Drop for LastWords {
    fn drop(&mut self) {
        self.0.processes.close();
        self.0.tell_untold();
    }
}

/// Carries a connection that was let in.
pub(crate) async fn client(engine: Arc<Engine>, accepted: Accepted, draining: watch::Receiver<bool>) {
    let Accepted { tcp, peer, listener, permit } = accepted;
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "cannot switch off Nagle's algorithm for a client");
    }
    let facts = engine.client_facts(&tcp, peer, &listener);
    let original = match listener.mode() {
        Mode::Transparent => original_destination(&tcp, listener.address()),
        _ => None,
    };
    let cut = Cut::default();
    let io = Box::new(Unstalled::new(Socket::new(tcp, cut.clone()), engine.timeouts.idle_body));
    let layer = Layer { io, facts, tunnel: None, depth: 0, refusal: None, cut };
    if let Some(layer) = enter(&engine, listener.mode(), original, layer).await {
        connection::run(engine, layer, draining).await;
    }
    drop(permit);
}

/// A proxy being served. Dropping it cuts every connection at once.
pub struct ProxyHandle {
    engine: Arc<Engine>,
    listeners: Arc<[Listener]>,
    /// The threads of the proxy's own, for as long as there are any.
    crew: Weak<Crew>,
    serving: Serving,
}

impl ProxyHandle {
    /// Where it listens: at the first listener.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listeners[0].address()
    }

    /// Where it listens, listener by listener.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(Listener::address).collect()
    }

    /// Its listeners, with the addresses the system gave them.
    #[must_use]
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(crate) fn crew(&self) -> &Weak<Crew> {
        &self.crew
    }

    /// Stops accepting, lets the exchanges under way go on for `drain`, and cuts what is left then. Dropping the
    /// future cuts everything at once.
    pub async fn shutdown(mut self, drain: Duration) -> Drained {
        self.serving.shutdown(drain).await
    }
}

impl Drop for ProxyHandle {
    fn drop(&mut self) {
        // What is cut when the rest is dropped is told as it ends, and not after a search.
        self.engine.processes.close();
    }
}
