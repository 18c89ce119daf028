//! An exchange as one JSON object on one line.

use std::{
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{engine::general_purpose::STANDARD, write::EncoderWriter};
use capture_store::{
    Body, BodySide, Exchange, ExchangeKind, ExchangeState, Peer, Recorded, Seq, Store, StoredMessage,
};
use proxy_core::{Headers, MessageKind};
use serde_json::{Value, json};

use super::form::{Note, RenderError, open, read_full, unreadable};

/// Bodies up to this size are decoded and given as text, where they are text.
const TEXT_BYTES: u64 = 1024 * 1024;
/// What such a body may decode to.
const MAX_DECODED: usize = 4 * 1024 * 1024;
/// Messages read at once.
const MESSAGES: usize = 500;
/// Bytes of a body encoded at once.
const PIECE_BYTES: usize = 48 * 1024;

/// Writes an exchange as one line of JSON (docs/export.md has its fields), with or without its bodies.
///
/// A body of up to 1 MiB that decodes to text is `text`, with its content coding taken off; every other is `base64`, as it
/// was on the wire.
///
/// # Errors
/// When a body or message cannot be read.
pub fn json_line(
    store: &Store,
    exchange: &Exchange,
    bodies: bool,
    out: &mut dyn Write,
) -> Result<Vec<Note>, RenderError> {
    let mut notes = Vec::new();
    let mut members = Members { out, first: true };
    for (name, value) in outline(exchange) {
        members.member(name, &value)?;
    }
    members.key("request")?;
    message(store, exchange, BodySide::Request, bodies, (&mut *members.out, &mut notes))?;
    members.key("response")?;
    if exchange.response.is_some() {
        message(store, exchange, BodySide::Response, bodies, (&mut *members.out, &mut notes))?;
    } else {
        members.raw("null")?;
    }
    if exchange.summary.messages > 0 {
        members.key("messages")?;
        messages(store, exchange.summary.seq, members.out)?;
    }
    members.out.write_all(b"}\n").map_err(RenderError::Write)?;
    Ok(notes)
}

/// An object while it is written.
struct Members<'o> {
    out: &'o mut dyn Write,
    first: bool,
}

impl Members<'_> {
    fn key(&mut self, name: &str) -> Result<(), RenderError> {
        let before = if self.first { '{' } else { ',' };
        self.first = false;
        write!(self.out, "{before}\"{name}\":").map_err(RenderError::Write)
    }

    fn member(&mut self, name: &str, value: &Value) -> Result<(), RenderError> {
        if value.is_null() {
            return Ok(());
        }
        self.key(name)?;
        serde_json::to_writer(&mut *self.out, value).map_err(|error| RenderError::Write(error.into()))
    }

    fn raw(&mut self, text: &str) -> Result<(), RenderError> {
        self.out.write_all(text.as_bytes()).map_err(RenderError::Write)
    }
}

/// What is short. Members that are null are left out.
fn outline(exchange: &Exchange) -> [(&'static str, Value); 13] {
    let summary = &exchange.summary;
    let (state, failure) = match &summary.state {
        ExchangeState::Open => ("open", Value::Null),
        ExchangeState::Mock => ("mock", Value::Null),
        ExchangeState::Upgrade => ("upgrade", Value::Null),
        ExchangeState::Tunnel => ("tunnel", Value::Null),
        ExchangeState::Failed(failure) => {
            ("failed", json!({"kind": failure.kind.code(), "detail": failure.detail}))
        }
        _ => ("response", Value::Null),
    };
    let kind = match summary.kind {
        ExchangeKind::WebSocket => "websocket",
        ExchangeKind::Upgrade => "upgrade",
        ExchangeKind::Tunnel => "tunnel",
        _ => "http",
    };
    let rules: Vec<&str> = exchange.rules.iter().map(|hit| hit.rule.as_str()).collect();
    [
        ("id", json!(summary.seq.to_string())),
        ("seq", json!(summary.seq.0)),
        ("session", json!(summary.session.to_string())),
        ("kind", json!(kind)),
        ("state", json!(state)),
        ("failure", failure),
        ("startedAt", json!(millis(summary.started_at))),
        ("durationMs", json!(summary.duration.map(|duration| duration.as_secs_f64() * 1_000.0))),
        ("client", peer(exchange.client.as_ref())),
        ("upstream", peer(exchange.upstream.as_ref())),
        ("tunnel", json!(exchange.tunnel)),
        ("rules", if rules.is_empty() { Value::Null } else { json!(rules) }),
        ("comment", json!(exchange.comment)),
    ]
}

fn peer(peer: Option<&Peer>) -> Value {
    let Some(peer) = peer else { return Value::Null };
    let mut object = serde_json::Map::new();
    object.extend(peer.address.map(|address| ("address".to_owned(), json!(address.to_string()))));
    if let Some(tls) = &peer.tls {
        object.insert("tls".to_owned(), json!({"version": tls.version, "alpn": tls.alpn, "sni": tls.sni}));
    }
    object.into()
}

fn message(
    store: &Store,
    exchange: &Exchange,
    side: BodySide,
    bodies: bool,
    (out, notes): (&mut dyn Write, &mut Vec<Note>),
) -> Result<(), RenderError> {
    let seq = exchange.summary.seq;
    let body = open(store, exchange, side, notes)?;
    let mut members = Members { out, first: true };
    let trailers = match side {
        BodySide::Request => {
            let head = &exchange.request;
            members.member("method", &json!(head.method.as_str()))?;
            members.member("url", &json!(exchange.summary.url))?;
            members.member("target", &json!(head.target))?;
            members.member("httpVersion", &json!(format!("{:?}", head.version)))?;
            members.member("headers", &fields(&head.headers))?;
            &exchange.request_trailers
        }
        BodySide::Response => {
            if let Some(head) = &exchange.response {
                members.member("status", &json!(head.status.as_u16()))?;
                let reason = head.reason.as_deref().map(String::from_utf8_lossy);
                members.member("reason", &json!(reason))?;
                members.member("httpVersion", &json!(format!("{:?}", head.version)))?;
                members.member("headers", &fields(&head.headers))?;
            }
            &exchange.response_trailers
        }
    };
    if !trailers.is_empty() {
        members.member("trailers", &fields(trailers))?;
    }
    if let Some(body) = body {
        members.key("body")?;
        write_body(store, (seq, side), body, bodies, &mut *members.out)?;
    }
    members.raw("}")
}

fn write_body(
    store: &Store,
    at: (Seq, BodySide),
    body: Body,
    bytes: bool,
    out: &mut dyn Write,
) -> Result<(), RenderError> {
    let Recorded { wire_bytes, stored_bytes, complete, identity, .. } = body.recorded();
    let mut members = Members { out, first: true };
    members.member("wireBytes", &json!(wire_bytes))?;
    if stored_bytes != wire_bytes {
        members.member("storedBytes", &json!(stored_bytes))?;
    }
    if !complete {
        members.member("complete", &json!(false))?;
    }
    if identity {
        members.member("decoded", &json!(true))?;
    }
    if bytes {
        content(store, at, body, &mut members)?;
    }
    members.raw("}")
}

/// The body's bytes, as text or as base64.
fn content(
    store: &Store,
    (seq, side): (Seq, BodySide),
    body: Body,
    members: &mut Members<'_>,
) -> Result<(), RenderError> {
    let reader = if body.recorded().stored_bytes > TEXT_BYTES {
        Some(body.into_reader())
    } else {
        let decoded = body.decode(MAX_DECODED);
        match String::from_utf8(decoded.bytes.to_vec()) {
            Ok(text) if decoded.problem.is_none() && !decoded.truncated && !text.contains('\0') => {
                return members.member("text", &json!(text));
            }
            _ => {
                let again = store.body(seq, side).map_err(|error| unreadable(seq, error))?;
                again.map(Body::into_reader)
            }
        }
    };
    let Some(mut reader) = reader else { return Ok(()) };
    members.key("base64")?;
    members.raw("\"")?;
    let mut encoder = EncoderWriter::new(&mut *members.out, &STANDARD);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = read_full(seq, &mut reader, &mut piece)?;
        if read == 0 {
            break;
        }
        encoder.write_all(&piece[..read]).map_err(RenderError::Write)?;
    }
    encoder.finish().map_err(RenderError::Write)?;
    drop(encoder);
    members.raw("\"")
}

fn messages(store: &Store, seq: Seq, out: &mut dyn Write) -> Result<(), RenderError> {
    let mut from = 0;
    let mut before = "[";
    loop {
        let page = store.messages(seq, from, MESSAGES).map_err(|error| unreadable(seq, error))?;
        for message in &page {
            out.write_all(before.as_bytes()).map_err(RenderError::Write)?;
            before = ",";
            serde_json::to_writer(&mut *out, &one_message(message))
                .map_err(|error| RenderError::Write(error.into()))?;
        }
        match page.last() {
            Some(last) if page.len() == MESSAGES => from = last.index + 1,
            _ => break,
        }
    }
    let end = if before == "[" { "[]" } else { "]" };
    out.write_all(end.as_bytes()).map_err(RenderError::Write)
}

fn one_message(message: &StoredMessage) -> Value {
    let kind = match message.kind {
        MessageKind::Text => "text",
        MessageKind::Binary => "binary",
        MessageKind::Close => "close",
        MessageKind::Ping => "ping",
        MessageKind::Pong => "pong",
        _ => "other",
    };
    let sender = if message.from_client { "client" } else { "upstream" };
    let mut value = json!({"at": millis(message.at), "from": sender, "kind": kind, "length": message.length});
    match std::str::from_utf8(&message.data) {
        Ok(text) if message.kind == MessageKind::Text => value["text"] = text.into(),
        _ => value["base64"] = base64::Engine::encode(&STANDARD, &message.data).into(),
    }
    if message.truncated {
        value["truncated"] = true.into();
    }
    value
}

/// Fields as pairs, in their order.
fn fields(headers: &Headers) -> Value {
    headers.iter().map(|header| json!([header.name_text(), header.value_text()])).collect()
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
