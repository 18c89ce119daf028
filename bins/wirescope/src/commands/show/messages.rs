//! The WebSocket messages of an exchange.

use std::fmt::Write as _;

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use capture_store::{Seq, Store, StoredMessage};
use proxy_core::MessageKind;
use serde_json::{Value, json};

use crate::{
    json,
    output::{Out, note},
    text,
};

/// Messages read at a time.
const PAGE: usize = 200;

/// Bytes of a message that is no text shown in hexadecimal.
const SHOWN_BYTES: usize = 32;

/// Prints all messages.
pub(super) fn print(store: &Store, seq: Seq, as_json: bool) -> Result<()> {
    let mut out = Out::new();
    let mut from = 0;
    loop {
        let page = store.messages(seq, from, PAGE)?;
        for message in &page {
            if as_json {
                out.line(json::line(&object(message)))?;
            } else {
                out.line(line(message))?;
            }
        }
        out.flush()?;
        let Some(last) = page.last() else { break };
        from = last.index + 1;
    }
    if from == 0 && !as_json {
        note(format_args!("{seq} has no WebSocket message"));
    }
    Ok(())
}

fn line(message: &StoredMessage) -> String {
    let way = if message.from_client { "->" } else { "<-" };
    let cut = if message.truncated { " [cut]" } else { "" };
    let shown = match std::str::from_utf8(&message.data) {
        Ok(text) if message.kind == MessageKind::Text => text::harmless(text).into_owned(),
        _ => hexadecimal(&message.data),
    };
    format!(
        "{} {} {way} {} {}  {shown}{cut}",
        message.index,
        text::timestamp(message.at),
        kind(message.kind),
        text::size(message.length)
    )
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for byte in bytes.iter().take(SHOWN_BYTES) {
        // Writing to a String does not fail.
        let _ = write!(shown, "{byte:02x}");
    }
    if bytes.len() > SHOWN_BYTES {
        shown.push('…');
    }
    shown
}

fn kind(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Text => "text",
        MessageKind::Binary => "binary",
        MessageKind::Close => "close",
        MessageKind::Ping => "ping",
        MessageKind::Pong => "pong",
        _ => "other",
    }
}

fn object(message: &StoredMessage) -> Value {
    let text = std::str::from_utf8(&message.data).ok();
    json!({
        "index": message.index,
        "at": json::millis(message.at),
        "fromClient": message.from_client,
        "kind": kind(message.kind),
        "length": message.length,
        "truncated": message.truncated,
        "compressed": message.compressed,
        "text": text,
        "base64": text.is_none().then(|| STANDARD.encode(&message.data)),
    })
}
