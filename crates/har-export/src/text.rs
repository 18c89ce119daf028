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

/// The fields back as they were, but for what no field can be.
pub(crate) fn from_fields(fields: &[Field]) -> Headers {
    fields.iter().filter_map(Field::header).collect()
}

/// The bytes that end a line or a text on the wire. A file that has them in a head would have a replay say more
/// than one message (RFC 9112 section 11.1).
const BREAKS: [char; 3] = ['\r', '\n', '\0'];

/// Text for a place in a head, with a space for what would break out of it.
pub(crate) fn unbroken(text: &str) -> Cow<'_, str> {
    if text.contains(BREAKS) { Cow::Owned(text.replace(BREAKS, " ")) } else { Cow::Borrowed(text) }
}

impl Field {
    fn new(header: &Header) -> Self {
        match (str::from_utf8(&header.name), str::from_utf8(&header.value)) {
            (Ok(name), Ok(value)) => Self { name: name.to_owned(), value: value.to_owned(), latin1: false },
            _ => Self { name: latin1(&header.name), value: latin1(&header.value), latin1: true },
        }
    }

    /// The header it says; `None` where its name is none.
    pub(crate) fn header(&self) -> Option<Header> {
        if self.name.is_empty() || self.name.contains(BREAKS) {
            return None;
        }
        let value = unbroken(&self.value);
        Some(if self.latin1 {
            Header::new(from_latin1(&self.name), from_latin1(&value))
        } else {
            Header::new(self.name.clone(), value.into_owned())
        })
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

/// The longest beginning of a text that takes so many bytes at most.
pub(crate) fn beginning(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
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

    #[test]
    fn fields_cannot_break_out_of_their_line() {
        let field = |name: &str, value: &str, latin1| Field {
            name: name.to_owned(),
            value: value.to_owned(),
            latin1,
        };
        let headers = from_fields(&[
            field("A", "1\r\nB: 2\0", false),
            field("A", "\u{e9}\r\n", true),
            field("A\r\nB", "", false),
            field("", "1", true),
        ]);
        let seen: Vec<_> = headers.iter().map(|header| header.value.clone()).collect();
        assert_eq!(seen, [&b"1  B: 2 "[..], b"\xe9  "]);
    }
}
