//! A well-behaved origin with routes for everything a proxy has to carry.

mod abandon;
mod page;
mod routes;
mod socket;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{HeaderMap, Method, Uri, Version};
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    ca::{Leaf, TestCa},
    deadline::within,
    tasks::Tasks,
};

/// The most requests kept by [`Origin::seen`]; later ones are only counted, so that a benchmark stays flat.
const MAX_SEEN: usize = 1_000;

/// A listening origin. Dropping it closes the listener and every connection.
///
/// Routes, on HTTP/1.1 and HTTP/2 alike: `/`, `/json`, `/headers` (what it received), `/echo` (the body back as
/// it comes), `/status/{code}`, `/gzip`, `/deflate`, `/br`, `/zstd`, `/bytes/{n}`, `/chunked/{n}`, `/upload`
/// (counts and sums), `/sse?events={n}[&ms={interval}]`, `/trailers`, `/slow-headers`, `/slow-body`, `/cookies`,
/// `/redirect`, `/html` (a page with its script, style, image, data and WebSocket), `/ws`, `/ws-deflate`,
/// `/ws-refuse`. `/sse` without `ms`, `/slow-headers` and `/slow-body` wait for [`Origin::release`].
#[derive(Debug)]
pub struct Origin {
    addr: SocketAddr,
    scheme: &'static str,
    state: Arc<State>,
    counts: watch::Receiver<Counts>,
}

/// What an origin is to be, before it listens.
#[derive(Debug, Default)]
pub struct OriginBuilder {
    leaf: Option<Leaf>,
    alpn: Vec<&'static str>,
    port: u16,
}

/// A request as the origin saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The connection it came on, counted from 0.
    pub connection: u64,
    /// The method.
    pub method: Method,
    /// The target as received: a path on HTTP/1.1, scheme and authority too on HTTP/2.
    pub uri: Uri,
    /// The version it came in.
    pub version: Version,
    /// The header fields; names in lower case, values of one name in order.
    pub headers: HeaderMap,
}

/// What happened at an origin, counted from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Connections that have ended.
    pub closed: u64,
    /// TLS handshakes that failed.
    pub refused: u64,
    /// Requests whose head arrived.
    pub requests: u64,
    /// Response bodies the peer did not wait the end of, and request bodies that broke off.
    pub abandoned: u64,
}

#[derive(Debug)]
struct State {
    released: Semaphore,
    seen: Mutex<Vec<Seen>>,
    counts: watch::Sender<Counts>,
    tasks: Tasks,
}

impl OriginBuilder {
    /// Serves TLS for `localhost` and `127.0.0.1` under `ca`, speaking HTTP/2 and HTTP/1.1.
    pub fn https(self, ca: &TestCa) -> io::Result<Self> {
        Ok(self.leaf(ca.leaf(&["localhost", "127.0.0.1", "::1"])?))
    }

    /// Serves TLS with this certificate, speaking HTTP/2 and HTTP/1.1.
    #[must_use]
    pub fn leaf(self, leaf: Leaf) -> Self {
        Self { leaf: Some(leaf), alpn: vec!["h2", "http/1.1"], ..self }
    }

    /// Chooses among these protocols only. Without TLS, `["h2"]` means HTTP/2 with prior knowledge.
    #[must_use]
    pub fn alpn(self, alpn: &[&'static str]) -> Self {
        Self { alpn: alpn.to_vec(), ..self }
    }

    /// Listens on this port instead of a free one.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Listens on 127.0.0.1 and serves until the origin is dropped.
    pub async fn start(self) -> io::Result<Origin> {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await?;
        let addr = listener.local_addr()?;
        let tls = match &self.leaf {
            Some(leaf) => Some(TlsAcceptor::from(leaf.server_config(&self.alpn)?)),
            None => None,
        };
        let protocol = if self.alpn == ["h2"] { Protocol::Http2 } else { Protocol::Http1 };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (sender, counts) = watch::channel(Counts::default());
        let (released, seen) = (Semaphore::new(0), Mutex::default());
        let state = Arc::new(State { released, seen, counts: sender, tasks: Tasks::default() });
        state.tasks.spawn(accept(listener, tls, protocol, state.clone()));
        Ok(Origin { addr, scheme, state, counts })
    }
}

impl Origin {
    /// Describes an origin without TLS; see [`OriginBuilder`].
    #[must_use]
    pub fn builder() -> OriginBuilder {
        OriginBuilder::default()
    }

    /// Starts an origin that serves TLS under `ca`, in both HTTP versions.
    pub async fn https(ca: &TestCa) -> io::Result<Self> {
        Self::builder().https(ca)?.start().await
    }

    /// Starts an origin that serves HTTP/1.1 without TLS.
    pub async fn plain() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `localhost:port`, for CONNECT and Host.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("localhost:{}", self.addr.port())
    }

    /// The URL of `path` here, with `localhost` as its host.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.authority())
    }

    /// Lets one waiting event, head or body go on; those that come later count it too.
    pub fn release(&self) {
        self.state.released.add_permits(1);
    }

    /// The first 1,000 requests, in the order their heads arrived.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock_seen().clone()
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the counts satisfy `condition`; fails at the deadline with the counts as they are then.
    pub async fn until(&self, condition: impl Fn(&Counts) -> bool) -> io::Result<Counts> {
        let mut counts = self.counts.clone();
        let reached = within("the origin's counts", async {
            counts.wait_for(|counts| condition(counts)).await.map(|counts| *counts).map_err(io::Error::other)
        });
        reached.await.map_err(|error| io::Error::new(error.kind(), format!("{error}: {:?}", self.counts())))
    }

    /// Closes the listener and every connection, and waits until they are closed.
    pub async fn shutdown(self) {
        self.state.released.close();
        self.state.tasks.shutdown().await;
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.state.released.close();
        self.state.tasks.abort();
    }
}

impl State {
    fn lock_seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }

    /// Waits for one release; fails when the origin goes away.
    async fn wait(&self) -> io::Result<()> {
        let permit = self.released.acquire().await.map_err(io::Error::other)?;
        permit.forget();
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Protocol {
    Http1,
    Http2,
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, protocol: Protocol, state: Arc<State>) {
    for connection in 0.. {
        let Ok((stream, _)) = listener.accept().await else { return };
        state.count(|counts| counts.connections += 1);
        let (tls, owner) = (tls.clone(), state.clone());
        state.tasks.spawn(async move {
            // How a connection ends is what tests provoke; they see it in the counts.
            let _ = handshake(stream, tls, protocol, connection, &owner).await;
            owner.count(|counts| counts.closed += 1);
        });
    }
}

async fn handshake(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    protocol: Protocol,
    connection: u64,
    state: &Arc<State>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(acceptor) = tls else {
        return serve(stream, protocol, connection, state).await;
    };
    let stream = within("the handshake", acceptor.accept(stream)).await.inspect_err(|_| {
        state.count(|counts| counts.refused += 1);
    })?;
    let protocol = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    serve(stream, protocol, connection, state).await
}

async fn serve<S>(stream: S, protocol: Protocol, connection: u64, state: &Arc<State>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(|request| routes::answer(request, connection, state.clone()));
    let stream = TokioIo::new(stream);
    match protocol {
        Protocol::Http1 => {
            http1::Builder::new()
                .header_read_timeout(None)
                .serve_connection(stream, service)
                .with_upgrades()
                .await
        }
        Protocol::Http2 => http2::Builder::new(Spawn(state.clone())).serve_connection(stream, service).await,
    }
    .map_err(io::Error::other)
}

/// Runs hyper's stream tasks under the origin's ownership.
#[derive(Clone)]
struct Spawn(Arc<State>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spawn {
    fn execute(&self, task: F) {
        self.0.tasks.spawn(task);
    }
}
