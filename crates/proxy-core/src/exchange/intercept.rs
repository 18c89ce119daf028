//! Asks the interceptors, and holds what they decide to what HTTP can say.

use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures_util::FutureExt;

use super::{
    desk::{Cleared, Desk, Pieces, aborted},
    local::Answer,
    ruled::{self, Ruled},
    run::Afterwards,
};
use crate::{
    body::{BodyWish, WholeBody},
    event::ResponseSource,
    failure::{Failure, FailureKind},
    head::{RequestHead, ResponseHead},
    interceptor::{Interceptor, Verdict},
};

/// What is to become of a message.
pub(super) enum Ruling<H> {
    /// It passes, as it now is.
    Pass(H),
    /// This is the answer instead.
    Answer(Answer),
    /// The client gets an error page.
    Refuse(Failure),
    /// The client gets nothing, and this becomes of its connection.
    Abort(Failure, Afterwards),
}

/// A message on its way, with what its body goes through.
pub(super) struct Passing<H> {
    pub(super) head: H,
    /// Its way through the rules, where they have a say.
    pub(super) ruled: Option<Box<Ruled>>,
    pub(super) body: Cleared,
}

/// What ended a round early.
pub(super) type Ended<T> = Result<T, Ruling<std::convert::Infallible>>;

impl Ruling<std::convert::Infallible> {
    /// The same for a message of whatever kind.
    pub(super) fn of<H>(self) -> Ruling<H> {
        match self {
            Self::Pass(never) => match never {},
            Self::Answer(answer) => Ruling::Answer(answer),
            Self::Refuse(failure) => Ruling::Refuse(failure),
            Self::Abort(failure, afterwards) => Ruling::Abort(failure, afterwards),
        }
    }
}

/// Asks about a request: the rules, then the interceptors in their order.
pub(super) async fn request<'h>(
    interceptors: &[Box<dyn Interceptor>],
    asked: &'h RequestHead,
    mut desk: Desk<'_, '_, '_>,
) -> Ruling<Passing<Cow<'h, RequestHead>>> {
    let mut head = Cow::Borrowed(asked);
    let ruled = match ruled::request(asked, &mut head, &mut desk).await {
        Ok(ruled) => ruled,
        Err(ruling) => return ruling.of(),
    };
    for interceptor in interceptors {
        if let Err(ruling) = one_request(&**interceptor, &mut head, &mut desk).await {
            return ruling.of();
        }
    }
    let keeps_host = ruled.as_ref().is_some_and(|ruled| ruled.keeps_host);
    if head.authority != asked.authority && !keeps_host && head.headers.contains("host") {
        let head = head.to_mut();
        head.headers.set("host", head.authority.clone());
    }
    match desk.clear(|| &mut head.to_mut().headers).await {
        Ok(body) => Ruling::Pass(Passing { head, ruled, body }),
        Err(failure) => Ruling::Refuse(failure),
    }
}

async fn one_request(
    interceptor: &dyn Interceptor,
    head: &mut Cow<'_, RequestHead>,
    desk: &mut Desk<'_, '_, '_>,
) -> Ended<()> {
    let exchange = desk.ledger.exchange();
    ask(desk, async { interceptor.request(exchange, head.to_mut()).await }).await?;
    let wish = catch_unwind(AssertUnwindSafe(|| interceptor.request_body(exchange, head)));
    let Some(mut body) = fulfil(wish.map_err(|_panic| panicked())?, desk).await? else { return Ok(()) };
    ask(desk, async { interceptor.whole_request(exchange, head.to_mut(), &mut body).await }).await?;
    desk.replace(body.into_replaced());
    Ok(())
}

/// Asks about a response: the rules, then the interceptors in their order.
pub(super) async fn response(
    ruled: Option<&mut Ruled>,
    request: &RequestHead,
    received: &Arc<ResponseHead>,
    mut desk: Desk<'_, '_, '_>,
) -> Ruling<Passing<Arc<ResponseHead>>> {
    let interceptors = &desk.cx.engine.interceptors;
    let mut head = received.clone();
    if let Some(ruled) = ruled
        && let Err(ruling) = ruled.response(request, received, &mut head, &mut desk).await
    {
        return ruling.of();
    }
    for interceptor in interceptors {
        if let Err(ruling) = one_response(&**interceptor, request, Arc::make_mut(&mut head), &mut desk).await
        {
            return ruling.of();
        }
    }
    if head.status.is_informational() && head.status != received.status {
        return Ruling::Refuse(aborted("a rule or an interceptor made an interim response of the final one"));
    }
    match desk.clear(|| &mut Arc::make_mut(&mut head).headers).await {
        Ok(body) => Ruling::Pass(Passing { head, ruled: None, body }),
        Err(failure) => Ruling::Refuse(failure),
    }
}

async fn one_response(
    interceptor: &dyn Interceptor,
    request: &RequestHead,
    head: &mut ResponseHead,
    desk: &mut Desk<'_, '_, '_>,
) -> Ended<()> {
    let exchange = desk.ledger.exchange();
    ask(desk, async { interceptor.response(exchange, request, head).await }).await?;
    if !desk.has_content {
        return Ok(());
    }
    let wish = catch_unwind(AssertUnwindSafe(|| interceptor.response_body(exchange, request, head)));
    let Some(mut body) = fulfil(wish.map_err(|_panic| panicked())?, desk).await? else { return Ok(()) };
    ask(desk, async { interceptor.whole_response(exchange, request, head, &mut body).await }).await?;
    desk.replace(body.into_replaced());
    Ok(())
}

/// Gives what was wished of a body, if it is to be given now.
async fn fulfil(wish: BodyWish, desk: &mut Desk<'_, '_, '_>) -> Ended<Option<WholeBody>> {
    match wish {
        BodyWish::Pass => {}
        BodyWish::Whole { max_bytes } => return desk.whole(max_bytes).await.map(Some).map_err(broken),
        BodyWish::Pieces(transformer) => desk.transformers.push((Pieces::AsReceived, transformer)),
        BodyWish::DecodedPieces(transformer) => desk.transformers.push((Pieces::Decoded, transformer)),
    }
    Ok(None)
}

/// What a failure on the way means: nobody waits for an error page who left.
pub(super) fn broken<H>(failure: Failure) -> Ruling<H> {
    match failure.kind {
        FailureKind::ClientLeft => Ruling::Abort(failure, Afterwards::Cut),
        _ => Ruling::Refuse(failure),
    }
}

/// What a verdict ends the round with, if it does. An interceptor that panics ends its own exchange only.
async fn ask(desk: &mut Desk<'_, '_, '_>, verdict: impl Future<Output = Verdict>) -> Ended<()> {
    match desk.watched(AssertUnwindSafe(verdict).catch_unwind()).await {
        Ok(Ok(Verdict::Continue)) => Ok(()),
        Ok(Ok(Verdict::Respond { head, .. })) if head.status.is_informational() => {
            Err(Ruling::Refuse(aborted("an interceptor answered with an interim response")))
        }
        Ok(Ok(Verdict::Respond { head, body })) => {
            Err(Ruling::Answer(Answer { head, body, source: ResponseSource::Mock, flow: None }))
        }
        Ok(Ok(Verdict::Abort(failure))) => Err(Ruling::Abort(failure, Afterwards::Cut)),
        Ok(Err(_panic)) => Err(panicked()),
        Err(failure) => Err(broken(failure)),
    }
}

fn panicked<H>() -> Ruling<H> {
    Ruling::Refuse(aborted("an interceptor panicked"))
}
