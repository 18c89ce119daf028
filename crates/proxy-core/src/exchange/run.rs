//! The life of a request: head, interceptors, upstream, head, interceptors, client.

use std::{
    borrow::Cow,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use http::Method;
use tokio::time::timeout;

use super::{
    broken::Broken,
    desk::{Cleared, Desk, Leaves},
    download::{Download, Downloaded},
    flow::Passage,
    forward::{self, Leg, Shape},
    intercept::{self, Passing, Ruling},
    ledger::Ledger,
    local::{self, Answer},
    patience::client_gone,
    relay::{Ends, Followed, relay},
    ruled::Ruled,
    upload::{Upload, hold, upload},
};
use crate::{
    client::Client,
    engine::SETUP_HOST,
    event::{ClientFacts, Direction, Outcome},
    failure::{Failure, FailureKind, Side},
    head::RequestHead,
    http1::Encoding,
    http2::{self, BodyToCome, PROTOCOL, SendError},
    leg::{BodyReader, Responder, ResponseReader, Writer, code},
    setup_page,
    upstreams::{Http1Connection, Lease, Leased},
    wire::WireErrorKind,
};

/// How long a client may go on sending a body after it has its whole response; then its connection is closed.
const LINGER: Duration = Duration::from_secs(5);

/// A request whose head was read.
pub(crate) struct Arrived<'c> {
    /// The client connection, with the user who proved to be the one asking.
    pub(crate) facts: Arc<ClientFacts>,
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
    /// Close so that the client sees that something is missing.
    Cut,
    /// Close the client's whole connection, in either version, once what else it carries is over.
    CloseConnection,
    /// Reset the client's whole TCP connection, in either version, at once.
    ResetConnection,
}

/// An exchange that is over.
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) afterwards: Afterwards,
}

impl Ended {
    pub(crate) fn failed(failure: Failure) -> Self {
        Self { outcome: Outcome::Failed(failure), afterwards: Afterwards::Cut }
    }
}

/// Runs one exchange from its request's head to its ending. Dropping the future ends it as cut short.
pub(crate) async fn run(cx: &Client, arrived: Arrived<'_>) -> Afterwards {
    let ledger = cx.engine.ledger(&arrived.facts, &arrived.head, arrived.head_bytes);
    let ended = conduct(cx, &ledger, arrived).await;
    ledger.end(ended.outcome);
    ended.afterwards
}

/// As [`run`], for an exchange whose account has begun and is closed by the caller.
pub(crate) async fn conduct(cx: &Client, ledger: &Ledger, arrived: Arrived<'_>) -> Ended {
    let Arrived { facts, head, mut body, shape, client, .. } = arrived;
    let mut client = Some(client);
    let desk = Desk {
        cx,
        ledger,
        facts: &facts,
        way: Direction::ToUpstream,
        leaves: Leaves::SeenByBody,
        body: &mut body,
        client: &mut client,
        shape,
        has_content: true,
        version: head.version,
        fields: &head.headers,
        flow: None,
        transformers: Vec::new(),
        faults: Vec::new(),
    };
    let ruling = decide(&head, desk).await;
    match (ruling, client) {
        (Ruling::Pass(Passing { head: sent, ruled, body: cleared }), client) => {
            let asked = &head;
            let exchange = Exchange { cx, ledger, asked, sent: &sent, body, cleared, ruled, client };
            exchange.forward().await
        }
        (Ruling::Answer(answer), Some(client)) => {
            Box::pin(local::answer(ledger, &head, &mut body, client, answer)).await
        }
        (Ruling::Refuse(failure), Some(client)) => {
            Box::pin(local::refuse(ledger, &head, &mut body, client, failure)).await
        }
        (Ruling::Abort(failure, afterwards), Some(mut client)) => {
            client.reset(code::CANCEL);
            Ended { outcome: Outcome::Failed(failure), afterwards }
        }
        // Nothing takes the client before this.
        (_, None) => Ended::failed(Failure::new(FailureKind::ClientLeft, "")),
    }
}

/// Asks whoever may answer before upstream does: the set-up page, the rules, then the interceptors in their order.
async fn decide<'h>(head: &'h RequestHead, desk: Desk<'_, '_, '_>) -> Ruling<Passing<Cow<'h, RequestHead>>> {
    let Client { engine, .. } = desk.cx;
    if head.host().eq_ignore_ascii_case(SETUP_HOST) {
        let (page, body) = setup_page::respond(&engine.ca, engine.local, &head.method, &head.target);
        return Ruling::Answer(Answer::own(page, body));
    }
    if engine.interceptors.is_empty() && engine.changes.rules.is_idle() {
        let body = Cleared::untouched(desk.shape);
        return Ruling::Pass(Passing { head: Cow::Borrowed(head), ruled: None, body });
    }
    // Boxed, so that exchanges nobody touches do not carry its state about.
    Box::pin(intercept::request(&engine.interceptors, head, desk)).await
}

/// An exchange on its way to upstream and back.
struct Exchange<'x, 'c> {
    cx: &'x Client,
    ledger: &'x Ledger,
    /// The request as the client sent it.
    asked: &'x RequestHead,
    /// The request as it is now.
    sent: &'x RequestHead,
    body: BodyReader<'c>,
    cleared: Cleared,
    ruled: Option<Box<Ruled>>,
    /// Taken when the final head is put: from then on an error page is too late.
    client: Option<Responder<'c>>,
}

/// What became of one request on one upstream connection.
enum Transfer {
    Over(Ended),
    Failed(Failure),
    /// Upstream closed before anything of a response came.
    Stale(Failure),
}

impl Exchange<'_, '_> {
    /// Gets the response from upstream, or tells the client why there is none.
    async fn forward(mut self) -> Ended {
        let attempted = self.attempt().await;
        if let Some(ruled) = &mut self.ruled {
            ruled.notes.tell(self.ledger);
        }
        let failure = match attempted {
            Ok(ended) => return ended,
            Err(failure) => failure,
        };
        self.ledger.failed_upstream(&failure);
        match self.client {
            // Nobody waits for an error page.
            Some(mut client) if failure.kind == FailureKind::ClientLeft => {
                client.reset(code::CANCEL);
                Ended::failed(failure)
            }
            Some(client) => {
                Box::pin(local::refuse(self.ledger, self.asked, &mut self.body, client, failure)).await
            }
            None => Ended::failed(failure),
        }
    }

    /// Sends the request. A connection that was closed under us before anything came is replaced once, as long as
    /// nothing of the request is lost with it (RFC 9110 section 9.2.2, RFC 9113 section 8.7).
    async fn attempt(&mut self) -> Result<Ended, Failure> {
        let Client { engine, upstreams, .. } = self.cx;
        let to = self.cx.destination(self.asked, self.sent);
        let leased = self.unless_client_leaves(upstreams.lease(engine, &to, self.sent)).await?;
        let is_empty = self.cleared.received == Shape::Empty && self.cleared.shape == Shape::Empty;
        let replaceable = leased.reused && is_empty && self.sent.method.is_idempotent();
        match self.transfer(leased).await {
            Transfer::Over(ended) => return Ok(ended),
            Transfer::Stale(_) if replaceable => {}
            Transfer::Stale(failure) | Transfer::Failed(failure) => return Err(failure),
        }
        let fresh = Box::pin(upstreams.lease_fresh(engine, &to, self.sent));
        let fresh = self.unless_client_leaves(fresh).await?;
        match self.transfer(fresh).await {
            Transfer::Over(ended) => Ok(ended),
            Transfer::Stale(failure) | Transfer::Failed(failure) => Err(failure),
        }
    }

    /// Waits for a connection to upstream for as long as there is somebody to answer.
    async fn unless_client_leaves(
        &mut self,
        leasing: impl Future<Output = Result<Leased, Failure>>,
    ) -> Result<Leased, Failure> {
        tokio::select! {
            biased;
            leased = leasing => leased,
            broken = client_gone(&self.cx.engine.timeouts, &mut self.body, &mut self.client) => Err(broken.failure),
        }
    }

    /// Sends the request on a leased connection, and carries the response, or what the exchange was upgraded to.
    async fn transfer(&mut self, leased: Leased) -> Transfer {
        let Leased { lease, reused, dialled } = leased;
        match lease {
            Lease::Http1(connection) => {
                self.ledger.upstream(&connection.facts, reused, dialled);
                self.over_http1(connection).await
            }
            Lease::Http2(upstream, facts, _in_use) => {
                self.ledger.upstream(&facts, reused, dialled);
                self.over_http2(&upstream).await
            }
        }
    }

    /// The request as upstream is to see it: it may name another host than where it goes.
    fn outward(&self) -> Cow<'_, RequestHead> {
        let mut out = self.cx.outward(self.asked, self.sent);
        if self.ruled.as_ref().is_some_and(|ruled| ruled.keeps_host) {
            out.to_mut().authority.clone_from(&self.asked.authority);
        }
        out
    }

    async fn over_http1(&mut self, mut connection: Box<Http1Connection>) -> Transfer {
        let sent = self.outward();
        let (out, encoding) = forward::request(&sent, self.cleared.shape, Leg::Http1);
        if let Err(error) = connection.put_request(out) {
            return Transfer::Failed(error.into_failure(Side::Client));
        }
        connection.writer.begin(encoding);
        let parent = connection.answering_parent();
        let max_trailer_bytes = self.cx.engine.limits.max_head_bytes;
        let Http1Connection { reader, alarm, writer, .. } = &mut *connection;
        let source = ResponseReader::Http1 { reader, alarm, max_trailer_bytes, parent };
        let (transfer, reusable) = self.carry(Writer::Http1(writer), source).await;
        if reusable && connection.writer.is_clean() && connection.reader.buffered().is_empty() {
            self.cx.upstreams.give_back(connection);
        }
        transfer
    }

    async fn over_http2(&mut self, upstream: &http2::Upstream) -> Transfer {
        let sent = self.outward();
        let (out, encoding) = forward::request(&sent, self.cleared.shape, Leg::Http2);
        let to_come = if encoding == Encoding::None { BodyToCome::No } else { BodyToCome::Yes };
        let protocol = sent.headers.get_str(PROTOCOL);
        match upstream.send(&out, protocol, to_come).await {
            Ok((writer, source)) => self.carry(Writer::Http2(writer), ResponseReader::Http2(source)).await.0,
            Err(SendError { error, may_retry }) => {
                // Before anything is sent only the head can be at fault: one that HTTP/2 cannot express.
                let unsendable = error.kind == WireErrorKind::Malformed && !may_retry;
                let failure = error.into_failure(if unsendable { Side::Client } else { Side::Upstream });
                if may_retry { Transfer::Stale(failure) } else { Transfer::Failed(failure) }
            }
        }
    }

    /// Carries the request's body up and the response down at the same time. Also says whether upstream's HTTP/1
    /// connection can be used again.
    async fn carry<'u>(
        &mut self,
        mut to_upstream: Writer<'u>,
        source: ResponseReader<'u>,
    ) -> (Transfer, bool) {
        let Self { cx, ledger, asked, sent, body, client, cleared, ruled, .. } = self;
        let timeouts = &cx.engine.timeouts;
        let state = Upload::default();
        let got = {
            let passage = Passage { timeouts, ledger, way: Direction::ToUpstream, upload: &state };
            let opens_stream = sent.method == Method::CONNECT && matches!(to_upstream, Writer::Http2(_));
            let mut up = pin!(async {
                match opens_stream {
                    true => hold(passage, body).await,
                    false => upload(passage, cleared.flow.as_deref_mut(), body, &mut to_upstream).await,
                }
            });
            let down = Download { cx, ledger, asked, sent, upload: &state };
            let mut down = pin!(down.run(source, client, ruled.as_deref_mut()));
            let got = tokio::select! {
                biased;
                broken = &mut up => Err(broken),
                got = &mut down => got,
            };
            match got {
                Ok(left @ Downloaded::Left(_)) => Ok(left),
                Ok(whole @ Downloaded::Whole { .. }) => {
                    // However it ends, the client's connection is closed if the request is not whole by then.
                    let _ = timeout(LINGER, settled(&state, up)).await;
                    Ok(whole)
                }
                // What follows the request's body is another protocol, so that has to be whole first.
                Ok(upgraded @ Downloaded::Upgraded { .. }) => match settled(&state, up).await {
                    None => Ok(upgraded),
                    Some(broken) => Err(broken),
                },
                Err(broken) => Err(broken),
            }
        };
        match got {
            Ok(Downloaded::Whole { outcome, keep_client, keep_upstream }) => {
                let done = state.is_sent();
                if !done {
                    to_upstream.reset(code::CANCEL);
                }
                let afterwards = if keep_client && done { Afterwards::KeepAlive } else { Afterwards::Close };
                (Transfer::Over(Ended { outcome, afterwards }), keep_upstream && done)
            }
            Ok(Downloaded::Left(ended)) => {
                to_upstream.reset(code::CANCEL);
                (Transfer::Over(ended), false)
            }
            Ok(Downloaded::Upgraded { from_upstream, to_client, tap, pace }) => {
                let mut followed = Followed::untouched(tap);
                followed.down.pace = pace;
                let upstream = Ends { reader: from_upstream, writer: to_upstream };
                (Transfer::Over(Box::pin(self.upgraded(to_client, upstream, followed)).await), false)
            }
            Err(Broken { failure, stale, code }) => {
                to_upstream.reset(code);
                (if stale { Transfer::Stale(failure) } else { Transfer::Failed(failure) }, false)
            }
        }
    }

    /// Carries what the exchange was upgraded to, to its end.
    async fn upgraded(&mut self, to_client: Writer<'_>, upstream: Ends<'_>, mut followed: Followed) -> Ended {
        let Client { engine, .. } = self.cx;
        let from_client = std::mem::replace(&mut self.body, BodyReader::Spent);
        let client = Ends { reader: from_client, writer: to_client };
        followed.up.pace = self.cleared.flow.take().map(|flow| flow.pace).unwrap_or_default();
        if let Some(ruled) = &mut self.ruled {
            ruled.follow(&mut followed, engine.limits.max_recorded_message_bytes);
        }
        let outcome = relay(&engine.timeouts, self.ledger, client, upstream, followed).await;
        let failed = matches!(outcome, Outcome::Failed(_));
        Ended { outcome, afterwards: if failed { Afterwards::Cut } else { Afterwards::Close } }
    }
}

/// Lets a client go on that has its response before it sent its whole request, until it has, or upstream takes no
/// more of it. One that was told not to send (RFC 9110 section 10.1.1) will not, and is not waited for. Gives what
/// broke it off.
async fn settled(state: &Upload, mut up: Pin<&mut impl Future<Output = Broken>>) -> Option<Broken> {
    let is_settled = || state.is_sent() || state.is_refused() || state.is_withheld();
    if is_settled() {
        return None;
    }
    poll_fn(|task| match up.as_mut().poll(task) {
        Poll::Ready(broken) => Poll::Ready(Some(broken)),
        Poll::Pending if is_settled() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}
