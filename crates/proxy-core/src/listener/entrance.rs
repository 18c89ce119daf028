//! Connections that lead somewhere before a word was said: to a reverse listener's origin, or to where the system
//! redirected them from.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use crate::{
    client_hello::ClientHelloSummary,
    connection::{Layer, note_failure, reach, reach_anew},
    engine::Engine,
    event::ClientFacts,
    failure::{Failure, FailureKind},
    listener::Mode,
    opening::{Opening, Tunnel},
    upstreams::Reach,
};

/// Opens what a connection leads to, where its listener or the system says it. A failure to reach that is told to the
/// first request; a connection that is one of our own is recorded and given up.
pub(crate) async fn enter(
    engine: &Engine,
    mode: &Mode,
    original: Option<SocketAddr>,
    mut layer: Layer,
) -> Option<Layer> {
    match (mode, original) {
        (Mode::Reverse(reverse), _) => {
            let origin = &reverse.origin;
            let opening = Opening::made_up(origin.authority_with_port(), 0);
            // Most connections lead nowhere yet: what takes those that do there is in a box.
            let reached = Box::pin(reach(engine, origin.host(), Some(origin.port()), 0)).await;
            let mut tunnel = open(opening, origin.host(), origin.port(), reached);
            tunnel.reverse = Some(reverse.clone());
            layer.tunnel = Some(tunnel);
        }
        (Mode::Transparent, Some(original)) if !engine.guard.is_own(original) => {
            layer.tunnel = Some(Box::pin(redirected(engine, original, &layer.facts)).await?);
        }
        _ => {}
    }
    Some(layer)
}

/// Goes on to where a redirected connection was to go, unless it is the proxy that went there.
async fn redirected(engine: &Engine, original: SocketAddr, facts: &Arc<ClientFacts>) -> Option<Box<Tunnel>> {
    let opening = Opening::made_up(original.to_string(), 0);
    let is_own = || engine.loops.is_own(facts.peer, Instant::now());
    if !is_own() {
        let host = original.ip().to_string();
        // Dialled, whatever is at rest: that is how a loop is noticed.
        let reached = reach_anew(engine, &host, Some(original.port()), 0).await;
        let tunnel = open(opening.clone(), &host, original.port(), reached);
        if let Reach::Dialled(tcp) = &tunnel.upstream {
            engine.loops.dialled(tcp.local, Instant::now());
        }
        // It may have been accepted before the one who dialled it took note of that.
        if !is_own() {
            return Some(tunnel);
        }
    }
    let failure = Failure::new(
        FailureKind::Loop,
        "the system redirects the proxy's own connections back to it; except them from the redirection",
    );
    note_failure(engine, facts, Some(&opening), failure);
    None
}

fn open(opening: Opening, host: &str, port: u16, reached: Result<Reach, Failure>) -> Box<Tunnel> {
    Tunnel::new(opening, host, port, reached.unwrap_or_else(Reach::Failed))
}

/// The port of TLS whose original destination is not known.
const HTTPS: u16 = 443;

/// Opens what a redirected TLS connection leads to by the name it asks for. Without one nobody knows; that is
/// recorded.
pub(crate) async fn by_name(
    engine: &Arc<Engine>,
    mut layer: Layer,
    hello: &ClientHelloSummary,
) -> Option<Layer> {
    let Some(name) = &hello.sni else {
        let opening = Opening::made_up(layer.facts.local.to_string(), 0);
        let failure = Failure::new(
            FailureKind::ClientMalformed,
            "neither the system nor a server name tells where the connection was to go",
        );
        note_failure(engine, &layer.facts, Some(&opening), failure);
        return None;
    };
    let opening = Opening::made_up(format!("{name}:{HTTPS}"), 0);
    let reached = reach(engine, name, Some(HTTPS), 0).await;
    layer.tunnel = Some(open(opening, name, HTTPS, reached));
    Some(layer)
}
