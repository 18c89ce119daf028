//! What the recording of a run must hold.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What must have been recorded of the origin with TLS: path, status, and a part of the decoded body.
const EXPECTED: [(&str, u64, &str); 10] = [
    ("/json", 200, "greeting"),
    ("/gzip", 200, "greeting"),
    ("/status/404", 404, "status 404"),
    ("/cookies", 200, "two cookies"),
    ("/echo", 200, "name=value"),
    ("/sse?events=3&ms=20", 200, "\"tick\":3"),
    ("/html", 200, "<!doctype html>"),
    ("/html/script.js", 200, "WebSocket"),
    ("/html/style.css", 200, "teal"),
    ("/html/dot.png", 200, ""),
];

/// What the page sends over its WebSocket, and gets back.
const MESSAGE: &str = "hello from the page";

/// Checks that everything the clients did is in the file, decrypted and decoded.
pub(super) fn check(har: &Path, origin: &str) -> Result<()> {
    let har: Value = serde_json::from_slice(&fs::read(har)?)?;
    let entries = har["log"]["entries"].as_array().context("the HAR has no entries")?;
    let mut missing = Vec::new();
    for (path, status, part) in EXPECTED {
        let url = format!("{origin}{path}");
        if !entries.iter().any(|entry| matches(entry, &url, status, part)) {
            missing.push(format!("{status} {url} with {part:?}"));
        }
    }
    for kind in ["send", "receive"] {
        if !entries.iter().any(|entry| has_message(entry, kind)) {
            missing.push(format!("the WebSocket message {MESSAGE:?}, {kind}"));
        }
    }
    if !entries.iter().any(|entry| entry.to_string().contains("does not trust")) {
        missing.push("the client that does not trust the CA".to_owned());
    }
    if !missing.is_empty() {
        let urls: Vec<String> = entries
            .iter()
            .map(|entry| format!("{} {}", entry["response"]["status"], entry["request"]["url"]))
            .collect();
        bail!("not recorded: {}\nrecorded:\n{}", missing.join("; "), urls.join("\n"));
    }
    Ok(())
}

fn matches(entry: &Value, url: &str, status: u64, part: &str) -> bool {
    let body = entry["response"]["content"]["text"].as_str();
    entry["request"]["url"] == url
        && entry["response"]["status"] == status
        && (part.is_empty() || body.is_some_and(|text| text.contains(part)))
}

fn has_message(entry: &Value, kind: &str) -> bool {
    let messages = entry["_webSocketMessages"].as_array().into_iter().flatten();
    messages.into_iter().any(|message| message["type"] == kind && message["data"] == MESSAGE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn missing_exchanges_are_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let entry = json!({"request": {"url": "https://h/json"}, "response": {"status": 200, "content": {"text": "greeting"}}});
        fs::write(file.path(), json!({"log": {"entries": [entry]}}).to_string()).unwrap();
        let told = check(file.path(), "https://h").unwrap_err().to_string();
        assert!(!told.contains("200 https://h/json with"), "{told}");
        assert!(told.contains("200 https://h/gzip with"), "{told}");
        assert!(told.contains("hello from the page"), "{told}");
    }
}
