//! Bounded texts of a rule.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::pattern::MAX_PATTERN_BYTES;

/// A text of at most [`MAX_PATTERN_BYTES`].
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub(super) struct Wording(pub(super) String);

impl Wording {
    pub(super) fn parse<E: de::Error>(text: &str) -> Result<Self, E> {
        if text.len() > MAX_PATTERN_BYTES {
            return Err(E::custom(format_args!("a pattern is at most {MAX_PATTERN_BYTES} bytes long")));
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Wording {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(source)?)
    }
}
