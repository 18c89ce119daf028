//! The client side of an exchange that the proxy sends itself: no connection, but whoever waits for the response.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};

use super::request::SendBody;
use crate::{
    head::{Headers, ResponseHead},
    wire::{Piece, WireError, WireErrorKind},
};

/// Pieces of a response's body that lie ready for its reader; then upstream waits.
pub(super) const PARTS: usize = 4;

/// Learns that nobody waits for the response any more, or that it took too long.
#[derive(Clone)]
pub(crate) struct Waiting {
    /// Closed when the reader goes.
    waits: watch::Receiver<()>,
    deadline: Option<(Instant, Duration)>,
}

impl Waiting {
    pub(super) fn new(waits: watch::Receiver<()>, deadline: Option<(Instant, Duration)>) -> Self {
        Self { waits, deadline }
    }

    /// Resolves then. Cancel safe.
    pub(super) async fn over(&mut self) -> WireError {
        let left = async { while self.waits.changed().await.is_ok() {} };
        let late = async {
            match self.deadline {
                Some((deadline, patience)) => {
                    sleep_until(deadline).await;
                    format!("it gave up: no whole response within {patience:?}")
                }
                None => std::future::pending().await,
            }
        };
        let detail = tokio::select! {
            () = left => "nobody waits for the response any more".to_owned(),
            detail = late => detail,
        };
        WireError::new(WireErrorKind::Closed, detail)
    }
}

/// The request's body, as it is given.
pub(crate) struct OwnBody {
    body: SendBody,
    /// What is still to come of a length that was told.
    left: Option<u64>,
    is_over: bool,
    waiting: Waiting,
}

impl OwnBody {
    pub(super) fn new(body: SendBody, waiting: Waiting) -> Self {
        let left = if body.trailers().is_some() { None } else { body.length() };
        Self { body, left, is_over: false, waiting }
    }

    /// The next piece; `None` at the proper end, and from then on. Cancel safe.
    pub(crate) async fn piece(&mut self) -> Result<Option<Piece>, WireError> {
        while !self.is_over {
            let given = poll_fn(|task| self.body.poll_piece(task)).await;
            match given.map_err(|error| WireError::new(WireErrorKind::Closed, error.to_string()))? {
                Some(data) if data.is_empty() => {}
                Some(data) => {
                    self.count(&data)?;
                    return Ok(Some(Piece::Data(data)));
                }
                None => self.is_over = true,
            }
        }
        if let Some(left) = self.left.take_if(|left| *left > 0) {
            let detail = format!("the body given is {left} bytes shorter than its length");
            return Err(WireError::malformed(detail));
        }
        Ok(self.body.take_trailers().map(Piece::Trailers))
    }

    fn count(&mut self, data: &Bytes) -> Result<(), WireError> {
        if let Some(left) = &mut self.left {
            *left = left
                .checked_sub(data.len() as u64)
                .ok_or_else(|| WireError::malformed("the body given is longer than its length"))?;
        }
        Ok(())
    }

    /// Resolves when nobody waits any more.
    pub(crate) async fn closed(&mut self) -> WireError {
        self.waiting.over().await
    }
}

/// A part of the response, on its way to the reader.
pub(crate) enum Part {
    Data(Bytes),
    Trailers(Headers),
}

/// Hands the response over.
pub(crate) struct OwnResponder {
    head: oneshot::Sender<ResponseHead>,
    parts: mpsc::Sender<Part>,
    waiting: Waiting,
}

impl OwnResponder {
    pub(super) fn new(
        head: oneshot::Sender<ResponseHead>,
        parts: mpsc::Sender<Part>,
        waiting: Waiting,
    ) -> Self {
        Self { head, parts, waiting }
    }

    /// Hands the final head over. Whether somebody took it is seen with the first piece.
    pub(crate) fn head(self, head: &ResponseHead) -> OwnWriter {
        let Self { head: to, parts, waiting } = self;
        let _ = to.send(head.clone());
        OwnWriter { parts: Some(parts), waiting }
    }

    /// Resolves when nobody waits any more.
    pub(crate) async fn gone(&mut self) -> WireError {
        self.waiting.over().await
    }
}

/// Hands the response's body over.
pub(crate) struct OwnWriter {
    /// `None` once the body has ended.
    parts: Option<mpsc::Sender<Part>>,
    waiting: Waiting,
}

impl OwnWriter {
    /// Hands a piece over, once there is room for it.
    pub(crate) async fn data(&mut self, data: Bytes) -> Result<(), WireError> {
        self.put(Part::Data(data)).await
    }

    /// Ends the body.
    pub(crate) async fn end(&mut self, trailers: Option<&Headers>) -> Result<(), WireError> {
        if let Some(trailers) = trailers {
            self.put(Part::Trailers(trailers.clone())).await?;
        }
        self.parts = None;
        Ok(())
    }

    async fn put(&mut self, part: Part) -> Result<(), WireError> {
        let Some(parts) = &self.parts else { return Ok(()) };
        let gone = || WireError::new(WireErrorKind::Closed, "nobody reads the response any more");
        tokio::select! {
            biased;
            sent = parts.send(part) => sent.map_err(|_| gone()),
            over = self.waiting.over() => Err(over),
        }
    }

    /// Resolves when nobody waits any more.
    pub(crate) async fn gone(&mut self) -> WireError {
        self.waiting.over().await
    }
}
