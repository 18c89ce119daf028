//! What ends streams and connections, in the engine's words.

use super::frame::{Fatal, code};
use crate::wire::{WireError, WireErrorKind};

/// A reset, or a goodbye with an error, by the peer.
pub(super) fn reset_error(code: u32) -> WireError {
    let detail = format!("reset with code {code}: {}", code::name(code));
    WireError::new(WireErrorKind::Reset(Some(code)), detail)
}

/// What a connection's end by our own judgement means for its streams.
pub(super) fn fatal_error(fatal: Fatal) -> WireError {
    let kind =
        if fatal.code == code::ENHANCE_YOUR_CALM { WireErrorKind::Limit } else { WireErrorKind::Malformed };
    WireError::new(kind, format!("{}: {}", code::name(fatal.code), fatal.detail))
}

/// The connection ended, by whomever.
pub(super) fn closed(detail: &str) -> WireError {
    WireError::new(WireErrorKind::Closed, detail)
}
