//! Walking a result, and finding the credentials in it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use capture_store::secrets::{SecretSpan, Secrets};
use serde_json::{Map, Value};

use super::vault::{Vault, is_placeholder};

/// Members that name what a member beside them holds: a list of `{"name": ..., "value": ...}` and the like.
const NAMING: [&str; 8] = ["name", "header", "cookie", "field", "key", "pointer", "path", "parameter"];
/// Members that such a name is about.
const NAMED: [&str; 10] =
    ["value", "values", "before", "after", "left", "right", "old", "new", "example", "text"];
/// Members of a schema that hold values (JSON Schema 2020-12, OpenAPI 3.1).
const EXAMPLES: [&str; 5] = ["const", "default", "enum", "example", "examples"];
/// What else such a schema says.
const SCHEMA_WORDS: [&str; 14] = [
    "type",
    "format",
    "items",
    "properties",
    "required",
    "additionalProperties",
    "nullable",
    "description",
    "pattern",
    "anyOf",
    "oneOf",
    "minimum",
    "maximum",
    "contentEncoding",
];
/// Bytes of base64 that are looked into.
const MAX_BASE64: usize = 512 * 1024;

pub(super) struct Hider<'a> {
    vault: &'a Vault,
    secrets: &'a Secrets,
}

impl<'a> Hider<'a> {
    pub(super) fn new(vault: &'a Vault) -> Self {
        Self { vault, secrets: &vault.secrets }
    }

    pub(super) fn result(&self, value: &mut Value, schema: Option<&Map<String, Value>>) {
        let schema = schema.map(|schema| Value::Object(schema.clone()));
        self.ours(value, schema.as_ref());
    }

    /// A value whose shape is ours as far as the schema says; without one, all names are ours.
    fn ours(&self, value: &mut Value, schema: Option<&Value>) {
        match value {
            Value::String(text) => self.replace(text, None),
            Value::Array(items) => self.list(items, schema),
            Value::Object(map) => self.object(map, schema),
            _ => {}
        }
    }

    fn object(&self, map: &mut Map<String, Value>, schema: Option<&Value>) {
        self.tables(map);
        let name = naming(map);
        let is_base64 = map
            .iter()
            .any(|(key, value)| key.to_ascii_lowercase().ends_with("encoding") && value == "base64");
        for (key, value) in map.iter_mut() {
            let declared = schema.map(|schema| declared(schema, key));
            match declared {
                // A name that our schema does not have was captured: of a header field, a parameter, a member.
                Some(None) => self.captured(key, value),
                Some(Some(below)) if is_open(&below) => self.open(value),
                Some(below) => self.ours(value, below.as_ref()),
                None => self.ours(value, None),
            }
            if let (Some(name), true) = (&name, NAMED.contains(&key.as_str())) {
                self.captured(name, value);
            }
            if let (true, Value::String(text)) = (is_base64, &mut *value) {
                self.base64(text);
            }
        }
    }

    /// Rows under `columns`: a cell has the name of its column, and a value that of the cell that names it.
    fn tables(&self, map: &mut Map<String, Value>) {
        let columns = map.get("columns").and_then(Value::as_array).map(|columns| {
            columns.iter().map(|column| column.as_str().map(column_name).unwrap_or_default().to_owned())
        });
        let Some(columns) = columns.map(Iterator::collect::<Vec<String>>) else { return };
        let naming = columns.iter().position(|column| NAMING.contains(&column.as_str()));
        for member in map.values_mut() {
            for row in member.as_array_mut().into_iter().flatten().filter_map(Value::as_array_mut) {
                if row.len() != columns.len() {
                    continue;
                }
                let name = naming.and_then(|at| row[at].as_str()).map(str::to_owned);
                for (column, cell) in columns.iter().zip(row) {
                    self.captured(column, cell);
                    if let (Some(name), true) = (&name, NAMED.contains(&column.as_str())) {
                        self.captured(name, cell);
                    }
                }
            }
        }
    }

    fn list(&self, items: &mut [Value], schema: Option<&Value>) {
        self.pair(items);
        let below = schema.and_then(|schema| schema.get("items"));
        for item in items {
            match below {
                Some(below) if is_open(below) => self.open(item),
                below => self.ours(item, below),
            }
        }
    }

    /// A value of which nothing is declared: JSON that was captured.
    fn open(&self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                let name = naming(map);
                for (key, value) in map.iter_mut() {
                    self.captured(key, value);
                    if let (Some(name), true) = (&name, NAMED.contains(&key.as_str())) {
                        self.captured(name, value);
                    }
                }
            }
            Value::Array(items) => {
                self.pair(items);
                items.iter_mut().for_each(|item| self.open(item));
            }
            other => self.ours(other, None),
        }
    }

    /// A header field as a pair.
    fn pair(&self, items: &mut [Value]) {
        if let [Value::String(name), Value::String(value)] = items {
            let name = name.clone();
            self.replace(value, Some(&name));
        }
    }

    /// A value under a captured name.
    fn captured(&self, name: &str, value: &mut Value) {
        match value {
            Value::String(text) => self.replace(text, Some(name)),
            Value::Number(number) if self.secrets.is_name(last(name).as_bytes()) => {
                *value = Value::String(self.vault.placeholder(&number.to_string()));
            }
            Value::Array(items) => {
                for item in items {
                    match item {
                        Value::Object(_) | Value::Array(_) => self.open(item),
                        item => self.captured(name, item),
                    }
                }
            }
            Value::Object(map) if is_schema(map) => self.schema(name, map),
            Value::Object(map) if self.secrets.is_name(last(name).as_bytes()) => {
                map.values_mut().for_each(|value| self.captured(name, value));
            }
            other => self.open(other),
        }
    }

    /// What a schema of a member of this name gives as values.
    fn schema(&self, name: &str, map: &mut Map<String, Value>) {
        for (key, value) in map.iter_mut() {
            if EXAMPLES.contains(&key.as_str()) {
                self.captured(name, value);
            } else {
                self.open(value);
            }
        }
    }

    fn replace(&self, text: &mut String, name: Option<&str>) {
        let spans = match name {
            Some(name) => self.named(name, text),
            None => Vec::new(),
        };
        let hidden = self.cut_out(text, &spans);
        *text = self.text(hidden.as_deref().unwrap_or(text));
    }

    /// What `name` gives away of `text`.
    fn named(&self, name: &str, text: &str) -> Vec<SecretSpan> {
        let last = last(name);
        let spans = self.secrets.header(last.as_bytes(), text.as_bytes());
        if !spans.is_empty() || !self.secrets.is_name(last.as_bytes()) {
            return spans;
        }
        // As the value of a header field of a name that is all credential.
        self.secrets.header(b"x-secret", text.as_bytes())
    }

    /// Hides what a text gives away by itself.
    pub(super) fn text(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for find in [Self::structured, Self::lines] {
            if let Some(hidden) = self.cut_out(&out, &find(self, &out)) {
                out = hidden;
            }
        }
        out
    }

    /// As JSON, a URL, a form, or any text.
    fn structured(&self, text: &str) -> Vec<SecretSpan> {
        let bytes = text.as_bytes();
        let trimmed = text.trim_start();
        if trimmed.starts_with(['{', '[']) {
            return self.secrets.json(bytes);
        }
        let is_word = !text.contains(char::is_whitespace);
        if is_word && (text.contains("://") || text.starts_with('/')) {
            return self.secrets.url(bytes);
        }
        if is_word && text.contains('=') && !text.contains(['{', '<', '"']) {
            return self.secrets.form(bytes);
        }
        self.secrets.text(bytes)
    }

    /// As heads of messages and commands, where `Name: value` stands in a line or between quotation marks.
    fn lines(&self, text: &str) -> Vec<SecretSpan> {
        let mut spans: Vec<SecretSpan> = Vec::new();
        let ends = |c: char| matches!(c, '\n' | '\r' | '\'' | '"');
        let mut at = 0;
        for piece in text.split_inclusive(ends) {
            let line = piece.trim_end_matches(ends);
            if let Some((name, value)) = line.split_once(':')
                && is_field_name(name.trim_start())
            {
                let offset = at + name.len() + 1;
                let fields = self.secrets.header(name.trim_start().as_bytes(), value.as_bytes());
                spans.extend(fields.into_iter().map(|mut span| {
                    span.range = span.range.start + offset..span.range.end + offset;
                    span
                }));
            }
            at += piece.len();
        }
        spans
    }

    /// The text with placeholders for the spans, if there are any.
    fn cut_out(&self, text: &str, spans: &[SecretSpan]) -> Option<String> {
        let mut out = String::new();
        let mut at = 0;
        for span in spans {
            let (start, end) = (span.range.start, span.range.end);
            let Some(secret) = text.get(start..end).filter(|_| start >= at) else { continue };
            if is_placeholder(secret) || is_id(secret) || secret.is_empty() {
                continue;
            }
            out.push_str(&text[at..start]);
            let quote = if span.bare { "\"" } else { "" };
            out.push_str(quote);
            out.push_str(&self.vault.placeholder(secret));
            out.push_str(quote);
            at = end;
        }
        if at == 0 {
            return None;
        }
        out.push_str(&text[at..]);
        Some(out)
    }

    /// Looks into base64; what holds a credential comes back without it.
    fn base64(&self, text: &mut String) {
        if text.len() < 16 || text.len() > MAX_BASE64 {
            return;
        }
        let Some(bytes) = STANDARD.decode(text.as_bytes()).ok() else { return };
        let latin: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        let hidden = self.text(&latin);
        if hidden != latin {
            let bytes: Vec<u8> = hidden.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
            *text = STANDARD.encode(bytes);
        }
    }
}

/// What the schema says of a member, through alternatives; `None` when it does not know it.
pub(super) fn declared(schema: &Value, key: &str) -> Option<Value> {
    if let Some(below) = schema.get("properties").and_then(|properties| properties.get(key)) {
        return Some(below.clone());
    }
    let choices =
        ["anyOf", "oneOf", "allOf"].iter().filter_map(|name| schema.get(*name)?.as_array()).flatten();
    choices.filter_map(|choice| declared(choice, key)).next()
}

/// Whether a schema says nothing of a value's members: anything, or a map.
fn is_open(schema: &Value) -> bool {
    let Some(map) = schema.as_object() else { return true };
    if let Some(choices) = map.get("anyOf").or_else(|| map.get("oneOf")).and_then(Value::as_array) {
        return choices
            .iter()
            .any(|choice| choice.get("type") != Some(&Value::from("null")) && is_open(choice));
    }
    let kind = map.get("type");
    let may_be_object = match kind {
        None => true,
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        _ => false,
    };
    may_be_object
        && !map.contains_key("properties")
        && !map.contains_key("enum")
        && !map.contains_key("const")
}

/// Whether a captured member is the schema of one: it says of which type it is, and no more than schemas say.
fn is_schema(map: &Map<String, Value>) -> bool {
    let is_type = |kind: &Value| {
        let kind = kind.as_str().unwrap_or_default();
        matches!(kind, "string" | "integer" | "number" | "boolean" | "object" | "array" | "null")
    };
    let typed = match map.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().all(is_type),
        Some(kind) => is_type(kind),
        None => false,
    };
    let known = |key: &String| SCHEMA_WORDS.contains(&key.as_str()) || EXAMPLES.contains(&key.as_str());
    typed && map.keys().all(known)
}

/// The name that an object gives to the value beside it.
fn naming(map: &Map<String, Value>) -> Option<String> {
    let names = NAMING.iter().filter_map(|key| map.get(*key)?.as_str());
    names.map(str::to_owned).next()
}

/// The name in a column's: of an expression of SQL its last text, as in `header(seq, 'req', 'authorization')`.
fn column_name(column: &str) -> &str {
    column.rsplit('\'').nth(1).unwrap_or(column)
}

/// The last part of a pointer or dotted field name: `token` of `/data/token` and of `req.json./data/token`.
fn last(name: &str) -> &str {
    let part = name.rsplit('/').next().unwrap_or(name);
    if name.contains('/') || part.contains(' ') {
        return part;
    }
    part.rsplit('.').next().unwrap_or(part)
}

/// Whether a text is one of our ids, such as `s3`: `session_id` is the name of a credential elsewhere.
fn is_id(text: &str) -> bool {
    let digits = text.strip_prefix(['c', 'e', 'p', 'r', 's']);
    digits.is_some_and(|digits| {
        (1..=12).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn is_field_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !name.is_empty() && name.len() <= 100 && name.bytes().all(is_token)
}
