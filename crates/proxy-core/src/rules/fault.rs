//! Faults: exchanges that go wrong on purpose.

use serde::{Deserialize, Serialize};

use super::pace::bounded_ms;

/// Which message of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The request.
    Request,
    /// The response.
    #[default]
    Response,
}

/// No answer while the client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TimeOut {
    /// When the exchange is given up, and its connection closed, in milliseconds; five minutes without this.
    #[serde(deserialize_with = "bounded_ms")]
    pub ms: u64,
}

impl Default for TimeOut {
    fn default() -> Self {
        Self { ms: 300_000 }
    }
}

impl TimeOut {
    /// Gives up after so many milliseconds.
    #[must_use]
    pub fn after_ms(ms: u64) -> Self {
        Self { ms }
    }
}

/// A body that breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Truncate {
    /// How many bytes of it pass, as they are on the wire.
    pub after_bytes: u64,
    /// Whose body.
    #[serde(default)]
    pub side: Side,
}

impl Truncate {
    /// Lets so many bytes of the response's body pass.
    #[must_use]
    pub fn after_bytes(after_bytes: u64) -> Self {
        Self { after_bytes, side: Side::Response }
    }
}

/// A body with wrong bits: the lowest bit of every n-th byte, as they are on the wire, is flipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Corrupt {
    /// The n: every byte for 1, and so on.
    pub every_bytes: std::num::NonZeroU64,
    /// Whose body.
    #[serde(default)]
    pub side: Side,
}

impl Corrupt {
    /// Flips a bit in each byte whose number, counted from 1, is a multiple of n; `offset` bytes came before.
    pub fn apply(&self, offset: u64, data: &mut [u8]) {
        let every = self.every_bytes.get();
        let mut next = (every - offset % every) - 1;
        while let Some(byte) = usize::try_from(next).ok().and_then(|at| data.get_mut(at)) {
            *byte ^= 1;
            next = next.saturating_add(every);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nth_byte_is_corrupted_however_the_body_is_cut_up() {
        let corrupt = Corrupt { every_bytes: 3.try_into().unwrap(), side: Side::Response };
        let mut whole = *b"000000000";
        corrupt.apply(0, &mut whole);
        assert_eq!(&whole, b"001001001");
        for cut in 0..9 {
            let mut pieces = *b"000000000";
            let (first, second) = pieces.split_at_mut(cut);
            corrupt.apply(0, first);
            corrupt.apply(cut as u64, second);
            assert_eq!(pieces, whole, "cut at {cut}");
        }
    }
}
