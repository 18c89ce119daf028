//! The life of a client connection: what is found on it, layer by layer, until HTTP or raw bytes remain.
//!
//! ```text
//! accept -> detect -> [CONNECT / SOCKS -> detect] -> [TLS accept -> detect] -> serve
//! ```

use std::sync::Arc;

use http::{Method, Version};
use tokio::sync::watch;

use crate::{
    client_hello::ClientHelloSummary,
    cut::Cut,
    detect::Detection,
    engine::{Engine, SETUP_HOST},
    event::{ClientFacts, ListenerKind, Outcome},
    exchange::run::error_status,
    failure::{Failure, FailureKind},
    head::{Headers, RequestHead, Scheme, split_authority},
    listener::{self, Reverse},
    peek::{Patience, Rewind, peek},
    serve::{self, Connect},
    socks,
    tls::{self, Handshake, NotAccepted, Refusal},
    tunnel,
    upstreams::{self, Destination, Reach, Security, dial_tcp},
    wire::BoxedIo,
};

/// One layer of a client connection: bytes whose protocol is to be found out.
pub(crate) struct Layer {
    pub(crate) io: BoxedIo,
    pub(crate) facts: Arc<ClientFacts>,
    pub(crate) tunnel: Option<Tunnel>,
    /// CONNECTs so far.
    pub(crate) depth: usize,
    /// Tells why the client ended its TLS before it sent anything.
    pub(crate) refusal: Option<Refusal>,
    /// Cuts the client's socket below all layers.
    pub(crate) cut: Cut,
}

impl Layer {
    /// Whether ALPN says that HTTP is spoken here, where the client speaks first.
    fn speaks_http(&self) -> bool {
        let alpn = self.facts.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
        self.refusal.is_some() && alpn.is_some_and(tls::is_http)
    }

    /// The host the client means: by its SNI, else the tunnel's.
    fn name(&self) -> &str {
        wanted_name(&self.facts, self.tunnel.as_ref())
    }

    /// What opened the tunnel it is in.
    fn opening(&self) -> Option<&Opening> {
        self.tunnel.as_ref().map(|tunnel| &tunnel.opening)
    }

    /// Whether a client that sends nothing may have something to wait for: upstream, where that was reached.
    fn may_listen(&self) -> bool {
        let is_refused = self.refusal.as_ref().is_some_and(|refusal| refusal.get().is_some());
        let reached = self
            .tunnel
            .as_ref()
            .is_some_and(|tunnel| matches!(tunnel.upstream, Reach::Dialled(_) | Reach::Ready(_)));
        reached && !is_refused && !self.speaks_http()
    }
}

/// The host a client means that asks for TLS: by its SNI, else the tunnel's.
fn wanted_name<'a>(facts: &'a ClientFacts, tunnel: Option<&'a Tunnel>) -> &'a str {
    let sni = facts.tls.as_ref().and_then(|tls| tls.sni.as_deref());
    sni.or(tunnel.map(|tunnel| tunnel.host.as_str())).unwrap_or_default()
}

/// What a CONNECT or SOCKS opened, or where a listener leads everything.
pub(crate) struct Tunnel {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What opened it, for the record when the tunnel is not decrypted.
    pub(crate) opening: Opening,
    pub(crate) upstream: Reach,
    /// How upstream is spoken to; known once the client's first bytes were seen.
    pub(crate) security: Security,
    /// Whether it is the client's TLS that is decrypted in it.
    pub(crate) secured: bool,
    /// What a reverse listener does with it: the origin says how upstream is spoken to, not the client.
    pub(crate) reverse: Option<Arc<Reverse>>,
}

/// The request that opened a tunnel: a CONNECT as it came, or what stands for one in the record.
#[derive(Clone)]
pub(crate) struct Opening {
    pub(crate) head: Arc<RequestHead>,
    pub(crate) head_bytes: u64,
}

impl Opening {
    /// A CONNECT that nobody sent: a SOCKS request, or what a listener knows by itself.
    pub(crate) fn made_up(authority: String, head_bytes: u64) -> Self {
        let head = RequestHead {
            method: Method::CONNECT,
            scheme: Scheme::Http,
            target: authority.clone(),
            authority,
            version: Version::HTTP_11,
            headers: Headers::new(),
        };
        Self { head: Arc::new(head), head_bytes }
    }
}

/// Carries a client connection to its end. Dropping the future cuts it.
pub(crate) async fn run(engine: Arc<Engine>, mut layer: Layer, mut draining: watch::Receiver<bool>) {
    loop {
        match step(&engine, layer, &mut draining).await {
            Some(next) => layer = next,
            None => return,
        }
    }
}

/// Finds out what a layer is, and goes on with it; gives the layer below when there is one.
async fn step(engine: &Arc<Engine>, layer: Layer, draining: &mut watch::Receiver<bool>) -> Option<Layer> {
    // A client with something to wait for from upstream may be silent; outside a tunnel it has to speak first.
    let silence = match layer.facts.listener {
        _ if layer.may_listen() => engine.timeouts.peek,
        ListenerKind::Socks if layer.tunnel.is_none() => engine.timeouts.handshake,
        _ => engine.timeouts.keep_alive,
    };
    let Layer { io, facts, tunnel, depth, refusal, cut } = layer;
    let patience = Patience { silence, decision: engine.timeouts.handshake };
    let peeked = tokio::select! {
        peeked = peek(io, patience) => peeked,
        () = drained(draining) => return None,
    };
    let (detection, io) = match peeked {
        Ok(peeked) => peeked,
        Err(_) => {
            note_leaving(engine, &facts, tunnel.as_ref(), refusal.as_ref());
            return None;
        }
    };
    let seen = Seen::of(io.buffered());
    let mut layer = Layer { io: Box::new(io), facts, tunnel, depth, refusal, cut };
    if layer.refusal.is_some() && matches!(detection, Detection::Http1 | Detection::Http2) {
        engine.interception.accepted(layer.facts.peer.ip(), layer.name());
    }
    match &mut layer.tunnel {
        Some(tunnel) => tunnel.hear(&detection),
        None => return at_the_door(engine, layer, detection, seen, draining).await,
    }
    match detection {
        Detection::Http1 => http1(engine, layer, draining).await,
        Detection::Http2 => {
            serve::http2(engine, layer, draining).await;
            None
        }
        Detection::Tls(hello) if layer.tunnel.as_ref().is_some_and(|tunnel| !tunnel.secured) => {
            in_tunnel(engine, layer, &hello).await
        }
        Detection::Unknown if seen == Seen::Nothing => nothing_came(engine, layer, draining).await,
        // Never relayed undecrypted: a hello that comes too slowly or too large would slip past interception.
        Detection::Unknown if seen == Seen::Tls => {
            let failure = Failure::new(FailureKind::ClientTls, "no whole and valid ClientHello came");
            note_failure(engine, &layer.facts, layer.opening(), failure);
            None
        }
        Detection::Silent | Detection::Unknown | Detection::Tls(_) => {
            let silent = matches!(detection, Detection::Silent);
            tunnel::raw(engine, layer, silent, draining).await
        }
    }
}

/// Goes on with a connection that leads nowhere yet, as its listener has it.
async fn at_the_door(
    engine: &Arc<Engine>,
    layer: Layer,
    detection: Detection,
    seen: Seen,
    draining: &mut watch::Receiver<bool>,
) -> Option<Layer> {
    let kind = layer.facts.listener;
    let is_tls = layer.facts.tls.is_some();
    let may_be_socks = matches!(kind, ListenerKind::Explicit | ListenerKind::Socks);
    match detection {
        Detection::Silent => None,
        Detection::Unknown if seen == Seen::Nothing => nothing_came(engine, layer, draining).await,
        Detection::Unknown if seen == Seen::Tls => {
            let failure = Failure::new(FailureKind::ClientTls, "no whole and valid ClientHello came");
            note_failure(engine, &layer.facts, None, failure);
            None
        }
        Detection::Unknown if seen == Seen::Socks && may_be_socks => socks::serve(engine, layer).await,
        Detection::Tls(hello) if kind == ListenerKind::Transparent && !is_tls => {
            let layer = listener::by_name(engine, layer, &hello).await?;
            in_tunnel(engine, layer, &hello).await
        }
        Detection::Tls(hello) if !is_tls => to_proxy(engine, layer, &hello).await,
        Detection::Http2 => {
            serve::http2(engine, layer, draining).await;
            None
        }
        // Outside a tunnel only HTTP makes sense; its parser says what is wrong.
        Detection::Http1 | Detection::Unknown | Detection::Tls(_) => http1(engine, layer, draining).await,
    }
}

/// Goes on with a client that closed its sending half before it sent anything: it may have done so to listen.
async fn nothing_came(
    engine: &Arc<Engine>,
    layer: Layer,
    draining: &mut watch::Receiver<bool>,
) -> Option<Layer> {
    if layer.may_listen() {
        return tunnel::raw(engine, layer, true, draining).await;
    }
    note_leaving(engine, &layer.facts, layer.tunnel.as_ref(), layer.refusal.as_ref());
    None
}

/// What the first bytes of a connection look like, where its protocol could not be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// The beginning of a TLS handshake record (RFC 8446 section 5.1).
    Tls,
    /// The version of SOCKS.
    Socks,
    Other,
}

impl Seen {
    fn of(bytes: &[u8]) -> Self {
        match bytes {
            [] => Self::Nothing,
            [22] | [22, 3, ..] => Self::Tls,
            _ if socks::is_socks(bytes) => Self::Socks,
            _ => Self::Other,
        }
    }
}

impl Tunnel {
    /// A tunnel of which no byte was seen yet.
    pub(crate) fn new(opening: Opening, host: &str, port: u16, upstream: Reach) -> Self {
        Self {
            host: host.to_owned(),
            port,
            opening,
            upstream,
            security: Security::Plain { http2: false },
            secured: false,
            reverse: None,
        }
    }

    /// Learns what the client speaks in it. Where TLS is spoken to upstream whatever the client does, that decides
    /// what is offered there.
    fn hear(&mut self, detection: &Detection) {
        let is_https = self.reverse.as_ref().is_some_and(|reverse| reverse.origin.scheme() == Scheme::Https);
        if !is_https || self.secured {
            return;
        }
        let alpn: &[&[u8]] = match detection {
            Detection::Http1 => &[b"http/1.1"],
            Detection::Http2 => &[b"h2", b"http/1.1"],
            Detection::Unknown | Detection::Silent => &[],
            Detection::Tls(_) => return,
        };
        let alpn = alpn.iter().map(|name| name.to_vec()).collect();
        self.security = Security::Tls { server_name: self.host.clone(), alpn };
    }

    /// Notes that HTTP/2 is spoken; in cleartext that is by prior knowledge.
    pub(crate) fn speak_http2(&mut self) {
        if self.secured {
            return;
        }
        if let Security::Plain { http2 } = &mut self.security {
            *http2 = true;
        }
        if let Reach::Ready(opened) = &mut self.upstream
            && opened.facts.tls.is_none()
        {
            opened.http2 = true;
        }
    }

    /// Where it leads, and how upstream is spoken to.
    pub(crate) fn destination(&self) -> Destination {
        Destination { host: self.host.clone(), port: self.port, security: self.security.clone() }
    }

    /// Upstream's own certificate, where it showed one and that was verified.
    fn verified_certificate(&self, engine: &Engine) -> Option<&[u8]> {
        let (Reach::Ready(opened), Security::Tls { server_name, .. }) = (&self.upstream, &self.security)
        else {
            return None;
        };
        let shown = opened.facts.tls.as_ref()?.certificates.first()?;
        engine.connector.verifies(server_name).then_some(&**shown)
    }

    /// The scheme of what is in it.
    pub(crate) fn scheme(&self) -> Scheme {
        if self.secured { Scheme::Https } else { Scheme::Http }
    }
}

/// Resolves when the proxy begins to shut down.
pub(crate) async fn drained(draining: &mut watch::Receiver<bool>) {
    // A closed channel means that the proxy is gone: that is drained as well.
    let _ = draining.wait_for(|draining| *draining).await;
}

/// Serves HTTP/1, and follows the CONNECT that may come.
async fn http1(engine: &Arc<Engine>, layer: Layer, draining: &mut watch::Receiver<bool>) -> Option<Layer> {
    let (depth, cut) = (layer.depth, layer.cut.clone());
    let connect = serve::http1(engine, layer, draining).await?;
    let (facts, tunnel, io) = self::connect(engine, depth, connect).await?;
    Some(Layer { io, facts, tunnel: Some(tunnel), depth: depth + 1, refusal: None, cut })
}

/// Reaches what a tunnel is to lead to, before anybody is told that it stands.
pub(crate) async fn reach(
    engine: &Engine,
    host: &str,
    port: Option<u16>,
    depth: usize,
) -> Result<Reach, Failure> {
    if host.eq_ignore_ascii_case(SETUP_HOST) {
        return Ok(Reach::Open);
    }
    if depth >= engine.limits.max_tunnel_depth {
        return Err(Failure::new(FailureKind::Loop, format!("{depth} tunnels inside each other")));
    }
    let Some(port) = port else {
        return Err(Failure::new(FailureKind::ClientMalformed, "CONNECT names no port"));
    };
    match dial_tcp(engine, host, port).await {
        Ok(tcp) => Ok(Reach::Dialled(tcp)),
        // A rule may answer without upstream.
        Err(failure) if engine.interceptors.is_empty() => Err(failure),
        Err(failure) => Ok(Reach::Failed(failure)),
    }
}

/// Opens the tunnel a CONNECT asks for: dials first, so that a failure is the CONNECT's own answer.
async fn connect(
    engine: &Arc<Engine>,
    depth: usize,
    connect: Connect,
) -> Option<(Arc<ClientFacts>, Tunnel, BoxedIo)> {
    let Connect { facts, opening, reader, mut writer } = connect;
    let head = &opening.head;
    let (host, port) = split_authority(&head.authority);
    let dialled = reach(engine, host, port, depth).await;
    let upstream = match dialled {
        Ok(upstream) => upstream,
        Err(failure) => {
            tunnel::refuse(engine, &facts, &opening, &mut writer, failure).await;
            return None;
        }
    };
    if tunnel::confirm(&mut writer).await.is_err() {
        let gone = Failure::new(FailureKind::ClientLeft, "it closed before its CONNECT was answered");
        engine.ledger(&facts, head, opening.head_bytes).end(Outcome::Failed(gone));
        return None;
    }
    let (read, buffered) = reader.into_parts();
    let io = read.unsplit(writer.into_inner());
    let mut facts = ClientFacts::clone(&facts);
    facts.tunnel = Some(head.authority.clone());
    let tunnel = Tunnel::new(opening.clone(), host, port.unwrap_or(443), upstream);
    Some((Arc::new(facts), tunnel, Box::new(Rewind::new(io, buffered))))
}

/// TLS inside a tunnel: passed through where that is asked for, else decrypted, with both legs speaking what
/// upstream chose of what the client offered.
async fn in_tunnel(engine: &Arc<Engine>, layer: Layer, hello: &ClientHelloSummary) -> Option<Layer> {
    let Layer { io, facts, tunnel, depth, refusal, cut } = layer;
    let mut tunnel = tunnel?;
    let origin = tunnel.reverse.as_ref().map(|reverse| &reverse.origin);
    // A reverse listener's client names the proxy; the origin has a name of its own.
    let name = match (origin, &hello.sni) {
        (None, Some(name)) => name.clone(),
        _ => tunnel.host.clone(),
    };
    let is_plain_upstream = origin.is_some_and(|origin| origin.scheme() == Scheme::Http);
    if !is_plain_upstream && let Some(why) = engine.interception.passes(facts.peer.ip(), &tunnel.host, &name)
    {
        let layer = Layer { io, facts, tunnel: Some(tunnel), depth, refusal, cut };
        tunnel::pass_through(engine, layer, hello, why).await;
        return None;
    }
    tunnel.secured = true;
    if is_plain_upstream {
        let chosen =
            [&b"http/1.1"[..], b"h2"].into_iter().find(|name| hello.alpn.iter().any(|it| it == name));
        let chosen = chosen.map(<[u8]>::to_vec);
        let layer = Layer { io, facts, tunnel: Some(tunnel), depth, refusal, cut };
        return secured(engine, layer, hello, chosen).await;
    }
    let alpn = tls::upstream_alpn(&hello.alpn);
    tunnel.security = Security::Tls { server_name: name.clone(), alpn: alpn.clone() };
    let upstream = std::mem::replace(&mut tunnel.upstream, Reach::Open);
    tunnel.upstream = secure_upstream(engine, upstream, &tunnel.destination()).await;
    let chosen = match &tunnel.upstream {
        Reach::Ready(opened) => {
            opened.facts.tls.as_ref().and_then(|tls| tls.alpn.clone()).map(String::into_bytes)
        }
        _ => alpn.iter().find(|name| *name == b"h2").or(alpn.first()).cloned(),
    };
    // Later connections of this client must speak what was agreed with it.
    let alpn = chosen.iter().cloned().collect();
    tunnel.security = Security::Tls { server_name: name, alpn };
    secured(engine, Layer { io, facts, tunnel: Some(tunnel), depth, refusal, cut }, hello, chosen).await
}

/// Goes on in TLS with what was reached, unless that is done already; once more from the start where it failed for want
/// of an intermediate certificate that could be fetched.
pub(crate) async fn secure_upstream(engine: &Engine, upstream: Reach, to: &Destination) -> Reach {
    let Security::Tls { server_name, alpn } = &to.security else { return upstream };
    // A client that was silent for long has had upstream's first word waited for, on the connection as it was.
    let opened = match upstream {
        Reach::Dialled(tcp) => upstreams::plain(engine, tcp, false),
        Reach::Ready(opened) if opened.facts.tls.is_none() => *opened,
        other => return other,
    };
    let secured = match upstreams::secure(engine, opened, server_name, alpn).await {
        Err(failure) if tls::learn(engine, &failure).await => upstreams::open_to(engine, to).await,
        secured => secured,
    };
    match secured {
        Ok(opened) => Reach::Ready(Box::new(opened)),
        Err(failure) => Reach::Failed(failure),
    }
}

/// TLS to the proxy itself.
async fn to_proxy(engine: &Arc<Engine>, layer: Layer, hello: &ClientHelloSummary) -> Option<Layer> {
    secured(engine, layer, hello, Some(b"http/1.1".to_vec())).await
}

/// Does the handshake with the client.
async fn secured(
    engine: &Arc<Engine>,
    layer: Layer,
    hello: &ClientHelloSummary,
    alpn: Option<Vec<u8>>,
) -> Option<Layer> {
    let Layer { io, facts, tunnel, depth, cut, .. } = layer;
    let own = facts.local.ip().to_canonical().to_string();
    let host_fallback = match &tunnel {
        Some(tunnel) if tunnel.reverse.is_none() => tunnel.host.as_str(),
        _ => own.as_str(),
    };
    let mirrors = tunnel.as_ref().and_then(|tunnel| tunnel.verified_certificate(engine));
    let wanted = Handshake { host_fallback, alpn, mirrors, hello: Some(hello) };
    match engine.acceptor.accept(io, wanted, engine.timeouts.handshake).await {
        Ok(accepted) => {
            let mut facts = ClientFacts::clone(&facts);
            facts.tls = Some(accepted.facts);
            let refusal = Some(accepted.refusal);
            Some(Layer { io: accepted.io, facts: Arc::new(facts), tunnel, depth, refusal, cut })
        }
        Err(NotAccepted { failure, refused }) => {
            let mut facts = ClientFacts::clone(&facts);
            facts.tls = Some(tls::facts_of_hello(hello));
            if refused {
                engine.interception.refused(facts.peer.ip(), wanted_name(&facts, tunnel.as_ref()));
            }
            note_failure(engine, &Arc::new(facts), tunnel.as_ref().map(|tunnel| &tunnel.opening), failure);
            None
        }
    }
}

/// Records why a client left that asked for nothing: it refused our certificate, or would have been told that upstream
/// could not be reached. If there is no such reason, there was no exchange.
fn note_leaving(
    engine: &Engine,
    facts: &Arc<ClientFacts>,
    tunnel: Option<&Tunnel>,
    refusal: Option<&Refusal>,
) {
    let unreached = tunnel.and_then(|tunnel| match &tunnel.upstream {
        Reach::Failed(failure) => Some(failure),
        _ => None,
    });
    let refused = refusal.and_then(Refusal::get);
    if refused.is_some() {
        engine.interception.refused(facts.peer.ip(), wanted_name(facts, tunnel));
    }
    if let Some(failure) = refused.or(unreached) {
        note_failure(engine, facts, tunnel.map(|tunnel| &tunnel.opening), failure.clone());
    }
}

/// Records a connection that fails before anything was asked on it, if it is known what it was for.
pub(crate) fn note_failure(
    engine: &Engine,
    facts: &Arc<ClientFacts>,
    opening: Option<&Opening>,
    failure: Failure,
) {
    tracing::debug!(client = %facts.peer, %failure, status = %error_status(&failure), "a client's connection failed");
    if let Some(Opening { head, head_bytes }) = opening {
        let ledger = engine.ledger(facts, head, *head_bytes);
        ledger.failed_upstream(&failure);
        ledger.end(Outcome::Failed(failure));
    }
}
