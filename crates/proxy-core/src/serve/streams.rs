//! Serving HTTP/2 on a client connection: each stream an exchange, or a tunnel with a connection of its own in it.

use std::{future::pending, panic::AssertUnwindSafe, pin::pin, sync::Arc};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::{Method, StatusCode};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use super::turn_down;
use crate::{
    alarm::Alarm,
    client::Client,
    connection::{self, Layer, drained},
    cut::Cut,
    engine::Engine,
    event::{ClientFacts, Outcome},
    exchange::{
        forward::Shape,
        local::{self, Answer},
        run::{Afterwards, Arrived, Ended, run},
    },
    failure::{Failure, FailureKind, Side},
    head::{RequestHead, ResponseHead, Scheme, split_authority},
    http1::Encoding,
    http2::{self, Downstream, DownstreamError, Incoming, RefusedRequest, TunnelIo},
    leg::{BodyReader, Responder, Writer},
    linger::LINGER,
    listener::take_credentials,
    opening::{Opening, Tunnel},
    setup_page,
    unstalled::Unstalled,
    wire::WireErrorKind,
};

/// Serves HTTP/2 until the connection ends. Its exchanges run in its own task: what one write can carry of them leaves in
/// one, and no thread waits for another. Tunnels, which are connections of their own, are tasks that end with it.
pub(crate) async fn http2(engine: &Arc<Engine>, layer: Layer, draining: &mut watch::Receiver<bool>) {
    let Layer { io, facts, mut tunnel, depth, cut, .. } = layer;
    let scheme = tunnel.as_deref().map_or(Scheme::Http, Tunnel::scheme);
    if let Some(tunnel) = &mut tunnel {
        tunnel.speak_http2();
    }
    let in_tunnel = tunnel.is_some();
    let cx = Arc::new(Client::new(engine, &facts, tunnel, draining));
    let mut settings = engine.client_settings.clone();
    let accept = async {
        // Never advertised where upstream lacks it: a client that sees it does not fall back.
        settings.extended_connect = in_tunnel && cx.upstreams.has_extended_connect(engine).await;
        Downstream::accept(io, scheme, &settings).await
    };
    let Ok(Ok(connection)) = Box::pin(timeout(engine.timeouts.handshake, accept)).await else { return };
    let place = Place { in_tunnel, depth, draining: draining.clone() };
    carry(cx, connection, place, &cut, drained(draining)).await;
}

/// Runs what comes on a connection until that ends.
async fn carry(
    mut cx: Arc<Client>,
    mut connection: Downstream,
    place: Place,
    cut: &Cut,
    drained: impl Future<Output = ()>,
) {
    let (mut exchanges, mut tunnels) = (FuturesUnordered::new(), JoinSet::new());
    let (mut alarm, mut drained) = (Alarm::default(), pin!(drained));
    let mut shutting_down = false;
    loop {
        let is_unused = exchanges.is_empty() && tunnels.is_empty();
        let patience = if shutting_down { LINGER } else { cx.engine.timeouts.keep_alive };
        let winds_up = tokio::select! {
            // What ended makes room before more is read.
            biased;
            Some(ended) = exchanges.next(), if !exchanges.is_empty() => match ended {
                Ok(Afterwards::ResetConnection) => {
                    cut.reset();
                    break;
                }
                // One that panicked has told so in its account, and leaves the others alone.
                ended => ended.is_ok_and(|afterwards| afterwards == Afterwards::CloseConnection),
            },
            Some(_) = tunnels.join_next(), if !tunnels.is_empty() => false,
            next = connection.next() => {
                let Some(arrival) = arrival(next, &cx) else { break };
                take_fingerprint(&mut cx, &connection);
                match arrival {
                    Arrival::Request(incoming) if place.is_tunnel(&incoming) => {
                        tunnels.spawn(open_tunnel(cx.clone(), incoming, place.clone()));
                    }
                    arrival => exchanges.push(AssertUnwindSafe(stream(cx.clone(), arrival)).catch_unwind()),
                }
                false
            },
            () = &mut drained, if !shutting_down => true,
            // It was told that the connection is over, is not heard of, and takes nothing more.
            _ = alarm.within(patience, pending::<()>()), if is_unused => match shutting_down {
                true if connection.is_still() => break,
                _ => true,
            }
        };
        if winds_up && !shutting_down {
            shutting_down = true;
            connection.graceful_shutdown();
        }
    }
    // With it goes what the streams wait for.
    drop(connection);
    // Each stream learns from its own halves that the connection is gone, and says so in its ending.
    while exchanges.next().await.is_some() {}
    while tunnels.join_next().await.is_some() {}
}

/// What a client asks for on a stream.
enum Arrival {
    Request(Incoming),
    Refused(Box<RefusedRequest>),
}

/// What came, if the connection goes on.
fn arrival(next: Option<Result<Incoming, DownstreamError>>, cx: &Client) -> Option<Arrival> {
    match next? {
        Ok(incoming) => Some(Arrival::Request(incoming)),
        Err(DownstreamError::Refused(refused)) => Some(Arrival::Refused(refused)),
        Err(DownstreamError::Connection(error)) => {
            tracing::debug!(client = %cx.facts.peer, %error, "HTTP/2 connection with the client failed");
            None
        }
    }
}

/// Where an HTTP/2 connection's streams are.
#[derive(Clone)]
struct Place {
    in_tunnel: bool,
    depth: usize,
    draining: watch::Receiver<bool>,
}

/// Adds the client's fingerprint to the facts: it is whole with the first request, when nobody else has them yet.
fn take_fingerprint(cx: &mut Arc<Client>, connection: &Downstream) {
    if cx.facts.http2_fingerprint.is_none()
        && let Some(client) = Arc::get_mut(cx)
    {
        let mut facts = ClientFacts::clone(&client.facts);
        facts.http2_fingerprint = connection.fingerprint();
        client.facts = Arc::new(facts);
    }
}

impl Place {
    /// Whether a request opens a tunnel.
    fn is_tunnel(&self, incoming: &Incoming) -> bool {
        incoming.head.method == Method::CONNECT && incoming.protocol.is_none() && !self.in_tunnel
    }
}

/// Runs the exchange of one HTTP/2 stream.
async fn stream(cx: Arc<Client>, arrival: Arrival) -> Afterwards {
    let incoming = match arrival {
        Arrival::Request(incoming) => incoming,
        Arrival::Refused(refused) => return refuse_stream(cx, refused).await,
    };
    let Incoming { mut head, head_bytes, body, responder, .. } = incoming;
    let admitted = cx.admit(&mut head);
    let (head, client) = (Arc::new(head), Responder::Http2(responder));
    let facts = match admitted {
        Ok(facts) => facts,
        Err(failure) => return turn_away(&cx, (head, head_bytes), (body, client), failure).await,
    };
    let shape = match Shape::of_http2(body.is_at_end(), &head.headers) {
        Ok(shape) => shape,
        Err(error) => {
            let ledger = cx.engine.ledger(&facts, &head, head_bytes);
            let mut body = BodyReader::Http2(body);
            let failure = error.into_failure(Side::Client);
            let Ended { outcome, .. } = local::refuse(&ledger, &head, &mut body, client, failure).await;
            ledger.end(outcome);
            return Afterwards::KeepAlive;
        }
    };
    let arrived = Arrived { facts, head, head_bytes, body: BodyReader::Http2(body), shape, client };
    run(&cx, arrived).await
}

/// Opens the tunnel that one HTTP/2 stream asks for, if its client may.
async fn open_tunnel(cx: Arc<Client>, incoming: Incoming, place: Place) {
    let Incoming { mut head, head_bytes, body, responder, .. } = incoming;
    let admitted = cx.admit(&mut head);
    let (head, client) = (Arc::new(head), Responder::Http2(responder));
    match admitted {
        Ok(facts) => {
            let opening = Opening { head, head_bytes };
            tunnel_stream(&cx, facts, opening, (body, client), place).await;
        }
        Err(failure) => {
            turn_away(&cx, (head, head_bytes), (body, client), failure).await;
        }
    }
}

/// Turns down a request on a stream.
async fn turn_away(
    cx: &Client,
    (head, head_bytes): (Arc<RequestHead>, u64),
    (body, client): (http2::BodyReader, Responder<'static>),
    failure: Failure,
) -> Afterwards {
    let (facts, body) = (cx.facts.clone(), BodyReader::Http2(body));
    let arrived = Arrived { facts, head, head_bytes, body, shape: Shape::Unknown, client };
    turn_down(cx, arrived, failure).await;
    Afterwards::KeepAlive
}

/// Answers a request that may not go on, and records it.
async fn refuse_stream(cx: Arc<Client>, refused: Box<RefusedRequest>) -> Afterwards {
    let RefusedRequest { incoming: Incoming { mut head, head_bytes, body, responder, .. }, error } = *refused;
    let _ = take_credentials(&mut head);
    let status = match error.kind {
        WireErrorKind::Limit => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut failure = error.into_failure(Side::Client);
    let ledger = cx.refusal_ledger(&Arc::new(head.clone()), head_bytes, &mut failure);
    let accept = head.headers.get_str("accept");
    let (page, content) = setup_page::error_page(status, local::TITLE, &failure, head.host(), accept);
    let answer = Answer::own(page, content);
    // Nobody reads what else came of it.
    drop(body);
    local::give(&ledger, &head, Responder::Http2(responder), answer, false).await;
    ledger.end(Outcome::Failed(failure));
    Afterwards::KeepAlive
}

/// Opens the tunnel that a CONNECT inside HTTP/2 asks for (RFC 9113 section 8.5), and carries what is found in it as on
/// a connection of its own.
async fn tunnel_stream(
    cx: &Client,
    facts: Arc<ClientFacts>,
    opening: Opening,
    (body, mut client): (http2::BodyReader, Responder<'static>),
    place: Place,
) {
    let Opening { head, head_bytes } = &opening;
    let (host, port) = split_authority(&head.authority);
    let reached = tokio::select! {
        reached = connection::reach(&cx.engine, host, port, place.depth) => reached,
        error = client.gone() => Err(error.into_failure(Side::Client)),
    };
    let upstream = match reached {
        Ok(upstream) => upstream,
        Err(failure) => {
            let ledger = cx.engine.ledger(&facts, head, *head_bytes);
            let (page, content) = local::error_page(head, &failure);
            let answer = Answer::own(page, content);
            local::give(&ledger, head, client, answer, false).await;
            return ledger.end(Outcome::Failed(failure));
        }
    };
    let writer = match client.head(&ResponseHead::new(StatusCode::OK), Encoding::UntilClose) {
        Ok(Writer::Http2(writer)) => writer,
        _ => {
            let gone = Failure::new(FailureKind::ClientLeft, "it left before its CONNECT was answered");
            return cx.engine.ledger(&facts, head, *head_bytes).end(Outcome::Failed(gone));
        }
    };
    let io = Unstalled::new(TunnelIo::new(body, writer), cx.engine.timeouts.idle_body);
    let mut facts = ClientFacts::clone(&facts);
    facts.tunnel = Some(head.authority.clone());
    let tunnel = Tunnel::new(opening.clone(), host, port.unwrap_or(443), upstream);
    let layer = Layer {
        io: Box::new(io),
        facts: Arc::new(facts),
        tunnel: Some(tunnel),
        depth: place.depth + 1,
        refusal: None,
        // The socket below carries other streams: this one is reset by being dropped.
        cut: Cut::default(),
    };
    go_deeper(cx.engine.clone(), layer, place.draining).await;
}

/// A connection inside a connection: its future's type must not hold itself.
fn go_deeper(engine: Arc<Engine>, layer: Layer, draining: watch::Receiver<bool>) -> BoxFuture<'static, ()> {
    Box::pin(connection::run(engine, layer, draining))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sizes::future_bytes;

    /// Each exchange has one of its own, which is moved into its place and passes through the caches with it.
    #[test]
    fn the_state_of_an_exchange_is_small() {
        let bytes = future_bytes(|(cx, arrival)| stream(cx, arrival));
        assert!(bytes <= 8 * 1024, "{bytes} bytes");
    }

    /// Each connection has one of its own for as long as it lasts, however little happens on it.
    #[test]
    fn the_state_of_a_connection_is_small() {
        let serving = |(engine, layer, draining): (&'static Arc<Engine>, _, &'static mut _)| {
            http2(engine, layer, draining)
        };
        let bytes = future_bytes(serving);
        assert!(bytes <= 1_792, "{bytes} bytes");
    }
}
