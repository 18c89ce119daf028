//! What became of replayed exchanges.

use std::time::Duration;

use capture_store::Seq;
use proxy_core::Failure;

use super::prepare::Skip;
use crate::diff::ExchangeDiff;

/// What became of one exchange.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The exchange that was replayed.
    pub origin: Seq,
    /// Its method; empty where it is gone.
    pub method: String,
    /// The URL that was asked.
    pub url: String,
    /// The status that was recorded.
    pub was: Option<u16>,
    /// How often it was sent.
    pub attempts: u32,
    /// The exchange of the last attempt; `None` where nothing was sent or it was not recorded.
    pub seq: Option<Seq>,
    /// What became of the last attempt.
    pub became: Became,
    /// What differs in the response, where both have one.
    pub diff: Option<ExchangeDiff>,
    /// What was not as it should be.
    pub note: Option<String>,
}

/// What became of an attempt.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Became {
    /// A response came whole.
    Answered(Answer),
    /// It failed.
    Failed(Failure),
    /// It was not sent.
    Skipped(Skip),
}

/// A response that came whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Bytes of its body, with its content coding.
    pub body_bytes: u64,
    /// From sending to its end.
    pub took: Duration,
}

impl Outcome {
    /// The status that came.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match &self.became {
            Became::Answered(answer) => Some(answer.status),
            _ => None,
        }
    }

    /// Whether the response is the recorded one, but for what is volatile; `None` where there is nothing to compare.
    #[must_use]
    pub fn is_same(&self) -> Option<bool> {
        self.diff.as_ref().map(ExchangeDiff::is_same)
    }
}

/// What became of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Exchanges that were to be replayed.
    pub selected: u64,
    /// Those that got a whole response.
    pub answered: u64,
    /// Of these, those whose response is the recorded one, but for what is volatile.
    pub same: u64,
    /// Of these, those whose response differs.
    pub different: u64,
    /// Of these, those whose status is another one.
    pub other_status: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that cannot be sent again.
    pub skipped: u64,
    /// Those under way when the replay was stopped; their exchanges are recorded as broken off.
    pub broken_off: u64,
    /// Those that were not sent any more.
    pub not_sent: u64,
    /// Attempts that are not in the store: the session is full, or the disk fails.
    pub not_recorded: u64,
}

impl Summary {
    pub(super) fn count(&mut self, outcome: &Outcome) {
        match &outcome.became {
            Became::Answered(answer) => {
                self.answered += 1;
                self.other_status += u64::from(outcome.was != Some(answer.status));
                match outcome.is_same() {
                    Some(true) => self.same += 1,
                    Some(false) => self.different += 1,
                    None => {}
                }
            }
            Became::Failed(_) => self.failed += 1,
            Became::Skipped(_) => self.skipped += 1,
        }
        self.not_recorded += u64::from(outcome.attempts > 0 && outcome.seq.is_none());
    }

    /// Those of which it is known what became.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.answered + self.failed + self.skipped
    }
}
