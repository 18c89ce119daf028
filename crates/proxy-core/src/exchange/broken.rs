//! Why an exchange broke off.

use super::flow::Stopped;
use crate::{
    failure::{Failure, Side},
    leg::code,
    wire::{WireError, WireErrorKind},
};

/// Why an exchange broke off.
pub(super) struct Broken {
    pub(super) failure: Failure,
    /// Upstream closed before anything of a response came.
    pub(super) stale: bool,
    /// The HTTP/2 code for the side that did not break it.
    pub(super) code: u32,
}

impl Broken {
    pub(super) fn by(side: Side, error: WireError) -> Self {
        let code = match error.kind {
            WireErrorKind::Reset(Some(code)) => code,
            _ if side == Side::Client => code::CANCEL,
            _ => code::INTERNAL_ERROR,
        };
        Self { failure: error.into_failure(side), stale: false, code }
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self { failure, stale: false, code: code::CANCEL }
    }
}

impl From<Stopped> for Broken {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Peer(side, error) => Self::by(side, error),
            Stopped::Here(failure) => failure.into(),
        }
    }
}
