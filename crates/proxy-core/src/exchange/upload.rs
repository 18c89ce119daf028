//! One half of an exchange: the request's body up, and a watch on the client.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures_util::FutureExt;

use super::{
    broken::Broken,
    flow::{Flow, Passage, Stopped},
    ledger::Ledger,
    patience::{client_left, within},
};
use crate::{
    failure::Side,
    leg::{BodyReader, Writer},
    limits::Timeouts,
    wire::{Piece, WireError, WireErrorKind},
};

/// How the request's body stands.
#[derive(Default)]
pub(super) struct Upload {
    begun: AtomicBool,
    refused: AtomicBool,
    withheld: AtomicBool,
    sent: AtomicBool,
}

impl Upload {
    /// Whether a piece of it came.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Relaxed)
    }

    /// Notes that a piece of it came, or that the client was told to send it.
    pub(super) fn begin(&self) {
        self.begun.store(true, Relaxed);
    }

    /// Whether all of it was sent to upstream.
    pub(super) fn is_sent(&self) -> bool {
        self.sent.load(Relaxed)
    }

    /// Whether upstream takes no more of it.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Relaxed)
    }

    /// Notes that the client will hardly send it: it asked first, and was not told to go on.
    pub(super) fn withhold(&self) {
        self.withheld.store(true, Relaxed);
    }

    /// Whether [`withhold`](Self::withhold) was noted.
    pub(super) fn is_withheld(&self) -> bool {
        self.withheld.load(Relaxed)
    }
}

/// Carries the request's body to upstream, then watches the client. Resolves only when the client failed, or what the
/// body goes through broke it off.
///
/// An upstream that takes no more may still answer, so that is not this half's failure.
pub(super) async fn upload(
    passage: Passage<'_>,
    flow: Option<&mut Flow>,
    body: &mut BodyReader<'_>,
    upstream: &mut Writer<'_>,
) -> Broken {
    let Passage { timeouts, ledger, upload: state, .. } = passage;
    let carried = match flow {
        None => carry_up(timeouts, ledger, state, body, upstream)
            .await
            .map_err(|(side, error)| Stopped::Peer(side, error)),
        Some(flow) => Box::pin(passage.carry(flow, body, upstream)).await,
    };
    match carried {
        Ok(()) => state.sent.store(true, Relaxed),
        Err(Stopped::Here(failure)) => return Broken::from(failure),
        Err(Stopped::Peer(Side::Client, error)) => return Broken::by(Side::Client, error),
        // One that takes nothing for so long will hardly answer.
        Err(Stopped::Peer(side, error)) if error.kind == WireErrorKind::Timeout => {
            return Broken::by(side, error);
        }
        Err(_) => state.refused.store(true, Relaxed),
    }
    client_left(timeouts, body).await
}

/// Stands in for [`upload`] where what follows the request's head is no body but a stream that upstream has to agree to
/// first: that of a CONNECT over HTTP/2.
pub(super) async fn hold(passage: Passage<'_>, body: &mut BodyReader<'_>) -> Broken {
    passage.ledger.request_done();
    passage.upload.sent.store(true, Relaxed);
    client_left(passage.timeouts, body).await
}

async fn carry_up(
    timeouts: &Timeouts,
    ledger: &Ledger,
    state: &Upload,
    body: &mut BodyReader<'_>,
    upstream: &mut Writer<'_>,
) -> Result<(), (Side, WireError)> {
    let to_upstream = |error| (Side::Upstream, error);
    let mut trailers = None;
    // The head leaves with the first piece when that is there already, else by itself, and the end with the last.
    let mut ahead = body.piece().now_or_never();
    if ahead.is_none() {
        upstream.flush().await.map_err(to_upstream)?;
    }
    loop {
        ledger.ready().await;
        let piece = match ahead.take() {
            Some(piece) => piece,
            None => within(timeouts, ledger, body.piece()).await,
        };
        match piece.map_err(|error| (Side::Client, error))? {
            Some(Piece::Data(data)) => {
                state.begin();
                ledger.request_piece(&data);
                ahead = body.piece().now_or_never();
                if matches!(ahead, Some(Ok(None))) {
                    upstream.last(data).await.map_err(to_upstream)?;
                    ledger.request_done();
                    return Ok(());
                }
                upstream.data(data).await.map_err(to_upstream)?;
            }
            Some(Piece::Trailers(fields)) => {
                ledger.request_trailers(&fields);
                trailers = Some(fields);
            }
            None => break,
        }
    }
    upstream.end(trailers.as_ref()).await.map_err(to_upstream)?;
    ledger.request_done();
    Ok(())
}
