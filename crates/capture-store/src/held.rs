//! Bytes of bodies that wait in memory to be written, counted where all of them are.

use std::{
    mem,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::assemble::{FIRST_BYTES, INLINE_BYTES};

/// What all bodies together take of memory, and what they may take before each of them is to be small.
#[derive(Clone, Debug)]
pub(crate) struct Waiting(Arc<Count>);

#[derive(Debug)]
struct Count {
    bytes: AtomicUsize,
    most: usize,
}

impl Waiting {
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Count { bytes: AtomicUsize::new(0), most }))
    }

    /// Whether so many bytes more may wait.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.bytes().saturating_add(more) <= self.0.most
    }

    /// What is taken.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

/// Memory that counts for as long as this lives, wherever it ends: what is counted cannot be forgotten.
#[derive(Debug)]
struct Counted {
    bytes: usize,
    waiting: Waiting,
}

impl Counted {
    fn set(&mut self, bytes: usize) {
        // Wraps where it is less than before, and so takes off.
        self.waiting.0.bytes.fetch_add(bytes.wrapping_sub(self.bytes), Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The beginning of one body, or all of it.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    /// From the first byte on.
    counted: Option<Counted>,
}

impl Held {
    /// Adds a piece, to what `buffer` gives where it is the first.
    pub(crate) fn keep(&mut self, piece: &[u8], waiting: &Waiting, buffer: impl FnOnce() -> Vec<u8>) {
        if self.bytes.capacity() == 0 {
            self.bytes = buffer();
        }
        let length = self.bytes.len() + piece.len();
        if length > FIRST_BYTES && length > self.bytes.capacity() {
            // Few are so long, and wait for long where they are: by steps, and not by doubling.
            let step = length.next_multiple_of(FIRST_BYTES).min(INLINE_BYTES.max(length));
            self.bytes.reserve_exact(step - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        let new = || Counted { bytes: 0, waiting: waiting.clone() };
        self.counted.get_or_insert_with(new).set(self.bytes.capacity());
    }

    /// Takes the memory out; it counts no more.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.counted = None;
        mem::take(&mut self.bytes)
    }
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bodies_take_is_counted_until_they_end_in_whatever_way() {
        let waiting = Waiting::new(100_000);
        let (mut one, mut other, mut third) = (Held::default(), Held::default(), Held::default());
        assert_eq!(waiting.bytes(), 0);
        one.keep(&[1; 10], &waiting, || Vec::with_capacity(1_000));
        assert_eq!(waiting.bytes(), 1_000);
        for _ in 0..40 {
            other.keep(&[2; 1_000], &waiting, Vec::new);
        }
        third.keep(&[3; 700], &waiting, Vec::new);
        assert!(waiting.bytes() >= 41_700, "{}", waiting.bytes());
        assert!(waiting.bytes() <= 1_000 + 2 * FIRST_BYTES + 700, "{}", waiting.bytes());
        assert!(waiting.has_room(20_000));
        assert!(!waiting.has_room(70_000));
        assert!(!waiting.has_room(usize::MAX));
        assert_eq!(other.take().len(), 40_000);
        assert!(other.is_empty());
        drop(one);
        assert_eq!(waiting.bytes(), 700);
        // Used again after it was emptied.
        third.take();
        third.keep(&[4; 5], &waiting, || Vec::with_capacity(64));
        assert_eq!((&third[..], waiting.bytes()), (&[4; 5][..], 64));
        drop(third);
        assert_eq!(waiting.bytes(), 0);
    }

    #[test]
    fn a_long_body_grows_by_steps_and_a_short_one_as_a_vector_does() {
        let waiting = Waiting::new(0);
        let mut held = Held::default();
        let mut capacities = Vec::new();
        while held.len() < INLINE_BYTES {
            held.keep(&[7; 1_000][..1_000.min(INLINE_BYTES - held.len())], &waiting, Vec::new);
            capacities.push(waiting.bytes());
        }
        capacities.retain(|bytes| *bytes > FIRST_BYTES);
        capacities.dedup();
        assert_eq!(capacities, [2 * FIRST_BYTES, 3 * FIRST_BYTES, INLINE_BYTES]);
    }
}
