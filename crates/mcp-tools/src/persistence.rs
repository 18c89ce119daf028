//! How the recording stands, as `proxy_start` and the status tools show it.

use std::path::Path;

use capture_store::{Recorder, RecorderState, SessionKind, Store};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    error::ToolError,
    view::{mebibytes, millis},
};

/// How the recording stands.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Persistence {
    /// Whether a named session is being recorded.
    enabled: bool,
    /// The named session; null while an unnamed one records.
    session_id: Option<String>,
    /// Always `full` while something is recorded.
    capture_profile: Option<&'static str>,
    /// The store's directory.
    storage_dir: String,
    /// Bytes the session takes on disk.
    bytes_written: u64,
    /// Exchanges that passed and are not recorded.
    dropped_writes: u64,
    last_flush_at: Option<u64>,
    /// The session's limit in MiB.
    max_disk_mb: Option<f64>,
    /// `clean`, or `recovered` when opening the store closed sessions a crash left open.
    recovery_state: Option<&'static str>,
    last_error: Option<String>,
    /// The session being recorded, named or not.
    recording_session_id: Option<String>,
    /// `recording`; `behind` (traffic waits for a slow disk); `retrying`, `holding` (traffic waits for a disk that
    /// refuses); `dropping` (it goes on unrecorded, and is counted); `full`.
    recording_state: Option<&'static str>,
    /// Since when the disk refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<u64>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

impl Persistence {
    /// Asks the recorder. Blocks.
    pub(crate) fn of(recorder: &Recorder, store: &Store) -> Result<Self, ToolError> {
        let status = recorder.status()?;
        let named = status.session.kind == SessionKind::Named;
        let id = status.session.id.to_string();
        Ok(Self {
            enabled: named,
            session_id: named.then(|| id.clone()),
            capture_profile: Some("full"),
            storage_dir: store.directory().display().to_string(),
            bytes_written: status.session.bytes,
            dropped_writes: status.dropped,
            last_flush_at: status.last_commit.map(millis),
            max_disk_mb: status.session.max_bytes.map(mebibytes),
            recovery_state: Some(if store.recovered().is_empty() { "clean" } else { "recovered" }),
            last_error: status.last_error,
            recording_session_id: Some(id),
            recording_state: Some(status.state.code()),
            failing_since: status.failing_since.map(millis),
            hint: hint(status.state),
        })
    }

    pub(crate) fn idle(storage: &Path) -> Self {
        Self { storage_dir: storage.display().to_string(), ..Self::default() }
    }
}

/// The way out of a state, where one is needed.
fn hint(state: RecorderState) -> Option<&'static str> {
    match state {
        RecorderState::Retrying | RecorderState::Holding => Some(
            "free some space (proxy_delete_session deletes recordings): traffic goes on by itself then; or start the server \
             with --on-disk-failure drop",
        ),
        RecorderState::Dropping => Some(
            "free some space (proxy_delete_session deletes recordings): recording goes on by itself then",
        ),
        RecorderState::Full => Some("proxy_session_stop ends the full session; an unnamed one records on"),
        _ => None,
    }
}
