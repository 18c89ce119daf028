//! What a crash left, as `proxy_session_recover` shows it.

use capture_store::SessionInfo;
use schemars::JsonSchema;
use serde::Serialize;

use crate::view::millis;

/// A session closed after a crash.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecoveredSession {
    session_id: String,
    exchanges: u64,
    /// Bytes of body tails that no committed exchange names, removed.
    dropped_tail_bytes: u64,
    /// Exchanges whose end was not recorded, closed as failed.
    unfinished: u64,
    /// The longest span before the crash whose exchanges may be missing.
    window_ms: u64,
    recovered_at: Option<u64>,
}

impl RecoveredSession {
    pub(crate) fn new(info: &SessionInfo) -> Self {
        let recovery = info.recovery.as_ref();
        Self {
            session_id: info.id.to_string(),
            exchanges: info.exchanges,
            dropped_tail_bytes: recovery.map_or(0, |recovery| recovery.dropped_bytes),
            unfinished: recovery.map_or(0, |recovery| recovery.unfinished),
            window_ms: recovery.map_or(0, |recovery| recovery.window_ms),
            recovered_at: recovery.map(|recovery| millis(recovery.at)),
        }
    }
}
