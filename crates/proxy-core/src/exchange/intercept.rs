//! Asks the interceptors, and holds what they decide to what HTTP can say.

use std::{borrow::Cow, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;

use super::local::Answer;
use crate::{
    event::{ExchangeId, ResponseSource},
    failure::{Failure, FailureKind},
    head::{RequestHead, ResponseHead},
    interceptor::{Interceptor, Verdict},
};

/// What is to become of a head.
pub(super) enum Ruling<H> {
    /// It passes, as it now is.
    Pass(H),
    /// This is the answer instead.
    Answer(Answer),
    /// The client gets an error page.
    Refuse(Failure),
    /// The client gets nothing.
    Abort(Failure),
}

/// Asks about a request, in the interceptors' order.
pub(super) async fn request<'h>(
    interceptors: &[Box<dyn Interceptor>],
    exchange: ExchangeId,
    asked: &'h RequestHead,
) -> Ruling<Cow<'h, RequestHead>> {
    let mut head = Cow::Borrowed(asked);
    for interceptor in interceptors {
        if let Some(ruling) = ask(async { interceptor.request(exchange, head.to_mut()).await }).await {
            return ruling;
        }
    }
    if head.authority != asked.authority && head.headers.contains("host") {
        let head = head.to_mut();
        head.headers.set("host", head.authority.clone());
    }
    Ruling::Pass(head)
}

/// Asks about a response, in the interceptors' order.
pub(super) async fn response(
    interceptors: &[Box<dyn Interceptor>],
    exchange: ExchangeId,
    request: &RequestHead,
    received: &Arc<ResponseHead>,
) -> Ruling<Arc<ResponseHead>> {
    let mut head = received.clone();
    for interceptor in interceptors {
        let edited = Arc::make_mut(&mut head);
        if let Some(ruling) = ask(async { interceptor.response(exchange, request, edited).await }).await {
            return ruling;
        }
    }
    if head.status.is_informational() && head.status != received.status {
        return Ruling::Refuse(aborted("an interceptor made an interim response of the final one"));
    }
    Ruling::Pass(head)
}

/// What a verdict ends the round with, if it does. An interceptor that panics ends its own exchange only.
async fn ask<H>(verdict: impl Future<Output = Verdict>) -> Option<Ruling<H>> {
    match AssertUnwindSafe(verdict).catch_unwind().await {
        Ok(Verdict::Continue) => None,
        Ok(Verdict::Respond { head, .. }) if head.status.is_informational() => {
            Some(Ruling::Refuse(aborted("an interceptor answered with an interim response")))
        }
        Ok(Verdict::Respond { head, body }) => {
            Some(Ruling::Answer(Answer { head, body, source: ResponseSource::Mock }))
        }
        Ok(Verdict::Abort(failure)) => Some(Ruling::Abort(failure)),
        Err(_panic) => Some(Ruling::Refuse(aborted("an interceptor panicked"))),
    }
}

fn aborted(detail: &str) -> Failure {
    Failure::new(FailureKind::Aborted, detail)
}
