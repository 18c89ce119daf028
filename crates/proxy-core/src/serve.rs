//! Serving HTTP on a client connection, in either version.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Method, StatusCode, Version};
use tokio::{
    io::split,
    sync::watch,
    task::JoinSet,
    time::{Duration, sleep, timeout},
};

use crate::{
    client::Client,
    connection::{self, Layer, drained},
    cut::Cut,
    engine::Engine,
    event::{ClientFacts, Outcome},
    exchange::{
        forward::Shape,
        local::{self, Answer},
        run::{Afterwards, Arrived, Ended, error_status, run},
    },
    failure::{Failure, FailureKind, Side},
    head::{Headers, RequestHead, ResponseHead, Scheme, split_authority},
    http1::{self, Defaults, Encoding, HeadError, request_framing},
    http2::{self, Downstream, DownstreamError, Incoming, RefusedRequest, TunnelIo},
    leg::{BodyReader, Http1Reader, Http1Writer, Responder, Writer},
    listener::take_credentials,
    opening::{Opening, Tunnel},
    setup_page,
    unstalled::Unstalled,
    wire::{WireError, WireErrorKind},
};

/// What is still read of a connection that is closed under a client that may be sending, so that the client gets
/// to read the last response before the reset (RFC 9112 section 9.6).
const MAX_LINGER_BYTES: usize = 256 * 1024;
/// And how long.
const LINGER: Duration = Duration::from_secs(1);

/// A CONNECT that was read, and the connection it came on.
pub(crate) struct Connect {
    pub(crate) facts: Arc<ClientFacts>,
    pub(crate) opening: Opening,
    pub(crate) reader: Http1Reader,
    pub(crate) writer: Http1Writer,
}

/// An HTTP/1 client connection being served.
struct Http1 {
    cx: Client,
    reader: Http1Reader,
    writer: Http1Writer,
    defaults: Defaults,
    in_tunnel: bool,
    cut: Cut,
}

/// What to do after a request.
enum Next {
    Request,
    Connect(Arc<ClientFacts>, Opening),
    Close,
    Cut,
}

/// Serves HTTP/1 until the connection ends, or a CONNECT outside any tunnel asks for one.
pub(crate) async fn http1(
    engine: &Arc<Engine>,
    layer: Layer,
    draining: &mut watch::Receiver<bool>,
) -> Option<Connect> {
    let Layer { io, facts, tunnel, cut, .. } = layer;
    let scheme = tunnel.as_ref().map_or(Scheme::Http, Tunnel::scheme);
    let defaults =
        Defaults { scheme, authority: tunnel.as_ref().map(|tunnel| tunnel.opening.head.authority.clone()) };
    let in_tunnel = tunnel.is_some();
    let (read, write) = split(io);
    let mut connection = Http1 {
        cx: Client::new(engine, &facts, tunnel, draining),
        reader: http1::Reader::new(read, engine.head_limits()),
        writer: http1::Writer::new(write),
        defaults,
        in_tunnel,
        cut,
    };
    loop {
        match connection.one(draining).await {
            Next::Request => {}
            Next::Connect(facts, opening) => {
                let Http1 { reader, writer, .. } = connection;
                return Some(Connect { facts, opening, reader, writer });
            }
            Next::Close => break,
            Next::Cut => return None,
        }
    }
    connection.close().await;
    None
}

impl Http1 {
    /// Waits for a request and reads its head.
    async fn head(&mut self, draining: &mut watch::Receiver<bool>) -> Result<RequestHead, Next> {
        let timeouts = &self.cx.engine.timeouts;
        let readable = tokio::select! {
            biased;
            () = drained(draining) => return Err(Next::Close),
            readable = timeout(timeouts.keep_alive, self.reader.readable()) => readable,
        };
        if !matches!(readable, Ok(Ok(true))) {
            return Err(Next::Close);
        }
        match timeout(timeouts.request_head, self.reader.request(&self.defaults)).await {
            Ok(Ok(Some(head))) => Ok(head),
            Ok(Ok(None)) => Err(Next::Close),
            Ok(Err(error)) => Err(self.refuse(error).await),
            Err(_) => {
                let detail = format!("no whole request head within {:?}", timeouts.request_head);
                let failure = Failure::new(FailureKind::ClientTimeout, detail);
                Err(self.refuse_with(unreadable(), 0, failure, StatusCode::REQUEST_TIMEOUT).await)
            }
        }
    }

    /// Reads one request and runs its exchange.
    async fn one(&mut self, draining: &mut watch::Receiver<bool>) -> Next {
        let mut head = match self.head(draining).await {
            Ok(head) => head,
            Err(next) => return next,
        };
        let head_bytes = self.reader.last_head_bytes();
        let admitted = self.cx.admit(&mut head);
        let framing = match request_framing(&head) {
            Ok(framing) => framing,
            Err(error) => {
                let failure = error.into_failure(Side::Client);
                let status = error_status(&failure);
                return self.refuse_with(head, head_bytes, failure, status).await;
            }
        };
        let (facts, refusal) = match admitted {
            Ok(facts) => (facts, None),
            Err(failure) => (self.cx.facts.clone(), Some(failure)),
        };
        if head.method == Method::CONNECT && !self.in_tunnel && refusal.is_none() {
            return Next::Connect(facts, Opening { head: Arc::new(head), head_bytes });
        }
        let shape = Shape::of_http1(&framing);
        let max_trailer_bytes = self.cx.engine.limits.max_head_bytes;
        let arrived = Arrived {
            facts,
            head: Arc::new(head),
            head_bytes,
            body: BodyReader::http1(&mut self.reader, framing, max_trailer_bytes),
            shape,
            client: Responder::Http1(&mut self.writer),
        };
        let afterwards = match refusal {
            Some(failure) => turn_down(&self.cx, arrived, failure).await,
            None => run(&self.cx, arrived).await,
        };
        match afterwards {
            Afterwards::KeepAlive => Next::Request,
            Afterwards::Cut if !self.writer.shows_cut() => {
                // Under TLS the missing farewell tells it.
                if self.cx.facts.tls.is_none() {
                    self.cut.reset();
                }
                Next::Cut
            }
            Afterwards::ResetConnection => {
                self.cut.reset();
                Next::Cut
            }
            Afterwards::Close | Afterwards::CloseConnection | Afterwards::Cut => Next::Close,
        }
    }

    /// Answers bytes that are no request, and records them as what they are.
    async fn refuse(&mut self, error: HeadError) -> Next {
        let status = error.status();
        let silent = matches!(error, HeadError::Closed | HeadError::Io(_));
        if silent {
            return Next::Close;
        }
        let failure = WireError::from(error).into_failure(Side::Client);
        self.refuse_with(unreadable(), 0, failure, status).await
    }

    async fn refuse_with(
        &mut self,
        head: RequestHead,
        head_bytes: u64,
        mut failure: Failure,
        status: StatusCode,
    ) -> Next {
        let head = Arc::new(head);
        let ledger = self.cx.refusal_ledger(&head, head_bytes, &mut failure);
        let (page, body) = setup_page::error_page(status, local::TITLE, &failure, head.host(), None);
        let answer = Answer::own(page, body);
        local::give(&ledger, &head, Responder::Http1(&mut self.writer), answer, true).await;
        ledger.end(Outcome::Failed(failure));
        Next::Close
    }

    /// Closes so that what was sent last still arrives.
    async fn close(mut self) {
        let rest = async {
            if self.writer.shutdown().await.is_err() {
                return;
            }
            let mut left = MAX_LINGER_BYTES;
            let mut body = http1::Decoder::raw();
            while let Ok(Some(crate::wire::Piece::Data(data))) = self.reader.piece(&mut body).await {
                match left.checked_sub(data.len()) {
                    Some(rest) => left = rest,
                    None => return,
                }
            }
        };
        let _ = timeout(LINGER, rest).await;
    }
}

/// Answers a request whose client may not use the proxy, or not so, and records that.
async fn turn_down(cx: &Client, arrived: Arrived<'_>, mut failure: Failure) -> Afterwards {
    let Arrived { facts, head, head_bytes, mut body, client, .. } = arrived;
    let ledger = cx.engine.refusal_ledger(&facts, &head, head_bytes, &mut failure);
    let Ended { outcome, afterwards } = local::refuse(&ledger, &head, &mut body, client, failure).await;
    ledger.end(outcome);
    afterwards
}

/// What stands in the record for a request that could not be read.
pub(crate) fn unreadable() -> RequestHead {
    RequestHead {
        method: Method::from_bytes(b"INVALID").unwrap_or_default(),
        scheme: Scheme::Http,
        authority: String::new(),
        target: String::new(),
        version: Version::HTTP_11,
        headers: Headers::new(),
    }
}

/// Serves HTTP/2 until the connection ends. Its exchanges run as tasks that end with it.
pub(crate) async fn http2(engine: &Arc<Engine>, layer: Layer, draining: &mut watch::Receiver<bool>) {
    let Layer { io, facts, mut tunnel, depth, cut, .. } = layer;
    let scheme = tunnel.as_ref().map_or(Scheme::Http, Tunnel::scheme);
    if let Some(tunnel) = &mut tunnel {
        tunnel.speak_http2();
    }
    let in_tunnel = tunnel.is_some();
    let mut cx = Arc::new(Client::new(engine, &facts, tunnel, draining));
    let mut settings = engine.client_settings.clone();
    let accept = async {
        // Never advertised where upstream lacks it: a client that sees it does not fall back.
        settings.extended_connect = in_tunnel && cx.upstreams.has_extended_connect(engine).await;
        Downstream::accept(io, scheme, &settings).await
    };
    let Ok(Ok(mut connection)) = timeout(engine.timeouts.handshake, accept).await else { return };
    let place = Place { in_tunnel, depth, draining: draining.clone() };
    let mut exchanges = JoinSet::new();
    let mut shutting_down = false;
    loop {
        tokio::select! {
            next = connection.next() => match next {
                Some(Ok(incoming)) => {
                    take_fingerprint(&mut cx, &connection);
                    exchanges.spawn(stream(cx.clone(), incoming, place.clone()));
                }
                Some(Err(DownstreamError::Refused(refused))) => {
                    take_fingerprint(&mut cx, &connection);
                    exchanges.spawn(refuse_stream(cx.clone(), refused));
                }
                Some(Err(DownstreamError::Connection(error))) => {
                    tracing::debug!(client = %facts.peer, %error, "HTTP/2 connection with the client failed");
                    break;
                }
                None => break,
            },
            () = drained(draining), if !shutting_down => {
                shutting_down = true;
                connection.graceful_shutdown();
            }
            Some(ended) = exchanges.join_next() => match ended {
                Ok(Afterwards::ResetConnection) => {
                    cut.reset();
                    break;
                }
                Ok(Afterwards::CloseConnection) if !shutting_down => {
                    shutting_down = true;
                    connection.graceful_shutdown();
                }
                _ => {}
            },
            () = sleep(engine.timeouts.keep_alive), if exchanges.is_empty() && !shutting_down => {
                shutting_down = true;
                connection.graceful_shutdown();
            }
            // It was told that the connection is over, is not heard of, and takes nothing more.
            () = sleep(LINGER), if exchanges.is_empty() && shutting_down => if connection.is_still() { break },
        }
    }
    // With it goes what the streams wait for.
    drop(connection);
    // Each stream learns from its own halves that the connection is gone, and says so in its ending.
    while exchanges.join_next().await.is_some() {}
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

/// Runs the exchange of one HTTP/2 stream.
async fn stream(cx: Arc<Client>, incoming: Incoming, place: Place) -> Afterwards {
    let Incoming { mut head, head_bytes, protocol, body, responder } = incoming;
    let admitted = cx.admit(&mut head);
    let head = Arc::new(head);
    let client = Responder::Http2(responder);
    let facts = match admitted {
        Ok(facts) => facts,
        Err(failure) => {
            let (facts, body) = (cx.facts.clone(), BodyReader::Http2(body));
            let arrived = Arrived { facts, head, head_bytes, body, shape: Shape::Unknown, client };
            turn_down(&cx, arrived, failure).await;
            return Afterwards::KeepAlive;
        }
    };
    if head.method == Method::CONNECT && protocol.is_none() && !place.in_tunnel {
        let opening = Opening { head, head_bytes };
        tunnel_stream(&cx, facts, opening, (body, client), place).await;
        return Afterwards::KeepAlive;
    }
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
