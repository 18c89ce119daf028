//! The life of a client connection: what is found on it, layer by layer, until HTTP or raw bytes remain.
//!
//! ```text
//! accept -> detect -> [CONNECT / SOCKS -> detect] -> [TLS accept -> detect] -> serve
//! ```

use std::sync::Arc;

use futures_util::{
    FutureExt,
    future::{BoxFuture, ready},
};
use tokio::sync::watch;

use crate::{
    cut::Cut,
    detect::Detection,
    engine::{Engine, SETUP_HOST},
    event::{ClientFacts, ListenerKind, Outcome},
    exchange::local::error_status,
    failure::{Failure, FailureKind},
    head::split_authority,
    listener,
    opening::{Opening, Tunnel},
    peek::{Patience, Rewind, peek},
    secure,
    serve::{self, Connect},
    socks,
    tls::{self, Refusal},
    tunnel,
    upstreams::{self, Reach, dial_tcp},
    wire::BoxedIo,
};

/// One layer of a client connection: bytes whose protocol is to be found out.
pub(crate) struct Layer {
    pub(crate) io: BoxedIo,
    pub(crate) facts: Arc<ClientFacts>,
    pub(crate) tunnel: Option<Box<Tunnel>>,
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
        secure::wanted_name(&self.facts, self.tunnel.as_deref())
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
            .is_some_and(|tunnel| !matches!(tunnel.upstream, Reach::Open | Reach::Failed(_)));
        reached && !is_refused && !self.speaks_http()
    }
}

/// What a layer turned out to be.
struct Found {
    layer: Layer,
    detection: Detection,
    seen: Seen,
}

/// How a connection goes on: gives the layer below when there is one. Each way is in a box of its own, so that a connection
/// holds what it rests in, and not what it might have come to.
pub(crate) type Onward<'c> = BoxFuture<'c, Option<Layer>>;

/// Carries a client connection to its end. Dropping the future cuts it.
pub(crate) async fn run(engine: Arc<Engine>, mut layer: Layer, mut draining: watch::Receiver<bool>) {
    loop {
        let Some(found) = Box::pin(look(&engine, layer, &mut draining)).await else { return };
        match go_on(&engine, found, &mut draining).await {
            Some(below) => layer = below,
            None => return,
        }
    }
}

/// Finds out what a layer is; `None` where nothing came of it.
async fn look(engine: &Engine, layer: Layer, draining: &mut watch::Receiver<bool>) -> Option<Found> {
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
            note_leaving(engine, &facts, tunnel.as_deref(), refusal.as_ref());
            return None;
        }
    };
    let seen = Seen::of(io.buffered());
    let layer = Layer { io: Box::new(io), facts, tunnel, depth, refusal, cut };
    if layer.refusal.is_some() && matches!(detection, Detection::Http1 | Detection::Http2) {
        engine.interception.accepted(layer.facts.peer.ip(), layer.name());
    }
    Some(Found { layer, detection, seen })
}

/// Goes on with a layer as what it is.
fn go_on<'c>(engine: &'c Arc<Engine>, found: Found, draining: &'c mut watch::Receiver<bool>) -> Onward<'c> {
    match &found.layer.tunnel {
        Some(_) => in_the_tunnel(engine, found, draining),
        None => at_the_door(engine, found, draining),
    }
}

/// Goes on with a connection that leads to an upstream, by what is spoken on it.
fn in_the_tunnel<'c>(
    engine: &'c Arc<Engine>,
    Found { mut layer, detection, seen }: Found,
    draining: &'c mut watch::Receiver<bool>,
) -> Onward<'c> {
    let mut secured = false;
    if let Some(tunnel) = &mut layer.tunnel {
        tunnel.hear(&detection);
        secured = tunnel.secured;
    }
    match detection {
        Detection::Http1 => Box::pin(http1(engine, layer, draining)),
        Detection::Http2 => Box::pin(serve::http2(engine, layer, draining).map(|()| None)),
        Detection::Tls(hello) if !secured => secure::intercept(engine, layer, hello),
        Detection::Unknown if seen == Seen::Nothing => nothing_came(engine, layer, draining),
        // Never relayed undecrypted: a hello that comes too slowly or too large would slip past interception.
        Detection::Unknown if seen == Seen::Tls => no_hello(engine, &layer),
        Detection::Silent | Detection::Unknown | Detection::Tls(_) => {
            let silent = matches!(detection, Detection::Silent);
            Box::pin(tunnel::raw(engine, layer, silent, draining))
        }
    }
}

/// Goes on with a connection that leads nowhere yet, as its listener has it.
fn at_the_door<'c>(
    engine: &'c Arc<Engine>,
    Found { layer, detection, seen }: Found,
    draining: &'c mut watch::Receiver<bool>,
) -> Onward<'c> {
    let kind = layer.facts.listener;
    let is_tls = layer.facts.tls.is_some();
    let may_be_socks = matches!(kind, ListenerKind::Explicit | ListenerKind::Socks);
    match detection {
        Detection::Silent => nowhere(),
        Detection::Unknown if seen == Seen::Nothing => nothing_came(engine, layer, draining),
        Detection::Unknown if seen == Seen::Tls => no_hello(engine, &layer),
        Detection::Unknown if seen == Seen::Socks && may_be_socks => Box::pin(socks::serve(engine, layer)),
        Detection::Tls(hello) if kind == ListenerKind::Transparent && !is_tls => Box::pin(async move {
            let layer = Box::pin(listener::by_name(engine, layer, &hello)).await?;
            secure::intercept(engine, layer, hello).await
        }),
        Detection::Tls(hello) if !is_tls => Box::pin(secure::to_proxy(engine, layer, hello)),
        Detection::Http2 => Box::pin(serve::http2(engine, layer, draining).map(|()| None)),
        // Outside a tunnel only HTTP makes sense; its parser says what is wrong.
        Detection::Http1 | Detection::Unknown | Detection::Tls(_) => Box::pin(http1(engine, layer, draining)),
    }
}

/// Goes on with a client that closed its sending half before it sent anything: it may have done so to listen.
fn nothing_came<'c>(
    engine: &'c Arc<Engine>,
    layer: Layer,
    draining: &'c mut watch::Receiver<bool>,
) -> Onward<'c> {
    if layer.may_listen() {
        return Box::pin(tunnel::raw(engine, layer, true, draining));
    }
    note_leaving(engine, &layer.facts, layer.tunnel.as_deref(), layer.refusal.as_ref());
    nowhere()
}

/// Ends a connection that began as TLS does, and did not go on so.
fn no_hello<'c>(engine: &Engine, layer: &Layer) -> Onward<'c> {
    let failure = Failure::new(FailureKind::ClientTls, "no whole and valid ClientHello came");
    note_failure(engine, &layer.facts, layer.opening(), failure);
    nowhere()
}

/// The way of a connection that is over.
fn nowhere<'c>() -> Onward<'c> {
    Box::pin(ready(None))
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

/// Resolves when the proxy begins to shut down.
pub(crate) async fn drained(draining: &mut watch::Receiver<bool>) {
    // A closed channel means that the proxy is gone: that is drained as well.
    let _ = draining.wait_for(|draining| *draining).await;
}

/// Serves HTTP/1, and follows the CONNECT that may come.
async fn http1(engine: &Arc<Engine>, layer: Layer, draining: &mut watch::Receiver<bool>) -> Option<Layer> {
    let (depth, cut) = (layer.depth, layer.cut.clone());
    let connect = serve::http1(engine, layer, draining).await?;
    let (facts, tunnel, io) = Box::pin(self::connect(engine, depth, connect)).await?;
    Some(Layer { io, facts, tunnel: Some(tunnel), depth: depth + 1, refusal: None, cut })
}

/// Reaches what a tunnel is to lead to, before anybody is told that it stands. Where connections to there are at rest
/// that clients share, that is reached already.
pub(crate) async fn reach(
    engine: &Engine,
    host: &str,
    port: Option<u16>,
    depth: usize,
) -> Result<Reach, Failure> {
    let may_rest = depth < engine.limits.max_tunnel_depth && !host.eq_ignore_ascii_case(SETUP_HOST);
    match port {
        Some(port) if may_rest && upstreams::rests(engine, host, port) => Ok(Reach::Resting(None)),
        _ => reach_anew(engine, host, port, depth).await,
    }
}

/// As [`reach`], on a connection of its own.
pub(crate) async fn reach_anew(
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
        Err(failure) if engine.interceptors.is_empty() && engine.changes.rules.is_idle() => Err(failure),
        Err(failure) => Ok(Reach::Failed(failure)),
    }
}

/// Opens the tunnel a CONNECT asks for: dials first, so that a failure is the CONNECT's own answer.
async fn connect(
    engine: &Arc<Engine>,
    depth: usize,
    connect: Connect,
) -> Option<(Arc<ClientFacts>, Box<Tunnel>, BoxedIo)> {
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
    Some((Arc::new(facts), tunnel, Rewind::boxed(io, buffered)))
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
        engine.interception.refused(facts.peer.ip(), secure::wanted_name(facts, tunnel));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sizes::future_bytes;

    /// Each is there for as long as the connection: its task, and the box of what it rests in.
    #[test]
    fn the_states_of_a_connection_are_small() {
        let task = future_bytes(|(engine, layer, draining)| run(engine, layer, draining));
        assert!(task <= 256, "{task} bytes");
        let looking =
            |(engine, layer, draining): (&'static Engine, _, &'static mut _)| look(engine, layer, draining);
        let looking = future_bytes(looking);
        assert!(looking <= 768, "{looking} bytes");
        let serving = |(engine, layer, draining): (&'static Arc<Engine>, _, &'static mut _)| {
            http1(engine, layer, draining)
        };
        let serving = future_bytes(serving);
        assert!(serving <= 1_792, "{serving} bytes");
    }
}
