//! Transactions of an XML session. Entities of the document's own are not expanded, and nothing is fetched.

use std::{
    cell::Cell,
    io::{self, BufRead, Read},
};

use super::{
    MAX_TEXTS, hand_over,
    transaction::{Body, Message, Transaction, address, iso},
};
use crate::{
    error::{Error, ErrorKind},
    input::Gauge,
    log::{Facts, Receiver},
};
use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};

/// Levels of elements; Charles has six.
const MAX_DEPTH: usize = 32;
/// Header fields of a message.
const MAX_HEADERS: usize = 10_000;
/// Bytes of markup around a text.
const MARKUP: u64 = 64 * 1024;

/// Reads a session and hands each transaction to the receiver as an entry, whose errors end it.
pub(crate) fn read(input: impl BufRead, gauge: &Gauge, to: &mut dyn Receiver) -> Result<Facts, Error> {
    let room = Cell::new(0);
    let mut reader = Reader::from_reader(Limited { input, gauge, room: &room });
    let mut walk = Walk { path: Vec::new(), found: false, open: None, text: String::new(), left: 0 };
    let (mut buffer, mut index) = (Vec::new(), 0);
    loop {
        room.set(MAX_TEXTS as u64 + MARKUP);
        buffer.clear();
        let event = reader.read_event_into(&mut buffer);
        let done = match event {
            Ok(Event::Eof) => break,
            Ok(event) => walk.step(event),
            Err(quick_xml::Error::Io(error)) => {
                let error = io::Error::new(error.kind(), error.to_string());
                return Err(Error::with_source(ErrorKind::Input, error));
            }
            Err(error) => Err(error.to_string()),
        };
        match done {
            Ok(Some(open)) => {
                hand_over(index, open.transaction.into_entry(), open.notes, to)?;
                index += 1;
            }
            Ok(None) => {}
            Err(reason) => {
                return Err(not_charles(&format!("{reason}, at byte {}", reader.buffer_position())));
            }
        }
    }
    match walk.found {
        true if walk.path.is_empty() => Ok(Facts::default()),
        true => Err(not_charles("it ends in the middle of an element")),
        false => Err(not_charles("it has no charles-session element")),
    }
}

fn not_charles(reason: &str) -> Error {
    Error::new(ErrorKind::NotCharles { reason: reason.to_owned() })
}

/// Counts what passes, and lets no more of it through at once than a text may be long: the XML reader holds one.
struct Limited<'g, R> {
    input: R,
    gauge: &'g Gauge,
    room: &'g Cell<u64>,
}

impl<R: BufRead> Read for Limited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Limited<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.room.get() == 0 {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a text is longer than may be read"));
        }
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.gauge.bytes.set(self.gauge.bytes.get() + count as u64);
        self.room.set(self.room.get().saturating_sub(count as u64));
        self.input.consume(count);
    }
}

/// Where the walk is.
struct Walk {
    path: Vec<String>,
    found: bool,
    open: Option<Open>,
    text: String,
    /// Bytes of text that the transaction may still have.
    left: u64,
}

/// A transaction that is being read.
#[derive(Default)]
struct Open {
    transaction: Transaction,
    header: (String, String),
    /// How the body that is being read is written.
    base64: bool,
    notes: Vec<String>,
}

impl Walk {
    fn step(&mut self, event: Event<'_>) -> Result<Option<Open>, String> {
        match event {
            Event::Start(element) => {
                self.start(&element)?;
                Ok(None)
            }
            Event::Empty(element) => {
                self.start(&element)?;
                self.end()
            }
            Event::End(_) => self.end(),
            Event::Text(text) => {
                self.push(&text);
                Ok(None)
            }
            Event::CData(text) => {
                self.push(&text);
                Ok(None)
            }
            Event::GeneralRef(reference) => {
                let name = reference.to_string();
                match entity(&name) {
                    Some(c) => self.push(c.encode_utf8(&mut [0; 4])),
                    None => self.note(format!(
                        "the entity &{}; was left out",
                        name.chars().take(40).collect::<String>()
                    )),
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn push(&mut self, text: &str) {
        if self.open.is_none() {
            return;
        }
        if text.len() as u64 > self.left {
            self.note("its texts were cut, as they are too long together".to_owned());
            self.left = 0;
            return;
        }
        self.left -= text.len() as u64;
        self.text.push_str(text);
    }

    fn note(&mut self, note: String) {
        /// Enough for anybody.
        const MOST: usize = 20;
        if let Some(open) = self.open.as_mut().filter(|open| open.notes.len() < MOST) {
            open.notes.push(note);
        }
    }

    fn start(&mut self, element: &BytesStart<'_>) -> Result<(), String> {
        let name = AsRef::<str>::as_ref(&element.local_name()).to_owned();
        if self.path.len() >= MAX_DEPTH {
            return Err("elements are nested too deep".to_owned());
        }
        match (self.path.len(), name.as_str()) {
            (0, "charles-session") => self.found = true,
            (0, other) => return Err(format!("its root is {other:?}, not charles-session")),
            (1, "transaction") => {
                self.left = MAX_TEXTS as u64;
                let mut open = Open::default();
                for (name, value) in attributes(element) {
                    open.attribute(&name, value);
                }
                self.open = Some(open);
            }
            _ => {
                if let Some(open) = &mut self.open {
                    open.element(&name, self.path.get(2).map(String::as_str), attributes(element));
                }
            }
        }
        self.text.clear();
        self.path.push(name);
        Ok(())
    }

    fn end(&mut self) -> Result<Option<Open>, String> {
        let Some(name) = self.path.pop() else { return Ok(None) };
        let text = std::mem::take(&mut self.text);
        if self.path.len() == 1 && name == "transaction" {
            return Ok(self.open.take());
        }
        if let Some(open) = &mut self.open {
            open.ended(&name, self.path.get(2).map(String::as_str), text);
        }
        Ok(None)
    }
}

impl Open {
    fn attribute(&mut self, name: &str, value: String) {
        let transaction = &mut self.transaction;
        let span = |value: &str| value.trim().parse::<f64>().ok().filter(|span| *span >= 0.0);
        match name {
            "method" => transaction.method = value,
            "protocolVersion" => transaction.version = value,
            "protocol" | "scheme" => transaction.scheme = value,
            "host" => transaction.host = value,
            "actualPort" => {
                transaction.port = value.parse().ok().filter(|port| *port > 0).or(transaction.port)
            }
            "port" => transaction.port = transaction.port.or(value.parse().ok().filter(|port| *port > 0)),
            "path" => transaction.path = value,
            "query" => transaction.query = value,
            "startTimeMillis" => transaction.started = span(&value).and_then(iso),
            "startTime" if transaction.started.is_none() => transaction.started = Some(value),
            "duration" | "durationMillis" => transaction.durations.total = span(&value),
            "dnsDuration" => transaction.durations.dns = span(&value),
            "connectDuration" => transaction.durations.connect = span(&value),
            "sslDuration" => transaction.durations.ssl = span(&value),
            "requestDuration" => transaction.durations.request = span(&value),
            "latency" => transaction.durations.latency = span(&value),
            "responseDuration" => transaction.durations.response = span(&value),
            "remoteAddress" => transaction.address = address(&value),
            "errorMessage" | "exception" => transaction.error = Some(value),
            "status" if matches!(value.as_str(), "FAILED" | "EXCEPTION") => {
                transaction.error.get_or_insert_with(|| "failed".to_owned());
            }
            "notes" => transaction.notes = Some(value),
            _ => {}
        }
    }

    /// An element begins, within the request or the response if it is in one.
    fn element(&mut self, name: &str, side: Option<&str>, attributes: Vec<(String, String)>) {
        let attribute =
            |wanted: &str| attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        match (name, side) {
            ("request", None) => self.transaction.request.mime_type = attribute("mime-type"),
            ("response", None) => {
                let status = attribute("status").and_then(|status| status.parse().ok());
                let mime_type = attribute("mime-type");
                self.transaction.response = Some(Message { status, mime_type, ..Message::default() });
            }
            ("header", Some(_)) => self.header = (String::new(), String::new()),
            ("body", Some(_)) => {
                let encoding = attribute("encoding");
                self.base64 = encoding.is_some_and(|encoding| encoding.eq_ignore_ascii_case("base64"));
            }
            _ => {}
        }
    }

    /// An element ends.
    fn ended(&mut self, name: &str, side: Option<&str>, text: String) {
        let message = match side {
            Some("request") => &mut self.transaction.request,
            Some("response") => self.transaction.response.get_or_insert_default(),
            _ => {
                if name == "notes" && !text.trim().is_empty() {
                    self.transaction.notes = Some(text);
                }
                return;
            }
        };
        match name {
            "first-line" => message.first_line = text,
            "name" => self.header.0 = text,
            "value" => self.header.1 = text,
            "header" if message.headers.len() < MAX_HEADERS => {
                message.headers.push(std::mem::take(&mut self.header));
            }
            "body" if text.is_empty() => {}
            "body" if self.base64 => message.body = Body::Base64 { text, decoded: false },
            "body" => message.body = Body::Text(text),
            _ => {}
        }
    }
}

/// An element's attributes; those that cannot be read are left out.
fn attributes(element: &BytesStart<'_>) -> Vec<(String, String)> {
    let mut attributes = element.attributes();
    attributes
        .with_checks(false)
        .flatten()
        .map(|attribute| {
            let name = AsRef::<str>::as_ref(&attribute.key.local_name()).to_owned();
            (name, unescaped(&attribute.value))
        })
        .collect()
}

/// A text with the entities of XML itself and characters by number put in; others stay as they are written.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        match after.split_once(';').and_then(|(name, tail)| Some((entity(name)?, tail))) {
            Some((c, tail)) => {
                out.push(c);
                rest = tail;
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The character an entity stands for.
fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            code.ok().and_then(char::from_u32)
        }
    }
}
