//! The two halves of an exchange that go on at the same time: the request's body up, the response down.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use futures_util::FutureExt;
use http::{Method, StatusCode};
use tokio::time::timeout;

use super::{
    forward,
    ledger::Ledger,
    local::{self, Answer},
    relay::Tap,
    run::given_up,
};
use crate::{
    connection::Client,
    event::{Outcome, ResponseSource},
    failure::{Failure, FailureKind, Side},
    head::{Headers, RequestHead, ResponseHead},
    http2::SendError,
    interceptor::Verdict,
    leg::{BodyReader, Responder, ResponseReader, Writer, code},
    websocket,
    wire::{Piece, WireError, WireErrorKind},
};

/// What a client may send ahead of its turn before it has to wait.
const MAX_READ_AHEAD_BYTES: usize = 16 * 1024;

/// How the request's body stands.
#[derive(Default)]
pub(crate) struct Upload {
    begun: AtomicBool,
    refused: AtomicBool,
}

impl Upload {
    /// Whether a piece of it came.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Relaxed)
    }

    /// Whether upstream takes no more of it.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Relaxed)
    }
}

/// Carries the request's body to upstream, then watches the client. Resolves only when the client failed.
///
/// An upstream that takes no more may still answer, so that is not this half's failure.
pub(crate) async fn upload(
    cx: &Client,
    ledger: &Ledger,
    state: &Upload,
    body: &mut BodyReader<'_>,
    upstream: &mut Writer<'_>,
) -> Broken {
    match carry_up(cx, ledger, state, body, upstream).await {
        Ok(()) => {}
        Err((Side::Client, error)) => return Broken::by(Side::Client, error),
        Err(_) => state.refused.store(true, Relaxed),
    }
    given_up(body.closed(MAX_READ_AHEAD_BYTES).await, cx.engine.timeouts.half_closed).await
}

async fn carry_up(
    cx: &Client,
    ledger: &Ledger,
    state: &Upload,
    body: &mut BodyReader<'_>,
    upstream: &mut Writer<'_>,
) -> Result<(), (Side, WireError)> {
    let to_upstream = |error| (Side::Upstream, error);
    let mut trailers = None;
    // The head leaves with the first piece when that is there already, else by itself.
    let mut first = body.piece().now_or_never();
    if first.is_none() {
        upstream.flush().await.map_err(to_upstream)?;
    }
    loop {
        ledger.ready().await;
        let piece = match first.take() {
            Some(piece) => piece,
            None => within(cx, body.piece()).await,
        };
        match piece.map_err(|error| (Side::Client, error))? {
            Some(Piece::Data(data)) => {
                state.begun.store(true, Relaxed);
                ledger.request_piece(&data);
                taken(cx, upstream.data(data)).await.map_err(to_upstream)?;
            }
            Some(Piece::Trailers(fields)) => {
                ledger.request_trailers(&fields);
                trailers = Some(fields);
            }
            None => break,
        }
    }
    upstream.end(trailers.as_ref()).await.map_err(to_upstream)?;
    ledger.request_done();
    Ok(())
}

/// Waits for a piece, but not for ever.
async fn within(
    cx: &Client,
    piece: impl Future<Output = Result<Option<Piece>, WireError>>,
) -> Result<Option<Piece>, WireError> {
    let patience = cx.engine.timeouts.idle_body;
    timeout(patience, piece)
        .await
        .unwrap_or_else(|_| Err(WireError::new(WireErrorKind::Timeout, format!("silent for {patience:?}"))))
}

/// Waits until a piece is taken, but not for ever: a peer that never reads would hold its exchange for good.
async fn taken(cx: &Client, written: impl Future<Output = Result<(), WireError>>) -> Result<(), WireError> {
    let patience = cx.engine.timeouts.idle_body;
    timeout(patience, written).await.unwrap_or_else(|_| {
        Err(WireError::new(WireErrorKind::Timeout, format!("took nothing for {patience:?}")))
    })
}

/// What came down.
pub(crate) enum Download<'u, 'c> {
    /// A whole response.
    Whole { outcome: Outcome, keep_client: bool, keep_upstream: bool },
    /// A response that switched protocols; the stream goes on both ways.
    Upgraded { from_upstream: BodyReader<'u>, to_client: Writer<'c>, tap: Tap },
}

/// Why an exchange broke off.
pub(crate) struct Broken {
    pub(crate) failure: Failure,
    /// Upstream closed before anything of a response came.
    pub(crate) stale: bool,
    /// The HTTP/2 code for the side that did not break it.
    pub(crate) code: u32,
}

impl Broken {
    pub(crate) fn by(side: Side, error: WireError) -> Self {
        let code = match error.kind {
            WireErrorKind::Reset(Some(code)) => code,
            _ if side == Side::Client => code::CANCEL,
            _ => code::INTERNAL_ERROR,
        };
        Self { failure: error.into_failure(side), stale: false, code }
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self { failure, stale: false, code: code::CANCEL }
    }
}

/// Carries the response down. The error says whether upstream closed before anything of a response came.
///
/// `client` is taken when the final head is put: from then on an error page is too late.
pub(crate) async fn download<'u, 'c>(
    cx: &Client,
    ledger: &Ledger,
    request: &RequestHead,
    mut source: ResponseReader<'u>,
    client: &mut Option<Responder<'c>>,
) -> Result<Download<'u, 'c>, Broken> {
    let (head, bytes) = final_head(cx, ledger, request, &mut source, client).await?;
    let received = Arc::new(head);
    ledger.response(&received, bytes, ResponseSource::Upstream);
    let mut head = received;
    for interceptor in &cx.engine.interceptors {
        match interceptor.response(ledger.exchange(), request, Arc::make_mut(&mut head)).await {
            Verdict::Continue => {}
            Verdict::Respond { head, body } => {
                let Some(client) = client.take() else { break };
                let answer = Answer { head, body, source: ResponseSource::Mock };
                let outcome = local::give(ledger, request, client, answer, true).await;
                return Ok(Download::Whole { outcome, keep_client: false, keep_upstream: false });
            }
            Verdict::Abort(failure) => {
                if let Some(mut client) = client.take() {
                    client.reset(code::CANCEL);
                }
                return Err(failure.into());
            }
        }
    }
    let (body, shape) = source.body(request, &head).map_err(|error| Broken::by(Side::Upstream, error))?;
    let keep_client = forward::client_keeps_alive(request) && !cx.is_draining();
    let out = forward::response(request, &head, shape, keep_client);
    let Some(responder) = client.take() else {
        return Err(Failure::new(FailureKind::ClientLeft, "it was answered already").into());
    };
    let mut writer = match responder.head(&out.head, out.encoding) {
        Ok(writer) => writer,
        Err(refused) => {
            let (responder, error) = *refused;
            *client = Some(responder);
            return Err(Broken::by(Side::Upstream, error));
        }
    };
    if let Some(tap) = upgrade(cx, request, &head) {
        writer.flush().await.map_err(|error| Broken::by(Side::Client, error))?;
        return Ok(Download::Upgraded { from_upstream: body.into_raw(), to_client: writer, tap });
    }
    match carry_down(cx, ledger, body, &mut writer).await {
        Ok(()) => Ok(Download::Whole {
            outcome: Outcome::Response,
            keep_client: !out.close,
            keep_upstream: forward::upstream_keeps_alive(&head, shape),
        }),
        Err((side, error)) => {
            let broken = Broken::by(side, error);
            writer.reset(broken.code);
            Err(broken)
        }
    }
}

/// Reads heads until the final one, handing interim ones on.
async fn final_head(
    cx: &Client,
    ledger: &Ledger,
    request: &RequestHead,
    source: &mut ResponseReader<'_>,
    client: &mut Option<Responder<'_>>,
) -> Result<(ResponseHead, u64), Broken> {
    let mut interim = 0;
    loop {
        let (head, bytes) = await_head(cx, ledger, source, client).await?;
        let status = head.status;
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok((head, bytes));
        }
        interim += 1;
        if interim > cx.engine.limits.max_informational {
            let detail = format!("upstream sent more than {} interim responses", interim - 1);
            return Err(Failure::new(FailureKind::Limit, detail).into());
        }
        ledger.informational(&head);
        // HTTP/1.0 knows no interim responses (RFC 9110 section 15.2).
        if let Some(client) = client.as_mut()
            && request.version != http::Version::HTTP_10
        {
            let out = forward::informational(&head);
            client.informational(&out).await.map_err(|error| Broken::by(Side::Client, error))?;
        }
    }
}

/// Waits for a head: as long as the request's body goes on, and then as long as the time-out allows.
async fn await_head(
    cx: &Client,
    ledger: &Ledger,
    source: &mut ResponseReader<'_>,
    client: &mut Option<Responder<'_>>,
) -> Result<(ResponseHead, u64), Broken> {
    let patience = cx.engine.timeouts.response_head;
    let gone = async {
        match client.as_mut() {
            Some(client) => client.gone().await,
            None => std::future::pending().await,
        }
    };
    let head = async {
        loop {
            let was_done = ledger.is_request_done();
            match timeout(patience, source.head()).await {
                Ok(head) => return head,
                Err(_) if !was_done => {}
                Err(_) => {
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
fn upgrade(cx: &Client, request: &RequestHead, head: &ResponseHead) -> Option<Tap> {
    if request.method == Method::CONNECT && head.status.is_success() {
        return Some(Tap::Bytes);
    }
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        return None;
    }
    if !forward::is_websocket(request) {
        return Some(Tap::Bytes);
    }
    let negotiated = websocket::negotiated(&head.headers);
    Some(Tap::messages(negotiated, cx.engine.limits.max_recorded_message_bytes))
}

async fn carry_down(
    cx: &Client,
    ledger: &Ledger,
    mut body: BodyReader<'_>,
    client: &mut Writer<'_>,
) -> Result<(), (Side, WireError)> {
    let to_client = |error| (Side::Client, error);
    let mut trailers: Option<Headers> = None;
    // As on the way up: the head leaves with the first piece when that is there already.
    let mut first = body.piece().now_or_never();
    if first.is_none() {
        client.flush().await.map_err(to_client)?;
    }
    loop {
        ledger.ready().await;
        let piece = match first.take() {
            Some(piece) => piece,
            None => tokio::select! {
                piece = within(cx, body.piece()) => piece,
                error = client.gone() => return Err((Side::Client, error)),
            },
        };
        match piece.map_err(|error| (Side::Upstream, error))? {
            Some(Piece::Data(data)) => {
                ledger.response_piece(&data);
                taken(cx, client.data(data)).await.map_err(to_client)?;
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
