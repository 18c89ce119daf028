//! What happens when the disk refuses: try again while the wire waits, for a bounded time; then drop and count.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use crate::{
    db::DbError,
    error::Error,
    recorder::{DiskPart, Shared},
};

/// How long another process's transaction is waited for at least. Those of wirescope take some milliseconds.
const BUSY_PATIENCE: Duration = Duration::from_secs(30);
/// The wait after a first failure; doubled after each.
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// A failure that time may mend.
pub(super) trait Refusal: Into<Error> + fmt::Display {
    /// How long it is worth trying at least.
    fn least_patience(&self) -> Duration {
        Duration::ZERO
    }
}

impl Refusal for std::io::Error {}

impl Refusal for DbError {
    fn least_patience(&self) -> Duration {
        if self.is_busy() { BUSY_PATIENCE } else { Duration::ZERO }
    }
}

/// Repeats what fails. Once its patience is over, it tries each thing once, until one succeeds: a disk that stays
/// full must not cost five seconds per exchange.
#[derive(Debug)]
pub(super) struct Patience {
    /// How long a failing write is repeated, with the queue filling and the wire waiting behind it.
    length: Duration,
    lost: bool,
    part: DiskPart,
}

impl Patience {
    pub(super) fn new(part: DiskPart, length: Duration) -> Self {
        Self { length, lost: false, part }
    }

    /// Does `attempt` until it succeeds or patience is over.
    pub(super) fn insist<T, E>(
        &mut self,
        shared: &Shared,
        mut attempt: impl FnMut() -> Result<T, E>,
    ) -> Result<T, Error>
    where
        E: Refusal,
    {
        let began = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            match attempt() {
                Ok(value) => {
                    if self.lost || wait > FIRST_WAIT {
                        tracing::info!("the recorder writes again");
                        shared.clear_error(self.part);
                    }
                    self.lost = false;
                    return Ok(value);
                }
                Err(error)
                    if self.lost || began.elapsed() + wait > self.length.max(error.least_patience()) =>
                {
                    if !self.lost {
                        tracing::error!(%error, "writing to the store fails; what cannot be written is dropped and counted");
                    }
                    self.lost = true;
                    shared.note_error(self.part, &error);
                    return Err(error.into());
                }
                Err(error) => {
                    if wait == FIRST_WAIT {
                        tracing::warn!(%error, "writing to the store failed; traffic waits while it is tried again");
                    }
                    shared.note_error(self.part, &error);
                    thread::sleep(wait);
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }
}
