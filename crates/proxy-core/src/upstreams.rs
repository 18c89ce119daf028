//! The upstream connections of one client connection.
//!
//! They belong to the client connection that caused them and end with it: NTLM, Negotiate and client certificates
//! bind a connection to a user, so a pool shared between clients would leak one's identity to another. Where sharing was
//! asked for ([`UpstreamSharing`](crate::UpstreamSharing)), what is bound to a user is kept apart all the same.

mod connection;
mod destination;
mod pool;
mod resting;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::split,
    time::{Instant, timeout},
};

pub(crate) use self::{
    connection::Http1Connection,
    destination::{Destination, Need, Security, Way},
    pool::{InUse, Pool},
    resting::{Spoken, rests, spoken, wake},
};
use self::{
    connection::{is_certified, is_personal},
    destination::Wanted,
};
use crate::{
    alarm::Alarm,
    engine::Engine,
    event::UpstreamFacts,
    exchange::ledger::Dialled,
    failure::Failure,
    head::RequestHead,
    http1, http2,
    parent::{self, Carried, ParentProxy},
    tls::{self, Connected, NotConnected},
    unstalled::Unstalled,
    wire::BoxedIo,
};

/// How long upstream's first settings are waited for before the client is told ours. They come with upstream's first
/// bytes, so that is one round trip.
const SETTLING: Duration = Duration::from_secs(1);

/// How far upstream was reached before the client's first request.
pub(crate) enum Reach {
    /// Not tried, or already handed on.
    Open,
    /// Not tried, as connections to there rest in the pool that clients share. Once TLS is to be spoken: what upstream
    /// said of itself when it was last offered the same.
    Resting(Option<Arc<UpstreamFacts>>),
    /// Connected in cleartext.
    Dialled(Line),
    /// Ready for HTTP or raw bytes.
    Ready(Box<Opened>),
    /// Failed; the first request inside the tunnel is told.
    Failed(Failure),
}

/// A connection that was just made, in cleartext: to a host, through a parent's tunnel to one, or to a parent itself.
pub(crate) struct Line {
    pub(crate) io: BoxedIo,
    /// The address that was dialled: the host's, or the parent's.
    pub(crate) peer: SocketAddr,
    /// Our address towards it.
    pub(crate) local: SocketAddr,
    /// How long names took to resolve.
    pub(crate) dns: Duration,
    /// How long the rest took.
    pub(crate) connect: Duration,
    pub(crate) parent: Option<ParentProxy>,
}

/// A connection to upstream, freshly opened, on which nothing was sent.
pub(crate) struct Opened {
    pub(crate) io: BoxedIo,
    pub(crate) facts: Arc<UpstreamFacts>,
    pub(crate) http2: bool,
    pub(crate) dialled: Dialled,
    pub(crate) way: Way,
}

/// Connects to a host, in cleartext: straight, or through a tunnel of the parent proxy that the routes name for it.
pub(crate) async fn dial_tcp(engine: &Engine, host: &str, port: u16) -> Result<Line, Failure> {
    let parent = engine.roads.routes.parent(host, port, Carried::Tunnel);
    dial_by(engine, host, port, parent.as_ref()).await
}

async fn dial_by(
    engine: &Engine,
    host: &str,
    port: u16,
    parent: Option<&ParentProxy>,
) -> Result<Line, Failure> {
    if let Some(parent) = parent {
        return Box::pin(parent::tunnel(engine, parent, host, port)).await;
    }
    let tcp = engine.dialler().dial(host, port).await?;
    let io = Box::new(Unstalled::new(tcp.stream, engine.timeouts.idle_body));
    let (peer, local, dns, connect) = (tcp.peer, tcp.local, tcp.dns, tcp.connect);
    Ok(Line { io, peer, local, dns, connect, parent: None })
}

/// Goes on in cleartext on a connection that was dialled.
pub(crate) fn plain(engine: &Engine, line: Line, http2: bool) -> Opened {
    let Line { io, peer, local, dns, connect, parent } = line;
    let mut facts = UpstreamFacts::new(engine.next_connection(), peer, local);
    facts.parent = parent.as_ref().map(ParentProxy::to_string);
    let dialled = Dialled { dns: Some(dns), connect: Some(connect), ssl: None };
    let way = parent.map_or(Way::Direct, Way::Tunnel);
    Opened { io, facts: Arc::new(facts), http2, dialled, way }
}

/// Goes on in TLS on a connection that is in cleartext yet.
pub(crate) async fn secure(
    engine: &Engine,
    opened: Opened,
    server_name: &str,
    alpn: &[Vec<u8>],
) -> Result<Opened, Failure> {
    let Opened { io, facts, mut dialled, way, .. } = opened;
    let begun = Instant::now();
    let connected = engine.connector.connect(io, server_name, alpn, engine.timeouts.handshake).await;
    let Connected { io, facts: tls } = connected.map_err(|error| not_secured(error, &facts))?;
    let ssl = begun.elapsed();
    dialled.connect = Some(dialled.connect.unwrap_or_default() + ssl);
    dialled.ssl = Some(ssl);
    let http2 = tls.alpn.as_deref() == Some("h2");
    let mut facts = UpstreamFacts::clone(&facts);
    facts.tls = Some(tls);
    Ok(Opened { io, facts: Arc::new(facts), http2, dialled, way })
}

/// Has the failure tell of the connection on which upstream showed what was refused.
fn not_secured(error: NotConnected, facts: &UpstreamFacts) -> Failure {
    let Some(tls) = error.facts else { return error.failure };
    let mut facts = facts.clone();
    facts.tls = Some(*tls);
    error.failure.on(facts)
}

/// Opens a connection for one request, whatever is there.
pub(crate) async fn open_to(engine: &Engine, to: &Destination) -> Result<Opened, Failure> {
    let parent = to.parent(engine);
    open(engine, &Wanted { to, parent: parent.as_ref(), need: Need::Message }).await
}

/// Opens a connection; once more where it failed for want of an intermediate certificate that could be fetched.
async fn open_or_learn(engine: &Engine, wanted: &Wanted<'_>) -> Result<Opened, Failure> {
    match open(engine, wanted).await {
        Err(failure) if tls::learn(engine, &failure).await => open(engine, wanted).await,
        opened => opened,
    }
}

async fn open(engine: &Engine, wanted: &Wanted<'_>) -> Result<Opened, Failure> {
    let Wanted { to, parent, need } = wanted;
    if let (Some(parent), Security::Plain { http2: false }, Need::Message) = (parent, &to.security, need)
        && parent.scheme().is_http()
    {
        // The parent resolves the name, so what can be judged of it is judged here.
        engine.dialler().check_unresolved(&to.host, to.port).await?;
        let line = Box::pin(parent::reach(engine, parent)).await?;
        return Ok(Opened { way: Way::Absolute((*parent).clone()), ..plain(engine, line, false) });
    }
    let line = dial_by(engine, &to.host, to.port, *parent).await?;
    go_on(engine, line, to).await
}

/// Goes on with a connection that was dialled as its destination has it.
async fn go_on(engine: &Engine, line: Line, to: &Destination) -> Result<Opened, Failure> {
    match &to.security {
        Security::Plain { http2 } => Ok(plain(engine, line, *http2)),
        Security::Tls { server_name, alpn } => {
            secure(engine, plain(engine, line, false), server_name, alpn).await
        }
    }
}

/// A connection lent to one exchange.
pub(crate) enum Lease {
    Http1(Box<Http1Connection>),
    Http2(http2::Upstream, Arc<UpstreamFacts>, InUse),
}

/// What [`Upstreams::lease`] gives.
pub(crate) struct Leased {
    pub(crate) lease: Lease,
    pub(crate) reused: bool,
    pub(crate) dialled: Dialled,
}

impl Leased {
    fn reused(lease: Lease) -> Self {
        Self { lease, reused: true, dialled: Dialled::default() }
    }
}

/// The upstream connections of one client connection. Dropping it closes them.
pub(crate) struct Upstreams {
    /// What was reached before the first request, and where it leads.
    first: Mutex<Option<Box<(Destination, Reach)>>>,
    own: Arc<Pool>,
    /// Those that clients share, where that was asked for, for a client.
    shared: Option<Arc<Pool>>,
    /// What reaching upstream took, where its HTTP/2 connection was opened before the first request.
    fresh: Mutex<Option<Dialled>>,
    /// Held while a connection is opened that others may share, so that a burst of requests opens one. Holds how
    /// the last one failed, which those who waited for it are told as well: each of them trying again would make the
    /// last wait for the time-outs of all.
    opening: tokio::sync::Mutex<Option<Box<FailedOpening>>>,
}

/// A connection that could not be opened.
struct FailedOpening {
    to: Destination,
    at: Instant,
    failure: Failure,
}

impl Upstreams {
    /// Begins with what was reached before the first request.
    pub(crate) fn new(engine: &Engine, first: Option<(Destination, Reach)>) -> Self {
        let first = Mutex::new(first.map(Box::new));
        Self { first, shared: engine.roads.shared.clone(), ..Self::own(engine) }
    }

    /// Begins with nothing, for somebody who is no client, and never shares with any.
    pub(crate) fn own(engine: &Engine) -> Self {
        Self {
            first: Mutex::default(),
            own: Pool::new(engine.limits.max_idle_upstreams, engine.timeouts.upstream_idle),
            shared: None,
            fresh: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// Lends a connection for a request to `to`: one that is alive and goes the way the routes say now, else a new one.
    pub(crate) async fn lease(
        &self,
        engine: &Engine,
        to: &Destination,
        head: &RequestHead,
    ) -> Result<Leased, Failure> {
        let parent = to.parent(engine);
        let wanted = Wanted { to, parent: parent.as_ref(), need: Need::of(head, to) };
        let personal = is_personal(engine, to, head);
        if let Some(leased) = self.present(&wanted, personal) {
            return Ok(leased);
        }
        if !to.may_be_http2() {
            return Box::pin(self.open(engine, &wanted, personal)).await;
        }
        let asked = Instant::now();
        let mut last = self.opening.lock().await;
        if let Some(leased) = self.present(&wanted, personal) {
            return Ok(leased);
        }
        if let Some(failed) = last.as_ref().filter(|failed| failed.at >= asked && failed.to == *to) {
            return Err(failed.failure.clone());
        }
        // In a box, as are the other ways that exchanges seldom go: their state is not carried about by those that do not.
        let opened = Box::pin(self.open(engine, &wanted, personal)).await;
        *last = opened.as_ref().err().map(|failure| {
            Box::new(FailedOpening { to: to.clone(), at: Instant::now(), failure: failure.clone() })
        });
        opened
    }

    /// Tells whether upstream takes extended CONNECT (RFC 8441), where it was reached before the first request and
    /// speaks HTTP/2: opens that connection, and waits for upstream's settings as long as is reasonable.
    pub(crate) async fn has_extended_connect(&self, engine: &Engine) -> bool {
        let first = {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            first.take_if(|first| match &first.1 {
                Reach::Ready(opened) => opened.http2,
                Reach::Dialled(_) => first.0.security == Security::Plain { http2: true },
                Reach::Open | Reach::Resting(_) | Reach::Failed(_) => false,
            })
        };
        let (to, opened) = match first.map(|first| *first) {
            Some((to, Reach::Ready(opened))) => (to, *opened),
            Some((to, Reach::Dialled(line))) => match go_on(engine, line, &to).await {
                Ok(opened) => (to, opened),
                Err(_) => return false,
            },
            _ => return self.shares_extended_connect(engine).await,
        };
        let dialled = opened.dialled;
        let Ok(Leased { lease: Lease::Http2(upstream, ..), .. }) =
            self.adopt(engine, &to, opened, is_certified(engine, &to)).await
        else {
            return false;
        };
        *self.fresh.lock().unwrap_or_else(PoisonError::into_inner) = Some(dialled);
        timeout(SETTLING, upstream.settled()).await.is_ok() && upstream.supports_extended_connect()
    }

    /// Tells the same of an HTTP/2 connection that clients share, where one of those is to be used.
    async fn shares_extended_connect(&self, engine: &Engine) -> bool {
        let to = match self.first.lock().unwrap_or_else(PoisonError::into_inner).as_deref() {
            Some((to, Reach::Resting(_))) => to.clone(),
            _ => return false,
        };
        let parent = to.parent(engine);
        let wanted = Wanted { to: &to, parent: parent.as_ref(), need: Need::Message };
        match self.present(&wanted, false) {
            Some(Leased { lease: Lease::Http2(upstream, ..), .. }) => {
                timeout(SETTLING, upstream.settled()).await.is_ok() && upstream.supports_extended_connect()
            }
            _ => false,
        }
    }

    /// Lends a new connection, whatever is there.
    pub(crate) async fn lease_fresh(
        &self,
        engine: &Engine,
        to: &Destination,
        head: &RequestHead,
    ) -> Result<Leased, Failure> {
        let parent = to.parent(engine);
        let wanted = Wanted { to, parent: parent.as_ref(), need: Need::of(head, to) };
        let opened = open_or_learn(engine, &wanted).await?;
        self.adopt(engine, to, opened, is_personal(engine, to, head)).await
    }

    /// Lends a connection that is there: the client's own, or one that clients share. A request that proves a user for
    /// its connection is kept off the latter.
    fn present(&self, wanted: &Wanted<'_>, personal: bool) -> Option<Leased> {
        let common = self.shared.as_ref().filter(|_| !personal);
        [Some(&self.own), common].into_iter().flatten().find_map(|pool| {
            let http2 =
                pool.multiplexed(wanted).map(|(upstream, facts, usage)| Lease::Http2(upstream, facts, usage));
            let lease = http2.or_else(|| pool.idle(wanted).map(Lease::Http1))?;
            match self.fresh.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(dialled) => Some(Leased { lease, reused: false, dialled }),
                None => Some(Leased::reused(lease)),
            }
        })
    }

    /// Lends what was reached before the first request, once, and new connections from then on.
    async fn open(&self, engine: &Engine, wanted: &Wanted<'_>, personal: bool) -> Result<Leased, Failure> {
        let first = {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            first.take_if(|first| first.0 == *wanted.to)
        };
        let opened = match first.map(|first| *first) {
            None | Some((_, Reach::Open | Reach::Resting(_))) => open_or_learn(engine, wanted).await?,
            Some((_, Reach::Failed(failure))) => return Err(failure),
            Some((_, Reach::Ready(opened))) => *opened,
            Some((_, Reach::Dialled(line))) => go_on(engine, line, wanted.to).await?,
        };
        self.adopt(engine, wanted.to, opened, personal).await
    }

    /// Takes in a connection and lends it.
    async fn adopt(
        &self,
        engine: &Engine,
        to: &Destination,
        opened: Opened,
        personal: bool,
    ) -> Result<Leased, Failure> {
        let Opened { io, facts, http2, dialled, way } = opened;
        let lease = if http2 {
            let connected = http2::Upstream::connect(io, &engine.upstream_settings);
            let pool = self.shared.as_ref().filter(|_| !personal).unwrap_or(&self.own);
            let (upstream, facts, usage) = pool.add((to, way), connected, facts);
            Lease::Http2(upstream, facts, usage)
        } else {
            let (read, write) = split(io);
            Lease::Http1(Box::new(Http1Connection {
                reader: http1::Reader::new(read, engine.head_limits()),
                alarm: Alarm::default(),
                writer: http1::Writer::new(write),
                facts,
                to: to.clone(),
                way,
                idle_since: Instant::now(),
                is_personal: personal,
            }))
        };
        Ok(Leased { lease, reused: false, dialled })
    }

    /// Takes back an HTTP/1 connection whose last exchange ended properly on both halves.
    pub(crate) fn give_back(&self, connection: Box<Http1Connection>) {
        let shared = self.shared.as_ref().filter(|_| !connection.is_personal);
        shared.unwrap_or(&self.own).give_back(connection);
    }
}
