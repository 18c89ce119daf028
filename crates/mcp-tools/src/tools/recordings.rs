//! The history plane of Charles MCP: recordings, which are our sessions, as they are.

mod page;
mod raw;

use capture_store::{
    Condition, ErrorKind, Pattern, Query, Seq, SessionId, SessionInfo, SessionState, Store, TextField,
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
use serde_json::json;

use self::page::{Entries, Shown, entries};
use crate::{
    budget::{NextCall, cut, fit},
    catalogue::{Family, Reference},
    error::{ToolError, chain},
    rows::{BY_AGE, Fields},
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::{Success, is_false},
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "recordings",
    toolset: Toolset::CharlesMcp,
    summary: "Recordings (sessions) as Charles MCP's history plane has them.",
    router,
    references: &[
        Reference::new(
            "list_recordings",
            "charles-mcp",
            "recordings are sessions: `path` is the session's id; what is being recorded is listed, too",
        ),
        Reference::new(
            "get_recording_snapshot",
            "charles-mcp",
            "by pages within the byte budget (`after`), bodies cut; an unknown recording is an error",
        ),
        Reference::new(
            "query_recorded_traffic",
            "charles-mcp",
            "by pages within the byte budget (`after`); the expression is asked of URL, header fields and decoded bodies, and \
             takes linear time",
        ),
    ],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::recordings_router()
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Recordings {
    status: Success,
    /// The newest last.
    items: Vec<Recording>,
    total_items: u64,
    /// Whether older ones were left out to keep the answer small; proxy_list_sessions pages through all.
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
    warnings: Vec<String>,
}

/// A recording.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Recording {
    filename: String,
    size: String,
    size_bytes: u64,
    /// What tools take as recording_path.
    path: String,
    exchanges: u64,
    /// Whether it is being recorded.
    #[serde(skip_serializing_if = "is_false")]
    active: bool,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct SnapshotParams {
    /// The recording; the latest without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 400))]
    path: Option<String>,
    /// Only entries after this one, like e412.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    after: Option<String>,
    #[serde(flatten)]
    fields: Fields,
}

/// A method that is asked for.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum MethodName {
    Get,
    Post,
    Put,
    Patch,
    Delete,
    Head,
    Options,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct QueryParams {
    /// Text in the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    host_contains: Option<String>,
    /// The method.
    #[serde(skip_serializing_if = "Option::is_none")]
    http_method: Option<MethodName>,
    /// Regular expression, in whatever case.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    keyword_regex: Option<String>,
    /// Give requests, in whole rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_request: Option<bool>,
    /// Give responses, in whole rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_response: Option<bool>,
    /// Only entries after this one, like e412.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    after: Option<String>,
    #[serde(flatten)]
    fields: Fields,
}

#[tool_router(router = recordings_router, vis = "pub(crate)")]
impl Toolbox {
    /// History-plane tool: list saved recordings when the user explicitly references one (a session, or an imported
    /// .chlsj); their path is what others take as recording_path.
    #[tool(
        name = "list_recordings",
        title = "List recordings",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn list_recordings(&self) -> Result<Json<Recordings>, ToolError> {
        let store = self.fresh_store().await?;
        let budget = self.config().answer_bytes;
        blocking(move || {
            let mut all: Vec<Recording> = recordings(&store)?.iter().map(Recording::new).collect();
            let total_items = all.len() as u64;
            // The newest ones are kept.
            all.reverse();
            let (mut items, truncated) = fit(all, budget);
            items.reverse();
            let warnings = if items.is_empty() { vec!["no_saved_recordings".to_owned()] } else { Vec::new() };
            Ok(Json(Recordings { status: Success::Success, items, total_items, truncated, warnings }))
        })
        .await
    }

    /// History-plane tool: the entries of a recording the user explicitly references (its recording_path; .chlsj
    /// once imported), by pages; raw with fields ["*"].
    #[tool(
        name = "get_recording_snapshot",
        title = "Entries of a recording",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn get_recording_snapshot(
        &self,
        Parameters(params): Parameters<SnapshotParams>,
    ) -> Result<Json<Entries>, ToolError> {
        let store = self.fresh_store().await?;
        let budget = self.config().answer_bytes;
        blocking(move || {
            let session = find(&store, params.path.as_deref())?;
            let after = params.after.as_deref().map(str::parse::<Seq>).transpose()?;
            let kept = raw::Kept { request: true, response: true, pattern: None };
            let shown = Shown { rows: params.fields.rows(&BY_AGE)?, kept, after };
            let (mut page, reached) = entries(&store, session, Query::default(), &shown, budget)?;
            page.next = reached.map(|reached| {
                let mut arguments = json!(params);
                // The recording is named, so that a later one is not taken for it.
                arguments["path"] = json!(page.path);
                arguments["after"] = json!(reached.to_string());
                NextCall::new("get_recording_snapshot", arguments)
            });
            Ok(Json(page))
        })
        .await
    }

    /// History-plane tool: entries of the latest recording by host, method or regular expression, when the user
    /// explicitly references it (.chlsj, recording_path); by pages.
    #[tool(
        name = "query_recorded_traffic",
        title = "Query the latest recording",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn query_recorded_traffic(
        &self,
        Parameters(params): Parameters<QueryParams>,
    ) -> Result<Json<Entries>, ToolError> {
        let store = self.fresh_store().await?;
        let budget = self.config().answer_bytes;
        blocking(move || {
            let session = find(&store, None)?;
            let after = params.after.as_deref().map(str::parse::<Seq>).transpose()?;
            let (query, pattern) = params.query()?;
            let asked = [params.keep_request, params.keep_response];
            let rows = params.fields.rows_or(&BY_AGE, asked.iter().any(Option::is_some))?;
            let [request, response] = asked.map(|keep| keep.unwrap_or(true));
            let shown = Shown { rows, kept: raw::Kept { request, response, pattern }, after };
            let (mut page, reached) = entries(&store, session, query, &shown, budget)?;
            page.next = reached.map(|reached| {
                let mut arguments = json!(params);
                arguments["after"] = json!(reached.to_string());
                NextCall::new("query_recorded_traffic", arguments)
            });
            Ok(Json(page))
        })
        .await
    }
}

impl QueryParams {
    fn query(&self) -> Result<(Query, Option<regex::Regex>), ToolError> {
        let mut query = Query::default();
        query.host_contains = self.host_contains.clone();
        query.methods = self.http_method.iter().map(|method| format!("{method:?}").to_uppercase()).collect();
        let Some(text) = self.keyword_regex.as_deref().filter(|text| !text.is_empty()) else {
            return Ok((query, None));
        };
        let bad = |error: &dyn std::error::Error| {
            ToolError::invalid(format!("failed to read keyword_regex: {}", chain(error)))
                .hint("write a regular expression such as token|session, in the syntax of Rust's regex crate")
        };
        let pattern = Pattern::regex(text).map_err(|error| bad(&error))?;
        let texts = [TextField::Method, TextField::Failure, TextField::Comment];
        let mut any = vec![Condition::Anywhere(pattern.clone())];
        any.extend(texts.into_iter().map(|field| Condition::Text(field, pattern.clone())));
        query.condition = Some(Condition::Any(any));
        let shown = regex::RegexBuilder::new(text).case_insensitive(true).size_limit(1 << 20).build();
        Ok((query, Some(shown.map_err(|error| bad(&error))?)))
    }
}

impl Recording {
    fn new(session: &SessionInfo) -> Self {
        Self {
            filename: session.name.as_deref().map_or_else(|| session.id.to_string(), |name| cut(name, 200)),
            size: size(session.bytes),
            size_bytes: session.bytes,
            path: session.id.to_string(),
            exchanges: session.exchanges,
            active: matches!(session.state, SessionState::Active | SessionState::Full),
        }
    }
}

/// Bytes as people read them: `11.07 KB`.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KB", "MB", "GB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.2} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.2} TB")
}

/// The sessions that hold anything, oldest first.
fn recordings(store: &Store) -> Result<Vec<SessionInfo>, ToolError> {
    let mut all = store.sessions()?;
    all.retain(|session| session.exchanges > 0);
    all.sort_by_key(|session| session.id);
    Ok(all)
}

/// The recording of this name, or the latest; `None` where none was named and there is none.
pub(crate) fn find(store: &Store, path: Option<&str>) -> Result<Option<SessionInfo>, ToolError> {
    let Some(path) = path else { return Ok(recordings(store)?.pop()) };
    if let Ok(id) = path.parse::<SessionId>() {
        return match store.session(id) {
            Ok(session) => Ok(Some(session)),
            Err(error) if matches!(error.kind(), ErrorKind::UnknownSession(_)) => Err(unknown(path)),
            Err(error) => Err(error.into()),
        };
    }
    let all = store.sessions()?;
    let named: Vec<&SessionInfo> =
        all.iter().filter(|session| session.name.as_deref() == Some(path)).collect();
    match named.as_slice() {
        [only] => Ok(Some((*only).clone())),
        [] => Err(unknown(path)),
        several => {
            let ids: Vec<String> = several.iter().map(|session| session.id.to_string()).collect();
            let error = format!("{} recordings are named {:?}", several.len(), cut(path, 80));
            Err(ToolError::new("ambiguous_recording", error).hint(format!("give one of {}", ids.join(", "))))
        }
    }
}

fn unknown(path: &str) -> ToolError {
    let file = path.contains(['/', '\\']) || path.ends_with(".chlsj") || path.ends_with(".har");
    ToolError::new("unknown_recording", format!("there is no recording {:?}", cut(path, 80))).hint(if file {
        "proxy_import_har reads a .chlsj, .chlsx or HAR file into a session; give that session's id"
    } else {
        "list_recordings names the recordings there are"
    })
}
