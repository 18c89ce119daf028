//! What follows an upgrade, or fills a tunnel: bytes both ways, untouched, with a tap beside them.

use std::{
    pin::pin,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use tokio::time::timeout;

use super::{ledger::Ledger, messages::Lane};
use crate::{
    event::{Direction, EventKind, MessageKind, Outcome, WebSocketMessage},
    failure::{Failure, FailureKind, Side},
    leg::{BodyReader, Writer, code},
    limits::Timeouts,
    websocket::{MessageTap, Negotiated},
    wire::{Piece, WireError, WireErrorKind},
};

/// What is noted of the bytes that pass.
pub(crate) enum Tap {
    /// How many.
    Bytes,
    /// The WebSocket messages in them.
    Messages(Box<Messages>),
}

/// The taps of the two directions.
pub(crate) struct Messages {
    to_upstream: Mutex<MessageTap>,
    to_client: Mutex<MessageTap>,
    closing: AtomicBool,
}

impl Tap {
    pub(crate) fn messages(negotiated: Negotiated, max_message_bytes: usize) -> Self {
        let tap = |direction| Mutex::new(MessageTap::new(direction, negotiated, max_message_bytes));
        Self::Messages(Box::new(Messages {
            to_upstream: tap(Direction::ToUpstream),
            to_client: tap(Direction::ToClient),
            closing: AtomicBool::new(false),
        }))
    }

    fn note(&self, ledger: &Ledger, direction: Direction, data: &[u8]) {
        match self {
            Self::Bytes => {
                ledger.note(EventKind::TunnelBytes { direction, bytes: data.len() as u64 });
            }
            Self::Messages(messages) => messages.with(direction, |tap| {
                tap.feed(data, &mut |message| messages.tell(ledger, message));
            }),
        }
    }

    fn finish(&self, ledger: &Ledger) {
        if let Self::Messages(messages) = self {
            for direction in [Direction::ToUpstream, Direction::ToClient] {
                messages.with(direction, |tap| {
                    tap.finish(&mut |message| messages.tell(ledger, message));
                    if let Some(reason) = tap.broken() {
                        tracing::debug!(?direction, reason, "WebSocket frames could not be followed");
                    }
                });
            }
        }
    }

    /// Whether the peers said goodbye, so that a connection that just ends is no failure.
    fn is_closing(&self) -> bool {
        match self {
            Self::Bytes => false,
            Self::Messages(messages) => messages.closing.load(Relaxed),
        }
    }
}

impl Messages {
    fn with(&self, direction: Direction, act: impl FnOnce(&mut MessageTap)) {
        let tap = match direction {
            Direction::ToUpstream => &self.to_upstream,
            Direction::ToClient => &self.to_client,
        };
        act(&mut tap.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn tell(&self, ledger: &Ledger, message: WebSocketMessage) {
        if message.kind == MessageKind::Close {
            self.closing.store(true, Relaxed);
        }
        ledger.note(EventKind::Message(message));
    }
}

/// What is noted of a stream, and what is done to it.
pub(crate) struct Followed {
    pub(super) tap: Tap,
    pub(super) up: Lane,
    pub(super) down: Lane,
}

impl Followed {
    /// A stream nobody touches.
    pub(crate) fn untouched(tap: Tap) -> Self {
        Self { tap, up: Lane::default(), down: Lane::default() }
    }
}

/// One side of a relay.
pub(crate) struct Ends<'c> {
    pub(crate) reader: BodyReader<'c>,
    pub(crate) writer: Writer<'c>,
}

impl Ends<'_> {
    fn into_raw(mut self) -> Self {
        self.reader.make_raw();
        self.writer.make_raw();
        self
    }
}

/// Carries bytes both ways until both sides have ended, or one failed. A side that ended lets the other go on for
/// as long as it keeps sending, with the half-closed time-out between pieces.
pub(crate) fn relay<'c>(
    timeouts: &'c Timeouts,
    ledger: &'c Ledger,
    client: Ends<'c>,
    upstream: Ends<'c>,
    followed: Followed,
) -> impl Future<Output = Outcome> {
    let Followed { tap, mut up, mut down } = followed;
    let (mut client, mut upstream) = (client.into_raw(), upstream.into_raw());
    let relay = Relay { timeouts, ledger, tap, ended: OnceLock::new() };
    // What a block captures is in its state once.
    async move {
        let result = tokio::try_join!(
            relay.one_way(Direction::ToUpstream, &mut client.reader, &mut upstream.writer, &mut up),
            relay.one_way(Direction::ToClient, &mut upstream.reader, &mut client.writer, &mut down),
        );
        relay.tap.finish(ledger);
        match result {
            Ok(_) => relay.outcome(),
            Err((side, error)) => {
                upstream.writer.reset(code::CANCEL);
                client.writer.reset(code::CANCEL);
                if relay.tap.is_closing() {
                    Outcome::Upgrade
                } else {
                    Outcome::Failed(error.into_failure(side))
                }
            }
        }
    }
}

/// Writes at the pace of the line.
async fn write(to: &mut Writer<'_>, mut data: Bytes, lane: &mut Lane) -> Result<(), WireError> {
    while !data.is_empty() {
        let slice = lane.pace.slice(&mut data);
        lane.pace.carry(slice.len()).await;
        to.data(slice).await?;
    }
    Ok(())
}

/// What the two directions share.
struct Relay<'r> {
    timeouts: &'r Timeouts,
    ledger: &'r Ledger,
    tap: Tap,
    /// The side that ended first.
    ended: OnceLock<Side>,
}

impl Relay<'_> {
    /// What became of a stream both of whose sides have ended. A WebSocket ends with a word (RFC 6455 section 7.1.5).
    fn outcome(&self) -> Outcome {
        let (kind, side) = match self.ended.get() {
            Some(Side::Client) => (FailureKind::ClientLeft, "client"),
            _ => (FailureKind::UpstreamClosed, "upstream"),
        };
        match &self.tap {
            Tap::Messages(_) if !self.tap.is_closing() => {
                let detail = format!("{side} ended the WebSocket without a closing frame");
                Outcome::Failed(Failure::new(kind, detail))
            }
            _ => Outcome::Upgrade,
        }
    }

    async fn one_way(
        &self,
        direction: Direction,
        from: &mut BodyReader<'_>,
        to: &mut Writer<'_>,
        lane: &mut Lane,
    ) -> Result<(), (Side, WireError)> {
        let (source, sink) = match direction {
            Direction::ToUpstream => (Side::Client, Side::Upstream),
            Direction::ToClient => (Side::Upstream, Side::Client),
        };
        loop {
            self.ledger.ready().await;
            let piece = tokio::select! {
                piece = self.next(from) => piece.map_err(|error| (source, error))?,
                error = to.gone() => return Err((sink, error)),
                own = lane.own(self.ledger) => {
                    self.ledger.stir();
                    write(to, own, lane).await.map_err(|error| (sink, error))?;
                    continue;
                }
            };
            match piece {
                Some(Piece::Data(data)) => {
                    self.ledger.stir();
                    self.tap.note(self.ledger, direction, &data);
                    if lane.messages.is_none() {
                        write(to, data, lane).await.map_err(|error| (sink, error))?;
                        continue;
                    }
                    for passing in Box::pin(lane.pass(self.ledger, &data)).await {
                        write(to, passing, lane).await.map_err(|error| (sink, error))?;
                    }
                }
                Some(Piece::Trailers(_)) => {}
                None => break,
            }
        }
        self.ledger.stir();
        for passing in lane.finish(self.ledger) {
            write(to, passing, lane).await.map_err(|error| (sink, error))?;
        }
        let _ = self.ended.set(source);
        // A peer that is gone already needs no farewell.
        let _ = to.shutdown().await;
        Ok(())
    }

    /// The next piece, as long as anything passes either way, and the idle time-out beyond: the long one, or the
    /// short one once the other side has ended.
    async fn next(&self, from: &mut BodyReader<'_>) -> Result<Option<Piece>, WireError> {
        let Timeouts { half_closed, idle_body, .. } = *self.timeouts;
        let mut piece = pin!(from.piece());
        loop {
            if let Ok(piece) = timeout(half_closed.min(idle_body), &mut piece).await {
                return piece;
            }
            let quiet_for = self.ledger.quiet_for();
            // The other side ended and this one stays silent: it is over.
            if self.ended.get().is_some() && quiet_for >= half_closed {
                return Ok(None);
            }
            if quiet_for >= idle_body {
                return Err(WireError::new(WireErrorKind::Timeout, format!("silent for {idle_body:?}")));
            }
        }
    }
}
