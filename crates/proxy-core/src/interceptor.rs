//! The joint between the engine and whoever changes traffic: decisions as data.

use bytes::Bytes;

use crate::{
    event::ExchangeId,
    failure::Failure,
    head::{RequestHead, ResponseHead},
    observer::BoxFuture,
};

/// What an interceptor decides about a request or a response. Either an answer or an abort, never both.
#[derive(Clone, Debug)]
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

/// Changes traffic. Called once per head, in the order interceptors were added; the first that does not say
/// [`Verdict::Continue`] ends the round.
pub trait Interceptor: Send + Sync + 'static {
    /// Sees a request before upstream does, and may edit its head.
    fn request<'a>(&'a self, exchange: ExchangeId, head: &'a mut RequestHead) -> BoxFuture<'a, Verdict> {
        let _ = (exchange, head);
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
}
