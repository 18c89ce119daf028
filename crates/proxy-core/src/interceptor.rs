//! The joint between the engine and whoever changes traffic: decisions as data.

use std::fmt;

use bytes::Bytes;

use crate::{
    body::{BodyWish, WholeBody},
    event::ExchangeId,
    failure::Failure,
    head::{RequestHead, ResponseHead},
    observer::BoxFuture,
};

/// What an interceptor decides about a request or a response. Either an answer or an abort, never both. Its `Debug`
/// tells how long a body is, not what is in it.
#[derive(Clone)]
#[non_exhaustive]
pub enum Verdict {
    /// Go on, with the head as it now is.
    Continue,
    /// Answer with this instead; upstream is not asked, or its response is discarded.
    Respond {
        /// The head. `Content-Length` is put right by the engine.
        head: ResponseHead,
        /// The body.
        body: Bytes,
    },
    /// End the exchange without an answer: the client's connection or stream is reset.
    Abort(Failure),
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Continue => f.write_str("Continue"),
            Self::Respond { head, body } => f
                .debug_struct("Respond")
                .field("head", head)
                .field("body", &format_args!("<{} bytes>", body.len()))
                .finish(),
            Self::Abort(failure) => f.debug_tuple("Abort").field(failure).finish(),
        }
    }
}

/// Changes traffic. Called in the order interceptors were added, on the way up and on the way down; the first verdict
/// that is not [`Verdict::Continue`] ends the round.
///
/// For each message an interceptor sees the head, then says what it [wishes](BodyWish) of the body, and is called again
/// with that if it wants it whole.
///
/// Where a message ends is not theirs to change: `Content-Length` and `Transfer-Encoding` are put right for the body
/// that passes, and a response that becomes one without content loses its body. An interim (1xx) status as an answer,
/// or in place of a final one, is refused with a 502, and so is the exchange of an interceptor that panics. While one
/// decides, a client that leaves ends the exchange, and the future is dropped.
pub trait Interceptor: Send + Sync + 'static {
    /// Sees a request before upstream does, and may edit its head.
    ///
    /// Another `authority` or `scheme` sends it elsewhere, with `Host` put right, also out of a tunnel.
    fn request<'a>(&'a self, exchange: ExchangeId, head: &'a mut RequestHead) -> BoxFuture<'a, Verdict> {
        let _ = (exchange, head);
        Box::pin(std::future::ready(Verdict::Continue))
    }

    /// Says what it wants of the request's body, once [`request`](Self::request) let the head pass.
    fn request_body(&self, exchange: ExchangeId, head: &RequestHead) -> BodyWish {
        let _ = (exchange, head);
        BodyWish::Pass
    }

    /// Sees a request with the body it asked for [whole](BodyWish::Whole), and may edit both.
    fn whole_request<'a>(
        &'a self,
        exchange: ExchangeId,
        head: &'a mut RequestHead,
        body: &'a mut WholeBody,
    ) -> BoxFuture<'a, Verdict> {
        let _ = (exchange, head, body);
        Box::pin(std::future::ready(Verdict::Continue))
    }

    /// Sees a final response before the client does, and may edit its head.
    fn response<'a>(
        &'a self,
        exchange: ExchangeId,
        request: &'a RequestHead,
        head: &'a mut ResponseHead,
    ) -> BoxFuture<'a, Verdict> {
        let _ = (exchange, request, head);
        Box::pin(std::future::ready(Verdict::Continue))
    }

    /// Says what it wants of the response's body, once [`response`](Self::response) let the head pass. Not asked of
    /// responses that have none by their nature: to HEAD, 204, 304, and what switches protocols.
    fn response_body(&self, exchange: ExchangeId, request: &RequestHead, head: &ResponseHead) -> BodyWish {
        let _ = (exchange, request, head);
        BodyWish::Pass
    }

    /// Sees a response with the body it asked for [whole](BodyWish::Whole), and may edit both.
    fn whole_response<'a>(
        &'a self,
        exchange: ExchangeId,
        request: &'a RequestHead,
        head: &'a mut ResponseHead,
        body: &'a mut WholeBody,
    ) -> BoxFuture<'a, Verdict> {
        let _ = (exchange, request, head, body);
        Box::pin(std::future::ready(Verdict::Continue))
    }
}
