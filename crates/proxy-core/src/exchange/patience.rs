//! How long an exchange waits for its peers, and how it learns that the client no longer waits for it.

use std::{pin::pin, time::Duration};

use tokio::time::{sleep, timeout};

use super::{broken::Broken, ledger::Ledger};
use crate::{
    failure::{Failure, FailureKind, Side},
    leg::{BodyReader, Responder},
    limits::Timeouts,
    wire::{Piece, WireError, WireErrorKind},
};

/// What a client may send ahead of its turn before it has to wait.
const MAX_READ_AHEAD_BYTES: usize = 16 * 1024;

/// Waits for a piece for as long as anything passes in either direction, and the idle time-out beyond.
pub(super) async fn within(
    timeouts: &Timeouts,
    ledger: &Ledger,
    piece: impl Future<Output = Result<Option<Piece>, WireError>>,
) -> Result<Option<Piece>, WireError> {
    let patience = timeouts.idle_body;
    let mut piece = pin!(piece);
    let mut wait = patience;
    loop {
        match timeout(wait, &mut piece).await {
            Ok(piece) => return piece,
            Err(_elapsed) => wait = patience.saturating_sub(ledger.quiet_for()),
        }
        if wait.is_zero() {
            return Err(WireError::new(WireErrorKind::Timeout, format!("silent for {patience:?}")));
        }
    }
}

/// Resolves when the client is seen to be gone while it has nothing of the final response.
pub(super) async fn client_gone(
    timeouts: &Timeouts,
    body: &mut BodyReader<'_>,
    client: &mut Option<Responder<'_>>,
) -> Broken {
    let gone = async {
        match client {
            Some(client) => client.gone().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        broken = client_left(timeouts, body) => broken,
        error = gone => Broken::by(Side::Client, error),
    }
}

/// Resolves when a client of whose request no more is read is seen to be gone. One that closed its sending half
/// is waited for, then given up.
pub(super) async fn client_left(timeouts: &Timeouts, body: &mut BodyReader<'_>) -> Broken {
    if let Err(error) = body.closed(MAX_READ_AHEAD_BYTES).await {
        return Broken::by(Side::Client, error);
    }
    let Timeouts { half_closed, .. } = *timeouts;
    sleep(half_closed).await;
    Broken::from(gave_up(half_closed))
}

fn gave_up(patience: Duration) -> Failure {
    let detail = format!("it had closed its sending half, and no response was whole {patience:?} later");
    Failure::new(FailureKind::ClientLeft, detail)
}
