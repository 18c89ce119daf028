//! Breakpoints: where an exchange pauses.

use serde::{Deserialize, Serialize};

use super::{action::Phase, pace::bounded_ms};

/// A pause until somebody lets the exchange go on, or until its time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Breakpoint {
    /// Where.
    pub at: PauseAt,
    /// How long at most, in milliseconds; a minute without this.
    #[serde(deserialize_with = "bounded_ms")]
    pub timeout_ms: u64,
    /// What happens then.
    pub otherwise: Otherwise,
}

impl Default for Breakpoint {
    fn default() -> Self {
        Self { at: PauseAt::Request, timeout_ms: 60_000, otherwise: Otherwise::Continue }
    }
}

impl Breakpoint {
    /// Pauses for at most a minute, then goes on.
    #[must_use]
    pub fn at(at: PauseAt) -> Self {
        Self { at, ..Self::default() }
    }
}

/// Where an exchange pauses. In a rule that looks at the response it is always the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PauseAt {
    /// Before the request goes to upstream.
    Request,
    /// Before the response goes to the client.
    Response,
    /// At both.
    Both,
}

impl PauseAt {
    pub(super) fn covers(self, phase: Phase) -> bool {
        match self {
            Self::Both => true,
            Self::Request => phase == Phase::Request,
            Self::Response => phase == Phase::Response,
        }
    }
}

/// What happens when nobody came in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Otherwise {
    /// It goes on as it is.
    Continue,
    /// It ends without an answer.
    Abort,
}
