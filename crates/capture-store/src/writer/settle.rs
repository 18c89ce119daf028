//! What a commit does to its sessions beside adding to them: limits, and what they cost the oldest.

use std::time::SystemTime;

use super::session::Recording;
use crate::{
    db::{DbError, Excess, SessionDelta, Tx},
    id::SessionId,
    session::SessionState,
};

/// Exchanges evicted in one commit at most; the next evicts more where it is not enough.
const EVICTED_AT_ONCE: usize = 20_000;

/// Brings a session's row up to date, evicts what is too much, and returns what it holds then.
pub(super) fn settle(
    tx: &Tx<'_>,
    id: SessionId,
    recording: &Recording,
    delta: &SessionDelta,
    unused_files: &mut Vec<u64>,
) -> Result<u64, DbError> {
    tx.add_to_session(id, delta)?;
    let Some(info) = tx.session(id)? else { return Ok(0) };
    let state = if recording.is_full() { SessionState::Full } else { SessionState::Active };
    if matches!(info.state, SessionState::Active | SessionState::Full) && info.state != state {
        tx.set_session_state(id, state)?;
    }
    let mut bytes = info.bytes;
    let mut due = Vec::new();
    if let Some(age) = recording.max_age
        && let Some(before) = SystemTime::now().checked_sub(age)
    {
        due.push(Excess::OlderThan(before));
    }
    if let Some(most) = recording.max_exchanges.filter(|most| info.exchanges > *most) {
        due.push(Excess::Exchanges(info.exchanges - most));
    }
    for excess in due {
        let removed = tx.evict(id, excess, EVICTED_AT_ONCE)?;
        bytes -= removed.bytes.min(bytes);
        unused_files.extend(removed.files);
    }
    let excess = recording.excess(bytes);
    if excess > 0 {
        let removed = tx.evict(id, Excess::Bytes(excess), EVICTED_AT_ONCE)?;
        bytes -= removed.bytes.min(bytes);
        unused_files.extend(removed.files);
    }
    Ok(bytes)
}
