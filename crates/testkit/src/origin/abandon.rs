//! Bodies that tell when their reader goes away before the end.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::State;
use crate::body::Body;

/// Wraps `body` so that dropping it unfinished is counted.
pub(super) fn watched(body: Body, state: Arc<State>) -> Body {
    Watched { body, state, finished: false }.boxed()
}

struct Watched {
    body: Body,
    state: Arc<State>,
    finished: bool,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.finished = true;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.finished && !self.body.is_end_stream() {
            self.state.count(|counts| counts.abandoned += 1);
        }
    }
}
