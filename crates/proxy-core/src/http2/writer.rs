//! Writing a body, as fast as the peer's windows open.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::timeout;

use super::{
    fault::closed,
    fields::{self, Host},
    frame::code,
    handle::Handle,
};
use crate::{
    head::Headers,
    wire::{WireError, WireErrorKind},
};

/// Whether a head is the whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyToCome {
    /// The head ends the stream.
    No,
    /// A body, trailers, or an empty end follow.
    Yes,
}

/// Whether the end follows at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    No,
    Yes,
}

/// The outgoing half of a stream. Dropping it before its end leaves the peer waiting until the stream's other
/// handles are dropped, too; [`reset`](Self::reset) is the clear word.
#[derive(Debug)]
pub(crate) struct Writer {
    stream: Handle,
    ended: bool,
    patience: Duration,
}

impl Writer {
    /// `patience` is how long the peer may leave its window shut.
    pub(super) fn new(stream: Handle, body: BodyToCome, patience: Duration) -> Self {
        Self { stream, ended: body == BodyToCome::No, patience }
    }

    /// Hands bytes over, split as the windows allow, and waits until the last of them is in the send buffer.
    ///
    /// Not cancel safe: dropped early, a part of `data` may be on its way, and the rest is lost.
    ///
    /// # Errors
    ///
    /// The peer's reset with its code, the connection's end, or a window that stays shut for too long. A server
    /// that has answered in full and wants no more of the request resets with NO_ERROR (RFC 9113 section 8.1): its
    /// response can still be read.
    pub(crate) async fn data(&mut self, data: Bytes) -> Result<(), WireError> {
        self.hand_over(data, Last::No).await
    }

    /// How much can be handed over, once that is anything.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<usize, WireError>> {
        self.stream.with(|core, id| core.poll_room(id, cx))
    }

    /// Hands over a part of `data`.
    pub(super) fn poll_data(
        &self,
        data: &mut Bytes,
        last: Last,
        cx: &Context<'_>,
    ) -> Poll<Result<(), WireError>> {
        self.stream.with(|core, id| core.poll_data(id, (data, last), cx))
    }

    async fn hand_over(&mut self, mut data: Bytes, last: Last) -> Result<(), WireError> {
        while !data.is_empty() {
            let handed_over = poll_fn(|cx| self.poll_data(&mut data, last, cx));
            match timeout(self.patience, handed_over).await {
                Ok(handed_over) => handed_over?,
                Err(_elapsed) => {
                    let detail = format!("the peer took nothing for {:?}", self.patience);
                    return Err(WireError::new(WireErrorKind::Timeout, detail));
                }
            }
        }
        Ok(())
    }

    /// As [`data`](Self::data) and [`end`](Self::end) without trailers, in one frame where it fits.
    ///
    /// # Errors
    ///
    /// As theirs.
    pub(crate) async fn last(&mut self, data: Bytes) -> Result<(), WireError> {
        if data.is_empty() {
            return self.end(None).await;
        }
        self.hand_over(data, Last::Yes).await?;
        self.ended = true;
        Ok(())
    }

    /// Ends the body, with trailers if there are any. What was handed over before is still written.
    ///
    /// # Errors
    ///
    /// As [`data`](Self::data), and trailers HTTP/2 cannot express.
    pub(crate) async fn end(&mut self, trailers: Option<&Headers>) -> Result<(), WireError> {
        self.finish(trailers)
    }

    /// As [`end`](Self::end).
    pub(super) fn finish(&mut self, trailers: Option<&Headers>) -> Result<(), WireError> {
        if self.ended {
            return Ok(());
        }
        let trailers = trailers.map(|trailers| fields::to_write(trailers, Host::Keep)).transpose()?;
        let trailers = trailers.filter(|trailers| !trailers.is_empty()).map(std::borrow::Cow::into_owned);
        self.stream.with(|core, id| core.put_end(id, trailers))?;
        self.ended = true;
        Ok(())
    }

    /// Resets the stream with this code, both directions. What was handed over and can be written at once still is;
    /// the rest is dropped.
    pub(crate) fn reset(&mut self, code: u32) {
        self.ended = true;
        self.stream.with(|core, id| core.break_off(id, code));
    }

    /// Waits until the peer resets the stream or the connection dies; pends for ever if neither happens, also
    /// after the stream's proper end.
    pub(crate) async fn gone(&mut self) -> WireError {
        poll_fn(|cx| self.stream.with(|core, id| core.poll_gone(id, cx))).await
    }
}

/// The error of a stream that we reset ourselves.
pub(super) fn reset_by_us(code: u32) -> WireError {
    closed(&format!("we reset the stream with {}", code::name(code)))
}
