//! Texts as the set of three-byte runs in them, each hashed to one of 2^17 bits.

use std::io::{self, Read};

/// Bits of the number of a bit.
pub(super) const WIDTH: u32 = 17;
/// More different bits than this make a set that says little: nothing is left out by it.
pub(super) const MOST: usize = 93_000;
/// What is read of a text at once, at most.
const CHUNK_BYTES: usize = 64 * 1024;

/// The bit of three bytes: the upper bits of a product, so that fewer bits of it are a coarser hash.
fn bit(gram: u32) -> u32 {
    gram.wrapping_mul(0x9e37_79b1) >> (32 - WIDTH)
}

/// The different bits of a literal in lower case; none where it is shorter than three bytes.
pub(super) fn bits(literal: &[u8]) -> Vec<u32> {
    let mut bits: Vec<u32> = literal
        .to_ascii_lowercase()
        .windows(3)
        .map(|gram| bit(u32::from(gram[0]) << 16 | u32::from(gram[1]) << 8 | u32::from(gram[2])))
        .collect();
    bits.sort_unstable();
    bits.dedup();
    bits
}

/// Gathers the bits of one exchange after the other.
pub(super) struct Grams {
    seen: Vec<u64>,
    bits: Vec<u32>,
    /// Where texts are folded; no shorter than the longest so far, as what is used again need not be zeroed again.
    folded: Vec<u8>,
}

impl Grams {
    pub(super) fn new() -> Self {
        Self { seen: vec![0; 1 << (WIDTH - 6)], bits: Vec::new(), folded: vec![0; CHUNK_BYTES] }
    }

    /// Adds a text that stands by itself.
    pub(super) fn add(&mut self, text: &[u8]) {
        if self.folded.len() < text.len() {
            self.folded.resize(text.len(), 0);
        }
        self.folded[..text.len()].copy_from_slice(text);
        self.add_folded(0, text.len());
    }

    /// Adds a text that is read, as far as `most` bytes of it; says how many there were and whether that was all.
    pub(super) fn add_reader(&mut self, reader: &mut dyn Read, most: u64) -> io::Result<(u64, bool)> {
        let mut read = 0;
        // Bytes before what is read next: they make runs with it.
        let mut kept = 0;
        while read <= most && !self.is_full() {
            let count = match reader.read(&mut self.folded[kept..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            };
            if count == 0 {
                return Ok((read, true));
            }
            read += count as u64;
            let end = kept + count;
            self.add_folded(kept, end);
            let gone = end.saturating_sub(2);
            self.folded.copy_within(gone..end, 0);
            kept = end - gone;
        }
        Ok((read, false))
    }

    /// Folds what is new in the buffer and adds all of it up to an end.
    fn add_folded(&mut self, from: usize, end: usize) {
        self.folded[from..end].make_ascii_lowercase();
        let Self { seen, bits, folded } = self;
        let mut gram = 0_u32;
        for (at, byte) in folded[..end].iter().enumerate() {
            gram = (gram << 8 | u32::from(*byte)) & 0x00ff_ffff;
            if at < 2 {
                continue;
            }
            let bit = bit(gram);
            let (word, mask) = ((bit >> 6) as usize, 1_u64 << (bit & 63));
            if seen[word] & mask == 0 {
                seen[word] |= mask;
                bits.push(bit);
            }
        }
    }

    /// Whether more would say nothing.
    pub(super) fn is_full(&self) -> bool {
        self.bits.len() > MOST
    }

    /// The bits so far.
    pub(super) fn bits(&self) -> &[u32] {
        &self.bits
    }

    /// Forgets all, for the next exchange.
    pub(super) fn clear(&mut self) {
        for bit in self.bits.drain(..) {
            self.seen[(bit >> 6) as usize] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of the length asked for.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn a_text_has_the_bits_of_each_literal_in_it_however_it_is_read() {
        let text = b"Needles and HAYSTACKS, \xc3\xa9t\xc3\xa9";
        for piece in [1, 2, 3, 7, 100] {
            let mut grams = Grams::new();
            assert_eq!(grams.add_reader(&mut Pieces(text, piece), 1_000).unwrap(), (text.len() as u64, true));
            for literal in [&b"needles"[..], b"HayStack", b"ks, ", b"t\xc3\xa9"] {
                assert!(bits(literal).iter().all(|bit| grams.bits().contains(bit)), "{piece} {literal:?}");
            }
            assert!(!bits(b"needless").iter().all(|bit| grams.bits().contains(bit)));
            grams.clear();
            grams.add(b"ab");
            assert!(grams.bits().is_empty() && grams.seen.iter().all(|word| *word == 0));
        }
        assert!(bits(b"ab").is_empty());
    }

    #[test]
    fn what_is_too_long_or_too_varied_is_said_not_to_be_whole() {
        let mut grams = Grams::new();
        assert!(!grams.add_reader(&mut io::repeat(b'x'), 200_000).unwrap().1);
        grams.clear();
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(1_000_000)
        .collect();
        assert!(!grams.add_reader(&mut &noise[..], u64::MAX).unwrap().1 && grams.is_full());
    }
}
