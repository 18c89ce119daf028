//! What is known of a paused exchange.

use std::{fmt, str::FromStr, sync::Arc, time::SystemTime};

use bytes::Bytes;

use crate::{
    body::Unread,
    event::ExchangeId,
    head::{RequestHead, ResponseHead},
    rules::{Otherwise, Phase},
};

/// The number of a pause, unique for one [`Breakpoints`](super::Breakpoints). Written `p` and the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PauseId(pub u64);

impl fmt::Display for PauseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

/// The text is not the id of a pause: `p` and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pause is `p` and a number, as in `p3`")]
pub struct ParsePauseIdError;

impl FromStr for PauseId {
    type Err = ParsePauseIdError;

    fn from_str(text: &str) -> Result<Self, ParsePauseIdError> {
        let digits = text.strip_prefix('p').ok_or(ParsePauseIdError)?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParsePauseIdError);
        }
        digits.parse().map(Self).map_err(|_| ParsePauseIdError)
    }
}

/// An exchange that waits at a breakpoint. Its `Debug` tells how long the body is, not what is in it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Paused {
    /// The pause.
    pub id: PauseId,
    /// The exchange.
    pub exchange: ExchangeId,
    /// The public id of the rule that paused it.
    pub rule: String,
    /// Whether its request waits or its response.
    pub phase: Phase,
    /// The request as rules have made it so far.
    pub request: Arc<RequestHead>,
    /// The response as rules have made it so far, when it is that which waits.
    pub response: Option<Arc<ResponseHead>>,
    /// The body of what waits, decoded; why it cannot be had, else. Then it passes untouched.
    pub body: Result<Bytes, Unread>,
    /// Since when it waits.
    pub since: SystemTime,
    /// Until when.
    pub deadline: SystemTime,
    /// What happens then.
    pub otherwise: Otherwise,
}

impl fmt::Debug for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paused")
            .field("id", &self.id)
            .field("exchange", &self.exchange)
            .field("rule", &self.rule)
            .field("phase", &self.phase)
            .field("body", &self.body.as_ref().map(Bytes::len))
            .finish_non_exhaustive()
    }
}
