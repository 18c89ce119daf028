//! Bodies out of bytes: a state machine that never blocks and never guesses (RFC 9112 sections 6 and 7).

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use super::{
    fields::{Blemishes, fields},
    framing::Framing,
    lines::{LineEnds, SectionScan},
};
use crate::{
    head::Headers,
    wire::{WireError, WireErrorKind},
};

/// Bytes of one piece at most.
pub(super) const MAX_PIECE_BYTES: usize = 64 * 1024;

/// Bytes of a chunk-size line with its extensions, at most.
const MAX_CHUNK_LINE_BYTES: usize = 4 * 1024;

/// Bytes that chunk-size lines may spend beyond what their data justifies, over a whole body.
const MAX_CHUNK_EXCESS_BYTES: u64 = 16 * 1024;

/// Bytes of a chunk-size line that nobody counts.
const FREE_CHUNK_LINE_BYTES: u64 = 16;

/// Hexadecimal digits of a chunk size at most: those of a `u64`.
const MAX_CHUNK_SIZE_DIGITS: usize = 16;

/// Fields of a trailer section at most.
const MAX_TRAILER_FIELDS: usize = 1_000;

/// What came of one look at the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Bytes of the body, never none.
    Data(Bytes),
    /// The trailer section, never empty; the body is at its end.
    Trailers(Headers),
    /// The body is at its proper end.
    Done,
    /// The buffer holds too little to go on.
    NeedMore,
}

/// Takes one body out of a connection's bytes.
#[derive(Clone, Debug)]
pub(crate) struct Decoder {
    state: State,
    max_trailer_bytes: usize,
}

#[derive(Clone, Debug)]
enum State {
    Done,
    Length(u64),
    UntilClose,
    ChunkSize(ChunkLines),
    ChunkData { left: u64, lines: ChunkLines },
    Trailers(SectionScan),
}

/// The chunk-size lines so far.
#[derive(Clone, Copy, Debug, Default)]
struct ChunkLines {
    /// How far the next one was looked at.
    looked: usize,
    /// What they have spent beyond what their data justifies.
    excess: u64,
}

impl Decoder {
    /// Makes a decoder for a body framed like this. A trailer section beyond `max_trailer_bytes` is an error.
    pub(crate) fn new(framing: Framing, max_trailer_bytes: usize) -> Self {
        let state = match framing {
            Framing::Empty | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize(ChunkLines::default()),
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, max_trailer_bytes }
    }

    /// Makes a decoder that takes everything until the connection closes: for upgraded streams.
    pub(crate) fn raw() -> Self {
        Self::new(Framing::UntilClose, 0)
    }

    /// Tells whether the body has come to its proper end.
    #[cfg(test)]
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Takes the next piece off the front of `buf`; `eof` says that nothing comes after it.
    pub(super) fn decode(&mut self, buf: &mut BytesMut, eof: bool) -> Result<Step, WireError> {
        loop {
            let step = match &mut self.state {
                State::Done => return Ok(Step::Done),
                State::Length(left) => match take(buf, left) {
                    Some(data) => {
                        if *left == 0 {
                            self.state = State::Done;
                        }
                        Step::Data(data)
                    }
                    None => Step::NeedMore,
                },
                State::UntilClose => match take(buf, &mut { u64::MAX }) {
                    Some(data) => Step::Data(data),
                    None if eof => {
                        self.state = State::Done;
                        Step::Done
                    }
                    None => Step::NeedMore,
                },
                State::ChunkSize(_) | State::ChunkData { .. } => match self.chunk(buf)? {
                    Some(step) => step,
                    None => continue,
                },
                State::Trailers(_) => self.trailers(buf)?,
            };
            if step == Step::NeedMore && eof {
                return Err(WireError::new(
                    WireErrorKind::Closed,
                    "connection closed in the middle of a body",
                ));
            }
            return Ok(step);
        }
    }

    /// One step inside the chunks; `None` when only the state moved on.
    fn chunk(&mut self, buf: &mut BytesMut) -> Result<Option<Step>, WireError> {
        match &mut self.state {
            State::ChunkSize(lines) => {
                let Some(size) = lines.next(buf)? else {
                    return Ok(Some(Step::NeedMore));
                };
                self.state = match size {
                    0 => State::Trailers(SectionScan::default()),
                    left => State::ChunkData { left, lines: *lines },
                };
                Ok(None)
            }
            State::ChunkData { left: 0, lines } => match buf.get(..2) {
                Some(b"\r\n") => {
                    buf.advance(2);
                    self.state = State::ChunkSize(*lines);
                    Ok(None)
                }
                None if matches!(&buf[..], b"" | b"\r") => Ok(Some(Step::NeedMore)),
                _ => Err(WireError::malformed("chunk is longer than its size")),
            },
            State::ChunkData { left, .. } => Ok(Some(take(buf, left).map_or(Step::NeedMore, Step::Data))),
            _ => Ok(Some(Step::Done)),
        }
    }

    fn trailers(&mut self, buf: &mut BytesMut) -> Result<Step, WireError> {
        let State::Trailers(scan) = &mut self.state else {
            return Ok(Step::Done);
        };
        let end = scan.find_end(buf, LineEnds::Crlf)?;
        if end.unwrap_or(buf.len()) > self.max_trailer_bytes.max(2) {
            return Err(WireError::new(WireErrorKind::Limit, "trailer section is too large"));
        }
        if scan.lines() > MAX_TRAILER_FIELDS {
            return Err(WireError::new(WireErrorKind::Limit, "trailer section has too many fields"));
        }
        let Some(end) = end else {
            return Ok(Step::NeedMore);
        };
        let section = Bytes::copy_from_slice(&buf[..end]);
        let trailers = fields(&section, 0, LineEnds::Crlf, Blemishes::Refuse, scan.lines())?;
        check_trailers(&trailers)?;
        buf.advance(end);
        self.state = State::Done;
        Ok(if trailers.is_empty() { Step::Done } else { Step::Trailers(trailers) })
    }
}

impl ChunkLines {
    /// Takes a chunk-size line off the front of `buf` (RFC 9112 section 7.1); `None` while it is not whole.
    fn next(&mut self, buf: &mut BytesMut) -> Result<Option<u64>, WireError> {
        let found = memchr(b'\n', &buf[self.looked..]).map(|offset| self.looked + offset);
        if found.unwrap_or(buf.len()) > MAX_CHUNK_LINE_BYTES {
            return Err(WireError::new(WireErrorKind::Limit, "chunk-size line is too long"));
        }
        let Some(at) = found else {
            self.looked = buf.len();
            return Ok(None);
        };
        let Some(line) = buf[..at].strip_suffix(b"\r") else {
            return Err(WireError::malformed("chunk-size line ends in a bare LF"));
        };
        let size = chunk_size(line)?;
        self.looked = 0;
        self.excess = self
            .excess
            .saturating_add(line.len() as u64)
            .saturating_sub(FREE_CHUNK_LINE_BYTES.saturating_add(size.saturating_mul(2)));
        if self.excess > MAX_CHUNK_EXCESS_BYTES {
            return Err(WireError::new(WireErrorKind::Limit, "chunk extensions outweigh the data"));
        }
        buf.advance(at + 1);
        Ok(Some(size))
    }
}

/// `chunk-size [ chunk-ext ]`. Extensions are dropped: they are for one hop (RFC 9112 section 7.1.1). Whitespace
/// before them, or padding in their place, which some origins send, is let pass.
fn chunk_size(line: &[u8]) -> Result<u64, WireError> {
    let length = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (size, rest) = line.split_at(length);
    if size.is_empty() || size.len() > MAX_CHUNK_SIZE_DIGITS {
        return Err(WireError::malformed("chunk size is not a hexadecimal number"));
    }
    if !matches!(super::fields::trim_ows(rest), [] | [b';', ..]) {
        return Err(WireError::malformed("chunk size is followed by neither an extension nor CRLF"));
    }
    if rest.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(WireError::malformed("chunk extension holds a control character"));
    }
    let size = std::str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size, 16).ok());
    size.ok_or_else(|| WireError::malformed("chunk size is not a hexadecimal number"))
}

/// RFC 9110 section 6.5.1: a trailer must not change how the message is framed.
pub(super) fn check_trailers(trailers: &Headers) -> Result<(), WireError> {
    match ["transfer-encoding", "content-length"].iter().find(|name| trailers.contains(name)) {
        Some(name) => Err(WireError::malformed(format!("trailer section holds {name}"))),
        None => Ok(()),
    }
}

/// Splits off what is there of the `left` bytes to come, a piece at most; `None` when nothing is.
fn take(buf: &mut BytesMut, left: &mut u64) -> Option<Bytes> {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len()).min(MAX_PIECE_BYTES);
    *left -= length as u64;
    (length > 0).then(|| buf.split_to(length).freeze())
}
