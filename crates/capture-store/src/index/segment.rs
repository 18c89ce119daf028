//! One segment: the exchanges of a run of seqs, their URLs as lines, and their texts as rows of bits.
//!
//! An exchange's text is the set of its three-byte runs, hashed to as many bits as its [`Class`] has. The sets of all
//! exchanges of a class stand side by side, turned: for each bit a row with one bit for each exchange. So a question
//! about a literal reads the rows of its runs, some hundred bytes each, and what is set in all of them is looked at.

use super::grams::WIDTH;
use crate::id::Seq;

/// Bytes of rows of bits that are stored as one: four of them fill a page of the database.
const GROUP_BYTES: usize = 4_000;
/// Bytes of URLs that are stored as one: a page.
const URL_BYTES: usize = 16_200;

/// How many bits an exchange's set has, by how much is in it. So at most half of the bits are set, and a literal of n
/// bytes that an exchange does not have passes with a chance of 2^-(n-2) at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class(pub(crate) u8);

impl Class {
    /// Nothing is left out of these: still open, cut, undecodable, too varied.
    pub(crate) const ALWAYS: Self = Self(0);
    /// All that have a set.
    pub(crate) const SETS: [Self; 5] = [Self(1), Self(2), Self(3), Self(4), Self(5)];

    /// The class of a set with so many different bits.
    pub(super) fn of(bits: usize) -> Self {
        let fits = |class: &Self| bits * 7 <= class.rows() * 5;
        Self::SETS.into_iter().find(fits).unwrap_or(Self::ALWAYS)
    }

    fn width(self) -> u32 {
        7 + 2 * u32::from(self.0)
    }

    /// Different bits.
    pub(super) fn rows(self) -> usize {
        1 << self.width()
    }

    /// The row of a bit.
    pub(super) fn row(self, bit: u32) -> usize {
        (bit >> (WIDTH - self.width())) as usize
    }
}

/// A segment of the index, without its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) id: u64,
    /// Seqs, both included.
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// The exchanges of a segment, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Docs(pub(crate) Vec<(u64, Class)>);

impl Docs {
    /// As a blob: for each its distance from the segment's first seq (two bytes, little endian), and its class.
    pub(super) fn encode(&self, first: u64) -> Vec<u8> {
        let mut blob = Vec::with_capacity(self.0.len() * 3);
        for (seq, class) in &self.0 {
            let distance = u16::try_from(seq - first).unwrap_or(u16::MAX);
            blob.extend_from_slice(&distance.to_le_bytes());
            blob.push(class.0);
        }
        blob
    }

    pub(crate) fn decode(first: u64, blob: &[u8]) -> Self {
        let doc = |doc: &[u8]| (first + u64::from(u16::from_le_bytes([doc[0], doc[1]])), Class(doc[2]));
        Self(blob.chunks_exact(3).map(doc).collect())
    }

    /// The places of those of a class, which is the order of their bits in its rows.
    pub(super) fn of_class(&self, class: Class) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().filter(move |(_, doc)| doc.1 == class).map(|(at, _)| at)
    }
}

/// Bytes of a row for so many exchanges.
pub(super) fn stride(exchanges: usize) -> usize {
    exchanges.div_ceil(8)
}

/// Rows that are stored as one, a power of two.
pub(super) fn rows_per_group(stride: usize) -> usize {
    let fit = (GROUP_BYTES / stride.max(1)).max(1);
    1 << fit.ilog2()
}

/// A segment as it is written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) docs: Vec<u8>,
    /// URLs by number: the place of the first as two bytes, little endian, then a line each.
    pub(crate) urls: Vec<Vec<u8>>,
    /// Rows of bits by class and number of their group; a group that is not there is all zeros.
    pub(crate) bits: Vec<(Class, usize, Vec<u8>)>,
}

/// A segment being made.
#[derive(Default)]
pub(super) struct Draft {
    docs: Docs,
    urls: Vec<Vec<u8>>,
    /// Sets by class, each as long as the class has rows.
    sets: [Vec<u8>; Class::SETS.len()],
    /// Bytes of text that were looked at.
    text_bytes: u64,
}

impl Draft {
    pub(super) fn exchanges(&self) -> usize {
        self.docs.0.len()
    }

    pub(super) fn docs(&self) -> &Docs {
        &self.docs
    }

    /// Bytes of its sets.
    pub(super) fn set_bytes(&self) -> usize {
        self.sets.iter().map(Vec::len).sum()
    }

    pub(super) fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// How far a seq is from the first.
    pub(super) fn distance(&self, seq: Seq) -> u64 {
        self.docs.0.first().map_or(0, |(first, _)| seq.0 - first)
    }

    /// Adds an exchange, whose seq is higher than those before: its URL's line, and its bits where it has a set.
    pub(super) fn add(&mut self, seq: Seq, line: &[u8], set: Option<&[u32]>, text_bytes: u64) {
        let place = u16::try_from(self.docs.0.len()).unwrap_or(u16::MAX);
        let room = self.urls.last().is_some_and(|urls| urls.len() + line.len() < URL_BYTES);
        if !room {
            self.urls.push(place.to_le_bytes().to_vec());
        }
        if let Some(urls) = self.urls.last_mut() {
            urls.extend_from_slice(line);
            urls.push(b'\n');
        }
        let class = set.map_or(Class::ALWAYS, |bits| Class::of(bits.len()));
        if let (Some(bits), Some(index)) = (set, usize::from(class.0).checked_sub(1)) {
            let sets = &mut self.sets[index];
            let start = sets.len();
            sets.resize(start + class.rows() / 8, 0);
            for bit in bits {
                let row = class.row(*bit);
                sets[start + row / 8] |= 1 << (row % 8);
            }
        }
        self.docs.0.push((seq.0, class));
        self.text_bytes += text_bytes + line.len() as u64;
    }

    /// What is to be written; `None` of no exchanges.
    pub(super) fn finish(self) -> Option<Written> {
        let (first, last) = (self.docs.0.first()?.0, self.docs.0.last()?.0);
        let mut bits = Vec::new();
        for (class, sets) in Class::SETS.into_iter().zip(&self.sets) {
            groups(class, sets, &mut bits);
        }
        Some(Written { first, last, docs: self.docs.encode(first), urls: self.urls, bits })
    }
}

/// Turns the sets of a class into rows, and puts them together in groups.
fn groups(class: Class, sets: &[u8], out: &mut Vec<(Class, usize, Vec<u8>)>) {
    let set_bytes = class.rows() / 8;
    let stride = stride(sets.len() / set_bytes);
    if stride == 0 {
        return;
    }
    let mut turned = vec![0_u8; class.rows() * stride];
    for (exchange, set) in sets.chunks_exact(set_bytes).enumerate() {
        let (byte, mask) = (exchange / 8, 1_u8 << (exchange % 8));
        for (at, mut eight) in set.iter().copied().enumerate() {
            while eight != 0 {
                let row = at * 8 + eight.trailing_zeros() as usize;
                turned[row * stride + byte] |= mask;
                eight &= eight - 1;
            }
        }
    }
    let group_bytes = rows_per_group(stride).min(class.rows()) * stride;
    for (number, group) in turned.chunks(group_bytes).enumerate() {
        if group.iter().any(|byte| *byte != 0) {
            out.push((class, number, group.to_vec()));
        }
    }
}
