//! A body as Charles MCP tells it: what kind it is, and its beginning in a form that can be read.

use std::io::Read as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use capture_store::{BodySide, Exchange};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::scan::Plane;
use crate::{error::ToolError, view::is_false};

/// Parts of a multipart body that are told.
const MAX_PARTS: usize = 32;
/// Characters of a part that are shown.
const PART_CHARS: usize = 80;

/// What a body is and holds.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct BodyText {
    /// `none`, `json`, `form`, `multipart`, `text`, `binary`.
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mime_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) charset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_encoding: Option<String>,
    /// Bytes as received.
    size_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) preview_text: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) preview_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) full_text: Option<String>,
    /// `base64` where the bytes are no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) full_text_encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) full_text_truncated: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    multipart_summary: Vec<Part>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    decode_warnings: Vec<String>,
}

/// A part of a multipart body.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Part {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    size_bytes: usize,
    preview_text: String,
    #[serde(skip_serializing_if = "is_false")]
    preview_truncated: bool,
}

/// A body with its beginning as a preview.
pub(super) fn body_text(
    plane: &Plane,
    exchange: &Exchange,
    side: BodySide,
    max_chars: usize,
) -> Result<BodyText, ToolError> {
    read_text(plane, exchange, side, (max_chars, true))
}

/// A body as text; `compact` writes JSON and forms anew, as previews have them.
pub(super) fn read_text(
    plane: &Plane,
    exchange: &Exchange,
    side: BodySide,
    (max_chars, compact): (usize, bool),
) -> Result<BodyText, ToolError> {
    /// Decoded bytes that are read for a text of so many characters: JSON is written anew, and shorter.
    const BYTES_A_CHAR: usize = 16;
    let recorded = match side {
        BodySide::Request => exchange.request_body,
        BodySide::Response => exchange.response_body,
    };
    let mut told = BodyText { kind: "none", size_bytes: recorded.wire_bytes, ..BodyText::default() };
    if recorded.wire_bytes == 0 {
        return Ok(told);
    }
    let Some(body) = plane.store.body(exchange.summary.seq, side)? else { return Ok(told) };
    let content_type = body.content_type().unwrap_or_default().to_ascii_lowercase();
    let most = (max_chars * BYTES_A_CHAR).max(64 * 1024);
    let mut bytes = Vec::new();
    if let Err(error) = body.into_decoded_reader().take(most as u64).read_to_end(&mut bytes) {
        told.decode_warnings.push(format!("decoding stopped: {error}"));
    }
    if recorded.stored_bytes < recorded.wire_bytes {
        told.decode_warnings.push("not the whole body is recorded".to_owned());
    }
    let longer = bytes.len() == most;
    describe(&mut told, &content_type, (&bytes, longer), (max_chars, compact));
    Ok(told)
}

fn describe(
    told: &mut BodyText,
    content_type: &str,
    (bytes, longer): (&[u8], bool),
    (max_chars, compact): (usize, bool),
) {
    let mut show = |kind, text: String| {
        told.kind = kind;
        told.preview_truncated = longer || text.chars().count() > max_chars;
        told.preview_text = Some(text.chars().take(max_chars).collect());
    };
    if content_type.starts_with("multipart/") {
        let parts = parts(content_type, bytes);
        show("multipart", format!("[multipart/form-data with {} part(s)]", parts.len()));
        told.multipart_summary = parts;
        return;
    }
    // A character may be cut in two at the end of what was read.
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if longer && error.valid_up_to() + 4 >= bytes.len() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let Some(text) = valid.filter(|text| !text.contains('\0')) else {
        return show("binary", "[binary body omitted]".to_owned());
    };
    if content_type.contains("x-www-form-urlencoded") {
        return show("form", if compact { form(text) } else { text.to_owned() });
    }
    if content_type.contains("json") || text.trim_start().starts_with(['{', '[']) {
        if let Ok(value) = serde_json::from_str::<Value>(text) {
            return show("json", if compact { value.to_string() } else { text.to_owned() });
        }
        if content_type.contains("json") {
            return show("json", text.to_owned());
        }
    }
    show("text", text.to_owned());
}

/// A form with its fields in order: `a=1,2&b=3`.
fn form(text: &str) -> String {
    let mut fields: std::collections::BTreeMap<&str, Vec<&str>> = std::collections::BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        fields.entry(name).or_default().push(value);
    }
    let fields: Vec<String> =
        fields.into_iter().map(|(name, values)| format!("{name}={}", values.join(","))).collect();
    fields.join("&")
}

fn parts(content_type: &str, bytes: &[u8]) -> Vec<Part> {
    let Some((_, rest)) = content_type.split_once("boundary=") else { return Vec::new() };
    // The type was put into lower case; boundaries are compared so, too.
    let mark = format!("--{}", rest.split(';').next().unwrap_or_default().trim().trim_matches('"'));
    let text = String::from_utf8_lossy(bytes);
    let lower = text.to_ascii_lowercase();
    let mut starts: Vec<usize> = lower.match_indices(&mark).map(|(at, _)| at).collect();
    starts.truncate(MAX_PARTS + 1);
    let pieces = starts.windows(2).map(|pair| &text[pair[0] + mark.len()..pair[1]]);
    let part = |piece: &str| {
        let (head, body) = piece.split_once("\r\n\r\n")?;
        let body = body.strip_suffix("\r\n").unwrap_or(body);
        let line = |name: &str| {
            head.lines().find_map(|line| {
                let (field, value) = line.split_once(':')?;
                field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let disposition = line("content-disposition").unwrap_or_default();
        let attribute = |name: &str| {
            let mut parts = disposition.split(';').map(str::trim);
            let found = parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.map(|value| value.trim_matches('"').to_owned())
        };
        let binary = body.contains(['\0', '\u{FFFD}']);
        let preview = if binary { "[binary]".to_owned() } else { body.chars().take(PART_CHARS).collect() };
        Some(Part {
            name: attribute("name"),
            filename: attribute("filename"),
            content_type: line("content-type"),
            size_bytes: body.len(),
            preview_truncated: !binary && body.chars().count() > PART_CHARS,
            preview_text: preview,
        })
    };
    pieces.filter_map(part).collect()
}

/// The beginning of a body as base64, and whether there is more.
pub(super) fn base64(
    plane: &Plane,
    exchange: &Exchange,
    side: BodySide,
    max_chars: usize,
) -> Result<(Option<String>, bool), ToolError> {
    let Some(body) = plane.store.body(exchange.summary.seq, side)? else { return Ok((None, false)) };
    let most = max_chars / 4 * 3;
    let mut bytes = Vec::new();
    // What cannot be decoded to its end is given as far as it goes.
    let _ = body.into_decoded_reader().take(most as u64 + 1).read_to_end(&mut bytes);
    let more = bytes.len() > most;
    bytes.truncate(most);
    Ok((Some(STANDARD.encode(bytes)), more))
}
