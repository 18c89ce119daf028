//! Sessions of the Charles proxy: its JSON (`.chlsj`) and XML (`.chlsx`) exports, read transaction by transaction as HAR
//! entries, so that everything behind is the same for both.
//!
//! Which format a file has is told by its beginning, whatever its name says. One transaction is held in memory, with texts
//! of at most 64 MiB together.

mod json;
mod transaction;
mod xml;

use std::io::{BufRead, BufReader, Read};

use capture_store::ImportBody;
use serde_json::Value;

pub(crate) use self::xml::read as read_xml;
use crate::{
    error::{Error, ErrorKind},
    input::Gauge,
    json_reader::{JsonReader, Kind},
    log::{Depot, Facts, RawEntry, Receiver},
    tree::{Room, tree},
};

/// Bytes of a file that tell its format.
const LOOK_AT: usize = 4 * 1024;
/// Bytes of the texts of one transaction, both bodies among them.
pub(crate) const MAX_TEXTS: usize = 64 * 1024 * 1024;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// An object, as HAR is; also whatever is none of the others, whose reader says what is wrong.
    Har,
    /// A list of transactions.
    CharlesJson,
    /// A tree of transactions.
    CharlesXml,
}

/// Tells what a file is, without taking anything off it.
pub(crate) fn detect<R: Read>(input: R) -> std::io::Result<(Format, BufReader<R>)> {
    let mut input = BufReader::with_capacity(64 * 1024, input);
    let start = input.fill_buf()?;
    let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start);
    let start = start[..start.len().min(LOOK_AT)].trim_ascii_start();
    let has = |part: &str| start.windows(part.len()).any(|window| window == part.as_bytes());
    let list = start.strip_prefix(b"[").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"{"));
    let format = match start.first() {
        Some(b'[') if list && has("\"method\"") && has("\"host\"") => Format::CharlesJson,
        Some(b'<') if has("charles-session") => Format::CharlesXml,
        _ => Format::Har,
    };
    Ok((format, input))
}

/// Reads a `.chlsj` file and hands each transaction to the receiver as an entry, whose errors end it.
pub(crate) fn read_json(input: impl Read, gauge: &Gauge, to: &mut dyn Receiver) -> Result<Facts, Error> {
    let mut reader = JsonReader::new(input, gauge)?;
    if reader.kind()? != Kind::List {
        return Err(Error::new(ErrorKind::NotCharles { reason: "it is no list of transactions".to_owned() }));
    }
    let (mut first, mut index) = (true, 0);
    reader.enter();
    while reader.item(&mut first)? {
        let mut room = Room { text_bytes: MAX_TEXTS, ..Room::default() };
        gauge.replaced.set(0);
        let value = tree(&mut reader, &mut room)?;
        let mut notes = Vec::new();
        if room.cut > 0 || room.left_out || room.too_deep {
            notes.push(format!(
                "it is too large, or nested too deep, and was cut to {MAX_TEXTS} bytes of texts"
            ));
        }
        if gauge.replaced.take() > 0 {
            notes.push("characters that are no Unicode were replaced by U+FFFD".to_owned());
        }
        // What is no transaction has no request either, which is what is told of it then.
        let value = json::entry(value).unwrap_or_default();
        hand_over(index, value, notes, to)?;
        index += 1;
    }
    reader.end()?;
    Ok(Facts::default())
}

/// Hands an entry to the receiver, with the texts of its bodies put where such texts go.
fn hand_over(index: u64, mut value: Value, notes: Vec<String>, to: &mut dyn Receiver) -> Result<(), Error> {
    let request_text = text_of(&mut value, "/request/postData", to.depot())?;
    let response_text = text_of(&mut value, "/response/content", to.depot())?;
    to.entry(RawEntry { index, value, request_text, response_text, notes, ..RawEntry::default() })
}

fn text_of(value: &mut Value, pointer: &str, depot: &mut dyn Depot) -> Result<Option<ImportBody>, Error> {
    let content = value.pointer_mut(pointer).and_then(Value::as_object_mut);
    let Some(Value::String(text)) = content.and_then(|content| content.remove("text")) else {
        return Ok(None);
    };
    let mut body = ImportBody::default();
    depot.append(&mut body, text.as_bytes())?;
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_beginning() {
        for (file, format) in [
            (&b"{\"log\":{}}"[..], Format::Har),
            (b"\xEF\xBB\xBF\n [ {\"method\":\"GET\",\"host\":\"a\"} ]", Format::CharlesJson),
            (b"[{\"log\":{}}]", Format::Har),
            (b"[1]", Format::Har),
            (b"\xEF\xBB\xBF<?xml version=\"1.0\"?><charles-session>", Format::CharlesXml),
            (b"<html></html>", Format::Har),
            (b"", Format::Har),
            (b"   ", Format::Har),
        ] {
            let (found, mut rest) = detect(file).unwrap();
            assert_eq!(found, format);
            let mut all = Vec::new();
            rest.read_to_end(&mut all).unwrap();
            assert_eq!(all, file);
        }
    }
}
