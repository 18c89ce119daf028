//! What of a question a segment can answer: the literals that every match holds.

use memchr::{memchr, memchr_iter, memmem::Finder};

use super::{
    grams,
    segment::{Class, Docs, Segment, rows_per_group, stride},
};
use crate::{
    condition::{Condition, Pattern, TextField},
    db::{DbError, Tx},
    id::Seq,
    needle::Needle,
};

/// Which exchanges can match. It holds for all that do.
#[derive(Clone, Debug)]
pub(crate) enum Narrow {
    /// All of these hold.
    All(Vec<Self>),
    /// One of these holds.
    Any(Vec<Self>),
    /// The URL or the target holds this, in lower case.
    Url(Box<Finder<'static>>),
    /// A part of the text has the runs of three bytes that have these bits.
    Text(Vec<u32>),
}

/// Places in a segment, a bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Places(Vec<u64>);

impl Narrow {
    /// What a condition cannot hold without; `None` where nothing is known.
    pub(crate) fn of(condition: &Condition) -> Option<Self> {
        match condition {
            Condition::All(parts) => Self::all(parts.iter().filter_map(Self::of)),
            Condition::Any(parts) => Some(Self::Any(parts.iter().map(Self::of).collect::<Option<_>>()?)),
            Condition::Text(TextField::Url | TextField::Path, pattern) => Self::url(pattern.literal()?),
            Condition::Header { name, value, .. } | Condition::Cookie { name, value } => {
                let value = value.as_ref().and_then(Pattern::literal);
                Self::all(
                    [Self::text(name.as_bytes()), value.and_then(|text| Self::text(text.as_bytes()))]
                        .into_iter()
                        .flatten(),
                )
            }
            Condition::Body { pattern, .. }
            | Condition::Message { pattern, .. }
            | Condition::Anywhere(pattern) => match pattern.needle() {
                Some(text) => Self::needle(&Needle::new(text, false)),
                None => Self::text(pattern.literal()?.as_bytes()),
            },
            _ => None,
        }
    }

    /// What an exchange cannot hold a text without, in whatever form.
    pub(crate) fn needle(needle: &Needle) -> Option<Self> {
        Some(Self::Any(needle.forms().map(Self::text).collect::<Option<_>>()?))
    }

    /// All of some; `None` of none.
    pub(crate) fn all(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut parts: Vec<_> = parts.into_iter().collect();
        match parts.len() {
            0 | 1 => parts.pop(),
            _ => Some(Self::All(parts)),
        }
    }

    fn text(literal: &[u8]) -> Option<Self> {
        let bits = grams::bits(literal);
        (!bits.is_empty()).then_some(Self::Text(bits))
    }

    fn url(literal: &str) -> Option<Self> {
        let literal = literal.to_ascii_lowercase();
        // Lines are stored with other bytes in the place of these.
        let told = !literal.is_empty() && !literal.bytes().any(|byte| matches!(byte, b'\n' | 1));
        told.then(|| Self::Url(Box::new(Finder::new(literal.as_bytes()).into_owned())))
    }

    /// The seqs of a segment that can match, ascending; `None` where the segment is none any more.
    pub(crate) fn candidates(&self, tx: &Tx<'_>, segment: &Segment) -> Result<Option<Vec<Seq>>, DbError> {
        let Some(docs) = tx.segment_docs(segment)? else { return Ok(None) };
        let places = self.places(tx, segment.id, &docs)?;
        Ok(Some(places.iter().filter_map(|at| docs.0.get(at)).map(|(seq, _)| Seq(*seq)).collect()))
    }

    fn places(&self, tx: &Tx<'_>, segment: u64, docs: &Docs) -> Result<Places, DbError> {
        match self {
            Self::All(parts) => {
                let mut places = Places::all(docs.0.len());
                for part in parts {
                    if places.is_empty() {
                        break;
                    }
                    places.and(&part.places(tx, segment, docs)?);
                }
                Ok(places)
            }
            Self::Any(parts) => {
                let mut places = Places::none(docs.0.len());
                for part in parts {
                    places.or(&part.places(tx, segment, docs)?);
                }
                Ok(places)
            }
            Self::Url(finder) => in_urls(tx, segment, docs, finder),
            Self::Text(bits) => in_texts(tx, segment, docs, bits),
        }
    }
}

fn in_urls(tx: &Tx<'_>, segment: u64, docs: &Docs, finder: &Finder<'_>) -> Result<Places, DbError> {
    let mut places = Places::none(docs.0.len());
    tx.segment_urls(segment, |urls| {
        let Some((first, lines)) = urls.split_first_chunk::<2>() else { return };
        let (mut place, mut from) = (usize::from(u16::from_le_bytes(*first)), 0);
        while let Some(found) = finder.find(&lines[from..]) {
            place += memchr_iter(b'\n', &lines[from..from + found]).count();
            places.set(place);
            let Some(end) = memchr(b'\n', &lines[from + found..]) else { return };
            from += found + end + 1;
            place += 1;
        }
    })?;
    Ok(places)
}

fn in_texts(tx: &Tx<'_>, segment: u64, docs: &Docs, bits: &[u32]) -> Result<Places, DbError> {
    let mut places = Places::none(docs.0.len());
    docs.of_class(Class::ALWAYS).for_each(|at| places.set(at));
    for class in Class::SETS {
        let members: Vec<usize> = docs.of_class(class).collect();
        if members.is_empty() {
            continue;
        }
        let stride = stride(members.len());
        let per_group = rows_per_group(stride).min(class.rows());
        let mut left = vec![0xff_u8; stride];
        for bit in bits {
            let row = class.row(*bit);
            let start = (row % per_group) * stride;
            tx.segment_bits(segment, class, row / per_group, |group| {
                let row = group.and_then(|group| group.get(start..start + stride));
                match row {
                    Some(row) => left.iter_mut().zip(row).for_each(|(left, row)| *left &= row),
                    None => left.fill(0),
                }
            })?;
            if left.iter().all(|byte| *byte == 0) {
                break;
            }
        }
        let is_left = |column: usize| left[column / 8] & (1 << (column % 8)) != 0;
        members.iter().enumerate().filter(|(column, _)| is_left(*column)).for_each(|(_, at)| places.set(*at));
    }
    Ok(places)
}

impl Places {
    fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn all(count: usize) -> Self {
        Self(vec![u64::MAX; count.div_ceil(64)])
    }

    fn set(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn and(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(one, other)| *one &= other);
    }

    fn or(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(one, other)| *one |= other);
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| at * 64 + bit)
        })
    }
}
