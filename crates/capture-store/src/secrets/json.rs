//! Credentials in JSON: members by their name, tokens by their shape.
//!
//! A scanner rather than a reader: it takes what is cut, wrong, or several texts one after the other, and is as deep as
//! the text is without taking memory for it but a bit a level.

use std::borrow::Cow;

use super::{SecretKind, SecretSpan, Secrets, merge};

/// Levels below which nesting is no longer told apart; what is secret then stays secret.
const MAX_DEPTH: usize = 10_000;

pub(super) fn find(secrets: &Secrets, json: &[u8]) -> Vec<SecretSpan> {
    let mut scan = Scan { secrets, json, spans: Vec::new(), levels: Vec::new(), name: None };
    scan.run();
    merge(scan.spans, secrets.anywhere(json))
}

/// One object or array around the place.
struct Level {
    is_object: bool,
    /// The member above whose name makes everything below it secret.
    secret: Option<std::ops::Range<usize>>,
    /// Whether the next string is a name.
    expects_name: bool,
}

struct Scan<'a> {
    secrets: &'a Secrets,
    json: &'a [u8],
    spans: Vec<SecretSpan>,
    levels: Vec<Level>,
    /// Where the name of the member whose value comes next stands.
    name: Option<std::ops::Range<usize>>,
}

impl Scan<'_> {
    fn run(&mut self) {
        let mut at = 0;
        while let Some(&byte) = self.json.get(at) {
            at = match byte {
                b'"' => self.string(at),
                b'{' | b'[' => self.open(byte == b'{', at),
                b'}' | b']' => self.close(at),
                b',' => self.next(at),
                b'-' | b'0'..=b'9' => self.number(at),
                _ => at + 1,
            };
        }
    }

    fn open(&mut self, is_object: bool, at: usize) -> usize {
        let secret = self.secret();
        self.name = None;
        if self.levels.len() < MAX_DEPTH {
            self.levels.push(Level { is_object, secret, expects_name: is_object });
        }
        at + 1
    }

    fn close(&mut self, at: usize) -> usize {
        self.levels.pop();
        self.name = None;
        at + 1
    }

    fn next(&mut self, at: usize) -> usize {
        self.name = None;
        if let Some(level) = self.levels.last_mut() {
            level.expects_name = level.is_object;
        }
        at + 1
    }

    /// The name that makes the value at this place secret: its own, or that of a member around it.
    fn secret(&self) -> Option<std::ops::Range<usize>> {
        if let Some(above) = self.levels.last().and_then(|level| level.secret.clone()) {
            return Some(above);
        }
        let name = self.name.clone()?;
        self.secrets.is_name(&unescaped(&self.json[name.clone()])).then_some(name)
    }

    fn string(&mut self, quote: usize) -> usize {
        let start = quote + 1;
        let end = string_end(self.json, start);
        if let Some(level) = self.levels.last_mut().filter(|level| level.expects_name) {
            level.expects_name = false;
            self.name = Some(start..end);
        } else {
            self.note(start..end, false);
        }
        end + 1
    }

    fn number(&mut self, start: usize) -> usize {
        let length = self.json[start..]
            .iter()
            .position(|byte| !matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'));
        let end = length.map_or(self.json.len(), |length| start + length);
        self.note(start..end, true);
        end
    }

    fn note(&mut self, range: std::ops::Range<usize>, bare: bool) {
        let Some(name) = self.secret().filter(|_| !range.is_empty()) else { return };
        let name = unescaped(&self.json[name]);
        let mut span = SecretSpan::new(range, SecretKind::Json, &name);
        span.bare = bare;
        self.spans.push(span);
    }
}

/// The place of the quotation mark that ends a string begun before `from`, or the end of a cut text.
fn string_end(json: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(&byte) = json.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

/// A name with its escapes taken off, where it has any.
fn unescaped(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.contains(&b'\\') {
        return Cow::Borrowed(name);
    }
    let quoted = [b"\"", name, b"\""].concat();
    serde_json::from_slice::<String>(&quoted)
        .map_or(Cow::Borrowed(name), |text| Cow::Owned(text.into_bytes()))
}
