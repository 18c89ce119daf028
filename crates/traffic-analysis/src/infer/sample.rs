//! One exchange taken apart: parameters and bodies as values.

use std::io::Read as _;

use capture_store::{BodySide, Exchange, Store};
use serde_json::{Map, Value, json};

use super::shape::typed;

/// Parameters of one request that are looked at.
const MAX_PARAMETERS: usize = 200;

/// A body as far as it can be described.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    /// A value.
    Value(Value),
    /// Text of no structure we know.
    Text,
    /// Bytes.
    Binary,
    /// It was not looked into.
    Unread,
}

/// The parameters of a target's query, decoded.
pub(super) fn query(target: &str) -> Vec<(String, String)> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    pairs(query.split('#').next().unwrap_or_default())
}

/// `a=1&b=2`, decoded.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(MAX_PARAMETERS);
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

/// Takes percent-encoding and pluses off.
pub(super) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match (byte, digit(at), digit(at + 1)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(*byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The type and subtype of a content type, in lower case.
pub(super) fn media_type(content_type: Option<&str>) -> Option<String> {
    /// RFC 6838 section 4.2.
    const LONGEST: usize = 127 * 2 + 1;
    let text = content_type?.split(';').next()?.trim().to_ascii_lowercase();
    let valid =
        text.len() <= LONGEST && text.split_once('/').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
    valid.then_some(text)
}

/// Tells whether a media type is JSON (RFC 6839 section 3.1).
pub(super) fn is_json(media_type: &str) -> bool {
    media_type == "application/json" || media_type == "text/json" || media_type.ends_with("+json")
}

/// Reads a body and its media type; `None` where there is no body.
pub(super) fn body(
    store: &Store,
    exchange: &Exchange,
    side: BodySide,
    max_bytes: u64,
) -> Option<(String, Content)> {
    let (recorded, content_type) = match side {
        BodySide::Request => (exchange.request_body, exchange.summary.request_content_type.as_deref()),
        BodySide::Response => (exchange.response_body, exchange.summary.response_content_type.as_deref()),
    };
    if recorded.wire_bytes == 0 {
        return None;
    }
    let media_type = media_type(content_type).unwrap_or_else(|| "application/octet-stream".to_owned());
    let boundary = content_type.and_then(boundary);
    let form = media_type == "application/x-www-form-urlencoded";
    let multipart = media_type == "multipart/form-data";
    if !(is_json(&media_type) || form || multipart) {
        let text = media_type.starts_with("text/") || media_type.ends_with("xml");
        return Some((media_type, if text { Content::Text } else { Content::Binary }));
    }
    let whole = recorded.complete && recorded.stored_bytes > 0;
    let bytes = if whole { read(store, exchange, side, max_bytes) } else { None };
    let content = match bytes {
        None => Content::Unread,
        Some(bytes) if form => Content::Value(form_value(&String::from_utf8_lossy(&bytes))),
        Some(bytes) if multipart => match boundary {
            Some(boundary) => Content::Value(parts(&bytes, &boundary)),
            None => Content::Unread,
        },
        Some(bytes) => serde_json::from_slice(&bytes).map_or(Content::Unread, Content::Value),
    };
    Some((media_type, content))
}

fn read(store: &Store, exchange: &Exchange, side: BodySide, max_bytes: u64) -> Option<Vec<u8>> {
    let body = store.body(exchange.summary.seq, side).ok()??;
    let mut bytes = Vec::new();
    body.into_decoded_reader().take(max_bytes + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= max_bytes).then_some(bytes)
}

/// A form as an object; a name that comes again is an array.
fn form_value(text: &str) -> Value {
    let mut object = Map::new();
    for (name, value) in pairs(text) {
        push(&mut object, name, typed(&value));
    }
    Value::Object(object)
}

fn push(object: &mut Map<String, Value>, name: String, value: Value) {
    match object.get_mut(&name) {
        None => {
            object.insert(name, value);
        }
        Some(Value::Array(values)) => values.push(value),
        Some(first) => {
            let first_value = first.take();
            *first = json!([first_value, value]);
        }
    }
}

fn boundary(content_type: &str) -> Option<String> {
    let (_, rest) = content_type.split_once("boundary=")?;
    let boundary = rest.split(';').next()?.trim().trim_matches('"');
    (!boundary.is_empty()).then(|| boundary.to_owned())
}

/// The parts of multipart/form-data (RFC 7578) as an object: text as it is, files as what stands for bytes.
fn parts(bytes: &[u8], boundary: &str) -> Value {
    let text = String::from_utf8_lossy(bytes);
    let mut object = Map::new();
    for part in text.split(&format!("--{boundary}")).skip(1).take(MAX_PARAMETERS) {
        let Some((head, body)) = part.split_once("\r\n\r\n") else { continue };
        let Some(name) = attribute(head, "name") else { continue };
        let value = match attribute(head, "filename") {
            Some(_) => json!(""),
            None => typed(body.trim_end_matches("\r\n")),
        };
        push(&mut object, name, value);
    }
    Value::Object(object)
}

/// An attribute of a part's Content-Disposition.
fn attribute(head: &str, name: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let found = line.split(';').map(str::trim).find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    found.map(|value| value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_parts_become_objects() {
        assert_eq!(form_value("a=1&b=x%20y&a=2&c"), json!({"a": [1, 2], "b": "x y", "c": ""}));
        let body = b"--X\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nHello\r\n--X\r\n\
                     Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\
                     \x89PNG\r\n--X--\r\n";
        assert_eq!(parts(body, "X"), json!({"title": "Hello", "file": ""}));
        assert_eq!(boundary("multipart/form-data; boundary=\"X\"; a=b").as_deref(), Some("X"));
        assert_eq!(media_type(Some("Application/JSON; charset=utf-8")).as_deref(), Some("application/json"));
        assert_eq!(media_type(Some("json")), None);
    }
}
