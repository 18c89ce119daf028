//! The proxy: built, bound, served, drained.

use std::{future::Future, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream, ToSocketAddrs},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::{
    ca::{CertificateAuthority, Leafs},
    changes::Changes,
    connection::{self, Layer},
    cut::{Cut, Socket},
    dial::LoopGuard,
    engine::{Engine, Ids},
    error::{Error, ErrorKind},
    event::ClientFacts,
    exchange::ledger::Observers,
    hosts::HostPattern,
    http2,
    interceptor::Interceptor,
    limits::{Limits, Timeouts},
    observer::Observer,
    tls::{Acceptor, Connector, UpstreamTrust},
    unstalled::Unstalled,
};

/// How long the accept loop rests when the system has no more descriptors, so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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

    /// Listens. Nothing is accepted before the proxy is served.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the trust cannot be set up.
    pub async fn bind(self, address: impl ToSocketAddrs) -> Result<Proxy, Error> {
        let listener = listen(address).await?;
        let unknown =
            |error: io::Error| Error::new(ErrorKind::Bind { addr: ([0, 0, 0, 0], 0).into() }).because(error);
        let local = listener.local_addr().map_err(unknown)?;
        let leafs = Leafs::new(self.ca.clone(), self.limits.max_cached_leafs)?;
        let engine = Engine {
            acceptor: Acceptor::new(leafs)?,
            connector: Connector::new(self.trust)?,
            ca: self.ca,
            client_settings: http2::Settings::client_facing(&self.limits, &self.timeouts),
            upstream_settings: http2::Settings::upstream_facing(&self.limits, &self.timeouts),
            limits: self.limits,
            timeouts: self.timeouts,
            interceptors: self.interceptors,
            changes: self.changes,
            observers: self.observers,
            passthrough: self.passthrough,
            guard: LoopGuard::new([local]),
            local,
            ids: Ids::default(),
        };
        Ok(Proxy { engine: Arc::new(engine), listener, local })
    }
}

async fn listen(address: impl ToSocketAddrs) -> Result<TcpListener, Error> {
    let unresolved: SocketAddr = ([0, 0, 0, 0], 0).into();
    let addresses = tokio::net::lookup_host(address)
        .await
        .map_err(|error| Error::new(ErrorKind::Bind { addr: unresolved }).because(error))?;
    let mut failed = Error::new(ErrorKind::Bind { addr: unresolved });
    for addr in addresses {
        match TcpListener::bind(addr).await {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = Error::new(ErrorKind::Bind { addr }).because(error),
        }
    }
    Err(failed)
}

/// An intercepting proxy that listens.
pub struct Proxy {
    engine: Arc<Engine>,
    listener: TcpListener,
    local: SocketAddr,
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
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
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
        let local = self.local;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            self.serve(async {
                match stopped.await {
                    Ok(drain) => drain,
                    // The handle was dropped: its drop aborts this task as well.
                    Err(_) => Duration::ZERO,
                }
            })
            .await
        });
        ProxyHandle { local, stop: Some(stop), task }
    }

    async fn serve(self, shutdown: impl Future<Output = Duration>) -> Drained {
        let Self { engine, listener, .. } = self;
        let room = Arc::new(Semaphore::new(engine.limits.max_connections));
        let (drain, draining) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        let deadline = loop {
            tokio::select! {
                deadline = &mut shutdown => break deadline,
                accepted = accept(&listener, &room) => {
                    let (tcp, peer, permit) = accepted;
                    connections.spawn(client(engine.clone(), tcp, peer, permit, draining.clone()));
                }
                Some(_) = connections.join_next() => {}
            }
        };
        drop(listener);
        drain.send_replace(true);
        let rest = async { while connections.join_next().await.is_some() {} };
        let cut = if timeout(deadline, rest).await.is_ok() { 0 } else { connections.len() };
        connections.shutdown().await;
        Drained { cut_connections: cut }
    }
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections that were still busy at the deadline, and were cut.
    pub cut_connections: usize,
}

/// Waits for room, then for a connection.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed; without a permit the connection would only go uncounted.
    let permit = room.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => return (tcp, peer, permit),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the error is about a connection that is gone already, not about the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

async fn client(
    engine: Arc<Engine>,
    tcp: TcpStream,
    peer: SocketAddr,
    permit: Option<OwnedSemaphorePermit>,
    draining: watch::Receiver<bool>,
) {
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "cannot switch off Nagle's algorithm for a client");
    }
    let local = tcp.local_addr().unwrap_or(engine.local);
    let facts = Arc::new(ClientFacts::new(engine.next_connection(), peer, local));
    let cut = Cut::default();
    let io = Box::new(Unstalled::new(Socket::new(tcp, cut.clone()), engine.timeouts.idle_body));
    let layer = Layer { io, facts, tunnel: None, depth: 0, refusal: None, cut };
    connection::run(engine, layer, draining).await;
    drop(permit);
}

/// A proxy being served. Dropping it cuts every connection at once.
pub struct ProxyHandle {
    local: SocketAddr,
    stop: Option<oneshot::Sender<Duration>>,
    task: JoinHandle<Drained>,
}

impl ProxyHandle {
    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Stops accepting, lets the exchanges under way go on for `drain`, and cuts what is left then. Dropping the
    /// future cuts everything at once.
    pub async fn shutdown(mut self, drain: Duration) -> Drained {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(drain);
        }
        (&mut self.task).await.unwrap_or(Drained { cut_connections: 0 })
    }
}

impl Drop for ProxyHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}
