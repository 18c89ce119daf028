//! The parts of a matcher that depend on more than the exchange: counts, chance, the clock.

use std::{fmt, time::SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::value::MapAccessDeserializer};

use super::moment::Moment;

/// Which of the matches count, from 1 on. In files `3`, or `{ from = 2, to = 5 }` with either end left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occurrence {
    from: u64,
    to: Option<u64>,
}

impl Occurrence {
    /// Only the n-th.
    #[must_use]
    pub fn only(nth: u64) -> Self {
        Self { from: nth, to: Some(nth) }
    }

    /// Only the first `count`.
    #[must_use]
    pub fn first(count: u64) -> Self {
        Self { from: 1, to: Some(count) }
    }

    pub(super) fn holds(self, nth: u64) -> bool {
        nth >= self.from && self.to.is_none_or(|to| nth <= to)
    }
}

impl fmt::Display for Occurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.to) {
            (from, Some(to)) if from == to => write!(f, "match number {from}"),
            (from, Some(to)) => write!(f, "match numbers {from} to {to}"),
            (from, None) => write!(f, "match number {from} and later"),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OccurrenceForm {
    #[serde(default = "one")]
    from: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
}

fn one() -> u64 {
    1
}

struct OccurrenceReader;

impl<'de> de::Visitor<'de> for OccurrenceReader {
    type Value = Occurrence;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 1 on, or a map with `from` and `to`")
    }

    fn visit_u64<E: de::Error>(self, nth: u64) -> Result<Occurrence, E> {
        if nth == 0 { Err(E::custom("matches are counted from 1")) } else { Ok(Occurrence::only(nth)) }
    }

    fn visit_i64<E: de::Error>(self, nth: i64) -> Result<Occurrence, E> {
        self.visit_u64(u64::try_from(nth).unwrap_or(0))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Occurrence, A::Error> {
        let OccurrenceForm { from, to } = OccurrenceForm::deserialize(MapAccessDeserializer::new(map))?;
        if from == 0 || to.is_some_and(|to| to < from) {
            return Err(de::Error::custom("matches are counted from 1, and `to` is not before `from`"));
        }
        Ok(Occurrence { from, to })
    }
}

impl<'de> Deserialize<'de> for Occurrence {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(OccurrenceReader)
    }
}

impl Serialize for Occurrence {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self { from, to: Some(to) } if from == to => sink.serialize_u64(from),
            Self { from, to } => OccurrenceForm { from, to }.serialize(sink),
        }
    }
}

/// A share of the matches, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Probability(f64);

impl Probability {
    /// Takes a share from 0 (never) to 1 (always).
    #[must_use]
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }

    /// The share.
    #[must_use]
    pub fn share(self) -> f64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Probability {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Self::new(f64::deserialize(source)?)
            .ok_or_else(|| de::Error::custom("a probability is between 0 and 1"))
    }
}

/// From one time on and until another, in RFC 3339: `{ from = "2026-11-21T08:00:00Z", until = "..." }`; either end can
/// be left out. `until` itself is outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Window {
    /// The first moment inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Moment>,
    /// The first moment after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
}

impl Window {
    pub(super) fn contains(&self, now: SystemTime) -> bool {
        self.from.is_none_or(|from| now >= from.time()) && self.until.is_none_or(|until| now < until.time())
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.until) {
            (Some(from), Some(until)) => write!(f, "from {from} until {until}"),
            (Some(from), None) => write!(f, "from {from} on"),
            (None, Some(until)) => write!(f, "until {until}"),
            (None, None) => f.write_str("always"),
        }
    }
}
