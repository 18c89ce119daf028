//! The most an answer may weigh, whichever tool gave it: the last look at a result before it leaves.
//!
//! Tools keep their lists within budgets of their own and say which call continues; what comes here too large has one item,
//! or one text, that others made so. It is refused, never cut: the error names the arguments that ask for less.

use rmcp::{ErrorData, model::CallToolResult};
use serde_json::{Map, Value, json};

use crate::{
    budget::{cut, json_bytes},
    catalogue::Entry,
};

/// Bytes of JSON that an answer may have, beside the slices that were asked for.
pub(crate) const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Arguments that ask for a slice of so many bytes or characters.
const SLICES: &[&str] = &["body_limit", "max_body_chars", "tail_bytes"];
/// The tool whose `limit` is of bytes, not of items.
const SLICER: &str = "get_body";
/// What a byte of a slice may weigh in JSON: `\u0000`.
const ESCAPED: usize = 6;
/// Slices of one answer: those of request and response, or of both outputs.
const SIDES: usize = 2;
/// Arguments that ask for fewer items.
const LIMITS: &[&str] = &["limit", "max_items", "max_rows", "max_groups"];
/// What each of these arguments does about an answer's size.
const WAYS: &[(&str, &str)] = &[
    ("fields", "name in fields only what is needed"),
    ("full_headers", "leave full_headers out"),
    ("include_body", "set include_body to false"),
    ("include_full_body", "leave include_full_body out"),
    ("body_limit", "set body_limit to 0 and read the body by slices with get_body"),
    ("pointer", "ask for less with limit, or for a part with pointer, lines or pattern"),
    ("tail_bytes", "ask for fewer tail_bytes"),
    ("keep_request", "set keep_request or keep_response to false"),
    ("after", "go past the entry with after"),
    ("filter", "narrow it down with filter"),
];
/// How a way begins that is one only for who gave the argument.
const LEAVE: &str = "leave ";
/// Bytes of a member of the answer that is told all the same.
const SMALL: usize = 200;
/// Characters of a text in a report that is too large.
const REPORT_CHARS: usize = 300;

/// What a call asked for, as far as it counts here.
pub(crate) struct Asked {
    /// Bytes that it may be answered.
    room: usize,
    /// The names of its arguments.
    given: Vec<String>,
}

impl Asked {
    /// Reads it from the call's arguments.
    pub(crate) fn of(tool: &str, arguments: &Map<String, Value>) -> Self {
        Self { room: room(tool, arguments), given: arguments.keys().cloned().collect() }
    }
}

fn room(tool: &str, arguments: &Map<String, Value>) -> usize {
    let asked = arguments.iter().filter_map(|(name, value)| {
        let slice = SLICES.contains(&name.as_str()) || (tool == SLICER && name == "limit");
        value.as_u64().filter(|_| slice)
    });
    let asked = usize::try_from(asked.sum::<u64>()).unwrap_or(usize::MAX);
    asked.saturating_mul(ESCAPED * SIDES).saturating_add(MAX_ANSWER_BYTES)
}

/// The result, or the refusal to give it: one that weighs more than what was asked for. Images have a limit of their own.
pub(crate) fn capped(
    entry: Option<&Entry>,
    changes: bool,
    asked: &Asked,
    result: CallToolResult,
) -> CallToolResult {
    let Some(structure) = &result.structured_content else { return result };
    let (bytes, room) = (json_bytes(structure), asked.room);
    if bytes <= room {
        return result;
    }
    tracing::debug!(bytes, room, "an answer is too large to be given");
    if result.is_error == Some(true) {
        let code = structure["code"].as_str().unwrap_or("failed");
        let error = cut(structure["error"].as_str().unwrap_or_default(), SMALL);
        let hint = cut(structure["hint"].as_str().unwrap_or_default(), SMALL);
        return refusal(code, &error, &hint);
    }
    let done = if changes { "the call was carried out, but its" } else { "the" };
    let error = format!("{done} answer of {bytes} bytes is more than the {room} that one may have");
    let hint = entry.map(|entry| ways(entry, asked, structure, bytes)).unwrap_or_default();
    let mut refused = refusal("answer_too_large", &error, &hint);
    if let (true, Some(refused), Some(answer)) =
        (changes, &mut refused.structured_content, structure.as_object())
    {
        // What says what was done: ids, counts, outcomes.
        let small = |(_, value): &(&String, &Value)| json_bytes(value) <= SMALL;
        let kept: Map<String, Value> =
            answer.iter().filter(small).map(|(name, value)| (name.clone(), value.clone())).collect();
        refused["answer"] = Value::Object(kept);
        return CallToolResult::structured_error(refused.take());
    }
    refused
}

fn refusal(code: &str, error: &str, hint: &str) -> CallToolResult {
    CallToolResult::structured_error(json!({"status": "error", "code": code, "error": error, "hint": hint}))
}

/// What the caller can do, by the arguments that the tool has.
fn ways(entry: &Entry, asked: &Asked, structure: &Value, bytes: usize) -> String {
    let properties = entry.input.get("properties").and_then(Value::as_object);
    let has = |name: &str| properties.is_some_and(|properties| properties.contains_key(name));
    let items = longest(structure);
    let fewer = items.saturating_mul(asked.room / 2) / bytes;
    let limit = LIMITS.iter().find(|name| has(name) && fewer > 0 && entry.tool.name != SLICER);
    let mut ways: Vec<String> =
        limit.map(|limit| format!("ask for fewer with {limit}: {fewer}")).into_iter().collect();
    let given = |name: &str| asked.given.iter().any(|given| given == name);
    let open = WAYS.iter().filter(|(name, way)| has(name) && (given(name) || !way.starts_with(LEAVE)));
    ways.extend(open.map(|(_, way)| (*way).to_owned()));
    if limit.is_none() {
        ways.push("query_sql gives chosen columns, get_body a body by slices".to_owned());
    }
    ways.join("; ")
}

/// The items of the answer's longest list.
fn longest(structure: &Value) -> usize {
    let members = structure.as_object().into_iter().flat_map(Map::values);
    members.filter_map(Value::as_array).map(Vec::len).max().unwrap_or(0)
}

/// A resource's text, or that it is too large. The texts in a report that is too large are cut: they are names of what
/// others sent.
pub(crate) fn report(uri: &str, text: String) -> Result<String, ErrorData> {
    if text.len() <= MAX_ANSWER_BYTES {
        return Ok(text);
    }
    if let Ok(mut value) = serde_json::from_str::<Value>(&text) {
        shorten(&mut value);
        let text = value.to_string();
        if text.len() <= MAX_ANSWER_BYTES {
            return Ok(text);
        }
    }
    let message = format!(
        "the resource has {} bytes, more than one may have; summarize and query_sql give less",
        text.len()
    );
    Err(ErrorData::internal_error(message, Some(json!({"uri": uri}))))
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) => *text = cut(text, REPORT_CHARS),
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(members) => members.values_mut().for_each(shorten),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    fn refused(tool: &str, changes: bool, structure: Value) -> Value {
        let catalogue = Catalogue::new();
        let result = CallToolResult::structured(structure);
        let result = capped(catalogue.entry(tool), changes, &Asked::of(tool, &Map::new()), result);
        assert_eq!(result.is_error, Some(true));
        result.structured_content.unwrap()
    }

    #[test]
    fn what_is_too_large_is_refused_with_the_way_out() {
        let rows: Vec<String> = (0..100).map(|_| "x".repeat(1_000)).collect();
        let error = refused("proxy_list_traffic", false, json!({"exchanges": rows}));
        assert_eq!(error["code"], "answer_too_large");
        let hint = error["hint"].as_str().unwrap();
        assert!(hint.contains("limit: 32") && hint.contains("fields"), "{hint}");
        assert!(error.get("answer").is_none());
        let error = refused("list_toolsets", false, json!({"x": "x".repeat(100_000)}));
        assert!(error["hint"].as_str().unwrap().contains("query_sql"), "{error}");
    }

    #[test]
    fn what_was_done_is_told_even_if_its_answer_is_too_large() {
        let answer = json!({"exchange_id": "e7", "status_code": 200, "body": "x".repeat(100_000)});
        let error = refused("send_http_request", true, answer);
        assert!(error["error"].as_str().unwrap().contains("carried out"), "{error}");
        assert_eq!(error["answer"], json!({"exchange_id": "e7", "status_code": 200}));
        assert!(error["hint"].as_str().unwrap().contains("body_limit"), "{error}");
    }

    #[test]
    fn a_slice_that_was_asked_for_has_room() {
        let arguments = |value: Value| value.as_object().cloned().unwrap_or_default();
        assert_eq!(room("get_body", &Map::new()), MAX_ANSWER_BYTES);
        assert!(room("get_body", &arguments(json!({"limit": 1_000_000}))) > 6_000_000);
        assert_eq!(room("proxy_list_traffic", &arguments(json!({"limit": 1_000}))), MAX_ANSWER_BYTES);
        assert!(room("proxy_get_exchange", &arguments(json!({"body_limit": 65_536}))) > 2 * 65_536);
    }

    #[test]
    fn errors_and_reports_that_are_too_large_are_cut() {
        let text = "x".repeat(100_000);
        let error = CallToolResult::structured_error(json!({"status": "error", "code": "c", "error": text}));
        let error = capped(None, false, &Asked::of("none", &Map::new()), error).structured_content.unwrap();
        assert_eq!(error["code"], "c");
        assert!(json_bytes(&error) < 1_000);
        let told = report("proxy://status", json!({"hosts": [{"host": text}], "n": 1}).to_string()).unwrap();
        assert!(told.len() < 1_000 && told.contains("\"n\":1"), "{told}");
        assert!(report("proxy://status", json!({"n": vec![1; 50_000]}).to_string()).is_err());
    }
}
