//! The other half of an exchange: the response down.

use std::sync::Arc;

use futures_util::FutureExt;
use http::{Method, StatusCode, Version};

use super::{
    broken::Broken,
    desk::{Cleared, Desk, Leaves},
    flow::{Passage, Stopped},
    forward::{self, Persistence},
    intercept::{self, Passing, Ruling},
    ledger::Ledger,
    local,
    pace::Pace,
    patience::within,
    relay::Tap,
    ruled::Ruled,
    run::Ended,
    upload::Upload,
};
use crate::{
    alarm::Elapsed,
    client::Client,
    event::{Direction, Outcome, ResponseSource},
    failure::{Failure, FailureKind, Side},
    head::{Headers, RequestHead, ResponseHead},
    http2::SendError,
    leg::{BodyReader, Responder, ResponseReader, Writer, code, unsendable},
    websocket,
    wire::{Piece, WireError, WireErrorKind},
};

/// What a response answers.
#[derive(Clone, Copy)]
pub(super) struct Download<'x> {
    pub(super) cx: &'x Client,
    pub(super) ledger: &'x Ledger,
    /// The request as the client sent it.
    pub(super) asked: &'x RequestHead,
    /// The request as upstream got it.
    pub(super) sent: &'x RequestHead,
    pub(super) upload: &'x Upload,
}

/// What came down.
pub(super) enum Downloaded<'u, 'c> {
    /// A whole response.
    Whole { outcome: Outcome, keep_client: bool, keep_upstream: bool },
    /// Nothing the client gets: a rule or an interceptor ended the exchange.
    Left(Ended),
    /// A response that switched protocols; the stream goes on both ways.
    Upgraded { from_upstream: BodyReader<'u>, to_client: Writer<'c>, tap: Tap, pace: Pace },
}

impl<'x> Download<'x> {
    /// Carries the response down. The error says whether upstream closed before anything of a response came.
    ///
    /// `client` is taken when the final head is put: from then on an error page is too late.
    pub(super) async fn run<'u, 'c>(
        self,
        mut source: ResponseReader<'u>,
        client: &mut Option<Responder<'c>>,
        ruled: Option<&mut Ruled>,
    ) -> Result<Downloaded<'u, 'c>, Broken> {
        let Self { cx, ledger, asked, sent, .. } = self;
        let (received, bytes) = self.final_head(&mut source, client).await?;
        let received = Arc::new(received);
        ledger.response(&received, bytes, ResponseSource::Upstream);
        if received.status == StatusCode::SWITCHING_PROTOCOLS && !sent.is_upgrade() {
            return Err(Broken::by(
                Side::Upstream,
                unsendable("it switched protocols, and nobody asked for it"),
            ));
        }
        let by_upstream = |error| Broken::by(Side::Upstream, error);
        let (mut body, shape) = source.body(sent, &received).map_err(by_upstream)?;
        let desk = Desk {
            cx,
            ledger,
            facts: &cx.facts,
            way: Direction::ToClient,
            leaves: Leaves::SeenByResponder,
            body: &mut body,
            client,
            shape,
            has_content: forward::has_content(asked, &received),
            version: asked.version,
            fields: &received.headers,
            flow: None,
            transformers: Vec::new(),
            faults: Vec::new(),
        };
        let passing = match decide(ruled, sent, &received, desk).await {
            Ruling::Pass(passing) => passing,
            Ruling::Answer(answer) => {
                let Some(client) = client.take() else { return Err(answered_already().into()) };
                let outcome = local::give(ledger, asked, client, answer, true).await;
                return Ok(Downloaded::Whole { outcome, keep_client: false, keep_upstream: false });
            }
            Ruling::Refuse(failure) => return Err(failure.into()),
            Ruling::Abort(failure, afterwards) => {
                if let Some(mut client) = client.take() {
                    client.reset(code::CANCEL);
                }
                return Ok(Downloaded::Left(Ended { outcome: Outcome::Failed(failure), afterwards }));
            }
        };
        self.pass(body, &received, passing, client).await
    }

    /// Puts the head and carries what follows it. Where that ends is said by what was received, whatever was made
    /// of the head since.
    async fn pass<'u, 'c>(
        self,
        mut body: BodyReader<'u>,
        received: &ResponseHead,
        passing: Passing<Arc<ResponseHead>>,
        client: &mut Option<Responder<'c>>,
    ) -> Result<Downloaded<'u, 'c>, Broken> {
        let Passing { head, body: Cleared { mut flow, received: length, shape }, .. } = passing;
        let out = forward::response(self.asked, &head, shape, self.persistence(received));
        let Some(responder) = client.take() else { return Err(answered_already().into()) };
        let mut writer = match responder.head(&out.head, out.encoding) {
            Ok(writer) => writer,
            Err(refused) => {
                let (responder, error) = *refused;
                *client = Some(responder);
                return Err(Broken::by(Side::Upstream, error));
            }
        };
        if let Some(tap) = self.upgrade(&head) {
            writer.flush().await.map_err(|error| Broken::by(Side::Client, error))?;
            let pace = flow.map(|flow| flow.pace).unwrap_or_default();
            let from_upstream = body.into_raw();
            return Ok(Downloaded::Upgraded { from_upstream, to_client: writer, tap, pace });
        }
        if out.drops_body || received.status == StatusCode::SWITCHING_PROTOCOLS {
            body = BodyReader::Spent;
            flow = None;
        }
        let keep_upstream =
            !matches!(body, BodyReader::Spent) && forward::upstream_keeps_alive(received, length);
        let carried = match flow.as_deref_mut() {
            None => carry_down(self.cx, self.ledger, &mut body, &mut writer).await,
            Some(flow) => Box::pin(self.passage().carry(flow, &mut body, &mut writer)).await,
        };
        match carried {
            Ok(()) => {
                Ok(Downloaded::Whole { outcome: Outcome::Response, keep_client: !out.close, keep_upstream })
            }
            Err(stopped) => {
                let broken = Broken::from(stopped);
                writer.reset(broken.code);
                Err(broken)
            }
        }
    }

    fn passage(self) -> Passage<'x> {
        let Self { cx, ledger, upload, .. } = self;
        Passage { timeouts: &cx.engine.timeouts, ledger, way: Direction::ToClient, upload }
    }

    /// What the client is told of its connection's future.
    fn persistence(self, received: &ResponseHead) -> Persistence {
        // Inside a tunnel the client's connection stands for the one to its origin.
        let closed_with_upstream =
            self.cx.is_tunnelled() && received.headers.has_token("connection", "close");
        let closes = closed_with_upstream || self.cx.is_draining() || self.upload.is_withheld();
        let keeps = !closes && forward::client_keeps_alive(self.asked);
        if keeps { Persistence::KeepAlive } else { Persistence::Close }
    }

    /// Reads heads until the final one, handing interim ones on.
    async fn final_head(
        self,
        source: &mut ResponseReader<'_>,
        client: &mut Option<Responder<'_>>,
    ) -> Result<(ResponseHead, u64), Broken> {
        let mut interim = 0;
        let mut may_send = !self.asked.headers.has_token("expect", "100-continue");
        loop {
            let (head, bytes) = match self.await_head(source, client).await {
                Ok(read) => read,
                Err(broken) => return Err(Broken { stale: broken.stale && interim == 0, ..broken }),
            };
            let status = head.status;
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                if !may_send && !self.upload.has_begun() {
                    self.upload.withhold();
                }
                return Ok((head, bytes));
            }
            may_send |= status == StatusCode::CONTINUE;
            interim += 1;
            if interim > self.cx.engine.limits.max_informational {
                let detail = format!("upstream sent more than {} interim responses", interim - 1);
                return Err(Failure::new(FailureKind::Limit, detail).into());
            }
            self.ledger.informational(&head);
            // HTTP/1.0 knows no interim responses (RFC 9110 section 15.2).
            if let Some(client) = client.as_mut()
                && self.asked.version != Version::HTTP_10
            {
                let out = forward::informational(&head);
                client.informational(&out).await.map_err(|error| Broken::by(Side::Client, error))?;
            }
        }
    }

    /// Waits for a head: as long as the request's body goes on, and then as long as the time-out allows. Cancel safe.
    async fn await_head(
        self,
        source: &mut ResponseReader<'_>,
        client: &mut Option<Responder<'_>>,
    ) -> Result<(ResponseHead, u64), Broken> {
        let patience = self.cx.engine.timeouts.response_head;
        let gone = async {
            match client.as_mut() {
                Some(client) => client.gone().await,
                None => std::future::pending().await,
            }
        };
        let head = async {
            loop {
                let was_done = self.ledger.is_request_done() || self.upload.is_refused();
                match source.head(patience).await {
                    Ok(head) => return head,
                    Err(Elapsed) if !was_done => {}
                    Err(Elapsed) => {
                        let detail = format!("no response within {patience:?}");
                        let error = WireError::new(WireErrorKind::Timeout, detail);
                        return Err(SendError { error, may_retry: false });
                    }
                }
            }
        };
        tokio::select! {
            head = head => head.map_err(|SendError { error, may_retry }| {
                Broken { stale: may_retry, ..Broken::by(Side::Upstream, error) }
            }),
            error = gone => Err(Broken::by(Side::Client, error)),
        }
    }

    /// How to follow the stream after this response, if it switches protocols.
    fn upgrade(self, head: &ResponseHead) -> Option<Tap> {
        let is_connect = self.sent.method == Method::CONNECT && head.status.is_success();
        if head.status != StatusCode::SWITCHING_PROTOCOLS && !is_connect {
            return None;
        }
        if !self.sent.is_websocket() {
            return Some(Tap::Bytes);
        }
        let negotiated = websocket::negotiated(&head.headers);
        Some(Tap::messages(negotiated, self.cx.engine.limits.max_recorded_message_bytes))
    }
}

/// Asks whoever may change what upstream answered.
async fn decide(
    ruled: Option<&mut Ruled>,
    sent: &RequestHead,
    received: &Arc<ResponseHead>,
    desk: Desk<'_, '_, '_>,
) -> Ruling<Passing<Arc<ResponseHead>>> {
    if desk.cx.engine.interceptors.is_empty() && ruled.is_none() {
        let body = Cleared::untouched(desk.shape);
        return Ruling::Pass(Passing { head: received.clone(), ruled: None, body });
    }
    Box::pin(intercept::response(ruled, sent, received, desk)).await
}

fn answered_already() -> Failure {
    Failure::new(FailureKind::ClientLeft, "it was answered already")
}

async fn carry_down(
    cx: &Client,
    ledger: &Ledger,
    body: &mut BodyReader<'_>,
    client: &mut Writer<'_>,
) -> Result<(), Stopped> {
    let to_client = |error| Stopped::Peer(Side::Client, error);
    let timeouts = &cx.engine.timeouts;
    let mut trailers: Option<Headers> = None;
    // As on the way up: what is there already leaves together.
    let mut ahead = body.piece().now_or_never();
    if ahead.is_none() {
        client.flush().await.map_err(to_client)?;
    }
    loop {
        ledger.ready().await;
        let piece = match ahead.take() {
            Some(piece) => piece,
            None => tokio::select! {
                piece = within(timeouts, ledger, body.piece()) => piece,
                error = client.gone() => return Err(to_client(error)),
            },
        };
        match piece.map_err(|error| Stopped::Peer(Side::Upstream, error))? {
            Some(Piece::Data(data)) => {
                ledger.response_piece(&data);
                ahead = body.piece().now_or_never();
                if matches!(ahead, Some(Ok(None))) {
                    return client.last(data).await.map_err(to_client);
                }
                client.data(data).await.map_err(to_client)?;
            }
            Some(Piece::Trailers(fields)) => {
                ledger.response_trailers(&fields);
                trailers = Some(fields);
            }
            None => break,
        }
    }
    client.end(trailers.as_ref()).await.map_err(to_client)
}
