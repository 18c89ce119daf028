//! TLS on a client connection: decrypted, passed through, or to the proxy itself.

use std::sync::Arc;

use futures_util::FutureExt;

use crate::{
    client_hello::ClientHelloSummary,
    connection::{Layer, Onward, note_failure},
    engine::Engine,
    event::{ClientFacts, UpstreamFacts},
    head::Scheme,
    opening::Tunnel,
    tls::{self, Handshake, NotAccepted, Passing},
    tunnel,
    upstreams::{self, Destination, Reach, Security},
};

/// TLS inside a tunnel: passed through where that is asked for, else decrypted.
pub(crate) fn intercept(engine: &Arc<Engine>, mut layer: Layer, hello: ClientHelloSummary) -> Onward<'_> {
    match passing(engine, &layer, &hello) {
        Some(why) => {
            Arc::make_mut(&mut layer.facts).tls = Some(tls::facts_of_hello(&hello));
            Box::pin(tunnel::pass_through(engine, layer, why).map(|()| None))
        }
        None => Box::pin(decrypt(engine, layer, hello)),
    }
}

/// Why TLS is to be passed through, if it is.
fn passing(engine: &Engine, layer: &Layer, hello: &ClientHelloSummary) -> Option<Passing> {
    let tunnel = layer.tunnel.as_ref().filter(|tunnel| !leads_to_cleartext(tunnel))?;
    engine.interception.passes(layer.facts.peer.ip(), &tunnel.host, meant_name(tunnel, hello))
}

/// The host that is to prove itself upstream. A reverse listener's client names the proxy; the origin has a name of its own.
fn meant_name<'n>(tunnel: &'n Tunnel, hello: &'n ClientHelloSummary) -> &'n str {
    match (&tunnel.reverse, &hello.sni) {
        (None, Some(name)) => name,
        _ => &tunnel.host,
    }
}

/// Whether a reverse listener's origin is spoken to in cleartext, whatever its clients speak.
fn leads_to_cleartext(tunnel: &Tunnel) -> bool {
    tunnel.reverse.as_ref().is_some_and(|reverse| reverse.origin.scheme() == Scheme::Http)
}

/// Decrypts TLS inside a tunnel, with both legs speaking what upstream chose of what the client offered.
async fn decrypt(engine: &Engine, mut layer: Layer, hello: ClientHelloSummary) -> Option<Layer> {
    let tunnel = layer.tunnel.as_mut()?;
    tunnel.secured = true;
    if leads_to_cleartext(tunnel) {
        let chosen =
            [&b"http/1.1"[..], b"h2"].into_iter().find(|name| hello.alpn.iter().any(|it| it == name));
        return secured(engine, layer, &hello, chosen.map(<[u8]>::to_vec)).await;
    }
    let name = meant_name(tunnel, &hello).to_owned();
    let alpn = tls::upstream_alpn(&hello.alpn);
    tunnel.security = Security::Tls { server_name: name.clone(), alpn: alpn.clone() };
    let upstream = std::mem::replace(&mut tunnel.upstream, Reach::Open);
    tunnel.upstream = agree_with_upstream(engine, upstream, tunnel.destination()).await;
    let chosen_by =
        |facts: &UpstreamFacts| facts.tls.as_ref().and_then(|tls| tls.alpn.clone()).map(String::into_bytes);
    let chosen = match &tunnel.upstream {
        Reach::Ready(opened) => chosen_by(&opened.facts),
        Reach::Resting(Some(facts)) => chosen_by(facts),
        _ => alpn.iter().find(|name| *name == b"h2").or(alpn.first()).cloned(),
    };
    // Later connections of this client must speak what was agreed with it.
    let alpn = chosen.iter().cloned().collect();
    tunnel.security = Security::Tls { server_name: name, alpn };
    secured(engine, layer, &hello, chosen).await
}

/// Finds out what upstream speaks of what it is offered: from what is remembered, where connections to there are at rest
/// that clients share, else by speaking TLS with it.
async fn agree_with_upstream(engine: &Engine, upstream: Reach, to: Destination) -> Reach {
    if let Reach::Resting(_) = upstream
        && let Some(facts) = upstreams::spoken(engine, &to)
    {
        return Reach::Resting(Some(facts));
    }
    let upstream = upstreams::wake(engine, upstream, &to.host, to.port).await;
    let secured = secure_upstream(engine, upstream, &to).await;
    if let Reach::Ready(opened) = &secured
        && engine.roads.shared.is_some()
    {
        engine.roads.spoken.note(to, opened);
    }
    secured
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
pub(crate) async fn to_proxy(engine: &Engine, layer: Layer, hello: ClientHelloSummary) -> Option<Layer> {
    // Each tunnel is a stream then; whoever does not offer HTTP/2 to a proxy is spoken to in HTTP/1.1.
    let offers_http2 = hello.alpn.iter().any(|name| name == b"h2");
    let alpn: &[u8] = if offers_http2 { b"h2" } else { b"http/1.1" };
    secured(engine, layer, &hello, Some(alpn.to_vec())).await
}

/// Does the handshake with the client.
async fn secured(
    engine: &Engine,
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
                engine.interception.refused(facts.peer.ip(), wanted_name(&facts, tunnel.as_deref()));
            }
            note_failure(engine, &Arc::new(facts), tunnel.as_ref().map(|tunnel| &tunnel.opening), failure);
            None
        }
    }
}

/// The host a client means that asks for TLS: by its SNI, else the tunnel's.
pub(crate) fn wanted_name<'a>(facts: &'a ClientFacts, tunnel: Option<&'a Tunnel>) -> &'a str {
    let sni = facts.tls.as_ref().and_then(|tls| tls.sni.as_deref());
    sni.or(tunnel.map(|tunnel| tunnel.host.as_str())).unwrap_or_default()
}
