//! What differs from run to run and from machine to machine, replaced by rule: by the name of a field, by the form of a
//! value, or because the test knows it (its ports and directories).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// What every time becomes.
const TIME_MS: u64 = 1_790_000_000_000;
/// Times of now: years 2020 to 2070, in epoch milliseconds.
const TIMES_MS: std::ops::Range<f64> = 1.577e12..3.155e12;
/// Names of numbers that are measured: durations, rates, sizes on disk.
const MEASURED: &[&str] = &[
    "ms",
    "duration",
    "durations",
    "timings",
    "elapsed",
    "latency",
    "p50",
    "p90",
    "p95",
    "p99",
    "uptime",
    "seconds",
    "disk",
    "rate",
    "took",
    "memory",
    "written",
    "volatile",
    "cpu",
    "wait",
    "stored",
];
/// Names of fields whose value is another one each time, and what stands in for one of that kind.
const FLEETING: &[(&str, &str)] = &[
    ("pid", "4242"),
    ("clientport", "50000"),
    // Of the machine, which may have none.
    ("systemproxy", "null"),
    ("dnsservers", "[\"127.0.0.53\"]"),
    ("size", "\"2.5 KB\""),
    ("sizebytes", "2560"),
    ("fingerprint", "\"<fingerprint>\""),
    ("certfingerprint", "\"<fingerprint>\""),
    ("certificatefingerprint", "\"<fingerprint>\""),
    ("ja3fingerprint", "\"<ja3>\""),
    ("sha256", "\"<sha256>\""),
    ("ja3", "\"<ja3>\""),
    ("ja3hash", "\"<ja3>\""),
    ("version", "\"<version>\""),
    ("serverversion", "\"<version>\""),
    ("networkinterfaces", "{\"lo\":[{\"address\":\"127.0.0.1\"}]}"),
];

/// Replaces what the test knows of: texts by texts, everywhere.
#[derive(Default)]
pub(crate) struct Masks {
    known: Vec<(String, String)>,
    ports: BTreeMap<u64, u64>,
}

impl Masks {
    /// Has a text replaced wherever it stands.
    pub(crate) fn text(&mut self, text: impl Into<String>, by: &str) {
        self.known.push((text.into(), by.to_owned()));
        // A directory may be within another.
        self.known.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
    }

    /// Has a port replaced, as a number and in authorities.
    pub(crate) fn port(&mut self, port: u16, by: u16) {
        self.ports.insert(port.into(), by.into());
        self.text(format!(":{port}"), &format!(":{by}"));
    }

    /// A value with everything replaced.
    pub(crate) fn apply(&self, value: &Value) -> Value {
        self.field("", value)
    }

    fn field(&self, name: &str, value: &Value) -> Value {
        let folded: String =
            name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
        if let Some((_, by)) = FLEETING.iter().find(|(fleeting, _)| *fleeting == folded)
            && let Ok(by) = serde_json::from_str::<Value>(by)
            && (by.is_null() || std::mem::discriminant(&by) == std::mem::discriminant(value))
        {
            return by;
        }
        match value {
            Value::Number(number) => {
                self.number(name, number.as_f64().unwrap()).unwrap_or_else(|| value.clone())
            }
            Value::String(text) => Value::String(self.line(text)),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.field(name, item)).collect()),
            Value::Object(map) if map.contains_key("columns") && map.contains_key("rows") => self.table(map),
            Value::Object(map) if MEASURED.contains(&name) => {
                map.iter().map(|(key, value)| (key.clone(), self.field(name, value))).collect()
            }
            Value::Object(map) => self.object(map),
            other => other.clone(),
        }
    }

    fn object(&self, map: &Map<String, Value>) -> Value {
        // A file that was written holds durations, in as many digits as they have.
        let file = map.contains_key("outputFile");
        let name =
            |name: &str| if file && name == "bytes" { "writtenBytes".to_owned() } else { name.to_owned() };
        map.iter().map(|(key, value)| (self.line(key), self.field(&name(key), value))).collect()
    }

    /// Columns name the values of each row.
    fn table(&self, map: &Map<String, Value>) -> Value {
        let Value::Object(mut masked) = self.object(map) else { unreachable!("an object stays one") };
        if let (Some(columns), Some(rows)) = (map["columns"].as_array(), map["rows"].as_array()) {
            let row = |row: &Value| -> Value {
                let Some(values) = row.as_array() else { return self.apply(row) };
                let named =
                    columns.iter().map(|name| name.as_str().unwrap_or_default()).chain(std::iter::repeat(""));
                values.iter().zip(named).map(|(value, name)| self.field(name, value)).collect()
            };
            masked.insert("rows".to_owned(), rows.iter().map(row).collect());
        }
        Value::Object(masked)
    }

    fn number(&self, name: &str, number: f64) -> Option<Value> {
        if TIMES_MS.contains(&number) {
            return Some(json!(TIME_MS));
        }
        if TIMES_MS.contains(&(number * 1000.0)) {
            return Some(json!(TIME_MS / 1000));
        }
        if let Some(port) = self.ports.iter().find(|(port, _)| (**port as f64) == number) {
            return Some(json!(port.1));
        }
        let measured = words(name).iter().any(|word| MEASURED.contains(&word.as_str()));
        measured.then(|| json!(12))
    }

    /// A text with everything in it replaced that is known or has a form that tells.
    fn line(&self, text: &str) -> String {
        let mut line = text.to_owned();
        for (known, by) in &self.known {
            line = line.replace(known, by);
        }
        for (pattern, by) in FORMS {
            line = replaced(&line, pattern, by);
        }
        if line.starts_with("-----BEGIN CERTIFICATE-----") {
            line = "-----BEGIN CERTIFICATE-----\n<certificate>\n-----END CERTIFICATE-----\n".to_owned();
        }
        line
    }
}

/// Forms of text, as patterns in which `9` stands for a digit, `x` for a hexadecimal one, and `*` for one or more of the
/// kind before it.
const FORMS: &[(&str, &str)] = &[
    ("proc_9*", "proc_4242"),
    ("(pid 9*)", "(pid 4242)"),
    ("-9999999999999.", "-1790000000000."),
    ("127.0.0.1:9*", "127.0.0.1:50000"),
    ("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "00000000-0000-4000-8000-000000000000"),
    ("9999-99-99T99:99:99", "2026-09-21T14:13:20"),
    ("99:99:99 GMT", "14:13:20 GMT"),
    (".999Z", ".000Z"),
    (" 9* ms", " 12 ms"),
];

fn replaced(text: &str, pattern: &str, by: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match matched(rest, pattern) {
            // What is ours already stays: ports that the test gave a name.
            Some(length) => {
                out.push_str(if kept(&rest[..length]) { &rest[..length] } else { by });
                rest = &rest[length..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

/// Names of ports given by the test.
fn kept(found: &str) -> bool {
    [":8080", ":8443", ":9", ":1"].iter().any(|port| found.strip_prefix("127.0.0.1") == Some(port))
}

/// How many bytes at the beginning of `text` have the form of `pattern`.
fn matched(text: &str, pattern: &str) -> Option<usize> {
    let (mut length, mut last) = (0, 'x');
    for form in pattern.chars() {
        let fits = |byte: &u8, form: char| match form {
            '9' => byte.is_ascii_digit(),
            'x' => byte.is_ascii_hexdigit(),
            other => char::from(*byte) == other,
        };
        let bytes = &text.as_bytes()[length..];
        if form == '*' {
            length += bytes.iter().take_while(|byte| fits(byte, last)).count();
        } else {
            length += usize::from(fits(bytes.first()?, form));
            if !fits(bytes.first()?, form) {
                return None;
            }
            last = form;
        }
    }
    Some(length)
}

/// The words of a field's name: `requestStartedMs` has three.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        if letter.is_ascii_uppercase() || !letter.is_ascii_alphanumeric() {
            words.push(String::new());
        }
        if letter.is_ascii_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.push(letter.to_ascii_lowercase());
        }
    }
    words
}

#[test]
fn values_are_masked_by_name_and_by_form() {
    let mut masks = Masks::default();
    masks.text("/tmp/a/b", "/project");
    masks.port(41_234, 8443);
    let shown = masks.apply(&json!({
        "durationMs": 3, "port": 41_234, "at": 1_780_000_000_123_u64, "count": 3, "pid": 77,
        "url": "https://localhost:41234/x", "path": "/tmp/a/b/out.har", "peer": "127.0.0.1:55555", "id": "proc_9981",
        "date": "Sat, 21 Nov 2026 11:12:13 GMT", "columns": ["ms", "n"], "rows": [[7, 7]],
    }));
    let want = json!({
        "durationMs": 12, "port": 8443, "at": TIME_MS, "count": 3, "pid": 4242,
        "url": "https://localhost:8443/x", "path": "/project/out.har", "peer": "127.0.0.1:50000", "id": "proc_4242",
        "date": "Sat, 21 Nov 2026 14:13:20 GMT", "columns": ["ms", "n"], "rows": [[12, 7]],
    });
    assert_eq!(shown, want);
}
