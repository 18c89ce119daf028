//! What happens when the disk refuses: try again while the wire waits; and, once patience is over, hold the wire or drop
//! and count, as the user chose.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::{
    db::DbError,
    error::Error,
    recorder::{DiskPart, OnDiskFailure, Shared},
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

/// The disk refused.
#[derive(Debug)]
pub(super) struct Refused {
    /// What it said.
    pub(super) error: Error,
    /// When to try again; `None` where what was to be written is to be dropped.
    pub(super) again: Option<Instant>,
}

/// A failure that dropping exchanges does not mend.
impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, again: None }
    }
}

/// How far it is with a part of the disk that refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is tried again, and the wire waits for it.
    Retrying,
    /// It went on for longer than patience lasts, and the wire still waits.
    Holding,
    /// It did, and what cannot be written is dropped and counted.
    Dropping,
}

/// Remembers since when a part of the disk refuses. Once patience is over and dropping is chosen, each thing is tried
/// once, until one succeeds: a disk that stays full must not cost five seconds per exchange.
#[derive(Debug)]
pub(super) struct Patience {
    /// How long a failing write is repeated before it is told of as failing, and before anything is dropped.
    length: Duration,
    then: OnDiskFailure,
    part: DiskPart,
    trouble: Option<Trouble>,
}

#[derive(Clone, Copy, Debug)]
struct Trouble {
    since: Instant,
    wait: Duration,
    stage: Stage,
}

impl Patience {
    pub(super) fn new(part: DiskPart, length: Duration, then: OnDiskFailure) -> Self {
        Self { length, then, part, trouble: None }
    }

    /// Tries once, and says when to try again where that fails.
    pub(super) fn attempt<T, E: Refusal>(
        &mut self,
        shared: &Shared,
        attempt: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, Refused> {
        match attempt() {
            Ok(value) => {
                if self.trouble.take().is_some() {
                    tracing::info!("the recorder writes again");
                    shared.clear_error(self.part);
                }
                Ok(value)
            }
            Err(error) => Err(self.refused(shared, error)),
        }
    }

    fn refused<E: Refusal>(&mut self, shared: &Shared, error: E) -> Refused {
        let now = Instant::now();
        if self.trouble.is_none() {
            tracing::warn!(%error, "writing to the store failed; traffic waits while it is tried again");
        }
        let known = self.trouble.unwrap_or(Trouble { since: now, wait: FIRST_WAIT, stage: Stage::Retrying });
        let mut trouble = known;
        if trouble.stage != Stage::Retrying || now - trouble.since >= self.length.max(error.least_patience())
        {
            trouble.stage = match self.then {
                OnDiskFailure::Hold => Stage::Holding,
                OnDiskFailure::Drop => Stage::Dropping,
            };
        }
        if trouble.stage != known.stage {
            match trouble.stage {
                Stage::Dropping => tracing::error!(
                    %error,
                    "writing to the store fails; what cannot be written is dropped and counted"
                ),
                _ => tracing::error!(
                    %error,
                    "writing to the store fails; traffic waits until it can be written: free some space, or stop"
                ),
            }
        }
        shared.note_error(self.part, trouble.stage, &error);
        let again = (trouble.stage != Stage::Dropping).then(|| now + trouble.wait);
        trouble.wait = (trouble.wait * 2).min(LONGEST_WAIT);
        self.trouble = Some(trouble);
        Refused { error: error.into(), again }
    }

    /// How far it is, where it is in trouble.
    pub(super) fn stage(&self) -> Option<Stage> {
        self.trouble.map(|trouble| trouble.stage)
    }

    /// Forgets a failure that something waits for: what was to be written is not wanted any more.
    pub(super) fn forgive(&mut self, shared: &Shared) {
        if self.trouble.take_if(|trouble| trouble.stage != Stage::Dropping).is_some() {
            tracing::info!("nothing waits for the store any more");
            shared.clear_error(self.part);
        }
    }

    /// Drops from here on what cannot be written: nobody will wait for it.
    pub(super) fn give_up(&mut self) {
        self.then = OnDiskFailure::Drop;
    }
}
