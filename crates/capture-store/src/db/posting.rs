//! Which exchanges of a block have a value: their offsets within it, as they are stored.

use super::tally::SPAN;

/// Words of a set of a block's offsets.
const WORDS: usize = SPAN as usize / 64;
/// A set's bytes.
const SET_BYTES: usize = SPAN as usize / 8;

/// Offsets as bytes: two for each, ascending, the lower byte first; or a bit for each of the block, where that is shorter.
pub(super) fn encode(offsets: &[u16]) -> Vec<u8> {
    if offsets.len() * 2 < SET_BYTES {
        return offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
    }
    Offsets::of(offsets).0.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Offsets of exchanges within a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offsets([u64; WORDS]);

impl Offsets {
    pub(super) const NONE: Self = Self([0; WORDS]);

    pub(super) fn of(offsets: &[u16]) -> Self {
        let mut set = Self::NONE;
        offsets.iter().for_each(|offset| set.insert(*offset));
        set
    }

    /// Adds one; what lies beyond a block is damage, and none.
    pub(super) fn insert(&mut self, offset: u16) {
        if let Some(word) = self.0.get_mut(usize::from(offset / 64)) {
            *word |= 1 << (offset % 64);
        }
    }

    pub(super) fn remove(&mut self, offset: u16) {
        if let Some(word) = self.0.get_mut(usize::from(offset / 64)) {
            *word &= !(1 << (offset % 64));
        }
    }

    /// Adds those that were encoded.
    pub(super) fn add(&mut self, encoded: &[u8]) {
        if encoded.len() < SET_BYTES {
            let (offsets, _) = encoded.as_chunks::<2>();
            offsets.iter().for_each(|offset| self.insert(u16::from_le_bytes(*offset)));
            return;
        }
        let (words, _) = encoded.as_chunks::<8>();
        for (word, more) in self.0.iter_mut().zip(words) {
            *word |= u64::from_le_bytes(*more);
        }
    }

    /// Leaves only what another has too.
    pub(super) fn keep(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= other;
        }
    }

    /// Leaves only what lies between two offsets, both included.
    pub(super) fn keep_between(&mut self, first: u64, last: u64) {
        for (word, start) in self.0.iter_mut().zip((0_u64..).step_by(64)) {
            if first > start {
                *word &= u64::MAX.checked_shl(u32::try_from(first - start).unwrap_or(64)).unwrap_or(0);
            }
            if last < start + 63 {
                let kept = last.checked_sub(start).map_or(0, |last| u64::MAX >> (63 - last));
                *word &= kept;
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// All of them, ascending.
    pub(super) fn to_list(self) -> Vec<u16> {
        let mut list = Vec::with_capacity(usize::try_from(self.count()).unwrap_or(0));
        for (mut word, start) in self.0.into_iter().zip((0_u16..).step_by(64)) {
            while word != 0 {
                list.push(start + u16::try_from(word.trailing_zeros()).unwrap_or(0));
                word &= word - 1;
            }
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_come_back_as_they_were_encoded_in_the_shorter_way() {
        let every = |step: usize| (0..u16::try_from(SPAN).unwrap()).step_by(step).collect::<Vec<_>>();
        for (offsets, bytes) in [
            (vec![], 0),
            (vec![0], 2),
            (vec![0, 63, 64, 4095], 8),
            (every(17), 482),
            (every(16), 512),
            (every(2), 512),
            (every(1), 512),
        ] {
            let encoded = encode(&offsets);
            assert_eq!(encoded.len(), bytes);
            let mut decoded = Offsets::NONE;
            decoded.add(&encoded);
            assert_eq!((decoded.to_list(), decoded.count()), (offsets.clone(), offsets.len() as u64));
            assert_eq!(decoded.is_empty(), offsets.is_empty());
        }
    }

    #[test]
    fn damaged_offsets_are_none() {
        let mut decoded = Offsets::NONE;
        decoded.add(&[0, 16, 255, 255, 7]);
        decoded.insert(4096);
        assert!(decoded.is_empty());
        decoded.add(&[255; 600]);
        assert_eq!(decoded.count(), SPAN);
    }

    #[test]
    fn a_part_of_a_block_is_cut_out_at_any_bounds() {
        let all = Offsets::of(&(0..4096).collect::<Vec<_>>());
        for (first, last) in
            [(0, 4095), (0, 0), (63, 64), (64, 127), (65, 66), (4095, 4095), (1, 4094), (130, 129)]
        {
            let mut part = all;
            part.keep_between(first, last);
            let wanted: Vec<u16> = (0..4096).filter(|at| (first..=last).contains(&u64::from(*at))).collect();
            assert_eq!(part.to_list(), wanted, "{first} to {last}");
        }
        let mut part = all;
        part.keep(&Offsets::of(&[5, 70]));
        part.remove(70);
        assert_eq!(part.to_list(), [5]);
    }
}
