//! Bodies by slice: decoded, as text where they are text, base64 where they are not.

use std::io::Read;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use capture_store::{Body, Recorded};
use schemars::JsonSchema;
use serde::Serialize;

/// Bytes of a body that one call gives at most.
const MAX_BODY_SLICE: usize = 65_536;

/// Which part of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    /// Decoded bytes to skip.
    pub(crate) offset: u64,
    /// Decoded bytes at most.
    pub(crate) limit: usize,
}

/// A slice, or none for a limit of 0.
pub(crate) fn slice(offset: u64, limit: u32) -> Option<Slice> {
    (limit > 0).then_some(Slice { offset, limit: (limit as usize).min(MAX_BODY_SLICE) })
}

/// How a piece of a body is written in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encoding {
    /// As it is.
    Text,
    /// Base64, because the bytes are no text.
    Base64,
}

/// A piece of a body.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece {
    pub(crate) data: String,
    pub(crate) encoding: Encoding,
    /// Where the next piece begins; `None` at the end.
    pub(crate) next_offset: Option<u64>,
    /// Why reading stopped early, or what is missing.
    pub(crate) problem: Option<String>,
}

/// Reads a piece. What cannot be decoded is given as it was on the wire, and said so.
pub(crate) fn read(body: Body, raw: impl FnOnce() -> Option<Body>, slice: Slice) -> Piece {
    let recorded = body.recorded();
    let latin1 = body.content_type().is_some_and(is_latin1);
    let coding = body.content_encoding().map(str::to_owned);
    let mut piece = match bytes(body.into_decoded_reader(), slice) {
        Ok((bytes, more)) => present(bytes, more, slice, latin1),
        Err((bytes, error)) if !bytes.is_empty() => {
            let mut piece = present(bytes, false, slice, latin1);
            piece.problem = Some(format!("decoding stopped: {error}"));
            piece
        }
        Err((_, error)) => {
            let wire = raw().map(|body| bytes(body.into_reader(), slice));
            let (bytes, more) = wire.and_then(Result::ok).unwrap_or_default();
            let mut piece = present(bytes, more, slice, latin1);
            let coding = coding.as_deref().unwrap_or("its content coding");
            piece.problem = Some(format!("not decoded ({coding}: {error}); these are the bytes as received"));
            piece
        }
    };
    piece.problem = piece.problem.or_else(|| missing(recorded));
    piece
}

/// Skips and reads. On an error, what was read before it.
fn bytes(mut reader: impl Read, slice: Slice) -> Result<(Vec<u8>, bool), (Vec<u8>, std::io::Error)> {
    let skipped = std::io::copy(&mut (&mut reader).take(slice.offset), &mut std::io::sink());
    if let Err(error) = skipped {
        return Err((Vec::new(), error));
    }
    // One byte more than asked for tells whether more follows.
    let mut bytes = Vec::new();
    match reader.take(slice.limit as u64 + 1).read_to_end(&mut bytes) {
        Ok(_) => {
            let more = bytes.len() > slice.limit;
            bytes.truncate(slice.limit);
            Ok((bytes, more))
        }
        Err(error) => {
            bytes.truncate(slice.limit);
            Err((bytes, error))
        }
    }
}

/// Bytes at hand, of which more may follow.
pub(crate) fn show(bytes: Vec<u8>, more: bool) -> Piece {
    let limit = bytes.len();
    present(bytes, more, Slice { offset: 0, limit }, false)
}

fn present(mut bytes: Vec<u8>, more: bool, slice: Slice, latin1: bool) -> Piece {
    if more && !latin1 {
        // A character cut in two belongs to the next piece.
        let whole = whole_characters(&bytes);
        if whole > 0 {
            bytes.truncate(whole);
        }
    }
    let next_offset = more.then(|| slice.offset + bytes.len() as u64);
    let (data, encoding) = match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => (text, Encoding::Text),
        Ok(text) => (STANDARD.encode(text), Encoding::Base64),
        Err(error) if latin1 => (error.into_bytes().into_iter().map(char::from).collect(), Encoding::Text),
        Err(error) => (STANDARD.encode(error.into_bytes()), Encoding::Base64),
    };
    Piece { data, encoding, next_offset, problem: None }
}

/// The length up to the last whole UTF-8 character, or 0 when the bytes are no UTF-8 before that already.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => 0,
    }
}

fn missing(recorded: Recorded) -> Option<String> {
    if recorded.stored_bytes < recorded.wire_bytes {
        let (stored, wire) = (recorded.stored_bytes, recorded.wire_bytes);
        return Some(format!("only the first {stored} of {wire} bytes on the wire are recorded"));
    }
    (!recorded.complete).then(|| "the body did not come to its end".to_owned())
}

/// Tells whether the declared charset is ISO 8859-1, in one of its usual names.
fn is_latin1(content_type: &str) -> bool {
    let lower = content_type.to_ascii_lowercase();
    let charset = lower.split_once("charset=").map(|(_, charset)| charset.trim_matches(['"', '\'', ' ']));
    charset.is_some_and(|charset| ["iso-8859-1", "latin1", "us-ascii"].iter().any(|n| charset.starts_with(n)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(data: &[u8], offset: u64, limit: usize) -> Piece {
        let slice = Slice { offset, limit };
        let (bytes, more) = bytes(data, slice).unwrap();
        present(bytes, more, slice, false)
    }

    #[test]
    fn slices_of_text_end_between_characters_and_join_to_the_whole() {
        let text = "aäöü€🙂z".repeat(3);
        for limit in 4..12 {
            let (mut joined, mut offset) = (String::new(), Some(0));
            while let Some(at) = offset {
                let piece = piece(text.as_bytes(), at, limit);
                assert_eq!(piece.encoding, Encoding::Text);
                joined.push_str(&piece.data);
                offset = piece.next_offset;
            }
            assert_eq!(joined, text, "limit {limit}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_come_as_base64() {
        let binary = piece(&[0xFF, 0xD8, 0xFF, 0x00, 0x10], 0, 4);
        assert_eq!(binary.encoding, Encoding::Base64);
        assert_eq!(binary.data, STANDARD.encode([0xFF, 0xD8, 0xFF, 0x00]));
        assert_eq!(binary.next_offset, Some(4));
        assert_eq!(piece(b"a\0b", 0, 9).encoding, Encoding::Base64);
        assert_eq!(
            piece(b"", 7, 9),
            Piece { data: String::new(), encoding: Encoding::Text, next_offset: None, problem: None }
        );
    }

    #[test]
    fn latin1_is_read_as_what_it_is() {
        let piece = present(vec![b'a', 0xE4], false, Slice { offset: 0, limit: 9 }, true);
        assert_eq!((piece.data.as_str(), piece.encoding), ("aä", Encoding::Text));
        assert!(is_latin1("text/html; charset=\"ISO-8859-1\""));
        assert!(!is_latin1("text/html; charset=utf-8"));
    }
}
