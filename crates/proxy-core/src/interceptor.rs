//! The joint between the engine and whoever changes traffic: decisions as data.

use std::fmt;

use bytes::Bytes;

use crate::{
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

/// Changes traffic. Called once per head, in the order interceptors were added; the first that does not say
/// [`Verdict::Continue`] ends the round.
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
