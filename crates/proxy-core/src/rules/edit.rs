//! Edits of fields, parameters and bodies.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

use super::{
    content::Content,
    json::{Json, OneOrMany, given},
    pattern::{ParsePatternError, Regex},
    replace::{Parts, Replace},
};

/// Edits of header fields.
pub type FieldEdits = Edits<FieldName, FieldValue>;
/// Edits of a query's parameters, in decoded form.
pub type QueryEdits = Edits<String, String>;

/// Edits by name, in this order: `remove`, `set` (one in the place of all of this name; null removes them), `add` (one
/// more, or several as a list).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(bound(
    deserialize = "N: Deserialize<'de>, V: Deserialize<'de>",
    serialize = "N: Serialize, V: Serialize"
))]
pub struct Edits<N, V> {
    /// What is taken out.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<N>,
    /// What is put in the place of all of its name; `None` takes them out.
    #[serde(default, skip_serializing_if = "Pairs::is_empty")]
    pub set: Pairs<N, Option<V>>,
    /// What is added at the end.
    #[serde(default, skip_serializing_if = "Pairs::is_empty")]
    pub add: Pairs<N, OneOrMany<V>>,
}

impl<N, V> Default for Edits<N, V> {
    fn default() -> Self {
        Self { remove: Vec::new(), set: Pairs::default(), add: Pairs::default() }
    }
}

impl FieldEdits {
    /// Sets one field. What cannot be in a header is left out of it.
    #[must_use]
    pub fn set(name: impl Into<String>, value: impl Into<String>) -> Self {
        let mut edits = Self::default();
        let name = FieldName(name.into().chars().filter(|c| is_token(*c)).collect());
        let value = FieldValue(value.into().chars().filter(|c| !"\r\n\0".contains(*c)).collect());
        edits.set.0.push((name, Some(value)));
        edits
    }
}

/// Pairs in the order they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairs<N, V>(pub Vec<(N, V)>);

impl<N, V> Pairs<N, V> {
    /// Tells whether there is no pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N, V> Default for Pairs<N, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

struct PairsReader<N, V>(PhantomData<(N, V)>);

impl<'de, N: Deserialize<'de>, V: Deserialize<'de>> de::Visitor<'de> for PairsReader<N, V> {
    type Value = Pairs<N, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of names and values")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}

impl<'de, N: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Pairs<N, V> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(PairsReader(PhantomData))
    }
}

impl<N: Serialize, V: Serialize> Serialize for Pairs<N, V> {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        let mut map = sink.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A field's name: a token (RFC 9110 section 5.6.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct FieldName(String);

/// A field's value, without CR, LF and NUL (RFC 9110 section 5.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct FieldValue(String);

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

impl FieldName {
    /// Takes a token.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, ParsePatternError> {
        if text.is_empty() || !text.chars().all(is_token) {
            let shown: String = text.chars().take(80).collect();
            return Err(ParsePatternError(format!("{shown:?} is no field name (a token, RFC 9110)")));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FieldValue {
    /// Takes a value.
    ///
    /// # Errors
    /// When there is a CR, LF or NUL in it.
    pub fn parse(text: &str) -> Result<Self, ParsePatternError> {
        if text.contains(['\r', '\n', '\0']) {
            return Err(ParsePatternError("a field's value has no line break and no NUL".to_owned()));
        }
        Ok(Self(text.trim_matches([' ', '\t']).to_owned()))
    }

    /// The value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for FieldName {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(source)?).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for FieldValue {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(source)?).map_err(de::Error::custom)
    }
}

/// Edits of a body, one after the other.
pub type BodyEdits = OneOrMany<BodyEdit>;

/// One edit of a body, which it sees decoded from its content coding.
///
/// In files `{ find = "a", with = "b" }` or `{ regex = "a+", with = "b" }` (see [`Replace`]), `{ set = "new" }` for a
/// whole new body (see [`Content`]), `{ merge = { a = 1 } }` for a JSON merge patch, and
/// `{ patch = [{ op = "remove", path = "/a" }] }` for a JSON patch.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum BodyEdit {
    /// Another body.
    Set(Content),
    /// A search over the bytes.
    Replace(Replace),
    /// A JSON merge patch (RFC 7396): what is there is merged in, null takes out.
    Merge(Json),
    /// A JSON patch (RFC 6902), all of it or nothing.
    Patch(json_patch_of::JsonPatch),
}

pub(super) mod json_patch_of {
    //! A JSON patch that is parsed with its rule.

    use serde::{Deserialize, Serialize};

    /// A JSON patch (RFC 6902).
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(transparent)]
    pub struct JsonPatch(pub(in crate::rules) json_patch::Patch);
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    set: Option<Content>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    merge: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    patch: Option<json_patch_of::JsonPatch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    find: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    regex: Option<Regex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    with: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    first_only: bool,
}

impl<'de> Deserialize<'de> for BodyEdit {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let Form { set, merge, patch, find, regex, with, first_only } = Form::deserialize(source)?;
        let searches = find.is_some() || regex.is_some() || with.is_some() || first_only;
        match (set, merge, patch) {
            (Some(content), None, None) if !searches => Ok(Self::Set(content)),
            (None, Some(json), None) if !searches => Ok(Self::Merge(json)),
            (None, None, Some(patch)) if !searches => Ok(Self::Patch(patch)),
            (None, None, None) if searches => Replace::from_parts(Parts { find, regex, with, first_only })
                .map(Self::Replace)
                .map_err(de::Error::custom),
            _ => Err(de::Error::custom(
                "an edit of a body has exactly one of `set`, `merge`, `patch`, `find` and `regex`",
            )),
        }
    }
}

impl Serialize for BodyEdit {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        let mut form = Form::default();
        match self {
            Self::Set(content) => form.set = Some(content.clone()),
            Self::Merge(json) => form.merge = Some(json.clone()),
            Self::Patch(patch) => form.patch = Some(patch.clone()),
            Self::Replace(replace) => {
                let Parts { find, regex, with, first_only } = replace.to_parts();
                form = Form { find, regex, with, first_only, ..form };
            }
        }
        form.serialize(sink)
    }
}
