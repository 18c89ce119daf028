//! The upstream connections of one client connection.
//!
//! They belong to the client connection that caused them and end with it: NTLM, Negotiate and client certificates
//! bind a connection to a user, so a pool shared between clients would leak one's identity to another.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::{io::split, task::JoinSet, time::timeout};

use crate::{
    dial::{self, Dialled as Tcp},
    engine::Engine,
    event::UpstreamFacts,
    exchange::ledger::Dialled,
    failure::{Failure, Side},
    http1, http2,
    leg::{Http1Reader, Http1Writer},
    tls::Connected,
    unstalled::Unstalled,
    wire::{BoxedIo, WireError, WireErrorKind},
};

/// Idle HTTP/1 connections kept at most for one client connection; beyond it the oldest is closed. Browsers open
/// six to a host, but each of theirs has its own here.
const MAX_IDLE: usize = 8;

/// Where a request goes and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
}

/// What is spoken on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// Cleartext; HTTP/2 with prior knowledge where the client uses it.
    Plain { http2: bool },
    /// TLS, asking for this name and these protocols.
    Tls { server_name: String, alpn: Vec<Vec<u8>> },
}

impl Destination {
    /// Whether many exchanges may come to share a connection there.
    pub(crate) fn may_be_http2(&self) -> bool {
        match &self.security {
            Security::Plain { http2 } => *http2,
            Security::Tls { alpn, .. } => alpn.iter().any(|name| name == b"h2"),
        }
    }
}

/// How far upstream was reached before the client's first request.
pub(crate) enum Reach {
    /// Not tried, or already handed on.
    Open,
    /// Connected in cleartext.
    Dialled(Tcp),
    /// Ready for HTTP or raw bytes.
    Ready(Box<Opened>),
    /// Failed; the first request inside the tunnel is told.
    Failed(Failure),
}

/// A connection to upstream, freshly opened, on which nothing was sent.
pub(crate) struct Opened {
    pub(crate) io: BoxedIo,
    pub(crate) facts: Arc<UpstreamFacts>,
    pub(crate) http2: bool,
    pub(crate) dialled: Dialled,
}

/// Connects to a host, in cleartext.
pub(crate) async fn dial_tcp(engine: &Engine, host: &str, port: u16) -> Result<Tcp, Failure> {
    dial::dial(host, port, &engine.timeouts, &engine.guard).await
}

/// Goes on in cleartext on a connection that was dialled.
pub(crate) fn plain(engine: &Engine, tcp: Tcp, http2: bool) -> Opened {
    let facts = UpstreamFacts::new(engine.next_connection(), tcp.peer, tcp.local);
    let dialled = Dialled { dns: Some(tcp.dns), connect: Some(tcp.connect), ssl: None };
    let io = Box::new(Unstalled::new(tcp.stream, engine.timeouts.idle_body));
    Opened { io, facts: Arc::new(facts), http2, dialled }
}

/// Goes on in TLS on a connection that is in cleartext yet.
pub(crate) async fn secure(
    engine: &Engine,
    opened: Opened,
    server_name: &str,
    alpn: &[Vec<u8>],
) -> Result<Opened, Failure> {
    let Opened { io, facts, mut dialled, .. } = opened;
    let begun = Instant::now();
    let Connected { io, facts: tls } =
        engine.connector.connect(io, server_name, alpn, engine.timeouts.handshake).await?;
    let ssl = begun.elapsed();
    dialled.connect = Some(dialled.connect.unwrap_or_default() + ssl);
    dialled.ssl = Some(ssl);
    let http2 = tls.alpn.as_deref() == Some("h2");
    let mut facts = UpstreamFacts::clone(&facts);
    facts.tls = Some(tls);
    Ok(Opened { io, facts: Arc::new(facts), http2, dialled })
}

async fn open(engine: &Engine, to: &Destination) -> Result<Opened, Failure> {
    let tcp = dial_tcp(engine, &to.host, to.port).await?;
    go_on(engine, tcp, to).await
}

/// Goes on with a connection that was dialled as its destination has it.
async fn go_on(engine: &Engine, tcp: Tcp, to: &Destination) -> Result<Opened, Failure> {
    match &to.security {
        Security::Plain { http2 } => Ok(plain(engine, tcp, *http2)),
        Security::Tls { server_name, alpn } => {
            secure(engine, plain(engine, tcp, false), server_name, alpn).await
        }
    }
}

/// An HTTP/1 connection to upstream.
pub(crate) struct Http1Connection {
    pub(crate) reader: Http1Reader,
    pub(crate) writer: Http1Writer,
    pub(crate) facts: Arc<UpstreamFacts>,
    to: Destination,
    idle_since: Instant,
}

/// A connection lent to one exchange.
pub(crate) enum Lease {
    Http1(Box<Http1Connection>),
    Http2(http2::Upstream, Arc<UpstreamFacts>),
}

/// What [`Upstreams::lease`] gives.
pub(crate) struct Leased {
    pub(crate) lease: Lease,
    pub(crate) reused: bool,
    pub(crate) dialled: Dialled,
}

/// The upstream connections of one client connection. Dropping it closes them.
pub(crate) struct Upstreams {
    /// What was reached before the first request, and where it leads.
    first: Mutex<Option<(Destination, Reach)>>,
    #[expect(
        clippy::vec_box,
        reason = "it is lent boxed, and moving it in and out of its box is what costs"
    )]
    idle: Mutex<Vec<Box<Http1Connection>>>,
    shared: Mutex<Shared>,
    /// Held while a connection is opened that others may share, so that a burst of requests opens one. Holds how
    /// the last one failed, which those who waited for it are told as well: each of them trying again would make the
    /// last wait for the time-outs of all.
    opening: tokio::sync::Mutex<Option<FailedOpening>>,
}

/// A connection that could not be opened.
struct FailedOpening {
    to: Destination,
    at: Instant,
    failure: Failure,
}

/// HTTP/2 connections, which serve many exchanges at once, and the tasks that drive them.
#[derive(Default)]
struct Shared {
    connections: Vec<(Destination, http2::Upstream, Arc<UpstreamFacts>)>,
    drivers: JoinSet<()>,
}

impl Upstreams {
    /// Begins with what was reached before the first request.
    pub(crate) fn new(first: Option<(Destination, Reach)>) -> Self {
        Self {
            first: Mutex::new(first),
            idle: Mutex::default(),
            shared: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// Lends a connection to `to`: one of its own that is alive, else a new one.
    pub(crate) async fn lease(&self, engine: &Engine, to: &Destination) -> Result<Leased, Failure> {
        if let Some(leased) = self.shared_connection(to) {
            return Ok(leased);
        }
        if let Some(connection) = self.idle_connection(to, engine.timeouts.upstream_idle) {
            return Ok(Leased { lease: Lease::Http1(connection), reused: true, dialled: Dialled::default() });
        }
        if !to.may_be_http2() {
            return self.open(engine, to).await;
        }
        let asked = Instant::now();
        let mut last = self.opening.lock().await;
        if let Some(leased) = self.shared_connection(to) {
            return Ok(leased);
        }
        if let Some(failed) = last.as_ref().filter(|failed| failed.at >= asked && failed.to == *to) {
            return Err(failed.failure.clone());
        }
        let opened = self.open(engine, to).await;
        *last = opened.as_ref().err().map(|failure| FailedOpening {
            to: to.clone(),
            at: Instant::now(),
            failure: failure.clone(),
        });
        opened
    }

    /// Lends a new connection, whatever is there.
    pub(crate) async fn lease_fresh(&self, engine: &Engine, to: &Destination) -> Result<Leased, Failure> {
        let opened = open(engine, to).await?;
        self.adopt(engine, to, opened).await
    }

    /// Lends what was reached before the first request, once, and new connections from then on.
    async fn open(&self, engine: &Engine, to: &Destination) -> Result<Leased, Failure> {
        let first = {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            first.take_if(|(leads_to, _)| leads_to == to)
        };
        let opened = match first {
            None | Some((_, Reach::Open)) => open(engine, to).await?,
            Some((_, Reach::Failed(failure))) => return Err(failure),
            Some((_, Reach::Ready(opened))) => *opened,
            Some((_, Reach::Dialled(tcp))) => go_on(engine, tcp, to).await?,
        };
        self.adopt(engine, to, opened).await
    }

    /// Takes in a connection and lends it.
    async fn adopt(&self, engine: &Engine, to: &Destination, opened: Opened) -> Result<Leased, Failure> {
        let Opened { io, facts, http2, dialled } = opened;
        let lease = if http2 {
            let connecting = http2::Upstream::connect(io, &engine.upstream_settings);
            let (upstream, driver) = timeout(engine.timeouts.handshake, connecting)
                .await
                .unwrap_or_else(|_| Err(WireError::new(WireErrorKind::Timeout, "it took no HTTP/2 preface")))
                .map_err(|error| error.into_failure(Side::Upstream))?;
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            while shared.drivers.try_join_next().is_some() {}
            shared.drivers.spawn(driver.map(|_end| ()));
            shared.connections.push((to.clone(), upstream.clone(), facts.clone()));
            Lease::Http2(upstream, facts)
        } else {
            let (read, write) = split(io);
            Lease::Http1(Box::new(Http1Connection {
                reader: http1::Reader::new(read, engine.head_limits()),
                writer: http1::Writer::new(write),
                facts,
                to: to.clone(),
                idle_since: Instant::now(),
            }))
        };
        Ok(Leased { lease, reused: false, dialled })
    }

    /// Takes back an HTTP/1 connection whose last exchange ended properly on both halves.
    pub(crate) fn give_back(&self, mut connection: Box<Http1Connection>) {
        connection.idle_since = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() == MAX_IDLE {
            idle.remove(0);
        }
        idle.push(connection);
    }

    fn shared_connection(&self, to: &Destination) -> Option<Leased> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.connections.retain(|(_, upstream, _)| !upstream.is_closed());
        shared.connections.iter().find(|(destination, ..)| destination == to).map(|(_, upstream, facts)| {
            Leased {
                lease: Lease::Http2(upstream.clone(), facts.clone()),
                reused: true,
                dialled: Dialled::default(),
            }
        })
    }

    fn idle_connection(&self, to: &Destination, max_idle: Duration) -> Option<Box<Http1Connection>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| connection.idle_since.elapsed() < max_idle);
        while let Some(at) = idle.iter().rposition(|connection| connection.to == *to) {
            let mut connection = idle.remove(at);
            // Anything to read on an idle connection means that it was closed, or answers unasked.
            if connection.reader.read_ahead(1).now_or_never().is_none() {
                return Some(connection);
            }
        }
        None
    }
}
