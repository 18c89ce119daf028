//! Bodies as JSON strings: looked through once to learn their size and form, then streamed into the string.
//!
//! No more than [`HELD_BYTES`] of a body is in memory. A small body is read once and held between the two steps.

use std::{
    cell::RefCell,
    fmt,
    io::{self, Read},
};

use capture_store::{BodySide, StoredMessage};
use serde::{Serialize, Serializer};

use crate::{
    copying::{CHUNK_BYTES, Stop, copy_base64, copy_text, read_some},
    error::{Error, ErrorKind},
};

/// Bodies up to this size are held in memory between the two steps, and their parameters are listed.
pub(crate) const HELD_BYTES: usize = 1024 * 1024;

/// What an exchange has besides its record: read in pieces, from a store or from memory.
pub(crate) trait Parts {
    /// Opens a body; `None` where the message has none.
    fn open(&self, side: BodySide, form: Form) -> Result<Option<Box<dyn Read + Send>>, Error>;

    /// Reads messages from `from` on, at most `limit`.
    fn messages(&self, from: u64, limit: usize) -> Result<Vec<StoredMessage>, Error>;
}

/// How a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it was on the wire.
    Raw,
    /// With its content coding taken off; an error of the coding is [`io::ErrorKind::InvalidData`].
    Decoded,
}

/// Where an error inside serialization waits until it is over: a JSON string once begun can only be ended.
pub(crate) type ErrorSlot = RefCell<Option<Error>>;

/// A body ready to be written.
pub(crate) struct Prepared<'a> {
    /// The bytes in the form they are written in.
    pub(crate) bytes: u64,
    /// `base64` where the text is no text.
    pub(crate) encoding: Option<&'static str>,
    /// Why the content coding is still on, where it is.
    pub(crate) undecodable: Option<String>,
    /// Whether it is to be left out.
    pub(crate) omitted: bool,
    /// The text; `None` where it is left out.
    pub(crate) text: Option<BodyText<'a>>,
}

impl Prepared<'_> {
    /// The whole body, where it is small.
    pub(crate) fn held(&self) -> Option<&[u8]> {
        self.text.as_ref().and_then(|text| text.held.as_deref())
    }
}

/// Looks through a body and prepares it for writing; `None` where there is none, or it is empty.
///
/// The content coding is taken off. When that fails, the body is prepared as it was on the wire.
pub(crate) fn prepare<'a>(
    parts: &dyn Parts,
    side: BodySide,
    slot: &'a ErrorSlot,
) -> Result<Option<Prepared<'a>>, Error> {
    let Some(reader) = parts.open(side, Form::Decoded)? else { return Ok(None) };
    let (form, scan, undecodable) = match Scan::of(reader) {
        Ok(scan) => (Form::Decoded, scan, None),
        Err(error) if is_coding_error(&error) => {
            let Some(reader) = parts.open(side, Form::Raw)? else { return Ok(None) };
            (Form::Raw, Scan::of(reader).map_err(body_error)?, Some(error.to_string()))
        }
        Err(error) => return Err(body_error(error)),
    };
    if scan.bytes == 0 {
        return Ok(None);
    }
    let as_text = scan.text.finish() && form == Form::Decoded;
    let source = if scan.held.is_some() {
        None
    } else {
        let Some(reader) = parts.open(side, form)? else { return Ok(None) };
        Some(reader)
    };
    let text = BodyText { as_text, bytes: scan.bytes, source: RefCell::new(source), held: scan.held, slot };
    let encoding = (!as_text).then_some("base64");
    Ok(Some(Prepared { bytes: scan.bytes, encoding, undecodable, omitted: false, text: Some(text) }))
}

fn is_coding_error(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn body_error(error: io::Error) -> Error {
    Error::with_source(ErrorKind::Body, error)
}

/// What one pass over a body tells.
struct Scan {
    bytes: u64,
    text: Utf8Check,
    held: Option<Vec<u8>>,
}

impl Scan {
    fn of(mut reader: impl Read) -> io::Result<Self> {
        let mut scan = Self { bytes: 0, text: Utf8Check::default(), held: Some(Vec::new()) };
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = read_some(&mut reader, &mut chunk)?;
            if read == 0 {
                return Ok(scan);
            }
            scan.bytes += read as u64;
            scan.text.push(&chunk[..read]);
            scan.held = scan.held.filter(|held| held.len() + read <= HELD_BYTES);
            if let Some(held) = &mut scan.held {
                held.extend_from_slice(&chunk[..read]);
            }
        }
    }
}

/// Reads once, again when a signal came in between.
/// Checks for UTF-8 piece by piece.
#[derive(Default)]
struct Utf8Check {
    broken: bool,
    /// The beginning of a character whose rest is to come.
    open: Vec<u8>,
}

impl Utf8Check {
    fn push(&mut self, mut piece: &[u8]) {
        while !self.broken && !self.open.is_empty() && !piece.is_empty() {
            self.open.push(piece[0]);
            piece = &piece[1..];
            match str::from_utf8(&self.open) {
                Ok(_) => self.open.clear(),
                Err(error) => self.broken = error.error_len().is_some(),
            }
        }
        if self.broken {
            return;
        }
        if let Err(error) = str::from_utf8(piece) {
            self.broken = error.error_len().is_some();
            let open = if self.broken { &[][..] } else { &piece[error.valid_up_to()..] };
            self.open.extend_from_slice(open);
        }
    }

    fn finish(&self) -> bool {
        !self.broken && self.open.is_empty()
    }
}

/// A body that serializes as a string without being held. It can be serialized once; a failure to read ends the
/// string and waits in the slot.
pub(crate) struct BodyText<'a> {
    as_text: bool,
    bytes: u64,
    source: RefCell<Option<Box<dyn Read + Send>>>,
    held: Option<Vec<u8>>,
    slot: &'a ErrorSlot,
}

impl Serialize for BodyText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for BodyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut source = self.source.borrow_mut();
        let reader: &mut dyn Read = match (&self.held, source.as_mut()) {
            (Some(held), _) => &mut held.as_slice(),
            (None, Some(reader)) => reader,
            (None, None) => return Ok(()),
        };
        let reader = reader.take(self.bytes);
        let done = if self.as_text { copy_text(reader, f) } else { copy_base64(reader, f) };
        match done {
            Ok(copied) if copied == self.bytes => Ok(()),
            Ok(_) => {
                self.fail(io::Error::new(io::ErrorKind::UnexpectedEof, "the body became shorter meanwhile"))
            }
            Err(Stop::Read(error)) => self.fail(error),
            Err(Stop::Write) => Err(fmt::Error),
        }
    }
}

impl Prepared<'_> {
    /// Leaves the body out of the file.
    pub(crate) fn omit(&mut self) {
        (self.omitted, self.encoding, self.text) = (true, None, None);
    }
}

impl BodyText<'_> {
    /// Whether it is written as the text it is.
    pub(crate) fn is_text(&self) -> bool {
        self.as_text
    }

    /// The body's length in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads a text whole, which the caller knows to be short enough.
    pub(crate) fn read(&mut self) -> Result<String, Error> {
        let mut bytes = Vec::new();
        match (self.held.take(), self.source.borrow_mut().as_mut()) {
            (Some(held), _) => bytes = held,
            (None, Some(source)) => {
                source.take(self.bytes).read_to_end(&mut bytes).map_err(body_error)?;
            }
            (None, None) => {}
        }
        String::from_utf8(bytes)
            .map_err(|error| body_error(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    fn fail(&self, error: io::Error) -> fmt::Result {
        self.slot.borrow_mut().get_or_insert(body_error(error));
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    /// Bodies and messages in memory; a coded body's decoded form is given, or is undecodable.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Held {
        pub(crate) request: Option<Bytes>,
        pub(crate) response: Option<Bytes>,
        pub(crate) undecodable: bool,
        pub(crate) messages: Vec<StoredMessage>,
    }

    impl Parts for Held {
        fn open(&self, side: BodySide, form: Form) -> Result<Option<Box<dyn Read + Send>>, Error> {
            let body = match side {
                BodySide::Request => &self.request,
                BodySide::Response => &self.response,
            };
            let Some(body) = body.clone() else { return Ok(None) };
            if self.undecodable && form == Form::Decoded {
                return Ok(Some(Box::new(
                    Dribble(io::Cursor::new(body.slice(..body.len() / 2))).chain(Broken),
                )));
            }
            Ok(Some(Box::new(Dribble(io::Cursor::new(body)))))
        }

        fn messages(&self, from: u64, limit: usize) -> Result<Vec<StoredMessage>, Error> {
            Ok(self.messages.iter().skip(usize::try_from(from).unwrap()).take(limit).cloned().collect())
        }
    }

    /// Gives at most 7,001 bytes at a time, so that pieces fall within characters.
    struct Dribble(io::Cursor<Bytes>);

    impl Read for Dribble {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let room = buffer.len().min(7_001);
            self.0.read(&mut buffer[..room])
        }
    }

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(io::ErrorKind::InvalidData, "corrupt deflate stream"))
        }
    }

    fn written(body: impl Into<Bytes>) -> (String, Option<&'static str>, u64) {
        let held = Held { response: Some(body.into()), ..Held::default() };
        let slot = ErrorSlot::default();
        let prepared = prepare(&held, BodySide::Response, &slot).unwrap().unwrap();
        let json = serde_json::to_string(prepared.text.as_ref().unwrap()).unwrap();
        assert!(slot.borrow().is_none());
        (serde_json::from_str(&json).unwrap(), prepared.encoding, prepared.bytes)
    }

    #[test]
    fn text_stays_text_and_the_rest_becomes_base64() {
        assert_eq!(written("a\"\u{0}\u{feff}ä\u{2028}"), ("a\"\u{0}\u{feff}ä\u{2028}".to_owned(), None, 11));
        assert_eq!(written(&b"\xff\x00"[..]), ("/wA=".to_owned(), Some("base64"), 2));
        assert_eq!(written(&b"cut \xe2\x82"[..]).1, Some("base64"));
    }

    #[test]
    fn large_bodies_stream_in_both_forms() {
        let text = "aä€😀\n".repeat(300_000);
        assert!(text.len() > 2 * HELD_BYTES);
        assert_eq!(written(text.clone()).0, text);
        let mut bytes = text.into_bytes();
        bytes.push(0xff);
        let (encoded, encoding, length) = written(bytes.clone());
        assert_eq!((encoding, length), (Some("base64"), bytes.len() as u64));
        assert_eq!(STANDARD.decode(encoded).unwrap(), bytes);
    }

    #[test]
    fn a_body_that_does_not_decode_is_written_as_it_was() {
        for length in [10, 3 * HELD_BYTES] {
            let held =
                Held { response: Some(vec![b'x'; length].into()), undecodable: true, ..Held::default() };
            let slot = ErrorSlot::default();
            let prepared = prepare(&held, BodySide::Response, &slot).unwrap().unwrap();
            assert_eq!(prepared.encoding, Some("base64"));
            assert_eq!(prepared.undecodable.as_deref(), Some("corrupt deflate stream"));
            let text: String =
                serde_json::from_str(&serde_json::to_string(prepared.text.as_ref().unwrap()).unwrap())
                    .unwrap();
            assert_eq!(STANDARD.decode(text).unwrap().len(), length);
        }
    }

    #[test]
    fn a_body_that_fails_while_it_is_written_leaves_an_error_in_the_slot() {
        let slot = ErrorSlot::default();
        let source: Box<dyn Read + Send> = Box::new(io::Cursor::new(Bytes::from_static(b"abc")));
        let text =
            BodyText { as_text: true, bytes: 5, source: RefCell::new(Some(source)), held: None, slot: &slot };
        assert_eq!(serde_json::to_string(&text).unwrap(), "\"abc\"");
        assert_eq!(slot.into_inner().unwrap().kind(), &ErrorKind::Body);
    }

    proptest! {
        #[test]
        fn utf8_is_told_apart_however_it_is_cut(bytes in prop::collection::vec(prop_oneof![Just(0xe2u8), Just(0x82), Just(0xac), Just(b'a'), any::<u8>()], 0..24), cuts in prop::collection::vec(0usize..24, 0..6)) {
            let mut check = Utf8Check::default();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            for pair in cuts.windows(2) {
                check.push(&bytes[pair[0]..pair[1]]);
            }
            prop_assert_eq!(check.finish(), str::from_utf8(&bytes).is_ok());
        }
    }
}
