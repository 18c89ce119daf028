//! Bytes of a message head as the text JSON asks for, and back without loss.

use std::borrow::Cow;

use bytes::Bytes;
use proxy_core::{Header, Headers};
use serde::{Deserialize, Serialize};

/// One header field as HAR has it. A field that is not UTF-8 is written with one character per byte and says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) value: String,
    #[serde(rename = "_latin1", default, skip_serializing_if = "is_false")]
    pub(crate) latin1: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
pub(crate) fn is_false(flag: &bool) -> bool {
    !flag
}

/// All fields in their order, case and duplicates kept.
pub(crate) fn to_fields(headers: &Headers) -> Vec<Field> {
    headers.iter().map(Field::new).collect()
}

/// The fields back as they were.
pub(crate) fn from_fields(fields: &[Field]) -> Headers {
    fields.iter().map(Field::header).collect()
}

impl Field {
    fn new(header: &Header) -> Self {
        match (str::from_utf8(&header.name), str::from_utf8(&header.value)) {
            (Ok(name), Ok(value)) => Self { name: name.to_owned(), value: value.to_owned(), latin1: false },
            _ => Self { name: latin1(&header.name), value: latin1(&header.value), latin1: true },
        }
    }

    pub(crate) fn header(&self) -> Header {
        if self.latin1 {
            Header::new(from_latin1(&self.name), from_latin1(&self.value))
        } else {
            Header::new(self.name.clone(), self.value.clone())
        }
    }
}

/// One character per byte (ISO 8859-1).
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// One byte per character; text that has others stays UTF-8.
pub(crate) fn from_latin1(text: &str) -> Bytes {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)))
        .collect::<Result<Vec<u8>, _>>()
        .map_or_else(|_| Bytes::copy_from_slice(text.as_bytes()), Bytes::from)
}

/// Text of bytes for reading only: UTF-8, else one character per byte.
pub(crate) fn readable(bytes: &[u8]) -> Cow<'_, str> {
    str::from_utf8(bytes).map_or_else(|_| Cow::Owned(latin1(bytes)), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_not_utf8_come_back_byte_for_byte() {
        let mut headers = Headers::new();
        headers.push("X-Plain", "ä");
        headers.push("x-plain", "");
        headers.push("X-Bytes", &b"caf\xe9 \xff\x01"[..]);
        let fields = to_fields(&headers);
        assert_eq!(fields.iter().map(|field| field.latin1).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(from_fields(&fields), headers);
    }
}
