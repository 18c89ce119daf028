//! WebSocket messages as Chrome writes them (`_webSocketMessages`), page by page.

use std::{
    cell::RefCell,
    io::{self, BufRead, Read},
    time::SystemTime,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use capture_store::{ImportBody, ImportMessages, SpooledMessages, StoredMessage};
use proxy_core::MessageKind;
use serde::{Serialize, Serializer, ser::SerializeSeq};
use serde_json::Value;

use crate::{
    body::{ErrorSlot, Parts},
    clock,
    error::Error,
    json::{number, take, text, whole},
    log::Depot,
    redact::Redactor,
    text::is_false,
};

/// Messages read at a time. One may be 4 MiB (`proxy_core::Limits::max_recorded_message_bytes`), so a page is small.
const PAGE: usize = 16;

/// One message. `data` is text for text and base64 for everything else.
#[derive(Debug, Serialize)]
struct Message<'a> {
    r#type: &'static str,
    time: f64,
    opcode: u8,
    data: std::borrow::Cow<'a, str>,
    #[serde(rename = "_wirescope", skip_serializing_if = "MessageExtra::is_plain")]
    extra: MessageExtra,
}

/// What Chrome's form has no place for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct MessageExtra {
    /// The exact time, where it is finer than microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<String>,
    /// `base64` for a text message that is no UTF-8, or was cut within a character.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encoding: Option<String>,
    /// The full length in bytes, where `data` was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) length: Option<u64>,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) truncated: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) compressed: bool,
}

impl MessageExtra {
    fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

impl<'a> Message<'a> {
    fn new(message: &'a StoredMessage) -> Self {
        let text = str::from_utf8(&message.data).ok().filter(|_| message.kind == MessageKind::Text);
        let time = clock::epoch_seconds(message.at);
        let exact = clock::from_epoch_seconds(time) == Some(message.at);
        Self {
            r#type: if message.from_client { "send" } else { "receive" },
            time,
            opcode: opcode(message.kind),
            data: text.map_or_else(|| STANDARD.encode(&message.data).into(), Into::into),
            extra: MessageExtra {
                at: (!exact).then(|| clock::iso(message.at)),
                encoding: (message.kind == MessageKind::Text && text.is_none()).then(|| "base64".to_owned()),
                length: (message.length != message.data.len() as u64).then_some(message.length),
                truncated: message.truncated,
                compressed: message.compressed,
            },
        }
    }
}

impl Message<'_> {
    /// Whether its data is the text it is.
    fn is_text(&self) -> bool {
        self.opcode == 1 && self.extra.encoding.is_none()
    }
}

/// The opcodes of RFC 6455 section 11.8.
fn opcode(kind: MessageKind) -> u8 {
    match kind {
        MessageKind::Text => 1,
        MessageKind::Close => 8,
        MessageKind::Ping => 9,
        MessageKind::Pong => 10,
        _ => 2,
    }
}

/// The kind of an opcode; what is not known counts as bytes.
fn kind(opcode: u64) -> MessageKind {
    match opcode {
        1 => MessageKind::Text,
        8 => MessageKind::Close,
        9 => MessageKind::Ping,
        10 => MessageKind::Pong,
        _ => MessageKind::Binary,
    }
}

/// The bytes of a message's `data`.
fn data_of(kind: MessageKind, encoding: Option<&str>, data: String) -> Result<Bytes, base64::DecodeError> {
    if kind == MessageKind::Text && encoding != Some("base64") {
        return Ok(data.into());
    }
    STANDARD.decode(data).map(Bytes::from)
}

/// Messages on their way into a store: put down in a form of our own as they are read, so that there may be any number.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    body: ImportBody,
    /// Messages put down.
    pub(crate) count: u64,
    /// The bytes of their payloads.
    bytes: u64,
    /// Messages that are not understood.
    pub(crate) bad: u64,
    /// Messages that were cut.
    pub(crate) cut: u64,
}

impl Spool {
    /// Puts a message down. `is_cut` says that its text was.
    pub(crate) fn add(&mut self, item: Value, is_cut: bool, depot: &mut dyn Depot) -> Result<(), Error> {
        let Some((mut message, has_time)) = read(item) else {
            self.bad += 1;
            return Ok(());
        };
        if is_cut {
            message.truncated = true;
            self.cut += 1;
        }
        self.count += 1;
        self.bytes += message.data.len() as u64;
        let mut out = Vec::with_capacity(message.data.len() + 32);
        encode(&message, has_time, &mut out);
        depot.append(&mut self.body, &out)
    }

    /// The messages; those that do not say when they were are of `otherwise`.
    pub(crate) fn into_messages(self, otherwise: SystemTime) -> ImportMessages {
        let mut index = 0;
        let next = move |from: &mut dyn BufRead| {
            let message = decode(from, index, otherwise)?;
            index += 1;
            Ok(message)
        };
        let Self { body, count, bytes, .. } = self;
        ImportMessages::Spooled(SpooledMessages { body, count, bytes, next: Box::new(next) })
    }

    /// Forgets them.
    pub(crate) fn discard(self, depot: &mut dyn Depot) {
        depot.discard(self.body);
    }
}

/// Reads a message as Chrome and its followers write it, and whether it says when it was.
fn read(mut item: Value) -> Option<(StoredMessage, bool)> {
    let data = match take(&mut item, "data")? {
        Value::String(data) => data,
        _ => return None,
    };
    let from_client = matches!(text(&item, "type")?, "send" | "request" | "sent");
    let kind = kind(number(&item, "opcode").and_then(whole).unwrap_or(1));
    let extra: MessageExtra = take(&mut item, "_wirescope")
        .and_then(|extra| serde_json::from_value(extra).ok())
        .unwrap_or_default();
    let exact = extra.at.as_deref().and_then(clock::parse_iso);
    let at = exact.or_else(|| number(&item, "time").and_then(clock::from_epoch_seconds));
    let data = data_of(kind, extra.encoding.as_deref(), data).ok()?;
    let mut message = StoredMessage::new(0, at.unwrap_or(SystemTime::UNIX_EPOCH), from_client, kind, data);
    message.length = extra.length.unwrap_or(message.length).max(message.length);
    message.truncated = extra.truncated;
    message.compressed = extra.compressed;
    Some((message, at.is_some()))
}

const FROM_CLIENT: u8 = 1;
const TRUNCATED: u8 = 2;
const COMPRESSED: u8 = 4;
const HAS_TIME: u8 = 8;

/// Bytes before a message's payload: flags, opcode, time, full length, length.
const HEAD_BYTES: usize = 2 + 3 * 8;

fn encode(message: &StoredMessage, has_time: bool, out: &mut Vec<u8>) {
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    out.push(
        flag(message.from_client, FROM_CLIENT)
            | flag(message.truncated, TRUNCATED)
            | flag(message.compressed, COMPRESSED)
            | flag(has_time, HAS_TIME),
    );
    out.push(opcode(message.kind));
    out.extend_from_slice(&clock::nanos(message.at).to_le_bytes());
    out.extend_from_slice(&message.length.to_le_bytes());
    out.extend_from_slice(&(message.data.len() as u64).to_le_bytes());
    out.extend_from_slice(&message.data);
}

fn decode(from: &mut dyn BufRead, index: u64, otherwise: SystemTime) -> io::Result<Option<StoredMessage>> {
    if from.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut head = [0; HEAD_BYTES];
    from.read_exact(&mut head)?;
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&head[at..at + 8]);
        word
    };
    let mut data = Vec::new();
    let length = u64::from_le_bytes(word(18));
    if from.take(length).read_to_end(&mut data)? as u64 != length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    let flags = head[0];
    let at = if flags & HAS_TIME == 0 { otherwise } else { clock::from_nanos(i64::from_le_bytes(word(2))) };
    let from_client = flags & FROM_CLIENT != 0;
    let mut message = StoredMessage::new(index, at, from_client, kind(u64::from(head[1])), data.into());
    message.length = u64::from_le_bytes(word(10));
    message.truncated = flags & TRUNCATED != 0;
    message.compressed = flags & COMPRESSED != 0;
    Ok(Some(message))
}

/// All messages of an exchange, read as they are written. A failure to read ends the list and waits in the slot.
pub(crate) struct Messages<'a> {
    pub(crate) parts: &'a dyn Parts,
    pub(crate) slot: &'a ErrorSlot,
    /// Hides credentials in texts.
    pub(crate) redactor: Option<&'a RefCell<Redactor>>,
}

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let mut from = 0;
        loop {
            let page = match self.parts.messages(from, PAGE) {
                Ok(page) => page,
                Err(error) => {
                    self.slot.borrow_mut().get_or_insert(error);
                    break;
                }
            };
            for message in &page {
                let mut message = Message::new(message);
                if let Some(redactor) = self.redactor
                    && message.is_text()
                    && let Some(masked) = redactor.borrow_mut().body("", &message.data)
                {
                    message.data = masked.into();
                }
                list.serialize_element(&message)?;
            }
            if page.len() < PAGE {
                break;
            }
            from += page.len() as u64;
        }
        list.end()
    }
}
