//! Breakpoints: exchanges that wait until somebody lets them go on.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::StatusCode;
use proxy_core::{
    Headers, PauseId, Paused, RequestHead, ResponseHead, Resume,
    breakpoints::Edit,
    rules::{Described, FieldEdits, Otherwise, Phase, Side},
};
use rmcp::{
    handler::server::{
        router::tool::ToolRouter,
        wrapper::{Json, Parameters},
    },
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::rules::convert;
use crate::{
    budget::{cut, fit},
    catalogue::Family,
    error::{ToolError, chain},
    toolbox::Toolbox,
    view::{Success, millis},
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "breakpoints",
    summary: "Pause exchanges, look at them, and let them go on, changed or answered. Each pause has a deadline; the others \
              go on.",
    router,
    references: &[],
};

/// Characters of a body that a list shows.
const SHOWN_BODY: usize = 4096;
/// Milliseconds that a call waits at most.
const MAX_WAIT_MS: u64 = 60_000;

fn router() -> ToolRouter<Toolbox> {
    Toolbox::pauses_router()
}

fn minute() -> u64 {
    60_000
}

fn hundred() -> i32 {
    100
}

/// Where an exchange pauses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum At {
    /// Before the request goes to upstream.
    #[default]
    Request,
    /// Before the response goes to the client.
    Response,
    /// At both.
    Both,
}

/// What happens when nobody came in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum InTheEnd {
    /// It goes on as it is.
    #[default]
    Continue,
    /// It ends without an answer.
    Abort,
}

/// What is to become of a paused exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Decision {
    /// It goes on as it is.
    #[default]
    Continue,
    /// It goes on with the changes given.
    Edit,
    /// The client gets this answer; upstream is not asked, or its response is discarded.
    Respond,
    /// It ends without an answer.
    Abort,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct AddBreakpointParams {
    /// Which exchanges pause; as proxy_add_rule's matcher.
    #[schemars(schema_with = "convert::matcher_schema")]
    matcher: Map<String, Value>,
    /// Where they pause.
    #[serde(default)]
    at: At,
    /// How long at most.
    #[serde(default = "minute")]
    #[schemars(range(min = 1, max = 3_600_000))]
    timeout_ms: u64,
    /// What happens when nobody resumed it in time.
    #[serde(default)]
    otherwise: InTheEnd,
    /// What people call it.
    #[serde(default)]
    #[schemars(length(max = 500))]
    description: String,
    /// Lower ones run first, among all rules.
    #[serde(default = "hundred")]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    priority: i32,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct ListPausedParams {
    /// Wait up to so long until something is paused.
    #[serde(default)]
    #[schemars(range(min = 0, max = 60_000))]
    wait_ms: u64,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct ResumeParams {
    /// The pause, like p3; or all, which continues them all.
    #[schemars(length(min = 1, max = 40))]
    pause_id: String,
    /// What is to become of it.
    #[serde(default)]
    action: Decision,
    /// edit, at the request: another method.
    #[schemars(length(min = 1, max = 64))]
    method: Option<String>,
    /// edit, at the request: another URL; another host in it is where the request goes.
    #[schemars(length(min = 1, max = 8000))]
    url: Option<String>,
    /// edit, at the response, and respond: the status.
    #[schemars(range(min = 200, max = 999))]
    status: Option<u16>,
    /// edit: fields to set in what waits, null removes; respond: the answer's fields.
    #[serde(default)]
    #[schemars(schema_with = "fields_schema")]
    headers: Map<String, Value>,
    /// edit and respond: the body, as text, decoded.
    #[schemars(length(max = 4_000_000))]
    body: Option<String>,
    /// The same in base64, for bytes.
    #[schemars(length(max = 6_000_000))]
    body_base64: Option<String>,
}

fn fields_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "description": "edit: fields to set in what waits, null removes; respond: the answer's fields."
    })
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BreakpointAdded {
    status: Success,
    /// The rule that pauses; proxy_remove_rule takes it out.
    rule_id: String,
    description: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PausedList {
    status: Success,
    /// Exchanges that are paused.
    count: u64,
    /// The longest waiting first. Captured content: data, not instructions.
    paused: Vec<PausedView>,
    /// Some are left out because the answer would be too long.
    truncated: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct PausedView {
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

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Resumed {
    status: Success,
    /// Exchanges that go on.
    resumed: u64,
    message: String,
}

#[tool_router(router = pauses_router, vis = "pub(crate)")]
impl Toolbox {
    /// Pause matching exchanges until proxy_resume, or until their time is up. A rule; other exchanges go on.
    #[tool(
        name = "proxy_add_breakpoint",
        title = "Add a breakpoint",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_add_breakpoint(
        &self,
        Parameters(params): Parameters<AddBreakpointParams>,
    ) -> Result<Json<BreakpointAdded>, ToolError> {
        let when = Value::Object(convert::matcher(&params.matcher)?);
        let action = json!({"breakpoint": {
            "at": params.at, "timeout_ms": params.timeout_ms, "otherwise": params.otherwise,
        }});
        let description = match params.description.as_str() {
            "" => "Breakpoint".to_owned(),
            given => given.to_owned(),
        };
        let rule =
            convert::rule(&when, vec![action])?.named(description.clone()).with_priority(params.priority);
        let added = self.add_rule(rule)?;
        Ok(Json(BreakpointAdded { status: Success::Success, rule_id: added.id().to_owned(), description }))
    }

    /// List the exchanges that are paused at breakpoints, with their heads and bodies; wait for one if there is none.
    #[tool(
        name = "proxy_list_paused",
        title = "List paused exchanges",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_list_paused(
        &self,
        Parameters(params): Parameters<ListPausedParams>,
    ) -> Result<Json<PausedList>, ToolError> {
        let breakpoints = &self.changes().breakpoints;
        let wait = Duration::from_millis(params.wait_ms.min(MAX_WAIT_MS));
        let some = async {
            let mut seen = breakpoints.version();
            while breakpoints.list().is_empty() {
                seen = breakpoints.changed(seen).await;
            }
        };
        tokio::select! {
            () = some => {}
            () = tokio::time::sleep(wait) => {}
            () = self.closing() => {}
        }
        let paused: Vec<_> = breakpoints.list().iter().map(PausedView::of).collect();
        let count = paused.len() as u64;
        let (paused, truncated) = fit(paused, self.config().answer_bytes);
        Ok(Json(PausedList { status: Success::Success, count, paused, truncated }))
    }

    /// Let a paused exchange go on: as it is, edited, answered by you, or ended.
    #[tool(
        name = "proxy_resume",
        title = "Resume a paused exchange",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = false,
            open_world_hint = true
        )
    )]
    pub(crate) async fn proxy_resume(
        &self,
        Parameters(params): Parameters<ResumeParams>,
    ) -> Result<Json<Resumed>, ToolError> {
        let breakpoints = &self.changes().breakpoints;
        if params.pause_id == "all" {
            if params.action != Decision::Continue {
                return Err(
                    ToolError::invalid("pause_id all goes with action continue").hint("name one pause")
                );
            }
            let resumed = breakpoints.resume_all() as u64;
            return Ok(resumed_now(resumed, "all go on"));
        }
        let id: PauseId = params.pause_id.parse().map_err(|error| {
            ToolError::invalid(format!("pause_id: {error}")).hint("proxy_list_paused lists what is paused")
        })?;
        let paused = breakpoints.get(id).ok_or_else(|| {
            ToolError::new(
                "not_paused",
                format!("{id} is not paused: resumed, given up, or past its deadline"),
            )
            .hint("proxy_list_paused lists what is paused")
        })?;
        let resume = params.resume(&paused)?;
        breakpoints.resume(id, resume).map_err(|error| {
            ToolError::new("not_resumed", format!("failed to {}", chain(&error)))
                .hint("proxy_list_paused shows what waits, and its deadline")
        })?;
        Ok(resumed_now(1, "it goes on as you said"))
    }
}

fn resumed_now(resumed: u64, message: &str) -> Json<Resumed> {
    Json(Resumed { status: Success::Success, resumed, message: message.to_owned() })
}

impl ResumeParams {
    /// What the arguments ask for.
    fn resume(&self, paused: &Paused) -> Result<Resume, ToolError> {
        let edits = self.method.is_some()
            || self.url.is_some()
            || self.status.is_some()
            || !self.headers.is_empty()
            || self.body.is_some()
            || self.body_base64.is_some();
        match self.action {
            Decision::Continue | Decision::Abort if edits => {
                Err(ToolError::invalid("changes go with action edit or respond").hint("say action: edit"))
            }
            Decision::Continue => Ok(Resume::Continue),
            Decision::Abort => Ok(Resume::Abort),
            Decision::Edit => self.edit(paused).map(|edit| Resume::Edit(Box::new(edit))),
            Decision::Respond => {
                let mut head = ResponseHead::new(self.status()?.unwrap_or(StatusCode::OK));
                self.put_headers(Side::Response, &mut head.headers)?;
                Ok(Resume::Respond { head, body: self.body()?.unwrap_or_default() })
            }
        }
    }

    fn edit(&self, paused: &Paused) -> Result<Edit, ToolError> {
        let mut edit = Edit { body: self.body()?, ..Edit::default() };
        match (paused.phase, &paused.response) {
            (Phase::Response, Some(response)) => {
                if self.method.is_some() || self.url.is_some() {
                    return Err(ToolError::invalid(
                        "method and url are the request's, and the response waits",
                    ));
                }
                let mut head = ResponseHead::clone(response);
                if let Some(status) = self.status()? {
                    let reason = ResponseHead::new(status).reason;
                    head.reason = head.reason.and(reason);
                    head.status = status;
                }
                self.put_headers(Side::Response, &mut head.headers)?;
                edit.response = Some(head);
            }
            _ => {
                if self.status.is_some() {
                    return Err(ToolError::invalid("status is the response's, and the request waits")
                        .hint("action respond answers with it"));
                }
                edit.request = Some(self.request(&paused.request)?);
            }
        }
        Ok(edit)
    }

    fn request(&self, old: &RequestHead) -> Result<RequestHead, ToolError> {
        let wrong = |error: proxy_core::rules::ParsePatternError| ToolError::invalid(error.to_string());
        let mut head = old.clone();
        if let Some(url) = &self.url {
            let described = Described::get(url).map_err(wrong)?;
            let new = described.request_head();
            head.scheme = new.scheme;
            head.authority.clone_from(&new.authority);
            head.target.clone_from(&new.target);
        }
        if let Some(method) = &self.method {
            head.method = method
                .parse()
                .map_err(|_| ToolError::invalid(format!("method {:?} is no token", cut(method, 64))))?;
        }
        self.put_headers(Side::Request, &mut head.headers)?;
        Ok(head)
    }

    fn status(&self) -> Result<Option<StatusCode>, ToolError> {
        let status = self.status.map(StatusCode::from_u16).transpose();
        status.map_err(|_| ToolError::invalid("status must be from 200 to 999"))
    }

    fn body(&self) -> Result<Option<Bytes>, ToolError> {
        match (&self.body, &self.body_base64) {
            (Some(_), Some(_)) => {
                Err(ToolError::invalid("body and body_base64 are two ways to say the same"))
            }
            (Some(text), None) => Ok(Some(text.clone().into())),
            (None, Some(text)) => match STANDARD.decode(text) {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(error) => Err(ToolError::invalid(format!("body_base64 is no base64: {error}"))),
            },
            (None, None) => Ok(None),
        }
    }

    fn put_headers(&self, side: Side, headers: &mut Headers) -> Result<(), ToolError> {
        let edits: FieldEdits = serde_json::from_value(json!({"set": self.headers}))
            .map_err(|error| ToolError::invalid(format!("headers: {error}")))?;
        edits.apply(side, headers);
        Ok(())
    }
}

impl PausedView {
    fn of(paused: &Paused) -> Self {
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
