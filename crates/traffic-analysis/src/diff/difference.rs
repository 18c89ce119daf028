//! Differences, gathered within bounds.

use crate::diff::volatile::{self, Volatile};

/// Characters of a value that are shown where no other number is asked for.
const VALUE_CHARS: usize = 120;

/// How exchanges are compared.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// What becomes of differences that are recognised as volatile.
    pub volatile: Shown,
    /// Places that are not compared, with `*` for any characters: `resp.header.x-build`, `resp.json./items/*/price`.
    pub ignore: Vec<String>,
    /// Differences that are given at most; all are counted.
    pub max_differences: usize,
    /// Characters of each value that are given at most.
    pub max_value_chars: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            volatile: Shown::Counted,
            ignore: Vec::new(),
            max_differences: 200,
            max_value_chars: VALUE_CHARS,
        }
    }
}

/// What becomes of something that is not asked for by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shown {
    /// It is counted.
    #[default]
    Counted,
    /// It is counted and listed.
    Listed,
}

/// One place at which two exchanges differ.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// Where: `status`, `resp.header.etag`, `resp.json./user/name`.
    pub place: String,
    /// What is there on the left, cut; `None` where nothing is.
    pub left: Option<String>,
    /// What is there on the right, cut; `None` where nothing is.
    pub right: Option<String>,
    /// Why that says little, where it does.
    pub volatile: Option<Volatile>,
}

/// How two exchanges differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExchangeDiff {
    /// The first differences: of the request's head, its body, the response's head, its body.
    pub differences: Vec<Difference>,
    /// How many there are, without the volatile ones.
    pub total: u64,
    /// How many volatile ones there are.
    pub volatile: u64,
    /// What could not be compared as it should, and why.
    pub notes: Vec<String>,
}

impl ExchangeDiff {
    /// Whether nothing differs but what is volatile.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.total == 0
    }
}

/// Gathers differences.
pub(super) struct Found<'o> {
    options: &'o Options,
    told: ExchangeDiff,
}

impl<'o> Found<'o> {
    pub(super) fn new(options: &'o Options) -> Self {
        Self { options, told: ExchangeDiff::default() }
    }

    pub(super) fn finish(self) -> ExchangeDiff {
        self.told
    }

    /// Notes what could not be compared as it should.
    pub(super) fn note(&mut self, note: String) {
        self.told.notes.push(note);
    }

    /// Compares two texts under a name, by which volatile ones are recognised too.
    pub(super) fn texts(&mut self, place: &str, name: &str, left: Option<&str>, right: Option<&str>) {
        if left == right {
            return;
        }
        let volatile = match (left, right) {
            (Some(left), Some(right)) => volatile::texts(name, left, right),
            _ => None,
        };
        self.add(place, left, right, volatile);
    }

    /// Adds a difference.
    pub(super) fn add(
        &mut self,
        place: &str,
        left: Option<&str>,
        right: Option<&str>,
        volatile: Option<Volatile>,
    ) {
        if self.options.ignore.iter().any(|pattern| matches(pattern.as_bytes(), place.as_bytes())) {
            return;
        }
        match volatile {
            Some(_) => self.told.volatile += 1,
            None => self.told.total += 1,
        }
        let listed = volatile.is_none() || self.options.volatile == Shown::Listed;
        if listed && self.told.differences.len() < self.options.max_differences {
            let cut = |text: &str| cut(text, self.options.max_value_chars);
            self.told.differences.push(Difference {
                place: place.to_owned(),
                left: left.map(cut),
                right: right.map(cut),
                volatile,
            });
        }
    }
}

/// Cuts a text for display.
pub(super) fn cut(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Whether a text is as a pattern says, in which `*` stands for any bytes. Letters count in whatever case.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // Goes back to the last star only, so that the work is bounded by the product of both lengths.
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(byte) if byte.eq_ignore_ascii_case(&text[seen]) => {
                at += 1;
                seen += 1;
            }
            _ => match &mut star {
                Some((star_at, from)) => {
                    *from += 1;
                    (at, seen) = (*star_at + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn places_are_ignored_by_pattern() {
        for (pattern, place, expected) in [
            ("resp.header.x-build", "resp.header.X-Build", true),
            ("resp.json./items/*/price", "resp.json./items/10/price", true),
            ("resp.json./items/*/price", "resp.json./items/10/name", false),
            ("resp.*", "resp.body", true),
            ("*", "status", true),
            ("", "status", false),
            ("st*t*s", "status", true),
            ("status", "statu", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), place.as_bytes()), expected, "{pattern} {place}");
        }
    }
}
