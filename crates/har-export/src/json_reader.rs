//! Reads JSON piece by piece: a text of any length passes through a small buffer to whoever wants it.
//!
//! The grammar is that of RFC 8259, and what breaks it is an error. More lenient than that only within texts, where other
//! tools write what is no Unicode: bytes that are no UTF-8, and escapes of lone surrogates (`\ud83d` without its second
//! half, which browsers write for cut text), become U+FFFD and are counted.

use std::io::Read;

use crate::{
    error::Error,
    input::{Gauge, Input},
};

/// Bytes looked at together: the two escapes of a surrogate pair.
const LOOK_AHEAD: usize = 12;

/// Bytes of a text gathered before they are handed on.
const PIECE_BYTES: usize = 32 * 1024;

/// The longest name of a member that is read; a longer one is cut, and so is none that anybody looks for.
const MAX_NAME_BYTES: usize = 1_024;

/// The most digits of a number that count.
const MAX_NUMBER_BYTES: usize = 400;

/// How deep lists and objects may lie within each other.
const MAX_DEPTH: usize = 1_000_000;

const REPLACEMENT: &str = "\u{fffd}";

/// What a value is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    List,
    Text,
    Number,
    True,
    False,
    Null,
}

/// Where a text goes, piece by piece.
pub(crate) type Sink<'s> = &'s mut dyn FnMut(&str) -> Result<(), Error>;

/// A reader of JSON values.
pub(crate) struct JsonReader<'g> {
    pub(crate) input: Input<'g>,
    piece: String,
}

impl<'g> JsonReader<'g> {
    pub(crate) fn new(source: impl Read + 'g, gauge: &'g Gauge) -> Result<Self, Error> {
        Ok(Self { input: Input::new(source, gauge)?, piece: String::with_capacity(PIECE_BYTES) })
    }

    /// What the next value is. It is not read yet.
    pub(crate) fn kind(&mut self) -> Result<Kind, Error> {
        Ok(match self.next_byte()? {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::List,
            Some(b'"') => Kind::Text,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            Some(b't') => Kind::True,
            Some(b'f') => Kind::False,
            Some(b'n') => Kind::Null,
            Some(_) => return Err(self.input.not_json("expected value")),
            None => return Err(self.input.not_json("EOF while parsing a value")),
        })
    }

    /// Enters the object or list that comes next.
    pub(crate) fn enter(&mut self) {
        self.input.advance(1);
    }

    /// The name of the next member of the object that was entered; `None` at its end. `first` is true once.
    pub(crate) fn member(&mut self, first: &mut bool) -> Result<Option<String>, Error> {
        if !self.goes_on(b'}', first)? {
            return Ok(None);
        }
        match self.next_byte()? {
            Some(b'"') => {}
            Some(b'}') => return Err(self.input.not_json("trailing comma")),
            Some(_) => return Err(self.input.not_json("key must be a string")),
            None => return Err(self.input.not_json("EOF while parsing an object")),
        }
        let mut name = String::new();
        self.text(&mut |piece| {
            let room = MAX_NAME_BYTES.saturating_sub(name.len());
            name.push_str(crate::text::beginning(piece, room));
            Ok(())
        })?;
        match self.next_byte()? {
            Some(b':') => self.input.advance(1),
            Some(_) => return Err(self.input.not_json("expected `:`")),
            None => return Err(self.input.not_json("EOF while parsing an object")),
        }
        Ok(Some(name))
    }

    /// Whether the list that was entered has another item. `first` is true once.
    pub(crate) fn item(&mut self, first: &mut bool) -> Result<bool, Error> {
        let more = self.goes_on(b']', first)?;
        if more && self.next_byte()? == Some(b']') {
            return Err(self.input.not_json("trailing comma"));
        }
        Ok(more)
    }

    fn goes_on(&mut self, end: u8, first: &mut bool) -> Result<bool, Error> {
        let next = self.next_byte()?;
        let was_first = std::mem::take(first);
        match next {
            Some(byte) if byte == end => {
                self.input.advance(1);
                Ok(false)
            }
            Some(b',') if !was_first => {
                self.input.advance(1);
                Ok(true)
            }
            Some(_) if was_first => Ok(true),
            Some(_) if end == b']' => Err(self.input.not_json("expected `,` or `]`")),
            Some(_) => Err(self.input.not_json("expected `,` or `}`")),
            None if end == b']' => Err(self.input.not_json("EOF while parsing a list")),
            None => Err(self.input.not_json("EOF while parsing an object")),
        }
    }

    /// Reads the text that comes next into `sink`.
    pub(crate) fn text(&mut self, sink: Sink<'_>) -> Result<(), Error> {
        self.input.advance(1);
        let mut piece = std::mem::take(&mut self.piece);
        piece.clear();
        let result = self.text_into(&mut piece, sink);
        self.piece = piece;
        result
    }

    fn text_into(&mut self, piece: &mut String, sink: Sink<'_>) -> Result<(), Error> {
        loop {
            if piece.len() >= PIECE_BYTES {
                sink(piece)?;
                piece.clear();
            }
            self.input.fill(LOOK_AHEAD)?;
            let ahead = self.input.ahead();
            match ahead.first() {
                None => return Err(self.input.not_json("EOF while parsing a string")),
                Some(b'"') => {
                    self.input.advance(1);
                    return if piece.is_empty() { Ok(()) } else { sink(piece) };
                }
                Some(b'\\') => self.escape(piece)?,
                Some(_) => self.plain(piece)?,
            }
        }
    }

    /// Takes over what needs no unescaping, up to a piece.
    fn plain(&mut self, piece: &mut String) -> Result<(), Error> {
        let is_ended = self.input.is_ended();
        let ahead = self.input.ahead();
        let most = &ahead[..ahead.len().min(PIECE_BYTES)];
        let run = memchr::memchr2(b'"', b'\\', most).unwrap_or(most.len());
        let (text, skip) = match str::from_utf8(&ahead[..run]) {
            Ok(text) => (text, 0),
            Err(error) => {
                let valid = &ahead[..error.valid_up_to()];
                // A character may go on behind the buffer, or behind this piece.
                let is_cut = error.error_len().is_none() && run == most.len();
                let is_cut = is_cut && (!is_ended || most.len() < ahead.len());
                let bad = run - error.valid_up_to();
                (
                    str::from_utf8(valid).unwrap_or_default(),
                    if is_cut { 0 } else { error.error_len().unwrap_or(bad) },
                )
            }
        };
        if let Some(at) = text.bytes().position(|byte| byte < 0x20) {
            self.input.advance(at);
            return Err(self
                .input
                .not_json("control character (\\u0000-\\u001F) found while parsing a string"));
        }
        piece.push_str(text);
        let taken = text.len() + skip;
        if skip > 0 {
            piece.push_str(REPLACEMENT);
            self.count_replaced();
        } else if taken == 0 {
            // Only the beginning of a character is here: its rest is read, or it has none.
            let length = ahead.len();
            self.input.fill(length + 1)?;
            return Ok(());
        }
        self.input.advance(taken);
        Ok(())
    }

    fn escape(&mut self, piece: &mut String) -> Result<(), Error> {
        let ahead = self.input.ahead();
        let plain = match ahead.get(1) {
            None => return Err(self.input.not_json("EOF while parsing a string")),
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(piece),
            Some(_) => return Err(self.input.not_json("invalid escape")),
        };
        piece.push(plain);
        self.input.advance(2);
        Ok(())
    }

    fn unicode_escape(&mut self, piece: &mut String) -> Result<(), Error> {
        let ahead = self.input.ahead();
        let Some(first) = unit(ahead) else { return Err(self.input.not_json("invalid escape")) };
        let second = ahead.get(6..).and_then(unit);
        let mut units = [first, 0];
        let count = match second {
            Some(second @ 0xdc00..=0xdfff) if (0xd800..=0xdbff).contains(&first) => {
                units[1] = second;
                2
            }
            _ => 1,
        };
        for decoded in char::decode_utf16(units[..count].iter().copied()) {
            match decoded {
                Ok(character) => piece.push(character),
                Err(_) => {
                    piece.push_str(REPLACEMENT);
                    self.count_replaced();
                }
            }
        }
        self.input.advance(6 * count);
        Ok(())
    }

    fn count_replaced(&self) {
        let replaced = &self.input.gauge.replaced;
        replaced.set(replaced.get() + 1);
    }

    /// Reads the number that comes next, as it is written; beyond hundreds of digits only the first count.
    pub(crate) fn number(&mut self) -> Result<String, Error> {
        let mut number = String::new();
        if self.peek()? == Some(b'-') {
            self.push_byte(&mut number, b'-');
        }
        match self.peek()? {
            Some(b'0') => self.push_byte(&mut number, b'0'),
            Some(b'1'..=b'9') => self.digits(&mut number)?,
            _ => return Err(self.input.not_json("invalid number")),
        }
        if self.peek()? == Some(b'.') {
            self.push_byte(&mut number, b'.');
            self.digits(&mut number)?;
        }
        if let Some(exponent @ (b'e' | b'E')) = self.peek()? {
            self.push_byte(&mut number, exponent);
            if let Some(sign @ (b'+' | b'-')) = self.peek()? {
                self.push_byte(&mut number, sign);
            }
            self.digits(&mut number)?;
        }
        Ok(number)
    }

    fn digits(&mut self, number: &mut String) -> Result<(), Error> {
        if !self.peek()?.is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.input.not_json("invalid number"));
        }
        while let Some(digit) = self.peek()?.filter(u8::is_ascii_digit) {
            self.push_byte(number, digit);
        }
        Ok(())
    }

    fn push_byte(&mut self, number: &mut String, byte: u8) {
        // Digits that do not fit still move the point: a number of so many is past all that is asked of it either way.
        if number.len() < MAX_NUMBER_BYTES || !byte.is_ascii_digit() {
            number.push(char::from(byte));
        }
        self.input.advance(1);
    }

    /// Reads `true`, `false` or `null`, which comes next.
    pub(crate) fn word(&mut self, word: &str) -> Result<(), Error> {
        self.input.fill(word.len())?;
        if !self.input.ahead().starts_with(word.as_bytes()) {
            return Err(self.input.not_json("expected ident"));
        }
        self.input.advance(word.len());
        Ok(())
    }

    /// Reads over the value that comes next, however deep it is.
    pub(crate) fn skip(&mut self) -> Result<(), Error> {
        // One bit of what is around: whether it is an object.
        let mut around: Vec<bool> = Vec::new();
        let mut first = false;
        loop {
            match self.kind()? {
                kind @ (Kind::Object | Kind::List) => {
                    if around.len() >= MAX_DEPTH {
                        return Err(self.input.not_json("nested too deep"));
                    }
                    self.enter();
                    around.push(kind == Kind::Object);
                    first = true;
                }
                Kind::Text => self.text(&mut |_| Ok(()))?,
                Kind::Number => drop(self.number()?),
                Kind::True => self.word("true")?,
                Kind::False => self.word("false")?,
                Kind::Null => self.word("null")?,
            }
            loop {
                let Some(is_object) = around.last() else { return Ok(()) };
                let more =
                    if *is_object { self.member(&mut first)?.is_some() } else { self.item(&mut first)? };
                if more {
                    break;
                }
                around.pop();
            }
        }
    }

    /// Makes sure that nothing follows.
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        match self.next_byte()? {
            None => Ok(()),
            Some(_) => Err(self.input.not_json("trailing characters")),
        }
    }

    fn peek(&mut self) -> Result<Option<u8>, Error> {
        self.input.fill(1)?;
        Ok(self.input.ahead().first().copied())
    }

    /// The next byte that is no white space.
    fn next_byte(&mut self) -> Result<Option<u8>, Error> {
        loop {
            self.input.fill(1)?;
            let ahead = self.input.ahead();
            let space = ahead.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'));
            match space {
                Some(at) => {
                    let byte = ahead[at];
                    self.input.advance(at);
                    return Ok(Some(byte));
                }
                None if ahead.is_empty() => return Ok(None),
                None => {
                    let length = ahead.len();
                    self.input.advance(length);
                }
            }
        }
    }
}

/// The UTF-16 unit of a `\uXXXX` escape.
fn unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then(|| str::from_utf8(digits).ok()).flatten()?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests;
