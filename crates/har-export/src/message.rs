//! WebSocket messages as Chrome writes them (`_webSocketMessages`), page by page.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use capture_store::StoredMessage;
use proxy_core::MessageKind;
use serde::{Serialize, Serializer, ser::SerializeSeq};

use crate::{
    body::{ErrorSlot, Parts},
    clock,
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
#[derive(Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
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
pub(crate) fn kind(opcode: u64) -> MessageKind {
    match opcode {
        1 => MessageKind::Text,
        8 => MessageKind::Close,
        9 => MessageKind::Ping,
        10 => MessageKind::Pong,
        _ => MessageKind::Binary,
    }
}

/// The bytes of a message's `data`.
pub(crate) fn data(
    kind: MessageKind,
    encoding: Option<&str>,
    data: String,
) -> Result<Bytes, base64::DecodeError> {
    if kind == MessageKind::Text && encoding != Some("base64") {
        return Ok(data.into());
    }
    STANDARD.decode(data).map(Bytes::from)
}

/// All messages of an exchange, read as they are written. A failure to read ends the list and waits in the slot.
pub(crate) struct Messages<'a> {
    pub(crate) parts: &'a dyn Parts,
    pub(crate) slot: &'a ErrorSlot,
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
                list.serialize_element(&Message::new(message))?;
            }
            if page.len() < PAGE {
                break;
            }
            from += page.len() as u64;
        }
        list.end()
    }
}
