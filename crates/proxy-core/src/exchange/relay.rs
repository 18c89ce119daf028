//! What follows an upgrade, or fills a tunnel: bytes both ways, untouched, with a tap beside them.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio::time::timeout;

use super::ledger::Ledger;
use crate::{
    event::{Direction, EventKind, MessageKind, Outcome, WebSocketMessage},
    failure::Side,
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

/// Carries bytes both ways until both sides have ended, or one failed. A side that ended lets the other go on for
/// as long as it keeps sending, with the half-closed time-out between pieces.
pub(crate) async fn relay(
    timeouts: &Timeouts,
    ledger: &Ledger,
    from_client: &mut BodyReader<'_>,
    mut to_upstream: Writer<'_>,
    mut from_upstream: BodyReader<'_>,
    mut to_client: Writer<'_>,
    tap: Tap,
) -> Outcome {
    from_client.make_raw();
    to_upstream.make_raw();
    to_client.make_raw();
    let half = AtomicBool::new(false);
    let result = {
        let up = one_way(timeouts, ledger, &tap, &half, Direction::ToUpstream, from_client, &mut to_upstream);
        let down =
            one_way(timeouts, ledger, &tap, &half, Direction::ToClient, &mut from_upstream, &mut to_client);
        tokio::try_join!(up, down)
    };
    tap.finish(ledger);
    match result {
        Ok(_) => Outcome::Upgrade,
        Err((side, error)) => {
            to_upstream.reset(code::CANCEL);
            to_client.reset(code::CANCEL);
            if tap.is_closing() { Outcome::Upgrade } else { Outcome::Failed(error.into_failure(side)) }
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "one private half of relay(), which names each once")]
async fn one_way(
    timeouts: &Timeouts,
    ledger: &Ledger,
    tap: &Tap,
    half: &AtomicBool,
    direction: Direction,
    from: &mut BodyReader<'_>,
    to: &mut Writer<'_>,
) -> Result<(), (Side, WireError)> {
    let (source, sink) = match direction {
        Direction::ToUpstream => (Side::Client, Side::Upstream),
        Direction::ToClient => (Side::Upstream, Side::Client),
    };
    loop {
        ledger.ready().await;
        let piece = tokio::select! {
            piece = idle(timeouts, half, from) => piece.map_err(|error| (source, error))?,
            error = to.gone() => return Err((sink, error)),
        };
        match piece {
            Some(Piece::Data(data)) => {
                tap.note(ledger, direction, &data);
                to.data(data).await.map_err(|error| (sink, error))?;
            }
            Some(Piece::Trailers(_)) => {}
            None => break,
        }
    }
    half.store(true, Relaxed);
    // A peer that is gone already needs no farewell.
    let _ = to.shutdown().await;
    Ok(())
}

/// The next piece, within the idle time-out: the long one, or the short one once the other half has ended.
async fn idle(
    timeouts: &Timeouts,
    half: &AtomicBool,
    from: &mut BodyReader<'_>,
) -> Result<Option<Piece>, WireError> {
    let mut waited = std::time::Duration::ZERO;
    let step = timeouts.half_closed.min(timeouts.idle_body);
    loop {
        match timeout(step, from.piece()).await {
            Ok(piece) => return piece,
            // The other side ended and this one stays silent: it is over.
            Err(_) if half.load(Relaxed) => return Ok(None),
            Err(_) => waited += step,
        }
        if waited >= timeouts.idle_body {
            let detail = format!("silent for {:?}", timeouts.idle_body);
            return Err(WireError::new(WireErrorKind::Timeout, detail));
        }
    }
}
