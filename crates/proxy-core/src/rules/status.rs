//! Statuses a rule is for.

use std::{fmt, str::FromStr};

use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::pattern::ParsePatternError;

/// One status, or a range of them. In files `404`, `"4xx"` or `"400-418"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusMatch {
    from: u16,
    to: u16,
}

impl StatusMatch {
    /// The statuses from one to another, both included.
    ///
    /// # Errors
    /// Outside 100 to 999, or when there is none between them.
    pub fn range(from: u16, to: u16) -> Result<Self, ParsePatternError> {
        if from < 100 || to > 999 || from > to {
            return Err(refuse(&format!("{from}-{to}")));
        }
        Ok(Self { from, to })
    }

    /// Tells whether a status is meant.
    #[must_use]
    pub fn matches(self, status: StatusCode) -> bool {
        (self.from..=self.to).contains(&status.as_u16())
    }
}

fn refuse(text: &str) -> ParsePatternError {
    let shown: String = text.chars().take(40).collect();
    ParsePatternError(format!("{shown:?} is no status; write 404, \"4xx\" or \"400-418\""))
}

impl From<StatusCode> for StatusMatch {
    fn from(status: StatusCode) -> Self {
        Self { from: status.as_u16(), to: status.as_u16() }
    }
}

impl FromStr for StatusMatch {
    type Err = ParsePatternError;

    fn from_str(text: &str) -> Result<Self, ParsePatternError> {
        let number = |text: &str| text.trim().parse().map_err(|_| refuse(text));
        if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
            let class: u16 = number(class)?;
            let from = class.checked_mul(100).ok_or_else(|| refuse(text))?;
            return Self::range(from, from.saturating_add(99)).map_err(|_| refuse(text));
        }
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        Self::range(number(from)?, number(to)?).map_err(|_| refuse(text))
    }
}

impl fmt::Display for StatusMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.to) {
            (from, to) if from == to => from.fmt(f),
            (from, to) if from % 100 == 0 && to == from + 99 => write!(f, "{}xx", from / 100),
            (from, to) => write!(f, "{from}-{to}"),
        }
    }
}

struct Reader;

impl de::Visitor<'_> for Reader {
    type Value = StatusMatch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status: 404, \"4xx\" or \"400-418\"")
    }

    fn visit_u64<E: de::Error>(self, status: u64) -> Result<StatusMatch, E> {
        let refused = || E::custom(refuse(&status.to_string()));
        let status = u16::try_from(status).map_err(|_| refused())?;
        StatusMatch::range(status, status).map_err(|_| refused())
    }

    fn visit_i64<E: de::Error>(self, status: i64) -> Result<StatusMatch, E> {
        let status = u64::try_from(status).map_err(|_| E::custom(refuse(&status.to_string())))?;
        self.visit_u64(status)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<StatusMatch, E> {
        text.parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for StatusMatch {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(Reader)
    }
}

impl Serialize for StatusMatch {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        if self.from == self.to { sink.serialize_u16(self.from) } else { sink.collect_str(self) }
    }
}
