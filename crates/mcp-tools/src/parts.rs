//! One body by part: bytes, lines, what a JSON pointer leads to, matches of a pattern, an image.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use capture_store::{BodySide, Seq, Store};
use rmcp::{
    handler::server::tool::IntoCallToolResult,
    model::{CallToolResponse, CallToolResult, ContentBlock},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use traffic_analysis::Subject;

use crate::{
    body::{self, Encoding, slice},
    budget::{NextCall, cut, fit},
    error::ToolError,
    slices::{self, Hit, expression},
    view::{Success, is_false},
};

/// Bytes of an image given where no limit is named: as much as an answer may have, in base64.
const MAX_IMAGE_BYTES: usize = 48 * 1024;
/// Matches given of one body.
const MAX_HITS: usize = 50;

fn eighty() -> u32 {
    80
}

/// Which body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    /// The request's.
    Request,
    /// The response's.
    #[default]
    Response,
}

impl From<Side> for BodySide {
    fn from(side: Side) -> Self {
        match side {
            Side::Request => Self::Request,
            Side::Response => Self::Response,
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct BodyParams {
    /// Like e412.
    #[schemars(length(min = 1, max = 40))]
    pub(crate) exchange_id: String,
    #[serde(default)]
    side: Side,
    /// JSON pointer: /users/0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2000))]
    pub(crate) pointer: Option<String>,
    /// Lines: 10-40.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub(crate) lines: Option<String>,
    /// Regular expression; its matches are wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2000))]
    pub(crate) pattern: Option<String>,
    /// Characters around a match.
    #[serde(default = "eighty")]
    #[schemars(range(max = 2000))]
    context: u32,
    /// Decoded bytes to skip.
    #[serde(default)]
    pub(crate) offset: u64,
    /// Bytes at most; default 4096, of images 49152.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_048_576))]
    limit: Option<u32>,
}

/// A body, or a part of it.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct BodyPart {
    status: Success,
    id: String,
    side: Side,
    /// Its content type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    /// Bytes on the wire, content coding kept.
    bytes: u64,
    /// The bytes or lines asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    /// `base64` where the bytes are no text; `image` where they come as image content.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    /// The pointer that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    /// What the pointer leads to; an outline of it where `truncated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    /// Matches of the pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    matches: Option<Vec<Hit>>,
    /// Matches in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    match_count: Option<usize>,
    /// Lines in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    total_lines: Option<usize>,
    /// Whether something of what was asked for was left out.
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
    /// What is missing of the body, or why it could not be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// The call that continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<NextCall>,
    /// An image's bytes in base64 and its type.
    #[serde(skip)]
    image: Option<(String, String)>,
}

impl BodyPart {
    /// As a result: the part, and an image as image content beside it.
    pub(crate) fn into_result(mut self) -> Result<CallToolResult, rmcp::ErrorData> {
        let image = self.image.take();
        let value = serde_json::to_value(self)
            .map_err(|error| rmcp::ErrorData::internal_error(error.to_string(), None))?;
        let mut result = CallToolResult::structured(value);
        result.content.extend(image.map(|(data, kind)| ContentBlock::image(data, kind)));
        Ok(result)
    }
}

impl IntoCallToolResult for BodyPart {
    fn into_call_tool_result(self) -> Result<CallToolResponse, rmcp::ErrorData> {
        self.into_result().map(Into::into)
    }
}

/// Reads the part that `params` asks for. Blocks.
pub(crate) fn part(store: &Store, seq: Seq, params: &BodyParams) -> Result<BodyPart, ToolError> {
    let exchange = store.exchange(seq)?;
    let side = BodySide::from(params.side);
    let recorded = match side {
        BodySide::Request => exchange.request_body,
        BodySide::Response => exchange.response_body,
    };
    let subject = Subject::new(store, exchange.summary);
    let content_type = match side {
        BodySide::Request => subject.summary().request_content_type.clone(),
        BodySide::Response => subject.summary().response_content_type.clone(),
    };
    let mut part = BodyPart {
        id: seq.to_string(),
        side: params.side,
        content_type,
        bytes: recorded.wire_bytes,
        ..BodyPart::default()
    };
    let limit = params.limit.map_or(4096, |limit| limit as usize);
    let asks_text = params.pointer.is_some() || params.lines.is_some() || params.pattern.is_some();
    if asks_text {
        let Some(body) = subject.text(side) else {
            subject.check()?;
            part.problem = Some("there is no body".to_owned());
            return Ok(part);
        };
        if !body.whole {
            part.problem =
                Some("the body is not whole: it was cut, or could not be decoded to its end".to_owned());
        }
        text_part(&mut part, &subject, params, limit)?;
    } else if !image(&mut part, store, seq, params)? {
        bytes(&mut part, store, seq, params, limit)?;
    }
    subject.check()?;
    Ok(part)
}

fn text_part(
    part: &mut BodyPart,
    subject: &Subject<'_>,
    params: &BodyParams,
    limit: usize,
) -> Result<(), ToolError> {
    let side = BodySide::from(params.side);
    let text = subject.text(side).map_or("", |body| &body.text);
    if let Some(pointer) = &params.pointer {
        let Some(json) = subject.json(side) else {
            return Err(
                ToolError::invalid("pointer: the body is no JSON").hint("give lines or pattern instead")
            );
        };
        let Some(value) = json.pointer(pointer) else {
            return Err(nowhere(json, pointer));
        };
        let (value, truncated) = slices::fitted(value, limit);
        (part.value, part.truncated) = (Some(value), truncated);
        part.pointer = Some(pointer.clone());
    } else if let Some(span) = &params.lines {
        let span = slices::line_span(span)
            .ok_or_else(|| ToolError::invalid("lines: write them like 10-40, 10- or 10, from 1"))?;
        let lines = slices::lines(text, span, limit);
        (part.data, part.total_lines) = (Some(lines.text), Some(lines.total));
        part.truncated = lines.next.is_some();
        part.next = lines.next.map(|line| {
            let end = if span.1 == usize::MAX { String::new() } else { span.1.to_string() };
            let mut arguments = json!(params);
            arguments["lines"] = format!("{line}-{end}").into();
            NextCall::new("get_body", arguments)
        });
    } else if let Some(pattern) = &params.pattern {
        let pattern = expression("pattern", pattern)?;
        let (found, count) = slices::hits(text, &pattern, MAX_HITS, params.context as usize);
        let (found, _) = fit(found, limit.max(4096) + 1024);
        part.truncated = found.len() < count;
        (part.matches, part.match_count) = (Some(found), Some(count));
    }
    Ok(())
}

/// How far a pointer leads, and what there is then.
fn nowhere(json: &Value, pointer: &str) -> ToolError {
    let mut known = pointer;
    let mut last = None;
    while let Some((before, _)) = known.rsplit_once('/') {
        known = before;
        last = json.pointer(known);
        if last.is_some() {
            break;
        }
    }
    let there = match last {
        Some(Value::Object(members)) => {
            let names: Vec<&str> = members.keys().take(30).map(String::as_str).collect();
            format!("an object with {}", names.join(", "))
        }
        Some(Value::Array(items)) => format!("an array of {}", items.len()),
        Some(_) => "a single value".to_owned(),
        None => "nothing: pointers begin with a slash".to_owned(),
    };
    ToolError::invalid(format!("pointer: {:?} leads nowhere", cut(pointer, 200)))
        .hint(format!("at {known:?} there is {}", cut(&there, 600)))
}

/// Gives an image that clients can show; says whether it is one.
fn image(part: &mut BodyPart, store: &Store, seq: Seq, params: &BodyParams) -> Result<bool, ToolError> {
    const SHOWN: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];
    let kind = part.content_type.as_deref().unwrap_or_default().split(';').next().unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    if !SHOWN.contains(&kind.as_str()) || params.offset > 0 {
        return Ok(false);
    }
    let limit = params.limit.map_or(MAX_IMAGE_BYTES, |limit| limit as usize);
    let Some(body) = store.body(seq, params.side.into())? else { return Ok(false) };
    let decoded = body.decode(limit);
    if decoded.bytes.is_empty() || decoded.problem.is_some() {
        return Ok(false);
    }
    if decoded.truncated {
        part.truncated = true;
        part.problem = Some(format!("the image has more than {limit} bytes; a higher limit gives it"));
        return Ok(true);
    }
    part.encoding = Some("image");
    part.image = Some((STANDARD.encode(&decoded.bytes), kind));
    Ok(true)
}

fn bytes(
    part: &mut BodyPart,
    store: &Store,
    seq: Seq,
    params: &BodyParams,
    limit: usize,
) -> Result<(), ToolError> {
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let side = BodySide::from(params.side);
    let (Some(body), Some(slice)) = (store.body(seq, side)?, slice(params.offset, limit)) else {
        part.problem = Some("there is no body".to_owned());
        return Ok(());
    };
    let piece = body::read(body, || store.body(seq, side).ok().flatten(), slice);
    part.data = Some(piece.data);
    part.encoding = (piece.encoding != Encoding::Text).then_some("base64");
    part.problem = piece.problem;
    part.truncated = piece.next_offset.is_some();
    part.next = piece.next_offset.map(|offset| {
        let mut arguments = json!(params);
        arguments["offset"] = offset.into();
        NextCall::new("get_body", arguments)
    });
    Ok(())
}
