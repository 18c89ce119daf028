//! Paused exchanges as tools show them.

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proxy_core::{
    Paused,
    rules::{Otherwise, Phase},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{At, InTheEnd};
use crate::{budget::cut, view::millis};

/// Characters of a body that a list shows.
const SHOWN_BODY: usize = 4096;

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PausedView {
    pause_id: String,
    /// The rule that paused it.
    rule_id: String,
    /// What waits: request or response.
    at: At,
    method: String,
    url: String,
    /// The status of the response that waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    /// The fields of what waits, as name and value.
    headers: Vec<[String; 2]>,
    /// The body of what waits, decoded: its beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// `base64` when the body is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_size: Option<u64>,
    /// Why the body cannot be seen; it passes untouched then.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_problem: Option<String>,
    since: u64,
    deadline: u64,
    /// What happens at the deadline.
    otherwise: InTheEnd,
}

impl PausedView {
    pub(super) fn of(paused: &Paused) -> Self {
        let response = paused.response.as_ref().filter(|_| paused.phase == Phase::Response);
        let headers = response.map_or(&paused.request.headers, |head| &head.headers);
        let (body, encoding) = match &paused.body {
            Ok(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => (Some(cut(text, SHOWN_BODY)), None),
                Err(_) => {
                    let shown = bytes.get(..SHOWN_BODY).unwrap_or(bytes);
                    (Some(STANDARD.encode(shown)), Some("base64"))
                }
            },
            Err(_) => (None, None),
        };
        Self {
            pause_id: paused.id.to_string(),
            rule_id: paused.rule.clone(),
            at: if response.is_some() { At::Response } else { At::Request },
            method: paused.request.method.to_string(),
            url: paused.request.url(),
            status_code: response.map(|head| head.status.as_u16()),
            headers: headers
                .iter()
                .map(|field| [field.name_text().into_owned(), cut(&field.value_text(), 2000)])
                .collect(),
            body,
            body_encoding: encoding,
            body_size: paused.body.as_ref().ok().map(|bytes| bytes.len() as u64),
            body_problem: paused.body.as_ref().err().map(ToString::to_string),
            since: millis(paused.since),
            deadline: millis(SystemTime::max(paused.deadline, paused.since)),
            otherwise: if paused.otherwise == Otherwise::Abort {
                InTheEnd::Abort
            } else {
                InTheEnd::Continue
            },
        }
    }
}
