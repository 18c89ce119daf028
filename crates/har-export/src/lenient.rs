//! Bytes of a HAR file made fit for a JSON reader, on the way: other tools write what JSON does not allow.
//!
//! Within strings, bytes that are no UTF-8 and escapes of lone surrogates (`\ud83d` without its second half, which
//! browsers write for cut text) become U+FFFD, and a string is cut at a limit, so that hostile or huge files are
//! read in bounded memory. A byte order mark is dropped. All else passes untouched.

use std::{
    cell::Cell,
    io::{self, Read},
};

/// Bytes read from the file at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// Bytes looked at together: two escapes of a surrogate pair.
const LOOK_AHEAD: usize = 12;

/// Bytes of a string looked at together; more would make a string of bad bytes slow.
const WINDOW: usize = 256;

/// U+FFFD in UTF-8.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// What the filter did, and how much room it has. Shared with whoever reads entries behind it: bytes leave the
/// filter only when they are asked for, so what is set between two entries holds from the next one on.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// Bytes taken from the file.
    pub(crate) bytes: Cell<u64>,
    /// The longest a string may be.
    pub(crate) max_string_bytes: Cell<u64>,
    /// Bytes of strings that may still pass; beyond it all strings are cut.
    pub(crate) room: Cell<u64>,
    /// Strings that were cut since this was last taken.
    pub(crate) cut: Cell<u64>,
    /// Characters that were replaced since this was last taken.
    pub(crate) replaced: Cell<u64>,
}

/// Where the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    Outside,
    /// Inside a string of which so many bytes have passed.
    Inside(u64),
    /// Inside a string that was cut.
    Cut,
}

/// A reader that makes its input fit for a JSON reader.
pub(crate) struct Lenient<'a, R> {
    input: R,
    gauge: &'a Gauge,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    ended: bool,
    place: Place,
    /// Bytes at `start` that may pass as they are.
    pass: usize,
    /// Bytes to give before anything else.
    pending: &'static [u8],
}

impl<'a, R: Read> Lenient<'a, R> {
    pub(crate) fn new(input: R, gauge: &'a Gauge) -> Self {
        Self {
            input,
            gauge,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            ended: false,
            place: Place::Start,
            pass: 0,
            pending: &[],
        }
    }

    /// Reads until the look-ahead is full or the input ends.
    fn fill(&mut self) -> io::Result<()> {
        while !self.ended && self.end - self.start < LOOK_AHEAD {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(read) => {
                    self.end += read;
                    self.gauge.bytes.set(self.gauge.bytes.get() + read as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn ahead(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Decides what becomes of the next bytes: sets `pass` or `pending`, or drops some.
    fn decide(&mut self) {
        match self.place {
            Place::Start => {
                if self.ahead().starts_with(b"\xef\xbb\xbf") {
                    self.start += 3;
                }
                self.place = Place::Outside;
            }
            Place::Outside => {
                let quote = self.ahead().iter().position(|byte| *byte == b'"');
                self.pass = quote.map_or(self.end - self.start, |at| at + 1);
                if quote.is_some() {
                    self.place = Place::Inside(0);
                }
            }
            Place::Inside(passed) => self.inside(passed),
            Place::Cut => {
                let (skip, closed) = self.rest_of_string();
                self.start += skip;
                if closed {
                    self.place = Place::Outside;
                    self.pass = 1;
                }
            }
        }
    }

    fn inside(&mut self, passed: u64) {
        let ahead = self.ahead();
        if ahead[0] == b'"' {
            self.pass = 1;
            self.place = Place::Outside;
            return;
        }
        let room = self.gauge.room.get().min(self.gauge.max_string_bytes.get().saturating_sub(passed));
        let next = piece(ahead, self.ended);
        let (length, kept) = match next {
            Piece::Keep(length) => {
                // A run of plain bytes may be cut short to fit; an escape or a character may not.
                let fitting = fit(&ahead[..length], usize::try_from(room).unwrap_or(usize::MAX));
                (fitting, fitting)
            }
            Piece::Replace(length) => {
                (length, if room >= REPLACEMENT.len() as u64 { REPLACEMENT.len() } else { 0 })
            }
        };
        if kept == 0 {
            self.gauge.cut.set(self.gauge.cut.get() + 1);
            self.place = Place::Cut;
            return;
        }
        match next {
            Piece::Keep(_) => self.pass = length,
            Piece::Replace(_) => {
                self.start += length;
                self.pending = REPLACEMENT;
                self.gauge.replaced.set(self.gauge.replaced.get() + 1);
            }
        }
        self.gauge.room.set(self.gauge.room.get() - kept as u64);
        self.place = Place::Inside(passed + kept as u64);
    }

    /// How far the rest of a cut string goes, and whether its end is among the bytes ahead.
    fn rest_of_string(&self) -> (usize, bool) {
        let ahead = self.ahead();
        let mut at = 0;
        while at < ahead.len() {
            match ahead[at] {
                b'"' => return (at, true),
                b'\\' if at + 1 < ahead.len() => at += 2,
                b'\\' if !self.ended => return (at, false),
                _ => at += 1,
            }
        }
        (at, false)
    }
}

impl<R: Read> Read for Lenient<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        while self.pending.is_empty() && self.pass == 0 {
            self.fill()?;
            if self.start == self.end {
                return Ok(0);
            }
            if self.place == Place::Start {
                refuse_other_forms(self.ahead())?;
            }
            self.decide();
        }
        if self.pending.is_empty() {
            let length = self.pass.min(out.len());
            out[..length].copy_from_slice(&self.buffer[self.start..self.start + length]);
            self.start += length;
            self.pass -= length;
            return Ok(length);
        }
        let length = self.pending.len().min(out.len());
        out[..length].copy_from_slice(&self.pending[..length]);
        self.pending = &self.pending[length..];
        Ok(length)
    }
}

/// Names what a file is by its first bytes where it is JSON in another form, which a JSON reader would not say.
fn refuse_other_forms(ahead: &[u8]) -> io::Result<()> {
    let form = match ahead {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it is text in UTF-16; save it as UTF-8",
        [0x1f, 0x8b, ..] => "it is compressed with gzip; unpack it first",
        [b'P', b'K', 3, 4, ..] => "it is a ZIP archive; unpack it first",
        _ => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, form))
}

/// What the next bytes within a string are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// So many bytes are good.
    Keep(usize),
    /// So many bytes are one bad character.
    Replace(usize),
}

/// Looks at the next bytes within a string; there is at least one, and it is no quote.
fn piece(ahead: &[u8], ended: bool) -> Piece {
    if ahead[0] == b'\\' {
        return escape(ahead);
    }
    let ahead = &ahead[..ahead.len().min(WINDOW)];
    let run = ahead.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(ahead.len());
    match str::from_utf8(&ahead[..run]) {
        Ok(_) => Piece::Keep(run),
        Err(error) if error.valid_up_to() > 0 => Piece::Keep(error.valid_up_to()),
        Err(error) => {
            // A character that the buffer cuts is whole once the look-ahead is filled: it is shorter than that.
            debug_assert!(error.error_len().is_some() || ended || run < ahead.len());
            Piece::Replace(error.error_len().unwrap_or(run))
        }
    }
}

/// Looks at an escape: only those of lone surrogates are bad, the rest is for the JSON reader to judge.
fn escape(ahead: &[u8]) -> Piece {
    match unit(ahead) {
        Some(0xd800..=0xdbff) => match unit(&ahead[6..]) {
            Some(0xdc00..=0xdfff) => Piece::Keep(12),
            _ => Piece::Replace(6),
        },
        Some(0xdc00..=0xdfff) => Piece::Replace(6),
        Some(_) => Piece::Keep(6),
        None => Piece::Keep(ahead.len().min(2)),
    }
}

/// The UTF-16 unit of a `\uXXXX` escape.
fn unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then(|| str::from_utf8(digits).ok()).flatten()?;
    u16::from_str_radix(digits, 16).ok()
}

/// The longest part of a good piece that fits: an escape as a whole or not at all, text between characters.
fn fit(piece: &[u8], room: usize) -> usize {
    if piece.len() <= room {
        return piece.len();
    }
    if piece[0] == b'\\' {
        return 0;
    }
    (0..=room).rev().find(|at| *at == 0 || piece[*at] & 0xc0 != 0x80).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gauge(max_string_bytes: u64, room: u64) -> Gauge {
        let gauge = Gauge::default();
        gauge.max_string_bytes.set(max_string_bytes);
        gauge.room.set(room);
        gauge
    }

    /// Gives `step` bytes at a time.
    struct Steps<'a>(&'a [u8], usize);

    impl Read for Steps<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(out.len());
            self.0.read(&mut out[..length])
        }
    }

    fn filtered(input: &[u8], step: usize, gauge: &Gauge) -> Vec<u8> {
        let mut out = Vec::new();
        Lenient::new(Steps(input, step), gauge).read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn what_json_does_not_allow_is_replaced_within_strings() {
        for (input, expected) in [
            (&b"\xef\xbb\xbf{}"[..], "{}"),
            (b"[\"a\\ud83d\\ude00b\"]", "[\"a\\ud83d\\ude00b\"]"),
            (b"[\"a\\ud83d\"]", "[\"a\u{fffd}\"]"),
            (b"[\"a\\ud83dx\\ude00\"]", "[\"a\u{fffd}x\u{fffd}\"]"),
            (b"[\"\\\\ud83d\"]", "[\"\\\\ud83d\"]"),
            (b"[\"\\\"\\ud83d\\n\"]", "[\"\\\"\u{fffd}\\n\"]"),
            (b"[\"caf\xe9!\", 1]", "[\"caf\u{fffd}!\", 1]"),
            (b"[\"\xe2\x82\", 1]", "[\"\u{fffd}\", 1]"),
            (b"[\"\xe2\x82\xac\xef\xbb\xbf\"]", "[\"\u{20ac}\u{feff}\"]"),
        ] {
            for step in 1..14 {
                let gauge = gauge(1000, 1000);
                assert_eq!(
                    String::from_utf8(filtered(input, step, &gauge)).unwrap(),
                    expected,
                    "step {step}"
                );
                assert_eq!(gauge.cut.get(), 0);
                assert_eq!(gauge.bytes.get(), input.len() as u64);
            }
        }
    }

    #[test]
    fn long_strings_are_cut_between_characters_and_counted() {
        for (input, max, expected) in [
            (&b"[\"abcdef\",\"xy\"]"[..], 3, "[\"abc\",\"xy\"]"),
            ("[\"ab\u{20ac}d\"]".as_bytes(), 4, "[\"ab\"]"),
            (b"[\"ab\\u00e9\\\"d\", 2]", 4, "[\"ab\", 2]"),
            (b"[\"abc\\\\\"]", 3, "[\"abc\"]"),
            (b"[\"ab\xff\xff\"]", 4, "[\"ab\"]"),
        ] {
            for step in 1..14 {
                let gauge = gauge(max, 1000);
                assert_eq!(
                    String::from_utf8(filtered(input, step, &gauge)).unwrap(),
                    expected,
                    "step {step}"
                );
                assert_eq!(gauge.cut.get(), 1);
            }
        }
        let gauge = gauge(1000, 4);
        assert_eq!(filtered(b"[\"abc\",\"def\",\"\",\"g\"]", 64, &gauge), b"[\"abc\",\"d\",\"\",\"\"]");
        assert_eq!(gauge.cut.get(), 2);
    }

    proptest! {
        #[test]
        fn valid_json_passes_untouched(texts in prop::collection::vec(any::<String>(), 0..6), step in 1usize..40) {
            let json = serde_json::to_vec(&texts).unwrap();
            let gauge = gauge(u64::MAX, u64::MAX);
            prop_assert_eq!(filtered(&json, step, &gauge), json);
            prop_assert_eq!(gauge.replaced.get(), 0);
        }

        #[test]
        fn whatever_comes_what_leaves_is_text_and_within_its_limit(noise in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b'u'), Just(b'd'), Just(b'8'), Just(0xe2u8), any::<u8>()], 0..200), step in 1usize..40, max in 0u64..20) {
            let mut input = vec![b'"'];
            input.extend(noise.iter().filter(|byte| **byte != b'"' && **byte != b'\\'));
            input.push(b'"');
            let gauge_text = gauge(max, 1000);
            let out = filtered(&input, step, &gauge_text);
            prop_assert!(str::from_utf8(&out).is_ok());
            prop_assert!(out.len() as u64 <= max + 2);
            let all = gauge(max, 30);
            filtered(&noise, step, &all);
        }
    }
}
