//! The API behind recorded exchanges, and what drifted from a document.

use std::path::{Path, PathBuf};

use capture_store::{Query, SessionId, Store};
use rmcp::{
    handler::server::{
        router::tool::ToolRouter,
        wrapper::{Json, Parameters},
    },
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use traffic_analysis::infer::{self, DriftError, Inferred, Options};

use crate::{
    budget::{cut, fit, json_bytes},
    catalogue::Family,
    error::{ToolError, chain},
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::{Success, is_false},
};

/// Bytes of a document that is read.
const MAX_DOCUMENT: u64 = 16 * 1024 * 1024;

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "infer",
    toolset: Toolset::Analysis,
    summary: "The API behind recorded exchanges as OpenAPI 3.1, and what drifted from a document.",
    router,
    references: &[],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::infer_router()
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct InferParams {
    /// Not the live traffic.
    #[schemars(length(min = 1, max = 40))]
    session_id: Option<String>,
    /// Filter of the samples.
    #[schemars(length(max = 2000))]
    filter: Option<String>,
    /// Host or origin; else the busiest.
    #[schemars(length(min = 1, max = 300))]
    host: Option<String>,
    /// In the path's template.
    #[schemars(length(min = 1, max = 500))]
    path_contains: Option<String>,
    /// With a sample of each body.
    #[serde(default)]
    examples: bool,
    /// JSON file to write the document into.
    #[schemars(length(min = 1, max = 4096))]
    output_file: Option<String>,
}

/// The API.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Api {
    status: Success,
    /// The origin described; absent where no exchange shows an API.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    /// Method, path template, calls, statuses.
    operations: Vec<(String, String, u64, Vec<u16>)>,
    operation_count: usize,
    /// The OpenAPI 3.1 document, where it fits; else give output_file or path_contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Value>,
    /// The file it was written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_file: Option<String>,
    /// The document's size.
    document_bytes: usize,
    /// Other origins and their calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_origins: Vec<(String, u64)>,
    counts: CountsView,
    /// Whether operations or the document were left out to keep the answer small.
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
}

/// What was read and left out.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CountsView {
    read: u64,
    described: u64,
    /// Without a response of upstream.
    unanswered: u64,
    /// Pages, scripts, images, preflights.
    not_api: u64,
    /// Bodies not looked into.
    unread_bodies: u64,
    /// Of further methods, or beyond the limit of operations.
    left_out: u64,
    /// Whether there were more exchanges than were read.
    #[serde(skip_serializing_if = "is_false")]
    more: bool,
}

impl From<infer::Counts> for CountsView {
    fn from(counts: infer::Counts) -> Self {
        Self {
            read: counts.read,
            described: counts.described,
            unanswered: counts.unanswered,
            not_api: counts.not_api,
            unread_bodies: counts.unread_bodies,
            left_out: counts.other_methods + counts.beyond_limit,
            more: counts.more,
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct DriftParams {
    /// OpenAPI 3 file (JSON), or a session's id.
    #[schemars(length(min = 1, max = 4096))]
    against: String,
    /// Not the live traffic.
    #[schemars(length(min = 1, max = 40))]
    session_id: Option<String>,
    /// Filter of what is checked.
    #[schemars(length(max = 2000))]
    filter: Option<String>,
    /// Host or origin, if not the document's.
    #[schemars(length(min = 1, max = 300))]
    host: Option<String>,
    /// Changes to skip.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10_000))]
    offset: u32,
}

/// A change.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ChangeView {
    kind: &'static str,
    endpoint: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    at: String,
    detail: String,
    count: u64,
    /// The first exchange that shows it.
    example: String,
}

/// What drifted.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DriftView {
    status: Success,
    /// Whether nothing drifted.
    conforms: bool,
    /// Changes in all.
    total: u64,
    /// Those that break clients first.
    changes: Vec<ChangeView>,
    /// The `offset` that continues; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offset: Option<u64>,
    /// Exchanges held against the document.
    checked: u64,
    /// Exchanges with other origins than the document's.
    elsewhere: u64,
    /// Documented operations that nothing used, the first 50.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unused: Vec<String>,
    counts: CountsView,
}

#[tool_router(router = infer_router, vis = "pub(crate)")]
impl Toolbox {
    /// Infer the API behind recorded exchanges as an OpenAPI 3.1 document.
    #[tool(
        name = "infer_api",
        title = "Infer an API",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    pub(crate) async fn infer_api(
        &self,
        Parameters(params): Parameters<InferParams>,
    ) -> Result<Json<Api>, ToolError> {
        let output = match &params.output_file {
            Some(text) => Some(new_file(&self.files().path("output_file", text)?)?),
            None => None,
        };
        let (store, query) = self.samples(params.session_id.as_deref(), params.filter.as_deref()).await?;
        let mut options = Options::default();
        (options.origin, options.path_contains) = (params.host.clone(), params.path_contains.clone());
        options.examples = params.examples;
        let budget = self.config().answer_bytes;
        let vault = self.vault().cloned();
        if let Some(vault) = &vault {
            vault.learn(self).await;
        }
        blocking(move || {
            let mut inferred = infer::infer(&store, &query, &options)?;
            if let Some(vault) = vault {
                // A file does not go the way of answers. All names in it were captured.
                vault.hide(&mut inferred.document, Some(&serde_json::Map::new()));
            }
            if let (Some(host), None) = (&params.host, &inferred.origin) {
                let known: Vec<&str> =
                    inferred.other_origins.iter().map(|(origin, _)| origin.as_str()).take(10).collect();
                return Err(ToolError::new(
                    "unknown_host",
                    format!("no call of {:?} is recorded", cut(host, 80)),
                )
                .hint(format!("there are calls of: {}", known.join(", "))));
            }
            api(inferred, output.as_deref(), budget).map(Json)
        })
        .await
    }

    /// Check recorded exchanges against an OpenAPI document or another session: what is new, missing, changed.
    #[tool(
        name = "check_api_drift",
        title = "Check for API drift",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn check_api_drift(
        &self,
        Parameters(params): Parameters<DriftParams>,
    ) -> Result<Json<DriftView>, ToolError> {
        let (store, query) = self.samples(params.session_id.as_deref(), params.filter.as_deref()).await?;
        let mut options = Options::default();
        options.origin = params.host.clone();
        let standard = match params.against.parse::<SessionId>() {
            Ok(session) => Standard::Session(session),
            Err(_) => Standard::File(self.files().path("against", &params.against)?),
        };
        let budget = self.config().answer_bytes;
        blocking(move || {
            let document = standard.read(&store, &options)?;
            let drift = infer::drift(&store, &query, &document, &options).map_err(drift_error)?;
            let total = drift.changes.len() as u64 + drift.more_changes;
            let skip = params.offset as usize;
            let changes = drift.changes.iter().skip(skip).map(|change| ChangeView {
                kind: change.kind.as_str(),
                endpoint: cut(&change.endpoint, 200),
                at: cut(&change.at, 200),
                detail: cut(&change.detail, 300),
                count: change.count,
                example: change.first.to_string(),
            });
            let (changes, dropped) = fit(changes.collect(), budget - budget / 4);
            let reached = (skip + changes.len()) as u64;
            Ok(Json(DriftView {
                status: Success::Success,
                conforms: total == 0,
                total,
                next_offset: dropped.then_some(reached),
                changes,
                checked: drift.checked,
                elsewhere: drift.elsewhere,
                unused: drift.unused.iter().take(50).map(|name| cut(name, 120)).collect(),
                counts: drift.counts.into(),
            }))
        })
        .await
    }
}

/// What exchanges are held against.
enum Standard {
    File(PathBuf),
    /// The API that a session shows.
    Session(SessionId),
}

impl Standard {
    fn read(&self, store: &Store, options: &Options) -> Result<Value, ToolError> {
        match self {
            Self::Session(session) => {
                store.session(*session)?;
                let mut query = Query::default();
                query.session = Some(*session);
                Ok(infer::infer(store, &query, options)?.document)
            }
            Self::File(path) => {
                let unreadable = |error: &dyn std::fmt::Display| {
                    ToolError::new("file_unreadable", format!("failed to read {}: {error}", path.display()))
                        .hint("against is a JSON file within the allowed directories, or a session's id")
                };
                let size = std::fs::metadata(path).map_err(|error| unreadable(&error))?.len();
                if size > MAX_DOCUMENT {
                    return Err(unreadable(&format!("it is longer than {MAX_DOCUMENT} bytes")));
                }
                let bytes = std::fs::read(path).map_err(|error| unreadable(&error))?;
                serde_json::from_slice(&bytes).map_err(|error| {
                    ToolError::new(
                        "not_openapi",
                        format!("failed to read {} as JSON: {error}", path.display()),
                    )
                    .hint("YAML is not read: convert the document to JSON first")
                })
            }
        }
    }
}

impl Toolbox {
    /// The exchanges that are looked at.
    async fn samples(
        &self,
        session: Option<&str>,
        filter: Option<&str>,
    ) -> Result<(Store, Query), ToolError> {
        let session = session.map(str::parse::<SessionId>).transpose()?;
        let store = self.fresh_store().await?;
        let mut query = Query::default();
        let mut parts = Vec::new();
        if let Some(text) = filter.filter(|text| !text.trim().is_empty()) {
            parts.push(capture_store::parse(text).map_err(|error| {
                ToolError::invalid(format!("failed to read filter: {}", chain(&error)))
                    .hint("write one like: path:/v1/* status:2xx")
            })?);
        }
        match session {
            Some(session) => {
                let named = store.clone();
                blocking(move || Ok(named.session(session).map(drop)?)).await?;
                query.session = Some(session);
            }
            None => {
                let scope: Vec<_> = self.live().iter().map(|live| (live.id, live.floor)).collect();
                let scope = traffic_analysis::Scope::of_sessions(&scope).query();
                (query.session, query.after) = (scope.session, scope.after);
                parts.extend(scope.condition);
            }
        }
        query.condition = (!parts.is_empty()).then_some(capture_store::Condition::All(parts));
        Ok((store, query))
    }
}

fn drift_error(error: DriftError) -> ToolError {
    match error {
        DriftError::Store(error) => error.into(),
        other => ToolError::new("not_openapi", format!("failed to {}", chain(&other)))
            .hint("against must be an OpenAPI 3.0 or 3.1 document in JSON; infer_api writes one"),
    }
}

/// A file that is not there yet, or is a document already.
fn new_file(path: &Path) -> Result<PathBuf, ToolError> {
    let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    if !json {
        return Err(ToolError::invalid("output_file must end in .json").hint("name it api.openapi.json"));
    }
    let ours = || {
        std::fs::read(path).is_ok_and(|bytes| bytes.windows(9).take(200).any(|part| part == b"\"openapi\""))
    };
    if path.exists() && !ours() {
        return Err(ToolError::new("file_exists", format!("output_file: {} is there", path.display()))
            .hint("name a file that is not, or one that holds an OpenAPI document"));
    }
    Ok(path.to_owned())
}

fn api(inferred: Inferred, output: Option<&Path>, budget: usize) -> Result<Api, ToolError> {
    let document_bytes = json_bytes(&inferred.document);
    let operation_count = inferred.operations.len();
    if let Some(path) = output {
        let text = serde_json::to_vec_pretty(&inferred.document).unwrap_or_default();
        write_whole(path, &text)?;
    }
    let rows = inferred.operations.into_iter().map(|it| (it.method, it.path, it.count, it.statuses));
    let inline = output.is_none() && document_bytes + 1024 <= budget;
    // With the document there, the list may have what is left.
    let room = if inline { (budget - document_bytes).max(1024) } else { budget - budget / 4 };
    let (operations, cut_short) = fit(rows.collect(), room);
    Ok(Api {
        status: Success::Success,
        origin: inferred.origin,
        operations,
        operation_count,
        truncated: cut_short || (output.is_none() && !inline),
        document: inline.then_some(inferred.document),
        output_file: output.map(|path| path.display().to_string()),
        document_bytes,
        other_origins: inferred.other_origins.into_iter().take(10).collect(),
        counts: inferred.counts.into(),
    })
}

/// Writes beside, then renames: the file is there as a whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), ToolError> {
    let beside = path.with_extension("json.part");
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        ToolError::new("file_unwritable", format!("failed to write {}: {error}", path.display()))
            .hint("give output_file in a directory that exists and is yours")
    })
}
