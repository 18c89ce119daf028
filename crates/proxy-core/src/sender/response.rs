//! What comes back.

use std::{fmt, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::leg::Part;
use crate::{
    event::{ConnectionId, ExchangeId, Outcome},
    failure::{Failure, FailureKind},
    head::{Headers, ResponseHead},
};

/// A request under way. Dropping it ends the exchange, as a client's that left.
#[must_use = "dropping it ends the exchange"]
pub struct Sending {
    exchange: ExchangeId,
    connection: ConnectionId,
    head: oneshot::Receiver<ResponseHead>,
    body: SentBody,
}

impl Sending {
    pub(super) fn new(
        exchange: ExchangeId,
        connection: ConnectionId,
        head: oneshot::Receiver<ResponseHead>,
        body: SentBody,
    ) -> Self {
        Self { exchange, connection, head, body }
    }

    /// Its exchange, as observers are told of it.
    #[must_use]
    pub fn exchange(&self) -> ExchangeId {
        self.exchange
    }

    /// The number that its exchange alone has as that of its client connection: it is kept in records, by which the
    /// exchange is found there.
    #[must_use]
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Waits for the response's head. Dropping the future ends the exchange.
    ///
    /// # Errors
    /// What the exchange failed with, when there is no response: it is recorded with the same. No error page is made.
    pub async fn response(self) -> Result<SentResponse, Failure> {
        let Self { exchange, connection, head, mut body } = self;
        match head.await {
            Ok(head) => Ok(SentResponse { exchange, connection, head, body }),
            Err(_) => Err(match body.end().await {
                Err(failure) => failure,
                Ok(()) => Failure::new(FailureKind::Aborted, "the exchange ended without a response"),
            }),
        }
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

/// A response to a request that was sent.
#[derive(Debug)]
#[non_exhaustive]
pub struct SentResponse {
    /// Its exchange, as observers are told of it.
    pub exchange: ExchangeId,
    /// See [`Sending::connection`].
    pub connection: ConnectionId,
    /// The head, as a client would have got it.
    pub head: ResponseHead,
    /// The body, with its content coding. Dropping it before its end ends the exchange, as a client's that left.
    pub body: SentBody,
}

/// The body of a response, as it comes. At most some pieces lie ready; then upstream waits.
pub struct SentBody {
    parts: mpsc::Receiver<Part>,
    task: Task,
    trailers: Option<Headers>,
}

impl SentBody {
    pub(super) fn new(parts: mpsc::Receiver<Part>, task: Task) -> Self {
        Self { parts, task, trailers: None }
    }

    /// The next piece; `None` at the end, when the exchange is over as well and told to all observers. Cancel safe.
    ///
    /// # Errors
    /// What the exchange failed with, when the body is not whole.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            match self.parts.recv().await {
                Some(Part::Data(data)) => return Ok(Some(data)),
                Some(Part::Trailers(trailers)) => self.trailers = Some(trailers),
                None => return self.end().await.map(|()| None),
            }
        }
    }

    /// Reads to the end, and keeps the first `max_bytes`; gives how many bytes there were in all.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub async fn collect(&mut self, max_bytes: usize) -> Result<(Bytes, u64), Failure> {
        let (mut kept, mut length) = (BytesMut::new(), 0);
        while let Some(piece) = self.next().await? {
            length += piece.len() as u64;
            let room = max_bytes.saturating_sub(kept.len()).min(piece.len());
            kept.extend_from_slice(&piece[..room]);
        }
        Ok((kept.freeze(), length))
    }

    /// The trailer fields, where there were any, once the body has ended.
    #[must_use]
    pub fn trailers(&self) -> Option<&Headers> {
        self.trailers.as_ref()
    }

    /// Waits for the exchange's end.
    async fn end(&mut self) -> Result<(), Failure> {
        match self.task.outcome().await {
            Outcome::Failed(failure) => Err(failure.clone()),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for SentBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentBody").finish_non_exhaustive()
    }
}

/// The exchange's task. It ends by itself soon after this is dropped, and says in its record why.
pub(super) struct Task {
    handle: JoinHandle<Outcome>,
    _waits: watch::Sender<()>,
    patience: Option<Duration>,
    outcome: Option<Outcome>,
}

impl Task {
    pub(super) fn new(
        handle: JoinHandle<Outcome>,
        waits: watch::Sender<()>,
        patience: Option<Duration>,
    ) -> Self {
        Self { handle, _waits: waits, patience, outcome: None }
    }

    /// What became of the exchange. Cancel safe.
    async fn outcome(&mut self) -> &Outcome {
        if self.outcome.is_none() {
            let outcome = (&mut self.handle).await.unwrap_or_else(|_| {
                Outcome::Failed(Failure::new(FailureKind::Shutdown, "the exchange's task was stopped"))
            });
            self.outcome = Some(self.told(outcome));
        }
        self.outcome.as_ref().unwrap_or(&Outcome::Response)
    }

    /// It was us who gave up while there was somebody to tell, so that is what upstream did to us.
    fn told(&self, outcome: Outcome) -> Outcome {
        match (outcome, self.patience) {
            (Outcome::Failed(failure), Some(patience)) if failure.kind == FailureKind::ClientLeft => {
                let detail = format!("no whole response within {patience:?}");
                Outcome::Failed(Failure::new(FailureKind::UpstreamTimeout, detail))
            }
            (outcome, _) => outcome,
        }
    }
}
