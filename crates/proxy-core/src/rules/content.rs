//! Bodies written in a rule.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, value::MapAccessDeserializer},
};

use super::json::Json;

/// The largest body written in a rule, or read from a file for one, in bytes.
pub const MAX_CONTENT_BYTES: usize = 32 * 1024 * 1024;

/// A body: a text, bytes, JSON, or a file. In files a bare string is a text; else a map with one of the keys `text`,
/// `base64`, `json` and `file`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// UTF-8.
    Text(String),
    /// Bytes, written in base64.
    Bytes(Bytes),
    /// A JSON value, written without spaces.
    Json(Json),
    /// A file, read anew each time, at most [`MAX_CONTENT_BYTES`]. In a rule file a relative path is relative to that
    /// file's directory.
    File(PathBuf),
}

impl Content {
    /// The bytes, where no file has to be read.
    #[must_use]
    pub fn inline(&self) -> Option<Bytes> {
        match self {
            Self::Text(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
            Self::Bytes(bytes) => Some(bytes.clone()),
            Self::Json(json) => Some(json.to_string().into()),
            Self::File(_) => None,
        }
    }

    /// The file to read, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        if let Self::File(path) = self { Some(path) } else { None }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Json(_) | Self::File(_) => false,
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    #[serde(default, deserialize_with = "super::json::given", skip_serializing_if = "Option::is_none")]
    json: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

struct Reader;

impl<'de> de::Visitor<'de> for Reader {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or a map with `text`, `base64`, `json` or `file`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
        Ok(Content::Text(text.to_owned()))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Content, A::Error> {
        match Form::deserialize(MapAccessDeserializer::new(map))? {
            Form { text: Some(text), base64: None, json: None, file: None } => Ok(Content::Text(text)),
            Form { text: None, base64: Some(text), json: None, file: None } => match STANDARD.decode(&text) {
                Ok(bytes) => Ok(Content::Bytes(bytes.into())),
                Err(error) => Err(de::Error::custom(format_args!("this is no base64: {error}"))),
            },
            Form { text: None, base64: None, json: Some(json), file: None } => Ok(Content::Json(json)),
            Form { text: None, base64: None, json: None, file: Some(path) } => Ok(Content::File(path)),
            _ => Err(de::Error::custom("content has exactly one of `text`, `base64`, `json` and `file`")),
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(Reader)
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        let mut form = Form::default();
        match self {
            Self::Text(text) => return sink.serialize_str(text),
            Self::Bytes(bytes) => form.base64 = Some(STANDARD.encode(bytes)),
            Self::Json(json) => form.json = Some(json.clone()),
            Self::File(path) => form.file = Some(path.clone()),
        }
        form.serialize(sink)
    }
}
