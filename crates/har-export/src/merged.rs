//! An entry as a tree, with the texts that are too large for one streamed into their places.

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use crate::{
    body::BodyText,
    entry::Entry,
    error::{Error, ErrorKind},
    extra::EXTRA,
    foreign,
    message::Messages,
    tree,
};

/// An entry whose members are as they were kept, or hidden.
pub(crate) struct Merged<'a> {
    pub(crate) value: Value,
    pub(crate) request_text: Option<Text<'a>>,
    pub(crate) response_text: Option<Text<'a>>,
    pub(crate) messages: Option<Messages<'a>>,
}

/// The text of a body.
pub(crate) enum Text<'a> {
    /// Read while it is written.
    Streamed(BodyText<'a>),
    /// Here.
    Held(String),
}

impl<'a> Merged<'a> {
    /// Takes an entry apart, and lays over it what was kept of the one it was imported from.
    pub(crate) fn new(mut entry: Entry<'a>, kept: Option<&str>) -> Result<Self, Error> {
        let request_text = entry.request.post_data.as_mut().and_then(|post| post.text.take());
        let response_text = entry.response.content.text.take();
        let messages = entry.messages.take();
        let mut value =
            serde_json::to_value(&entry).map_err(|error| Error::with_source(ErrorKind::Output, error))?;
        if let Some(Value::Object(patch)) = kept.and_then(tree::parse) {
            foreign::put_back(&mut value, patch);
            value[EXTRA]["foreign"] = true.into();
        }
        Ok(Self {
            value,
            request_text: request_text.map(Text::Streamed),
            response_text: response_text.map(Text::Streamed),
            messages,
        })
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Streamed(text) => text.serialize(serializer),
            Self::Held(text) => text.serialize(serializer),
        }
    }
}

impl Serialize for Merged<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.value.as_object().into_iter().flatten() {
            let below = match name.as_str() {
                "request" => self.request_text.as_ref().map(|text| ("postData", text)),
                "response" => self.response_text.as_ref().map(|text| ("content", text)),
                _ => None,
            };
            match below {
                Some((part, text)) => map.serialize_entry(name, &Message { value, part, text })?,
                None => map.serialize_entry(name, value)?,
            }
        }
        if let Some(messages) = &self.messages {
            map.serialize_entry("_webSocketMessages", messages)?;
        }
        map.end()
    }
}

/// A request or response with the text of its body.
struct Message<'a> {
    value: &'a Value,
    part: &'static str,
    text: &'a Text<'a>,
}

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.value.as_object().into_iter().flatten() {
            if name == self.part {
                map.serialize_entry(name, &Content { value, text: self.text })?;
            } else {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

struct Content<'a> {
    value: &'a Value,
    text: &'a Text<'a>,
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.value.as_object().into_iter().flatten() {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("text", self.text)?;
        map.end()
    }
}
