//! JSON in rules: values, pointers, and lists that may be written as one entry.

use std::{fmt, marker::PhantomData, ops::Deref};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        self, IntoDeserializer,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use super::pattern::{ParsePatternError, Pattern};

/// Any JSON value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(pub(super) serde_json::Value);

impl Json {
    /// Reads a JSON text.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, ParsePatternError> {
        serde_json::from_str(text).map(Self).map_err(|error| ParsePatternError(error.to_string()))
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A JSON Pointer (RFC 6901): empty for the whole document, else `/a/0/b`, with `~0` for `~` and `~1` for `/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Pointer(String);

impl Pointer {
    /// Reads a pointer.
    ///
    /// # Errors
    /// When it neither is empty nor begins with `/`, or has another `~` than `~0` and `~1`.
    pub fn parse(text: &str) -> Result<Self, ParsePatternError> {
        let escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        if escaped && (text.is_empty() || text.starts_with('/')) {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(80).collect();
        Err(ParsePatternError(format!("{shown:?} is no JSON Pointer; write `/a/0/b` (RFC 6901)")))
    }

    pub(super) fn find<'v>(&self, value: &'v serde_json::Value) -> Option<&'v serde_json::Value> {
        value.pointer(&self.0)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(source)?).map_err(de::Error::custom)
    }
}

/// What a JSON body has to have at one place: `{ at = "/user/id", equals = 7 }`, or `fits` with a pattern for a string
/// (numbers and booleans are compared as they are written), or neither: that there is something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct JsonCheck {
    /// Where.
    pub at: Pointer,
    /// The value that has to be there. Numbers are equal when their values are: `1` and `1.0`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub equals: Option<Json>,
    /// What the string, number or boolean there has to fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fits: Option<Pattern>,
}

impl JsonCheck {
    /// Asks for a value.
    #[must_use]
    pub fn equals(at: Pointer, value: Json) -> Self {
        Self { at, equals: Some(value), fits: None }
    }

    pub(super) fn holds(&self, body: &serde_json::Value) -> bool {
        let Some(found) = self.at.find(body) else { return false };
        let equal = self.equals.as_ref().is_none_or(|json| same(&json.0, found));
        equal
            && self.fits.as_ref().is_none_or(|pattern| match found {
                serde_json::Value::String(text) => pattern.matches(text),
                serde_json::Value::Number(_) | serde_json::Value::Bool(_) => {
                    pattern.matches(found.to_string())
                }
                _ => false,
            })
    }
}

impl fmt::Display for JsonCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.equals, &self.fits) {
            (None, None) => write!(f, "{:?} is there", self.at.0),
            (Some(json), None) => write!(f, "{:?} is {json}", self.at.0),
            (None, Some(pattern)) => write!(f, "{:?} {pattern}", self.at.0),
            (Some(json), Some(pattern)) => write!(f, "{:?} is {json} and {pattern}", self.at.0),
        }
    }
}

/// Reads a value that is there, and may be null.
pub(super) fn given<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(source).map(Some)
}

/// Equality that does not mind how a number is written.
fn same(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Number, Object};
    match (a, b) {
        (Number(a), Number(b)) => a == b || (a.as_f64() == b.as_f64() && (a.is_f64() || b.is_f64())),
        (Array(a), Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Object(a), Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

/// A list that can be written as its only entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany<T>(Vec<T>);

impl<T> OneOrMany<T> {
    /// A list of one.
    pub fn one(entry: T) -> Self {
        Self(vec![entry])
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: T) {
        self.0.push(entry);
    }
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> std::ops::DerefMut for OneOrMany<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T> Deref for OneOrMany<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> OneOrMany<T> {
    /// Tells whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> FromIterator<T> for OneOrMany<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

struct Reader<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Reader<T> {
    type Value = OneOrMany<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one entry, or a list of them")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        T::deserialize(value.into_deserializer()).map(OneOrMany::one)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        T::deserialize(value.into_deserializer()).map(OneOrMany::one)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        T::deserialize(text.into_deserializer()).map(OneOrMany::one)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(OneOrMany::one)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMany)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(Reader(PhantomData))
    }
}

impl<T: Serialize> Serialize for OneOrMany<T> {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [only] => only.serialize(sink),
            all => all.serialize(sink),
        }
    }
}
