//! Independent opinions on where messages end: a strict recipient, and lenient ones as they are found in the wild.
//!
//! None of this shares code with the engine. What the engine lets pass must be the same messages to all of them.

use std::fmt::Write as _;

/// What a recipient made of a byte stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Messages {
    pub(super) whole: Vec<Message>,
    /// Bytes behind the last whole message.
    pub(super) rest: usize,
    /// Why it gave up, if it did.
    pub(super) bad: Option<&'static str>,
}

/// One message, as far as smuggling goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) start: String,
    pub(super) body: String,
}

/// What a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'m> {
    Requests,
    /// Responses to these methods.
    Responses(&'m [&'m str]),
}

/// How a recipient reads what the RFC leaves open, or forbids.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    /// A lone LF ends a line.
    bare_lf: bool,
    /// A lone CR ends a line.
    bare_cr: bool,
    /// A line of blanks ends the head.
    blank_line: bool,
    /// Names and values lose controls and blanks at their ends, and what follows a NUL.
    trims_controls: bool,
    /// `chunked` anywhere in the value counts, whatever surrounds it.
    loose_chunked: bool,
    /// A number ends where its digits do, and may have a sign or a 0x before them.
    loose_numbers: bool,
    /// A number with a leading zero is octal.
    octal: bool,
    /// The last of several lengths counts, not the first.
    last_length: bool,
    /// A length counts even beside a transfer coding.
    length_wins: bool,
}

/// Recipients that exist in one product or another, from the strictest to the loosest.
pub(super) const READINGS: [Reading; 9] = {
    let strict = Reading {
        bare_lf: false,
        bare_cr: false,
        blank_line: false,
        trims_controls: false,
        loose_chunked: false,
        loose_numbers: false,
        octal: false,
        last_length: false,
        length_wins: false,
    };
    [
        strict,
        Reading { bare_lf: true, ..strict },
        Reading { bare_lf: true, bare_cr: true, ..strict },
        Reading { bare_lf: true, trims_controls: true, loose_chunked: true, ..strict },
        Reading { bare_lf: true, blank_line: true, loose_numbers: true, ..strict },
        Reading { length_wins: true, last_length: true, ..strict },
        Reading { length_wins: true, loose_numbers: true, octal: true, ..strict },
        Reading { bare_lf: true, trims_controls: true, length_wins: true, ..strict },
        Reading {
            bare_lf: true,
            bare_cr: true,
            blank_line: true,
            trims_controls: true,
            loose_chunked: true,
            loose_numbers: true,
            octal: false,
            last_length: true,
            length_wins: false,
        },
    ]
};

/// Where a body ends.
enum End {
    Length(usize),
    Chunked,
    Close,
}

impl Reading {
    /// Reads a whole stream.
    pub(super) fn read(&self, mut bytes: &[u8], kind: Kind<'_>) -> Messages {
        let mut messages = Messages::default();
        let mut finals = 0;
        while !bytes.is_empty() && messages.whole.len() < 20 {
            let Some((lines, after)) = self.head(bytes) else { break };
            let (start, fields) = lines.split_first().unwrap();
            let method = match kind {
                Kind::Requests => None,
                Kind::Responses(methods) => Some(methods.get(finals).copied().unwrap_or("GET")),
            };
            let interim = method.is_some() && start.contains(" 1") && !start.contains(" 101");
            let end = match (method, self.end(fields)) {
                (Some("HEAD"), _) => End::Length(0),
                (Some(_), _) if [" 1", " 204", " 304"].iter().any(|code| start.contains(code)) => {
                    End::Length(0)
                }
                (_, Some(end)) => end,
                (Some(_), None) => End::Close,
                (None, None) => End::Length(0),
            };
            let Some((body, length)) = self.body(&bytes[after..], &end) else { break };
            if !interim {
                finals += 1;
            }
            messages.whole.push(Message { start: start.clone(), body });
            bytes = &bytes[after + length..];
        }
        messages.rest = bytes.len();
        messages
    }

    /// The lines of the head, and where the body begins.
    fn head(&self, bytes: &[u8]) -> Option<(Vec<String>, usize)> {
        let mut lines: Vec<String> = Vec::new();
        let mut at = 0;
        loop {
            let (line, next) = self.line(&bytes[at..])?;
            at += next;
            let blank = line.is_empty() || (self.blank_line && line.trim_ascii().is_empty());
            if blank && !lines.is_empty() {
                return Some((lines, at));
            }
            match lines.last_mut() {
                _ if blank => {}
                // A folded line goes on with the one before it.
                Some(last) if line.starts_with(b" ") || line.starts_with(b"\t") => {
                    let _ = write!(last, " {}", text(line).trim());
                }
                _ => lines.push(text(line)),
            }
        }
    }

    /// The next line, and how far it goes with its end.
    fn line<'b>(&self, bytes: &'b [u8]) -> Option<(&'b [u8], usize)> {
        let mut at = 0;
        loop {
            match bytes.get(at)? {
                b'\r' if bytes.get(at + 1) == Some(&b'\n') => return Some((&bytes[..at], at + 2)),
                b'\n' if self.bare_lf => return Some((&bytes[..at], at + 1)),
                b'\r' if self.bare_cr => return Some((&bytes[..at], at + 1)),
                _ => at += 1,
            }
        }
    }

    /// Where the fields say that the body ends.
    fn end(&self, fields: &[String]) -> Option<End> {
        let (mut length, mut chunked) = (None, false);
        for field in fields {
            let Some((name, value)) = field.split_once(':') else { continue };
            let (name, value) = (self.trimmed(name).to_lowercase(), self.trimmed(value).to_lowercase());
            match name.as_str() {
                "content-length" => {
                    for number in value.split(',') {
                        let number = self.number(number.trim(), 10);
                        length = if self.last_length { number.or(length) } else { length.or(number) };
                    }
                }
                "transfer-encoding" => chunked |= self.is_chunked(&value),
                _ => {}
            }
        }
        match length {
            Some(length) if !chunked || self.length_wins => Some(End::Length(length)),
            _ => chunked.then_some(End::Chunked),
        }
    }

    fn is_chunked(&self, value: &str) -> bool {
        if self.loose_chunked { value.contains("chunked") } else { value == "chunked" }
    }

    fn trimmed<'t>(&self, text: &'t str) -> &'t str {
        if !self.trims_controls {
            return text.trim_matches([' ', '\t']);
        }
        let text = text.split('\0').next().unwrap_or(text);
        text.trim_matches(|letter: char| letter <= ' ' || letter == '\u{7f}' || letter == '\u{a0}')
    }

    fn number(&self, text: &str, radix: u32) -> Option<usize> {
        let text = match text {
            _ if !self.loose_numbers => return usize::from_str_radix(text, radix).ok(),
            _ => text.trim().trim_start_matches(['+', '-']),
        };
        let text = if radix == 16 { text.trim_start_matches("0x").trim_start_matches("0X") } else { text };
        let digits: String = text.chars().take_while(|letter| letter.is_digit(radix)).collect();
        let octal = self.octal && radix == 10 && digits.len() > 1 && digits.starts_with('0');
        usize::from_str_radix(&digits, if octal { 8 } else { radix }).ok()
    }

    /// The body, and how many bytes it takes; `None` when it is not whole, or no body at all.
    fn body(&self, bytes: &[u8], end: &End) -> Option<(String, usize)> {
        match end {
            End::Length(length) => Some((text(bytes.get(..*length)?), *length)),
            End::Close => Some((text(bytes), bytes.len())),
            End::Chunked => self.chunks(bytes),
        }
    }

    fn chunks(&self, bytes: &[u8]) -> Option<(String, usize)> {
        let (mut body, mut at) = (String::new(), 0);
        loop {
            let (line, next) = self.line(&bytes[at..])?;
            at += next;
            let size = text(line);
            let size = self.number(size.split(';').next().unwrap_or_default().trim(), 16)?;
            if size == 0 {
                break;
            }
            body.push_str(&text(bytes.get(at..at + size)?));
            at += size;
            at += self.line(&bytes[at..]).filter(|(line, _)| line.is_empty())?.1;
        }
        loop {
            let (line, next) = self.line(&bytes[at..])?;
            at += next;
            if line.is_empty() {
                return Some((body, at));
            }
        }
    }
}

/// Reads requests as the strictest recipient there could be: httparse for heads, one framing field at most, and no
/// byte that is not in the grammar.
pub(super) fn strict(mut bytes: &[u8]) -> Messages {
    let mut messages = Messages::default();
    while !bytes.is_empty() && messages.bad.is_none() {
        match strict_one(bytes) {
            Ok(Some((message, length))) => {
                messages.whole.push(message);
                bytes = &bytes[length..];
            }
            Ok(None) => break,
            Err(bad) => messages.bad = Some(bad),
        }
    }
    messages.rest = bytes.len();
    messages
}

fn strict_one(bytes: &[u8]) -> Result<Option<(Message, usize)>, &'static str> {
    // Controls in values are nobody's line ends, and httparse's only reason to refuse them is that they are controls.
    let tamed: Vec<u8> =
        bytes.iter().map(|byte| if is_harmless_control(*byte) { b'?' } else { *byte }).collect();
    let mut fields = [httparse::EMPTY_HEADER; 1_100];
    let mut request = httparse::Request::new(&mut fields);
    let head = match request.parse(&tamed).map_err(|_| "httparse takes it for no request")? {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial => return Ok(None),
    };
    let lines = bytes[..head].windows(2).filter(|pair| pair == b"\r\n").count();
    if bytes[..head].iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count() != 2 * lines {
        return Err("a line ends in a bare CR or LF");
    }
    let named = |name: &str| -> Vec<&[u8]> {
        let of = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(name);
        request.headers.iter().filter(of).map(|field| field.value).collect()
    };
    if named("host").len() != 1 {
        return Err("not exactly one Host");
    }
    let end = match (&named("content-length")[..], &named("transfer-encoding")[..]) {
        ([], []) => End::Length(0),
        ([length], []) => {
            let digits = text(length);
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            let leads = digits.len() > 1 && digits.starts_with('0');
            match digits.parse() {
                Ok(length) if plain && !leads => End::Length(length),
                _ => return Err("Content-Length is no plain number"),
            }
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => End::Chunked,
        _ => return Err("more than one way to tell where it ends"),
    };
    let line = text(bytes.trim_ascii_start().split(|byte| *byte == b'\r').next().unwrap_or_default());
    let start = line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let strict = &READINGS[0];
    Ok(strict.body(&bytes[head..], &end).map(|(body, length)| (Message { start, body }, head + length)))
}

fn is_harmless_control(byte: u8) -> bool {
    byte.is_ascii_control() && !matches!(byte, b'\r' | b'\n' | b'\t' | 0)
}

pub(super) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
