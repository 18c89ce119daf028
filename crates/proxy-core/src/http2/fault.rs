//! `h2`'s errors in the engine's words.

use h2::Reason;

use crate::wire::{WireError, WireErrorKind};

/// Says what `h2` reports as what it means for a message.
///
/// A reset or an erroneous GOAWAY by the peer keeps its code; a GOAWAY without error, an end of the connection and
/// our own shutdown are an end before the message's; what `h2` itself objects to is a malformed message, or a limit
/// where it says ENHANCE_YOUR_CALM.
pub(super) fn wire_error(error: h2::Error) -> WireError {
    let detail = error.to_string();
    let kind = match error.reason() {
        _ if error.is_io() => return io_error(error, detail),
        Some(reason) if error.is_library() => library_kind(reason),
        Some(Reason::NO_ERROR) if error.is_go_away() => WireErrorKind::Closed,
        Some(_) if error.is_go_away() && !error.is_remote() => WireErrorKind::Closed,
        Some(reason) => WireErrorKind::Reset(Some(reason.into())),
        None => WireErrorKind::Closed,
    };
    WireError::new(kind, detail)
}

/// Says what a stream's reset code means. Which side reset it is not told: by the time a writer hears of it, a
/// reset by `h2` over a malformed body looks like one by the peer.
pub(super) fn reset_error(reason: Reason) -> WireError {
    let code = u32::from(reason);
    WireError::new(WireErrorKind::Reset(Some(code)), format!("stream reset with code {code}: {reason}"))
}

fn library_kind(reason: Reason) -> WireErrorKind {
    match reason {
        Reason::ENHANCE_YOUR_CALM => WireErrorKind::Limit,
        Reason::NO_ERROR | Reason::CANCEL => WireErrorKind::Closed,
        _ => WireErrorKind::Malformed,
    }
}

/// `h2` reports the end of a connection as a broken pipe of its streams.
fn io_error(error: h2::Error, detail: String) -> WireError {
    match error.into_io() {
        Some(io) if io.kind() != std::io::ErrorKind::BrokenPipe => io.into(),
        _ => WireError::new(WireErrorKind::Closed, detail),
    }
}

/// Tells whether upstream said it did not process the stream: REFUSED_STREAM, or a GOAWAY that names an earlier
/// stream as its last (RFC 9113 sections 6.8 and 8.7). `h2` gives the peer's GOAWAY as error to such streams only.
pub(super) fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}
