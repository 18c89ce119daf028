//! What all forms share: what can go wrong, what is told, how bodies are read.

use std::{fmt, io};

use capture_store::{Body, BodySide, Exchange, Seq, Store};

/// Why an exchange could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// It is not there, or cannot be read.
    #[error("read {exchange}")]
    Read {
        /// The exchange.
        exchange: Seq,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What takes the output does not.
    #[error("write the output")]
    Write(#[source] io::Error),
    /// It is nothing that this form can say.
    #[error("write {exchange} as {form}: it is {what}")]
    NoSuchForm {
        /// The exchange.
        exchange: Seq,
        /// The form.
        form: &'static str,
        /// What it is.
        what: &'static str,
    },
}

/// Something that a form could not say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// Only so many of so many bytes of a body were recorded.
    CutBody {
        /// Whose.
        side: BodySide,
        /// Bytes that were recorded.
        stored: u64,
        /// Bytes that passed.
        wire: u64,
    },
    /// A body broke off before its end.
    BrokenBody(BodySide),
    /// Trailer fields were left out.
    Trailers(BodySide),
    /// WebSocket messages, or bytes of a tunnel, were left out.
    Stream,
    /// Fields that were meant for a proxy were left out.
    ProxyFields,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |side: &BodySide| match side {
            BodySide::Request => "request",
            BodySide::Response => "response",
        };
        match self {
            Self::CutBody { side, stored, wire } => {
                write!(f, "only {stored} of {wire} bytes of the {}'s body were recorded", name(side))
            }
            Self::BrokenBody(side) => write!(f, "the {}'s body broke off before its end", name(side)),
            Self::Trailers(side) => write!(f, "the {}'s trailer fields are left out", name(side)),
            Self::Stream => f.write_str("what passed after the upgrade is left out"),
            Self::ProxyFields => f.write_str("fields for a proxy are left out"),
        }
    }
}

/// A body to be written, with what is to be said of it.
pub(super) fn open(
    store: &Store,
    exchange: &Exchange,
    side: BodySide,
    notes: &mut Vec<Note>,
) -> Result<Option<Body>, RenderError> {
    let seq = exchange.summary.seq;
    let body = store.body(seq, side).map_err(|error| unreadable(seq, error))?;
    let Some(recorded) = body.as_ref().map(Body::recorded) else { return Ok(None) };
    if recorded.stored_bytes < recorded.wire_bytes {
        notes.push(Note::CutBody { side, stored: recorded.stored_bytes, wire: recorded.wire_bytes });
    } else if !recorded.complete {
        notes.push(Note::BrokenBody(side));
    }
    Ok(body)
}

pub(super) fn unreadable(
    exchange: Seq,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> RenderError {
    RenderError::Read { exchange, source: source.into() }
}

/// Reads until the buffer is full or the end is there.
pub(super) fn read_full(
    exchange: Seq,
    reader: &mut dyn io::Read,
    buffer: &mut [u8],
) -> Result<usize, RenderError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(exchange, error)),
        }
    }
    Ok(filled)
}
