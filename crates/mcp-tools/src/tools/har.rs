//! HAR 1.2 files out of sessions, and into sessions.

use std::path::{Path, PathBuf};

use capture_store::{Query, Seq, SessionId, Store, secrets::Secrets};
use har_export::{BodyLevel, ExportOptions, ExportSummary, ImportOptions};
use rmcp::{
    handler::server::{
        router::tool::ToolRouter,
        wrapper::{Json, Parameters},
    },
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{Family, Reference},
    error::{ToolError, chain},
    live::{self, LiveSession, Sort},
    scoped::filter,
    toolbox::{Toolbox, blocking},
    tools::{
        history::SessionFilter,
        proxy::{bytes_of, default_disk_mb},
        sessions,
    },
    toolsets::Toolset,
    view::{SessionView, Success, millis},
};

/// Warnings an answer shows.
const MAX_WARNINGS: usize = 50;

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "har",
    toolset: Toolset::Har,
    summary: "HAR 1.2 files out of sessions, and into sessions.",
    router,
    references: &[
        Reference::new(
            "proxy_export_har",
            "proxy-mcp",
            "exports all that match, not the first 5,000; timings, cookies, binary bodies as base64, WebSocket messages; written \
             whole or not at all; `output_file` is confined to the allowed directories",
        ),
        Reference::new(
            "proxy_import_har",
            "proxy-mcp",
            "streams; keeps timings, cookies and `_webSocketMessages`; works while the proxy records; `har_file` is confined to the \
             allowed directories",
        ),
    ],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::har_router()
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct ExportParams {
    /// The session's id, like s3.
    #[schemars(length(min = 1, max = 40))]
    session_id: String,
    /// File to write, within the allowed directories; one that is there is only replaced if it ends in .har. Default: exports/<session>.har in the state directory.
    #[schemars(length(max = 4096))]
    output_file: Option<String>,
    /// Write bodies, too.
    #[serde(default = "yes")]
    include_bodies: bool,
    /// Hide credentials: authorization, cookies, tokens. A server with --redact always does.
    redact: Option<bool>,
    /// asc: oldest first; desc: newest first.
    #[serde(default)]
    sort: Sort,
    #[serde(flatten)]
    parts: SessionFilter,
    /// Filter: host:a.test status:>=500 since:10m.
    #[schemars(length(max = 4000))]
    filter: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Exported {
    status: Success,
    session_id: String,
    /// The file.
    output_file: String,
    entries: u64,
    /// Its size.
    bytes: u64,
    /// Entries of exchanges still under way, written as they stand.
    open: u64,
    /// Bodies written with their content coding, because it could not be taken off.
    undecodable: u64,
    /// Credentials hidden.
    redacted: u64,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct ImportParams {
    /// The HAR file, within the allowed directories.
    #[schemars(length(min = 1, max = 4096))]
    har_file: String,
    /// Name of the session. Default: the file's name.
    #[schemars(length(min = 1, max = 200))]
    session_name: Option<String>,
    /// Directory of the store to import into, within the allowed directories. Default: the current store.
    #[schemars(length(max = 4096))]
    storage_dir: Option<String>,
    /// Limit of the session on disk, MiB.
    #[serde(default = "default_disk_mb")]
    #[schemars(range(min = 1, max = 16_777_216))]
    max_disk_mb: f64,
    /// Refuse the whole file when an entry is not in order.
    #[serde(default)]
    strict: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Imported {
    status: Success,
    session: SessionView,
    import_summary: ImportSummary,
}

/// What an import did.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImportSummary {
    source_file: String,
    total_entries: u64,
    imported_entries: u64,
    skipped_entries: u64,
    /// Warnings in all.
    error_count: u64,
    first_timestamp: Option<u64>,
    last_timestamp: Option<u64>,
    /// The first 50.
    warnings: Vec<String>,
}

#[tool_router(router = har_router, vis = "pub(crate)")]
impl Toolbox {
    /// Write a session, or the part of it that matches, as a HAR 1.2 file.
    #[tool(
        name = "proxy_export_har",
        title = "Export a HAR file",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_export_har(
        &self,
        Parameters(params): Parameters<ExportParams>,
    ) -> Result<Json<Exported>, ToolError> {
        let session: SessionId = params.session_id.parse()?;
        let out = match &params.output_file {
            Some(text) => self.files().output("output_file", text)?,
            None => self.exports_dir().join(format!("{session}.har")),
        };
        let own = params.output_file.is_none();
        let store = self.fresh_store().await?;
        let mut query = params.parts.query(session, params.sort);
        query.condition = params.filter.as_deref().map(|text| filter("filter", text)).transpose()?;
        let mut options = ExportOptions::default();
        options.bodies = if params.include_bodies { BodyLevel::All } else { BodyLevel::None };
        options.redact = self.redaction(params.redact).await?;
        let path = out.clone();
        let summary = blocking(move || {
            store.session(session)?;
            export(&store, &query, &path, &options, own)
        })
        .await?;
        Ok(Json(Exported {
            status: Success::Success,
            session_id: session.to_string(),
            output_file: out.display().to_string(),
            entries: summary.entries,
            bytes: summary.bytes,
            open: summary.open,
            undecodable: summary.undecodable,
            redacted: summary.redacted.iter().map(|hidden| hidden.count).sum(),
        }))
    }

    /// Read a HAR file of whatever tool into a new session.
    #[tool(
        name = "proxy_import_har",
        title = "Import a HAR file",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_import_har(
        &self,
        Parameters(params): Parameters<ImportParams>,
    ) -> Result<Json<Imported>, ToolError> {
        let source = self.files().path("har_file", &params.har_file)?;
        let directory = params.storage_dir.map(|text| self.files().path("storage_dir", &text)).transpose()?;
        let (store, exports) = (self.store_in(directory).await?, self.exports_dir());
        let mut options = ImportOptions::default();
        options.name = params.session_name;
        options.strict = params.strict;
        options.max_bytes = Some(bytes_of(params.max_disk_mb));
        blocking(move || {
            let summary = har_export::import(&store, &source, &options, |_| {}).map_err(har_error)?;
            let session = sessions::view(&store, &summary.session, &exports)?;
            let warnings = summary.warnings.iter().take(MAX_WARNINGS).map(ToString::to_string).collect();
            let import_summary = ImportSummary {
                source_file: source.display().to_string(),
                total_entries: summary.total_entries,
                imported_entries: summary.imported,
                skipped_entries: summary.skipped,
                error_count: summary.warning_count,
                first_timestamp: summary.first_timestamp.map(millis),
                last_timestamp: summary.last_timestamp.map(millis),
                warnings,
            };
            Ok(Json(Imported { status: Success::Success, session, import_summary }))
        })
        .await
    }
}

impl Toolbox {
    /// What to hide in an exported file: what was asked for, and always where redaction is on.
    async fn redaction(&self, asked: Option<bool>) -> Result<Option<Secrets>, ToolError> {
        match (self.secrets_of_files().await, asked) {
            (Some(_), Some(false)) => Err(ToolError::new(
                "redaction_on",
                "redact: this server hides credentials, in the files it writes, too",
            )
            .hint(
                "leave redact out; `wirescope export` writes them, or a server started with --redact=false",
            )),
            (Some(all), _) => Ok(Some(all)),
            (None, asked) => Ok(asked.unwrap_or_default().then(|| self.config().secrets.clone())),
        }
    }
}

/// Writes what came after `start` in several sessions into one file. Gives the entries written, and how many of
/// them belong to sessions imported into the same store meanwhile, whose seqs lie between.
pub(crate) async fn export_sessions(
    store: &Store,
    sessions: &[LiveSession],
    start: Seq,
    out: PathBuf,
    redact: Option<Secrets>,
) -> Result<(u64, u64), ToolError> {
    let (store, sessions) = (store.clone(), sessions.to_vec());
    blocking(move || {
        let ours = live::tail(&store, &sessions, start, &Query::default(), 1)?.total;
        let mut query = Query::default();
        query.after = (start > Seq(0)).then_some(start);
        if let [only] = sessions.as_slice() {
            query.session = Some(only.id);
        }
        let mut options = ExportOptions::default();
        options.redact = redact;
        let summary = export(&store, &query, &out, &options, true)?;
        Ok((summary.entries, summary.entries.saturating_sub(ours)))
    })
    .await
}

/// Exports; `own` says that the directory is ours to make. Blocks.
fn export(
    store: &Store,
    query: &Query,
    out: &Path,
    options: &ExportOptions,
    own: bool,
) -> Result<ExportSummary, ToolError> {
    if let Some(directory) = out.parent().filter(|_| own) {
        std::fs::create_dir_all(directory).map_err(|error| {
            let error = format!("failed to make {}: {error}", directory.display());
            ToolError::new("file_unwritable", error).hint("give output_file, in a directory that is yours")
        })?;
    }
    har_export::export(store, query, out, options, |_| {}).map_err(har_error)
}

fn har_error(error: har_export::Error) -> ToolError {
    use har_export::ErrorKind as Kind;
    let text = format!("failed to {}", chain(&error));
    let (code, hint) = match error.kind() {
        Kind::WriteFile(_) => {
            ("file_unwritable", "give output_file, in a directory that exists and is yours")
        }
        Kind::ReadFile(_) => ("file_unreadable", "har_file is a path within the allowed directories"),
        Kind::NotJson { .. } | Kind::NotHar { .. } => ("not_har", "har_file must be a HAR file, whole"),
        Kind::BadEntry { .. } | Kind::BadLog { .. } => {
            ("bad_entry", "leave out strict to import the rest, with warnings")
        }
        _ => ("har_failed", "proxy_session_status says how the store stands"),
    };
    ToolError::new(code, text).hint(hint)
}
