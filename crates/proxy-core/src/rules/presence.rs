//! The written form of [`Presence`]: `true`, `false`, or a pattern.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, IntoDeserializer, value::MapAccessDeserializer},
};

use super::{matcher::Presence, pattern::Pattern};

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(true) => f.write_str("is there"),
            Self::Is(false) => f.write_str("is not there"),
            Self::Fits(pattern) => pattern.fmt(f),
        }
    }
}

struct Reader;

impl<'de> de::Visitor<'de> for Reader {
    type Value = Presence;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false, or a pattern")
    }

    fn visit_bool<E: de::Error>(self, there: bool) -> Result<Presence, E> {
        Ok(Presence::Is(there))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Presence, E> {
        Pattern::deserialize(text.into_deserializer()).map(Presence::Fits)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Presence, A::Error> {
        Pattern::deserialize(MapAccessDeserializer::new(map)).map(Presence::Fits)
    }
}

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(Reader)
    }
}

impl Serialize for Presence {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Is(there) => sink.serialize_bool(*there),
            Self::Fits(pattern) => pattern.serialize(sink),
        }
    }
}
