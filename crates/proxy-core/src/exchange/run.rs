//! The life of a request: head, interceptors, upstream, head, interceptors, client.

use std::{borrow::Cow, future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use futures_util::FutureExt;
use http::{Method, StatusCode};
use tokio::time::{sleep, timeout};

use super::{
    forward::{self, Leg, Shape},
    ledger::Ledger,
    local::{self, Answer},
    relay,
    send::{Download, Upload, download, upload},
};
use crate::{
    connection::Client,
    engine::SETUP_HOST,
    event::{Outcome, ResponseSource},
    failure::{Failure, FailureKind, Side},
    head::RequestHead,
    http1::TargetForm,
    http2::BodyToCome,
    interceptor::Verdict,
    leg::{BodyReader, Responder, ResponseReader, Writer, code},
    setup_page,
    upstreams::{Destination, Lease, Leased},
    wire::WireError,
};

/// How long a client may go on sending a body after it has its whole response; then its connection is closed.
const LINGER: Duration = Duration::from_secs(5);

/// A request whose head was read.
pub(crate) struct Arrived<'c> {
    pub(crate) head: Arc<RequestHead>,
    pub(crate) head_bytes: u64,
    pub(crate) body: BodyReader<'c>,
    pub(crate) shape: Shape,
    pub(crate) client: Responder<'c>,
}

/// What an HTTP/1 client connection can do after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Afterwards {
    /// Carry the next request.
    KeepAlive,
    /// Close.
    Close,
}

/// An exchange that is over.
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) afterwards: Afterwards,
}

impl Ended {
    pub(crate) fn failed(failure: Failure) -> Self {
        Self { outcome: Outcome::Failed(failure), afterwards: Afterwards::Close }
    }
}

/// Runs one exchange from its request's head to its ending. Dropping the future ends it as cut short.
pub(crate) async fn run(cx: &Client, arrived: Arrived<'_>) -> Afterwards {
    let Arrived { head, head_bytes, mut body, shape, mut client } = arrived;
    let ledger = cx.engine.ledger(&cx.facts, &head, head_bytes);
    let ended = match decide(cx, &ledger, &head).await {
        Decision::Forward(head) => forward(cx, &ledger, &head, &mut body, shape, client).await,
        Decision::Answer(answer) => local::answer(&ledger, &head, &mut body, client, answer).await,
        Decision::Abort(failure) => {
            client.reset(code::CANCEL);
            Ended::failed(failure)
        }
    };
    ledger.end(ended.outcome);
    ended.afterwards
}

/// What is to become of a request.
enum Decision<'h> {
    Forward(Cow<'h, RequestHead>),
    Answer(Answer),
    Abort(Failure),
}

/// Asks whoever may answer before upstream does: the set-up page, then the interceptors in their order.
async fn decide<'h>(cx: &Client, ledger: &Ledger, head: &'h RequestHead) -> Decision<'h> {
    if head.host().eq_ignore_ascii_case(SETUP_HOST) {
        let (page, body) = setup_page::respond(&cx.engine.ca, cx.engine.local, &head.method, &head.target);
        return Decision::Answer(Answer { head: page, body, source: ResponseSource::Proxy });
    }
    let mut head = Cow::Borrowed(head);
    for interceptor in &cx.engine.interceptors {
        match interceptor.request(ledger.exchange(), head.to_mut()).await {
            Verdict::Continue => {}
            Verdict::Respond { head, body } => {
                return Decision::Answer(Answer { head, body, source: ResponseSource::Mock });
            }
            Verdict::Abort(failure) => return Decision::Abort(failure),
        }
    }
    Decision::Forward(head)
}

/// Gets the response from upstream. A connection that was closed under us before anything came is replaced once,
/// as long as nothing of the request is lost with it (RFC 9110 section 9.2.2, RFC 9113 section 8.7).
async fn forward<'c>(
    cx: &Client,
    ledger: &Ledger,
    head: &RequestHead,
    body: &mut BodyReader<'c>,
    shape: Shape,
    client: Responder<'c>,
) -> Ended {
    let mut client = Some(client);
    let leased = match cx.lease(head).await {
        Ok((to, leased)) => attempt(cx, ledger, &to, leased, head, body, shape, &mut client).await,
        Err(failure) => Attempt::Failed(failure),
    };
    let failure = match leased {
        Attempt::Over(ended) => return ended,
        Attempt::Failed(failure) => failure,
    };
    match client.take() {
        // Nobody waits for an error page.
        Some(mut client) if failure.side() == Side::Client => {
            client.reset(code::CANCEL);
            Ended::failed(failure)
        }
        Some(client) => local::refuse(ledger, head, body, client, failure).await,
        None => Ended::failed(failure),
    }
}

/// What became of an attempt to get a response.
enum Attempt {
    Over(Ended),
    Failed(Failure),
}

#[expect(
    clippy::too_many_arguments,
    reason = "one private step of forward(), split off only to be read by itself"
)]
async fn attempt<'c>(
    cx: &Client,
    ledger: &Ledger,
    to: &Destination,
    mut leased: Leased,
    head: &RequestHead,
    body: &mut BodyReader<'c>,
    shape: Shape,
    client: &mut Option<Responder<'c>>,
) -> Attempt {
    loop {
        let reused = leased.reused;
        match transfer(cx, ledger, leased, head, body, shape, client).await {
            Transfer::Over(ended) => return Attempt::Over(ended),
            Transfer::Failed(failure) => return Attempt::Failed(failure),
            Transfer::Stale(failure) if !(reused && shape == Shape::Empty && head.method.is_idempotent()) => {
                return Attempt::Failed(failure);
            }
            Transfer::Stale(_) => match cx.upstreams.lease_fresh(&cx.engine, to).await {
                Ok(fresh) => leased = fresh,
                Err(failure) => return Attempt::Failed(failure),
            },
        }
    }
}

/// What became of one request on one upstream connection.
enum Transfer {
    Over(Ended),
    Failed(Failure),
    /// Upstream closed before anything of a response came.
    Stale(Failure),
}

/// Sends the request on a leased connection, and carries the response, or what the exchange was upgraded to.
async fn transfer<'c>(
    cx: &Client,
    ledger: &Ledger,
    leased: Leased,
    head: &RequestHead,
    body: &mut BodyReader<'c>,
    shape: Shape,
    client: &mut Option<Responder<'c>>,
) -> Transfer {
    let Leased { lease, reused, dialled } = leased;
    match lease {
        Lease::Http1(mut connection) => {
            ledger.upstream(&connection.facts, reused, dialled);
            let (out, encoding) = forward::request(head, shape, Leg::Http1);
            let form =
                if head.method == Method::CONNECT { TargetForm::Authority } else { TargetForm::Origin };
            if let Err(error) = connection.writer.put_request(&out, form) {
                return Transfer::Failed(error.into_failure(Side::Client));
            }
            connection.writer.begin(encoding);
            let writer = Writer::Http1(&mut connection.writer);
            let source = ResponseReader::Http1 {
                reader: &mut connection.reader,
                max_trailer_bytes: cx.engine.limits.max_head_bytes,
            };
            let (transfer, reusable) = carry(cx, ledger, head, body, client, writer, source).await;
            if reusable && connection.writer.is_clean() && connection.reader.buffered().is_empty() {
                cx.upstreams.give_back(connection);
            }
            transfer
        }
        Lease::Http2(upstream, facts) => {
            ledger.upstream(&facts, reused, dialled);
            let (out, encoding) = forward::request(head, shape, Leg::Http2);
            let to_come =
                if encoding == crate::http1::Encoding::None { BodyToCome::No } else { BodyToCome::Yes };
            match upstream.send(&out, None, to_come).await {
                Ok((writer, source)) => {
                    let writer = Writer::Http2(writer);
                    let source = ResponseReader::Http2(source);
                    carry(cx, ledger, head, body, client, writer, source).await.0
                }
                Err(error) if error.may_retry => Transfer::Stale(error.error.into_failure(Side::Upstream)),
                Err(error) => Transfer::Failed(error.error.into_failure(Side::Upstream)),
            }
        }
    }
}

/// Carries the request's body up and the response down at the same time. Also says whether upstream's HTTP/1
/// connection can be used again.
async fn carry<'u, 'c>(
    cx: &Client,
    ledger: &Ledger,
    head: &RequestHead,
    body: &mut BodyReader<'c>,
    client: &mut Option<Responder<'c>>,
    mut to_upstream: Writer<'u>,
    source: ResponseReader<'u>,
) -> (Transfer, bool) {
    let state = Upload::default();
    let got = {
        let mut up = pin!(upload(cx, ledger, &state, body, &mut to_upstream));
        let mut down = pin!(download(cx, ledger, head, source, client));
        let got = tokio::select! {
            biased;
            failure = &mut up => Err((failure, false)),
            got = &mut down => got,
        };
        if matches!(got, Ok(Download::Whole { .. })) && !ledger.is_request_done() {
            // The response came before the request's end. A client that was told not to send (RFC 9110 section
            // 10.1.1) will not go on; others get a while.
            let waits = head.headers.has_token("expect", "100-continue") && !state.has_begun();
            if !waits {
                let settled = poll_fn(|task| match up.poll_unpin(task) {
                    Poll::Pending if !ledger.is_request_done() && !state.is_refused() => Poll::Pending,
                    _ => Poll::Ready(()),
                });
                let _ = timeout(LINGER, settled).await;
            }
        }
        got
    };
    match got {
        Ok(Download::Whole { outcome, keep_client, keep_upstream }) => {
            let done = ledger.is_request_done() && !state.is_refused();
            if !done {
                to_upstream.reset(code::CANCEL);
            }
            let afterwards = if keep_client && done { Afterwards::KeepAlive } else { Afterwards::Close };
            (Transfer::Over(Ended { outcome, afterwards }), keep_upstream && done)
        }
        Ok(Download::Upgraded { from_upstream, to_client, tap }) => {
            let outcome =
                relay::relay(&cx.engine.timeouts, ledger, body, to_upstream, from_upstream, to_client, tap)
                    .await;
            (Transfer::Over(Ended { outcome, afterwards: Afterwards::Close }), false)
        }
        Err((failure, stale)) => {
            to_upstream.reset(code::CANCEL);
            (if stale { Transfer::Stale(failure) } else { Transfer::Failed(failure) }, false)
        }
    }
}

/// Waits for a client that closed its sending half, then gives it up.
pub(crate) async fn given_up(error: Result<(), WireError>, patience: Duration) -> Failure {
    match error {
        Err(error) => error.into_failure(Side::Client),
        Ok(()) => {
            sleep(patience).await;
            let detail =
                format!("it had closed its sending half, and no response was whole {patience:?} later");
            Failure::new(FailureKind::ClientLeft, detail)
        }
    }
}

/// The status of the error page for a failure.
pub(crate) fn error_status(failure: &Failure) -> StatusCode {
    match failure.kind {
        FailureKind::ConnectTimeout | FailureKind::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        FailureKind::Loop => StatusCode::LOOP_DETECTED,
        FailureKind::ClientMalformed => StatusCode::BAD_REQUEST,
        FailureKind::ClientTimeout => StatusCode::REQUEST_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    }
}
