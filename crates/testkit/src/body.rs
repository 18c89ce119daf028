//! Bodies: whole, streamed in a known pattern, and summed without being held.

use std::{convert::Infallible, io};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;

/// The body type of everything this crate sends.
pub type Body = BoxBody<Bytes, io::Error>;

/// How many bytes of a pattern go out in one piece.
const PIECE_BYTES: usize = 64 * 1024;

/// The pattern repeats after this many bytes: a prime, so that no power-of-two mistake lines up with it.
const PERIOD: usize = 251;

/// A body that is sent whole, with its length.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed()
}

/// A body of `length` pattern bytes, streamed in pieces without a declared length.
#[must_use]
pub fn pattern(length: u64) -> Body {
    let longest = usize::try_from(length).unwrap_or(usize::MAX).min(PIECE_BYTES);
    let template = pattern_bytes(longest + PERIOD);
    let pieces = stream::unfold((template, 0_u64), move |(template, at)| async move {
        let left = usize::try_from(length - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
        if left == 0 {
            return None;
        }
        let start = usize::try_from(at % PERIOD as u64).unwrap_or_default();
        let piece = template.slice(start..start + left);
        Some((Ok(Frame::data(piece)), (template, at + left as u64)))
    });
    BodyExt::boxed(StreamBody::new(pieces))
}

/// The first `length` bytes of the pattern, held whole.
#[must_use]
pub fn pattern_bytes(length: usize) -> Bytes {
    (0..length).map(|at| u8::try_from(at % PERIOD).unwrap_or_default()).collect()
}

/// Counts bytes and sums them (CRC-32), one piece at a time.
#[derive(Debug, Default)]
pub struct Checksum {
    crc: flate2::Crc,
    bytes: u64,
}

impl Checksum {
    /// Takes in the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.crc.update(piece);
        self.bytes += piece.len() as u64;
    }

    /// How many bytes came so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The CRC-32 of what came so far.
    #[must_use]
    pub fn crc32(&self) -> u32 {
        self.crc.sum()
    }

    /// The sum of `bytes` at once.
    #[must_use]
    pub fn of(bytes: &[u8]) -> u32 {
        let mut sum = Self::default();
        sum.update(bytes);
        sum.crc32()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn streamed_pattern_equals_the_one_held_whole() {
        let length = 3 * PIECE_BYTES + 17;
        let streamed = pattern(length as u64).collect().await.unwrap().to_bytes();
        assert_eq!(streamed.len(), length);
        assert_eq!(Checksum::of(&streamed), Checksum::of(&pattern_bytes(length)));
    }
}
