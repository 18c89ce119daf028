//! Writing a body, as fast as the peer's windows open.

use std::{
    future::poll_fn,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use tokio::time::timeout;

use super::{
    fault::{reset_error, wire_error},
    fields::{self, Host},
};
use crate::{
    head::Headers,
    wire::{WireError, WireErrorKind},
};

/// Room asked for at once; a window is never larger (RFC 9113 section 6.9.1).
const MAX_RESERVATION_BYTES: usize = (1 << 31) - 1;

/// Whether a head is the whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyToCome {
    /// The head ends the stream.
    No,
    /// A body, trailers, or an empty end follow.
    Yes,
}

/// The outgoing half of a stream. Dropping it before its end leaves the peer waiting until the stream's other
/// handles are dropped, too; [`reset`](Self::reset) is the clear word.
#[derive(Debug)]
pub(crate) struct Writer {
    stream: SendStream<Bytes>,
    ended: bool,
    patience: Duration,
}

impl Writer {
    /// `patience` is how long the peer may leave its window shut.
    pub(super) fn new(stream: SendStream<Bytes>, body: BodyToCome, patience: Duration) -> Self {
        Self { stream, ended: body == BodyToCome::No, patience }
    }

    /// Hands bytes over, split as the windows allow, and waits until the last of them is in the send buffer.
    ///
    /// Not cancel safe: dropped early, a part of `data` may be on its way, and the rest is lost.
    ///
    /// # Errors
    ///
    /// The peer's reset with its code, the connection's end, or a window that stays shut for too long. A server that has answered in full and wants no
    /// more of the request resets with NO_ERROR (RFC 9113 section 8.1): its response can still be read.
    pub(crate) async fn data(&mut self, mut data: Bytes) -> Result<(), WireError> {
        while !data.is_empty() {
            let room = self.room_for(data.len()).await?;
            let part = data.split_to(room.min(data.len()));
            if let Err(error) = self.stream.send_data(part, false) {
                return Err(self.why(error));
            }
        }
        Ok(())
    }

    /// As [`data`](Self::data) and [`end`](Self::end) without trailers, in one frame where it fits.
    ///
    /// # Errors
    ///
    /// As theirs.
    pub(crate) async fn last(&mut self, mut data: Bytes) -> Result<(), WireError> {
        while !data.is_empty() {
            let room = self.room_for(data.len()).await?;
            let part = data.split_to(room.min(data.len()));
            if let Err(error) = self.stream.send_data(part, data.is_empty()) {
                return Err(self.why(error));
            }
            self.ended = data.is_empty();
        }
        self.end(None).await
    }

    /// Ends the body, with trailers if there are any. What was handed over before is still written.
    ///
    /// # Errors
    ///
    /// As [`data`](Self::data), and trailers HTTP/2 cannot express.
    pub(crate) async fn end(&mut self, trailers: Option<&Headers>) -> Result<(), WireError> {
        if self.ended {
            return Ok(());
        }
        let trailers = trailers.map(|trailers| fields::to_write(trailers, Host::Keep)).transpose()?;
        let sent = match trailers {
            Some(map) if !map.is_empty() => self.stream.send_trailers(map),
            _ => self.stream.send_data(Bytes::new(), true),
        };
        if let Err(error) = sent {
            return Err(self.why(error));
        }
        self.ended = true;
        Ok(())
    }

    /// Resets the stream with this code, both directions. What was handed over and not yet written is dropped.
    pub(crate) fn reset(&mut self, code: u32) {
        self.ended = true;
        self.stream.send_reset(Reason::from(code));
    }

    /// Waits until the peer resets the stream or the connection dies; pends for ever if neither happens, also
    /// after the stream's proper end.
    pub(crate) async fn gone(&mut self) -> WireError {
        match poll_fn(|cx| self.stream.poll_reset(cx)).await {
            Ok(reason) => reset_error(reason),
            Err(error) => wire_error(error),
        }
    }

    /// Waits until some of `wanted` bytes may be handed over, and says how many.
    async fn room_for(&mut self, wanted: usize) -> Result<usize, WireError> {
        let granted = Reservation::new(&mut self.stream, wanted).granted();
        match timeout(self.patience, granted).await {
            Ok(Some(Ok(room))) => Ok(room),
            Ok(Some(Err(error))) => Err(self.why(error)),
            Ok(None) => Err(self.why_closed()),
            Err(_elapsed) => {
                let detail = format!("the peer took nothing for {:?}", self.patience);
                Err(WireError::new(WireErrorKind::Timeout, detail))
            }
        }
    }

    /// The stream's reset or the connection's death where there is one, else `error`.
    fn why(&mut self, error: h2::Error) -> WireError {
        peek_reset(|cx| self.stream.poll_reset(cx)).unwrap_or_else(|| wire_error(error))
    }

    fn why_closed(&mut self) -> WireError {
        peek_reset(|cx| self.stream.poll_reset(cx))
            .unwrap_or_else(|| WireError::new(WireErrorKind::Closed, "the stream is closed for sending"))
    }
}

/// Looks whether a stream was reset, without waiting. The waker `h2` keeps is the one of whoever holds the handle,
/// and nobody waits on it while this borrows it.
pub(super) fn peek_reset(
    poll: impl FnOnce(&mut Context<'_>) -> Poll<Result<Reason, h2::Error>>,
) -> Option<WireError> {
    match poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(reason)) => Some(reset_error(reason)),
        Poll::Ready(Err(error)) => Some(wire_error(error)),
        Poll::Pending => None,
    }
}

/// A request for room in the peer's windows. Dropped before it is granted, it gives back what it holds of the
/// connection's window, which other streams may need.
struct Reservation<'a> {
    stream: &'a mut SendStream<Bytes>,
    granted: bool,
}

impl<'a> Reservation<'a> {
    fn new(stream: &'a mut SendStream<Bytes>, wanted: usize) -> Self {
        stream.reserve_capacity(wanted.min(MAX_RESERVATION_BYTES));
        Self { stream, granted: false }
    }

    /// `None` when the stream takes no more data.
    async fn granted(mut self) -> Option<Result<usize, h2::Error>> {
        let room = match self.stream.capacity() {
            0 => poll_fn(|cx| self.stream.poll_capacity(cx)).await,
            room => Some(Ok(room)),
        };
        self.granted = matches!(room, Some(Ok(_)));
        room
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.granted {
            self.stream.reserve_capacity(0);
        }
    }
}
