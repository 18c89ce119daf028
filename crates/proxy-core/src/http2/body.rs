//! Reading a body, with the peer's window opened only as pieces are used up.

use h2::RecvStream;
use http::HeaderMap;

use super::{
    fault::wire_error,
    fields::{self, SectionLimits},
};
use crate::wire::{Piece, WireError};

/// The incoming half of a stream.
///
/// A piece's share of the windows is given back when the next piece is asked for, so the peer sends no further
/// than one stream window ahead of whoever reads. Dropping it early gives back what it holds and throws away what
/// still arrives; the stream itself is cancelled when its writer is gone, too.
#[derive(Debug)]
pub(crate) struct BodyReader {
    stream: RecvStream,
    limits: SectionLimits,
    held_bytes: usize,
    next: Next,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Data,
    Trailers,
    Nothing,
}

impl BodyReader {
    /// `limits` are those of the trailers.
    pub(super) fn new(stream: RecvStream, limits: SectionLimits) -> Self {
        Self { stream, limits, held_bytes: 0, next: Next::Data }
    }

    /// Tells whether nothing comes any more: after the last piece, or at once when the head ended the stream.
    pub(crate) fn is_at_end(&self) -> bool {
        self.next == Next::Nothing || self.stream.is_end_stream()
    }

    /// Waits for the next piece; `None` at the body's proper end, and from then on.
    ///
    /// # Errors
    ///
    /// A reset with its code, the connection's end, a body that is not as long as its `Content-Length` said, or
    /// trailers over the limits. Pieces received before a reset are given out first.
    pub(crate) async fn piece(&mut self) -> Result<Option<Piece>, WireError> {
        self.release();
        while self.next == Next::Data {
            match self.stream.data().await {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    self.held_bytes = data.len();
                    return Ok(Some(Piece::Data(data)));
                }
                Some(Err(error)) => return Err(wire_error(error)),
                None => self.next = Next::Trailers,
            }
        }
        if self.next == Next::Nothing {
            return Ok(None);
        }
        let trailers = self.stream.trailers().await.map_err(wire_error)?;
        self.next = Next::Nothing;
        match trailers {
            Some(map) if !map.is_empty() => self.trailers(&map).map(Some),
            _ => Ok(None),
        }
    }

    fn trailers(&self, map: &HeaderMap) -> Result<Piece, WireError> {
        self.limits.check(fields::map_bytes(map), map.len())?;
        Ok(Piece::Trailers(fields::received(map)))
    }

    /// Gives the last piece's share of the windows back. Fails only on a stream that is over, where it is moot.
    fn release(&mut self) {
        let bytes = std::mem::take(&mut self.held_bytes);
        if bytes > 0 {
            let _ = self.stream.flow_control().release_capacity(bytes);
        }
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        self.release();
    }
}
