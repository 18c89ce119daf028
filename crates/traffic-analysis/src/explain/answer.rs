//! Errors that upstream answered with, and what their bodies say.

use std::io::Read as _;

use capture_store::{BodySide, Error, Exchange, Store};
use proxy_core::ResponseSource;
use serde_json::Value;

use super::{Cause, Certainty, Explanation, rule_lines, words};

/// Decoded bytes of a body that are looked at.
const MAX_BODY: u64 = 64 * 1024;
/// Characters of a body that are told where it is no JSON.
const MAX_TEXT: usize = 600;
/// Characters of one field.
const MAX_FIELD: usize = 300;
/// Fields that say what is wrong, in JSON bodies: of RFC 9457, RFC 6749, GraphQL, and of habit.
const TELLING: [&str; 14] = [
    "type",
    "title",
    "detail",
    "code",
    "error",
    "error_description",
    "error_code",
    "message",
    "msg",
    "reason",
    "errors",
    "description",
    "details",
    "trace_id",
];

/// What an error's body says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorBody {
    /// Its content type.
    pub content_type: Option<String>,
    /// The fields of a JSON body that say what is wrong, by pointer.
    pub fields: Vec<(String, String)>,
    /// The body's beginning as text, where no field says anything.
    pub text: Option<String>,
    /// Whether there is more of it than was looked at.
    pub truncated: bool,
}

/// Reads a response's body where it is an error's.
pub(super) fn read(store: &Store, exchange: &Exchange) -> Result<Option<ErrorBody>, Error> {
    if exchange.summary.status.is_none_or(|status| status < 400) {
        return Ok(None);
    }
    let Some(body) = store.body(exchange.summary.seq, BodySide::Response)? else { return Ok(None) };
    let mut bytes = Vec::new();
    // What cannot be decoded to its end is told as far as it goes.
    let _ = body.into_decoded_reader().take(MAX_BODY).read_to_end(&mut bytes);
    if bytes.is_empty() {
        return Ok(None);
    }
    let truncated = bytes.len() as u64 == MAX_BODY;
    let content_type = exchange.summary.response_content_type.clone();
    let mut told = ErrorBody { content_type, fields: Vec::new(), text: None, truncated };
    if let Ok(value) = serde_json::from_slice::<Value>(&bytes) {
        collect(&value, "", 0, &mut told.fields);
    }
    if told.fields.is_empty() {
        told.text = text(&bytes);
    }
    Ok(Some(told))
}

/// The telling fields of a body, however it wraps them.
fn collect(value: &Value, pointer: &str, depth: usize, fields: &mut Vec<(String, String)>) {
    /// Deeper than any error is wrapped.
    const DEPTH: usize = 4;
    /// More than anybody reads.
    const FIELDS: usize = 12;
    if depth > DEPTH || fields.len() >= FIELDS {
        return;
    }
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let telling = TELLING.contains(&name.to_ascii_lowercase().as_str());
                let at = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
                match value {
                    Value::Object(_) | Value::Array(_) => collect(value, &at, depth + 1, fields),
                    Value::Null => {}
                    Value::String(text) if telling && fields.len() < FIELDS => {
                        fields.push((at, words::cut(text, MAX_FIELD)));
                    }
                    other if telling && fields.len() < FIELDS => fields.push((at, other.to_string())),
                    _ => {}
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate().take(FIELDS) {
                match item {
                    Value::String(text) if fields.len() < FIELDS => {
                        fields.push((format!("{pointer}/{index}"), words::cut(text, MAX_FIELD)));
                    }
                    item => collect(item, &format!("{pointer}/{index}"), depth + 1, fields),
                }
            }
        }
        _ => {}
    }
}

/// The beginning of a text, tags of HTML left out; `None` where it is none.
fn text(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    if text.chars().take(200).any(|c| c == '\0' || c == '\u{FFFD}') {
        return None;
    }
    let mut plain = String::new();
    let (mut inside, mut last_space) = (false, true);
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => inside = false,
            _ if inside => {}
            c if c.is_whitespace() => {
                if !last_space {
                    plain.push(' ');
                }
                last_space = true;
            }
            c => {
                plain.push(c);
                last_space = false;
            }
        }
    }
    let plain = words::cut(plain.trim(), MAX_TEXT);
    (!plain.is_empty()).then_some(plain)
}

/// Explains an error status.
pub(super) fn explain(exchange: &Exchange, status: u16, body: Option<&ErrorBody>) -> Explanation {
    let (meaning, fix) = words::status_meaning(status);
    let side = if status < 500 { "client" } else { "upstream" };
    let own = exchange.response_source == Some(ResponseSource::Proxy);
    let said = body.and_then(|body| body.fields.iter().find(|(at, _)| is_sentence(at)));
    let summary = match said {
        Some((_, text)) => format!("answered with {status}: {meaning}; it says: {text}"),
        None => format!("answered with {status}: {meaning}"),
    };
    let mut told = match own {
        true => Explanation::new(Cause::Proxy, Certainty::Certain, summary).at("proxy", "request"),
        false => Explanation::new(Cause::HttpError, Certainty::Certain, summary).at(side, "response"),
    };
    if let Some(head) = &exchange.response {
        for name in
            ["www-authenticate", "proxy-authenticate", "retry-after", "allow", "location", "server", "via"]
        {
            if let Some(value) = head.headers.get(name) {
                let value = words::cut(&String::from_utf8_lossy(value), MAX_FIELD);
                told.evidence.push(format!("{name}: {value}"));
            }
        }
    }
    told.evidence.extend(rule_lines(exchange));
    if !exchange.rules.is_empty() {
        told.fixes.push("see whether it is answered the same with the rules disabled".to_owned());
    }
    told.fixes.push(fix.to_owned());
    told
}

/// Tells whether a field holds words for people.
fn is_sentence(pointer: &str) -> bool {
    let name = pointer.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    ["detail", "message", "msg", "error_description", "description", "reason", "title", "error"]
        .contains(&name.as_str())
        || name.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn telling_fields_are_found_however_they_are_wrapped() {
        let mut fields = Vec::new();
        let body = json!({
            "error": {"code": 17, "message": "no such plan", "inner": {"x": 1}},
            "errors": ["first", {"detail": "second"}],
            "unrelated": "text",
        });
        collect(&body, "", 0, &mut fields);
        let fields: Vec<String> = fields.into_iter().map(|(at, text)| format!("{at}={text}")).collect();
        assert_eq!(
            fields,
            ["/error/code=17", "/error/message=no such plan", "/errors/0=first", "/errors/1/detail=second"]
        );
    }

    #[test]
    fn pages_are_told_without_their_tags() {
        assert_eq!(text(b"<html><h1>502 Bad\n Gateway</h1>").as_deref(), Some("502 Bad Gateway"));
        assert_eq!(text(&[0x1F, 0x8B, 0, 1]), None);
    }
}
