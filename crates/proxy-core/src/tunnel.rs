//! Tunnels that are not decrypted: passed through because someone asked, or because no HTTP is in them.

use std::sync::Arc;

use http::StatusCode;
use tokio::{io::split, sync::watch, time::timeout};

use crate::{
    connection::{Layer, drained},
    cut::Cut,
    engine::Engine,
    event::{ClientFacts, EventKind, Outcome, UpstreamFacts},
    exchange::{
        ledger::{Dialled, Ledger},
        local::{self, Answer},
        relay::{Ends, Followed, Tap, relay},
    },
    failure::{Failure, FailureKind, Side},
    head::ResponseHead,
    http1,
    leg::{BodyReader, Http1Reader, Http1Writer, Responder, Writer},
    limits::Timeouts,
    opening::{Opening, Tunnel},
    peek::Rewind,
    secure::secure_upstream,
    tls::Passing,
    upstreams::{self, Opened, Reach, Security, Way},
    wire::{BoxedIo, WireError},
};

/// Tells the client that its tunnel is open.
pub(crate) async fn confirm(writer: &mut Http1Writer) -> Result<(), WireError> {
    let mut head = ResponseHead::new(StatusCode::OK);
    head.reason = Some(bytes::Bytes::from_static(b"Connection established"));
    writer.put_response(&head)?;
    Ok(writer.flush().await?)
}

/// Answers a CONNECT with why it cannot be, and records it.
pub(crate) async fn refuse(
    engine: &Engine,
    facts: &Arc<ClientFacts>,
    Opening { head, head_bytes }: &Opening,
    writer: &mut Http1Writer,
    failure: Failure,
) {
    let ledger = engine.ledger(facts, head, *head_bytes);
    let (page, body) = local::error_page(head, &failure);
    let answer = Answer::own(page, body);
    local::give(&ledger, head, Responder::Http1(&mut *writer), answer, true).await;
    ledger.end(Outcome::Failed(failure));
    let _ = writer.shutdown().await;
}

/// Passes TLS through undecrypted, whose hello is in the layer's facts.
pub(crate) async fn pass_through(engine: &Engine, layer: Layer, why: Passing) {
    let Layer { io, facts, tunnel: Some(tunnel), cut, .. } = layer else { return };
    let Tunnel { host, port, opening, upstream, .. } = *tunnel;
    let upstream = upstreams::wake(engine, upstream, &host, port).await;
    match ready(engine, upstream) {
        Ok(opened) => {
            let (mut reader, mut writer) = halves(engine, io);
            let client = (&mut reader, &mut writer);
            let ledger = engine.ledger(&facts, &opening.head, opening.head_bytes);
            if let Some(hit) = why.hit() {
                ledger.note(EventKind::Rule(hit));
            }
            let outcome = carry(engine, &ledger, client, &mut Upstream::new(engine, opened)).await;
            cut_if_failed(&cut, &outcome);
        }
        Err(failure) => note(engine, &facts, &opening, failure),
    }
}

/// Relays what is no HTTP. Where the client was silent, whoever speaks first decides: a client's first bytes are
/// looked at again, upstream's mean that the protocol is one where the server speaks first.
pub(crate) async fn raw(
    engine: &Arc<Engine>,
    layer: Layer,
    silent: bool,
    draining: &mut watch::Receiver<bool>,
) -> Option<Layer> {
    let Layer { io, facts, tunnel, depth, refusal, cut } = layer;
    let mut tunnel = tunnel?;
    let (mut reader, mut writer) = halves(engine, io);
    let reach = std::mem::replace(&mut tunnel.upstream, Reach::Open);
    let mut reach = upstreams::wake(engine, reach, &tunnel.host, tunnel.port).await;
    if matches!(tunnel.security, Security::Tls { .. }) {
        reach = Box::pin(secure_upstream(engine, reach, &tunnel.destination())).await;
    }
    let opened = match ready(engine, reach) {
        Ok(opened) => opened,
        Err(failure) => {
            note(engine, &facts, &tunnel.opening, failure);
            return None;
        }
    };
    let mut upstream = Upstream::new(engine, opened);
    if silent {
        let speaker = tokio::select! {
            speaker = first_speaker(&engine.timeouts, (&mut reader, &mut writer), &mut upstream) => speaker,
            () = drained(draining) => return None,
        };
        match speaker {
            Speaker::Client => {
                let (read, buffered) = reader.into_parts();
                let io = Rewind::boxed(read.unsplit(writer.into_inner()), buffered);
                tunnel.upstream = Reach::Ready(Box::new(upstream.into_opened()));
                return Some(Layer { io, facts, tunnel: Some(tunnel), depth, refusal, cut });
            }
            Speaker::Upstream => {}
            // Browsers open tunnels ahead of need: one that carried nothing is no exchange.
            Speaker::Nobody => return None,
        }
    }
    let ledger = engine.ledger(&facts, &tunnel.opening.head, tunnel.opening.head_bytes);
    let outcome = carry(engine, &ledger, (&mut reader, &mut writer), &mut upstream).await;
    if facts.tls.is_none() {
        cut_if_failed(&cut, &outcome);
    }
    None
}

/// Who was first to say something in a tunnel.
enum Speaker {
    /// The client; what it says is to be found out.
    Client,
    /// Upstream, or a client that upstream had stopped talking to: whatever it is, it is no HTTP.
    Upstream,
    Nobody,
}

/// Waits for the first word of a tunnel whose client was silent. A side that closes its half before it said
/// anything is told on to the other, which has the half-closed time-out to speak up.
async fn first_speaker(
    timeouts: &Timeouts,
    (reader, writer): (&mut Http1Reader, &mut Http1Writer),
    upstream: &mut Upstream,
) -> Speaker {
    let first = async {
        tokio::select! {
            spoke = reader.readable() => (Side::Client, matches!(spoke, Ok(true))),
            spoke = upstream.reader.readable() => (Side::Upstream, matches!(spoke, Ok(true))),
        }
    };
    let (shut, listener) = match timeout(timeouts.idle_body, first).await {
        Ok((Side::Client, true)) => return Speaker::Client,
        Ok((_, true)) => return Speaker::Upstream,
        Ok((Side::Client, false)) => (upstream.writer.shutdown().await, &mut upstream.reader),
        Ok((_, false)) => (writer.shutdown().await, reader),
        Err(_elapsed) => return Speaker::Nobody,
    };
    match timeout(timeouts.half_closed, listener.readable()).await {
        Ok(Ok(true)) if shut.is_ok() => Speaker::Upstream,
        _ => Speaker::Nobody,
    }
}

/// An upstream connection whose first bytes may have been looked at: [`Opened`], with its stream in halves.
struct Upstream {
    reader: Http1Reader,
    writer: Http1Writer,
    facts: Arc<UpstreamFacts>,
    http2: bool,
    dialled: Dialled,
    way: Way,
}

impl Upstream {
    fn new(engine: &Engine, opened: Opened) -> Self {
        let Opened { io, facts, http2, dialled, way } = opened;
        let (reader, writer) = halves(engine, io);
        Self { reader, writer, facts, http2, dialled, way }
    }

    fn into_opened(self) -> Opened {
        let Self { reader, writer, facts, http2, dialled, way } = self;
        let (read, buffered) = reader.into_parts();
        let io = Rewind::boxed(read.unsplit(writer.into_inner()), buffered);
        Opened { io, facts, http2, dialled, way }
    }
}

fn halves(engine: &Engine, io: BoxedIo) -> (Http1Reader, Http1Writer) {
    let (read, write) = split(io);
    (http1::Reader::new(read, engine.head_limits()), http1::Writer::new(write))
}

/// Records a tunnel that never came to be.
fn note(engine: &Engine, facts: &Arc<ClientFacts>, opening: &Opening, failure: Failure) {
    let ledger = engine.ledger(facts, &opening.head, opening.head_bytes);
    ledger.failed_upstream(&failure);
    ledger.end(Outcome::Failed(failure));
}

fn ready(engine: &Engine, reach: Reach) -> Result<Opened, Failure> {
    match reach {
        Reach::Ready(opened) => Ok(*opened),
        Reach::Dialled(tcp) => Ok(upstreams::plain(engine, tcp, false)),
        Reach::Failed(failure) => Err(failure),
        Reach::Open | Reach::Resting(_) => {
            Err(Failure::new(FailureKind::ClientMalformed, "no HTTP in a tunnel to the proxy itself"))
        }
    }
}

/// Has a client see that its tunnel did not end well.
fn cut_if_failed(cut: &Cut, outcome: &Outcome) {
    if matches!(outcome, Outcome::Failed(_)) {
        cut.reset();
    }
}

/// Relays a tunnel to its end and records it.
async fn carry(
    engine: &Engine,
    ledger: &Ledger,
    (reader, writer): (&mut Http1Reader, &mut Http1Writer),
    upstream: &mut Upstream,
) -> Outcome {
    ledger.upstream(&upstream.facts, false, upstream.dialled);
    let client = Ends { reader: BodyReader::raw(reader), writer: Writer::Http1(writer) };
    let upstream =
        Ends { reader: BodyReader::raw(&mut upstream.reader), writer: Writer::Http1(&mut upstream.writer) };
    let outcome = relay(&engine.timeouts, ledger, client, upstream, Followed::untouched(Tap::Bytes)).await;
    let outcome = match outcome {
        Outcome::Upgrade => Outcome::Tunnel,
        other => other,
    };
    ledger.end(outcome.clone());
    outcome
}
