//! What actions do to bodies.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use bytes::Bytes;

use super::{
    content::{Content, MAX_CONTENT_BYTES},
    edit::BodyEdit,
};

impl Content {
    /// The bytes, read from the file where it is one. That blocks.
    ///
    /// # Errors
    /// When the file cannot be read, or is larger than [`MAX_CONTENT_BYTES`].
    pub fn read(&self) -> io::Result<Bytes> {
        match self {
            Self::File(path) => read_bounded(path),
            other => Ok(other.inline().unwrap_or_default()),
        }
    }
}

/// Reads a file of at most [`MAX_CONTENT_BYTES`].
pub(super) fn read_bounded(path: &Path) -> io::Result<Bytes> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{path:?}: {error}"));
    // Looked at before it is opened: opening a named pipe waits for somebody who writes to it.
    if !fs::metadata(path).map_err(named)?.is_file() {
        return Err(io::Error::other(format!("{path:?} is no file")));
    }
    let file = File::open(path).map_err(named)?;
    let mut data = Vec::new();
    file.take(MAX_CONTENT_BYTES as u64 + 1).read_to_end(&mut data).map_err(named)?;
    if data.len() > MAX_CONTENT_BYTES {
        return Err(io::Error::other(format!("{path:?} is larger than {MAX_CONTENT_BYTES} bytes")));
    }
    Ok(data.into())
}

/// A body after its edits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EditedBody {
    /// The new body; `None` when nothing changed.
    pub body: Option<Bytes>,
    /// What was done, and what was not and why, one short line each.
    pub changes: Vec<String>,
}

/// Whether [`edit_body`] reads files for these edits, and so blocks.
#[must_use]
pub fn edits_read_files(edits: &[BodyEdit]) -> bool {
    edits.iter().any(|edit| matches!(edit, BodyEdit::Set(Content::File(_))))
}

/// Edits a body that was decoded from its content coding, one edit after the other. An edit that cannot be done (the body
/// is no JSON, a patch fails, the result is larger than `limit` bytes) changes nothing, and its line says so. `what` is
/// `request body`, `response body` or `message`.
#[must_use]
pub fn edit_body(edits: &[BodyEdit], what: &str, body: &[u8], limit: usize) -> EditedBody {
    let mut edited = EditedBody::default();
    for edit in edits {
        let now = edited.body.as_deref().unwrap_or(body);
        match one(edit, now, limit) {
            Ok(None) => {}
            Ok(Some((new, done))) => {
                edited.body = Some(new);
                edited.changes.push(format!("{done} {what}"));
            }
            Err(problem) => edited.changes.push(format!("left the {what}: {problem}")),
        }
    }
    if edited.body.as_deref() == Some(body) {
        edited.body = None;
    }
    edited
}

fn one(edit: &BodyEdit, body: &[u8], limit: usize) -> Result<Option<(Bytes, &'static str)>, String> {
    let (new, done) = match edit {
        BodyEdit::Set(content) => (content.read().map_err(|error| error.to_string())?, "set the"),
        BodyEdit::Replace(replace) => match replace.apply(body, limit) {
            Ok(None) => return Ok(None),
            Ok(Some(new)) => (new.into(), "replaced in the"),
            Err(_) => return Err(over(limit)),
        },
        BodyEdit::Merge(patch) => {
            let mut value = parsed(body)?;
            json_patch::merge(&mut value, &patch.0);
            (printed(&value)?, "merged JSON into the")
        }
        BodyEdit::Patch(patch) => {
            let mut value = parsed(body)?;
            json_patch::patch(&mut value, &patch.0.0).map_err(|error| format!("the patch fails: {error}"))?;
            (printed(&value)?, "patched JSON in the")
        }
    };
    if new.len() > limit { Err(over(limit)) } else { Ok(Some((new, done))) }
}

fn over(limit: usize) -> String {
    format!("the edited one would be over {limit} bytes")
}

fn parsed(body: &[u8]) -> Result<serde_json::Value, String> {
    serde_json::from_slice(body).map_err(|error| format!("it is no JSON ({error})"))
}

fn printed(value: &serde_json::Value) -> Result<Bytes, String> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(edits: &str, body: &str) -> (Option<String>, Vec<String>) {
        let edits: super::super::BodyEdits = serde_json::from_str(edits).unwrap();
        let edited = edit_body(&edits, "request body", body.as_bytes(), 1000);
        (edited.body.map(|body| String::from_utf8(body.into()).unwrap()), edited.changes)
    }

    #[test]
    fn each_edit_does_what_its_rfc_says() {
        for (edits, body, expected) in [
            (r#"{"find": "a", "with": "b"}"#, "banana", Some("bbnbnb")),
            (r#"{"find": "x", "with": "b"}"#, "banana", None),
            (r#"{"regex": "(\\w)n", "with": "n$1"}"#, "banana", Some("bnanaa")),
            (r#"{"set": "new"}"#, "old", Some("new")),
            (r#"{"set": {"json": null}}"#, "old", Some("null")),
            (
                r#"{"merge": {"a": null, "b": {"c": 2}}}"#,
                r#"{"a":1,"b":{"d":3}}"#,
                Some(r#"{"b":{"c":2,"d":3}}"#),
            ),
            (
                r#"{"patch": [{"op": "replace", "path": "/a/0", "value": 9}, {"op": "remove", "path": "/b"}]}"#,
                r#"{"a":[1],"b":2}"#,
                Some(r#"{"a":[9]}"#),
            ),
            (r#"[{"find": "a", "with": "b"}, {"find": "b", "with": "c"}]"#, "ab", Some("cc")),
        ] {
            assert_eq!(edited(edits, body).0.as_deref(), expected, "{edits}");
        }
    }

    #[test]
    fn an_edit_that_cannot_be_done_leaves_the_body_and_says_so() {
        for (edits, body, said) in [
            (r#"{"merge": {"a": 1}}"#, "no json", "it is no JSON"),
            (
                r#"{"patch": [{"op": "add", "path": "/x", "value": 1}, {"op": "test", "path": "/a", "value": 2}]}"#,
                r#"{"a":1}"#,
                "the patch fails",
            ),
            (r#"{"regex": "", "with": "0123456789"}"#, &"x".repeat(500), "over 1000 bytes"),
            (r#"{"set": {"file": "/nonexistent/file"}}"#, "old", "/nonexistent/file"),
        ] {
            let (body, changes) = edited(edits, body);
            assert_eq!(body, None, "{edits}");
            assert!(changes[0].contains(said), "{changes:?}");
        }
    }
}
