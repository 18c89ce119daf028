//! Reading a body, with the peer's window opened only as pieces are used up.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use super::handle::Handle;
use crate::wire::{Piece, WireError};

/// The incoming half of a stream.
///
/// A piece's share of the windows is given back when the next piece is asked for, so the peer sends no further
/// than one stream window ahead of whoever reads. Dropping it early gives back what it holds of the connection's
/// window, throws away what still arrives, and lets no more come; the stream itself is cancelled when its writer is gone, too.
#[derive(Debug)]
pub(crate) struct BodyReader {
    stream: Handle,
}

impl BodyReader {
    pub(super) fn new(stream: Handle) -> Self {
        Self { stream }
    }

    /// Tells whether nothing comes any more: after the last piece, or at once when the head ended the stream.
    pub(crate) fn is_at_end(&self) -> bool {
        self.stream.with(|core, id| core.is_body_over(id))
    }

    /// As [`piece`](Self::piece).
    pub(super) fn poll_piece(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Piece>, WireError>> {
        self.stream.with(|core, id| core.poll_piece(id, cx))
    }

    /// Waits for the next piece; `None` at the body's proper end, and from then on.
    ///
    /// # Errors
    ///
    /// A reset with its code, the connection's end, a body that is not as long as its `Content-Length` said, or
    /// trailers that are malformed or over the limits. Pieces received before are given out first.
    pub(crate) async fn piece(&mut self) -> Result<Option<Piece>, WireError> {
        poll_fn(|cx| self.poll_piece(cx)).await
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        self.stream.with(|core, id| core.stop_reading(id));
    }
}
