//! A body of an exchange: whole and exact into a pipe, harmless on a terminal.

use std::io::{self, Read, Write as _};

use anyhow::{Result, bail};
use capture_store::{Body, BodySide, Seq, Store};

use crate::{
    output::{Out, lost, note},
    text,
};

/// Bytes read at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// Prints one body.
pub(super) fn print(store: &Store, seq: Seq, side: BodySide, raw: bool) -> Result<()> {
    let name = name(side);
    let Some(body) = store.body(seq, side)? else {
        note(format_args!("the {name} of {seq} has no body"));
        return Ok(());
    };
    let recorded = body.recorded();
    let coding = body.content_encoding().map(str::to_owned);
    let mut reader = if raw { body.into_reader() } else { body.into_decoded_reader() };
    let mut out = Out::new();
    let printed =
        if out.is_terminal() { print_text(&mut reader, &mut out) } else { copy(&mut reader, &mut out) };
    printed.map_err(|error| match coding {
        Some(coding) if !raw && is_of_coding(&error) => error.context(format!(
            "decode the {name} body as {:?} (--raw prints it as it is)",
            text::harmless(&coding)
        )),
        _ => error,
    })?;
    if recorded.stored_bytes < recorded.wire_bytes {
        note(format_args!(
            "only {} of {} were recorded",
            text::size(recorded.stored_bytes),
            text::size(recorded.wire_bytes)
        ));
    } else if !recorded.complete {
        note("the body broke off before its end");
    }
    Ok(())
}

/// The word for a side.
pub(super) fn name(side: BodySide) -> &'static str {
    match side {
        BodySide::Request => "request",
        BodySide::Response => "response",
    }
}

fn is_of_coding(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
}

fn copy(reader: &mut dyn Read, out: &mut Out) -> Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = match reader.read(&mut piece) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                out.flush()?;
                return Err(error.into());
            }
        };
        if read == 0 {
            return out.flush();
        }
        out.write_all(piece.get(..read).unwrap_or_default()).map_err(lost)?;
    }
}

/// Prints text piece by piece; what is not text stays off the terminal.
fn print_text(reader: &mut dyn Read, out: &mut Out) -> Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut held = Vec::new();
    let mut first = true;
    loop {
        let read = reader.read(&mut piece)?;
        held.extend_from_slice(piece.get(..read).unwrap_or_default());
        let ready = if read == 0 { held.len() } else { whole_characters(&held) };
        let bytes: Vec<u8> = held.drain(..ready).collect();
        if first && !is_text(&bytes) {
            bail!("print a binary body on a terminal; send it into a file or a pipe");
        }
        first = false;
        out.text(&text::harmless_lines(&String::from_utf8_lossy(&bytes)))?;
        if read == 0 {
            return out.text("\n");
        }
    }
}

/// How many bytes at the beginning end with a whole character.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

/// Whether bytes read as text: UTF-8 but for a character cut at the end, without the NUL that no text has.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    let valid = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    valid && !bytes.contains(&0)
}

/// What a decoded body begins with.
pub(super) enum Preview {
    /// Text, harmless; whether more follows.
    Text(String, bool),
    /// Something else than text.
    Binary,
    /// Its content coding cannot be taken off: why.
    Undecodable(String),
}

impl Preview {
    /// Looks at the first bytes of a body.
    pub(super) fn of(body: Body, max_bytes: usize) -> Self {
        let decoded = body.decode(max_bytes);
        if let Some(problem) = decoded.problem {
            return Self::Undecodable(text::one_line(&problem));
        }
        if !is_text(&decoded.bytes) {
            return Self::Binary;
        }
        let whole = decoded.bytes.get(..whole_characters(&decoded.bytes)).unwrap_or_default();
        let shown = text::harmless_lines(&String::from_utf8_lossy(whole)).into_owned();
        Self::Text(shown, decoded.truncated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_binary_even_when_cut() {
        assert!(is_text("grün".as_bytes()));
        assert!(is_text(&"grü".as_bytes()[..3]));
        assert!(!is_text(b"\x89PNG\r\n\x1a\n\0"));
        assert!(!is_text(&[b'a', 0xff, b'b']));
        assert_eq!(whole_characters(&"grü".as_bytes()[..3]), 2);
    }
}
