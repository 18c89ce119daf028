//! An example call and result for each tool, from the snapshots that the tests hold it to.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};

/// What a tool's section begins with.
const SECTION: &str = "### `";
/// What begins a part that is about no tool.
const PART: &str = "## ";
/// Bytes of an example's result, and of its arguments.
const MAX_BYTES: usize = 700;
/// Items of a list, and characters of a text, in the first try to stay below; each further one has half.
const FIRST_TRY: (usize, usize) = (4, 240);

/// The page with an example at the end of each section about a tool that has a snapshot.
pub(super) fn put_into(page: &str, snapshots: &Path) -> Result<String> {
    let mut out = String::with_capacity(page.len() * 2);
    let mut example = None;
    for line in page.lines() {
        if line.starts_with(SECTION) || line.starts_with(PART) {
            out.extend(example.take());
        }
        if let Some(tool) = line.strip_prefix(SECTION).and_then(|rest| rest.strip_suffix('`')) {
            example = of(tool, snapshots)?;
        }
        out.push_str(line);
        out.push('\n');
    }
    out.extend(example);
    Ok(out)
}

/// The first call of a tool's snapshot.
fn of(tool: &str, snapshots: &Path) -> Result<Option<String>> {
    let path = snapshots.join(format!("{tool}.json"));
    let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
    let snapshot: Value =
        serde_json::from_str(&text).with_context(|| format!("failed to read {}", path.display()))?;
    let call = &snapshot["calls"][0];
    let (arguments, result) = (brief(&call["arguments"]), brief(&call["result"]));
    Ok(Some(format!("Example, from a test:\n\n```text\n{tool} {arguments}\n{result}\n```\n\n")))
}

/// A value as compact JSON of at most [`MAX_BYTES`]; what is left out is told by an ellipsis.
fn brief(value: &Value) -> String {
    let (mut items, mut chars) = FIRST_TRY;
    let text = value.to_string();
    if text.len() <= MAX_BYTES {
        return text;
    }
    loop {
        let text = cut(value, items, chars).to_string();
        if text.len() <= MAX_BYTES || chars < 16 {
            return clipped(&text);
        }
        (items, chars) = ((items / 2).max(1), chars / 2);
    }
}

fn cut(value: &Value, items: usize, chars: usize) -> Value {
    match value {
        Value::String(text) => match text.char_indices().nth(chars) {
            Some((at, _)) => Value::String(format!("{}\u{2026}", &text[..at])),
            None => value.clone(),
        },
        Value::Array(list) => {
            let mut shown: Vec<Value> = list.iter().take(items).map(|item| cut(item, items, chars)).collect();
            if shown.len() < list.len() {
                shown.push(format!("\u{2026}{} more", list.len() - shown.len()).into());
            }
            Value::Array(shown)
        }
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| (name.clone(), cut(value, items, chars));
            Value::Object(members.iter().map(member).collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

/// A text that has too many members even so, up to where it may go.
fn clipped(text: &str) -> String {
    let end = (0..=MAX_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    if end == text.len() { text.to_owned() } else { format!("{}\u{2026}", &text[..end]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_tool_with_a_snapshot_has_its_first_call_at_the_end_of_its_section() {
        let directory = tempfile::tempdir().unwrap();
        let snapshot = json!({"calls": [{"arguments": {"n": 1}, "result": {"ok": true}}, {}]});
        fs::write(directory.path().join("one.json"), snapshot.to_string()).unwrap();
        let page = "# t\n\n## f\n\n### `one`\n\nText.\n\n### `two`\n\nMore.\n\n## End\n";
        let example = "Example, from a test:\n\n```text\none {\"n\":1}\n{\"ok\":true}\n```\n\n";
        let want = format!("# t\n\n## f\n\n### `one`\n\nText.\n\n{example}### `two`\n\nMore.\n\n## End\n");
        assert_eq!(put_into(page, directory.path()).unwrap(), want);
    }

    #[test]
    fn what_is_long_is_cut_to_a_bound() {
        assert_eq!(brief(&json!({"a": [1, 2]})), r#"{"a":[1,2]}"#);
        let long = json!({"rows": vec![json!({"text": "x".repeat(400)}); 50], "n": 3});
        let text = brief(&long);
        assert!(text.len() <= MAX_BYTES && text.contains("more") && text.contains("\"n\":3"), "{text}");
        let wide: Map<String, Value> = (0..200).map(|n| (format!("member-{n}"), json!(n))).collect();
        assert!(brief(&Value::Object(wide)).len() <= MAX_BYTES + 3);
    }
}
