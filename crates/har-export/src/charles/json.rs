//! Transactions of a `.chlsj` file.

use serde_json::Value;

use super::transaction::{Body, Durations, Message, Transaction, address};
use crate::json::{number, take, text};

/// A transaction as a HAR entry. The error says in words for people why it is none.
pub(crate) fn entry(mut value: Value) -> Result<Value, String> {
    if !value.is_object() {
        return Err("it is no transaction of Charles".to_owned());
    }
    let request = take(&mut value, "request").unwrap_or_default();
    let response = take(&mut value, "response").filter(Value::is_object);
    if text(&value, "method").is_none() || text(&value, "host").is_none() {
        return Err("it has no method and host, as transactions of Charles do".to_owned());
    }
    let word = |name: &str| text(&value, name).unwrap_or_default().to_owned();
    let null = Value::Null;
    let times = value.get("times").unwrap_or(&null);
    let failed = matches!(text(&value, "status"), Some("FAILED" | "EXCEPTION"));
    let error = ["errorMessage", "exception", "error"].into_iter().find_map(|name| text(&value, name));
    let transaction = Transaction {
        method: word("method"),
        version: word("protocolVersion"),
        scheme: word("scheme"),
        host: word("host"),
        port: ["actualPort", "port"].into_iter().find_map(|name| port(&value, name)),
        path: word("path"),
        query: word("query"),
        started: ["start", "requestBegin"].into_iter().find_map(|name| text(times, name)).map(str::to_owned),
        durations: durations(value.get("durations").unwrap_or(&null)),
        address: text(&value, "remoteAddress").and_then(address),
        error: error.map(str::to_owned).or_else(|| failed.then(|| "failed".to_owned())),
        notes: text(&value, "notes").filter(|notes| !notes.is_empty()).map(str::to_owned),
        request: message(request),
        response: response.map(message),
    };
    Ok(transaction.into_entry())
}

fn port(value: &Value, name: &str) -> Option<u16> {
    number(value, name)
        .filter(|port| (1.0..=65_535.0).contains(port))
        .and_then(|port| format!("{port}").parse().ok())
}

fn durations(value: &Value) -> Durations {
    let span = |name| number(value, name).filter(|span| *span >= 0.0);
    Durations {
        total: span("total"),
        dns: span("dns"),
        connect: span("connect"),
        ssl: span("ssl"),
        request: span("request"),
        latency: span("latency"),
        response: span("response"),
    }
}

fn message(mut value: Value) -> Message {
    let mut header = take(&mut value, "header").unwrap_or_default();
    let fields = take(&mut header, "headers");
    let headers = fields.as_ref().and_then(Value::as_array).into_iter().flatten();
    let headers = headers
        .filter_map(|field| {
            Some((text(field, "name")?.to_owned(), text(field, "value").unwrap_or_default().to_owned()))
        })
        .collect();
    let sizes = value.get("sizes");
    Message {
        first_line: text(&header, "firstLine").unwrap_or_default().to_owned(),
        headers,
        status: number(&value, "status").and_then(|status| format!("{status}").parse().ok()),
        mime_type: text(&value, "mimeType").map(str::to_owned),
        wire_bytes: sizes.and_then(|sizes| number(sizes, "body")).filter(|bytes| *bytes > 0.0),
        body: take(&mut value, "body").map(body).unwrap_or_default(),
    }
}

fn body(mut value: Value) -> Body {
    let decoded = value.get("decoded").and_then(Value::as_bool).unwrap_or(false);
    let taken = |value: &mut Value, name: &str| match take(value, name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let base64 = text(&value, "encoding").is_some_and(|encoding| encoding.eq_ignore_ascii_case("base64"));
    if let Some(text) = taken(&mut value, "encoded") {
        return Body::Base64 { text, decoded };
    }
    match taken(&mut value, "text") {
        Some(text) if base64 => Body::Base64 { text, decoded },
        Some(text) => Body::Text(text),
        None => Body::None,
    }
}
