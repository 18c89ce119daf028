//! Closing what a crash left: sessions that nobody records into, half-made imports, half-done deletions, and bytes of
//! bodies that no row names.

use std::path::Path;

use crate::{
    db::Connection, error::Error, files::BodyFiles, id::SessionId, index, lock, reserve::with_reserve,
    session::SessionInfo,
};

/// Exchanges deleted in one transaction at most, so that a recorder waits little for the next.
pub(crate) const DELETED_AT_ONCE: usize = 2_000;
/// Pages (of 16 KiB) given back to the file system in one transaction.
const PAGES_AT_ONCE: u32 = 512;
/// Such transactions after a deletion; pages beyond them wait for the next deletion, or are used again.
const SHRINK_ROUNDS: usize = 1_024;

/// Recovers what a dead process left, where no live one records. Returns the sessions that were closed. The caller
/// holds `opening.lock` and `recorder.lock`.
pub(crate) fn recover(
    directory: &Path,
    db: &Connection,
    files: &BodyFiles,
) -> Result<Vec<SessionInfo>, Error> {
    with_reserve(directory, || recover_once(directory, db, files))
}

fn recover_once(directory: &Path, db: &Connection, files: &BodyFiles) -> Result<Vec<SessionInfo>, Error> {
    let tx = db.snapshot()?;
    let unclosed = tx.unclosed_sessions()?;
    let hidden = tx.hidden_sessions()?;
    tx.commit()?;
    if unclosed.is_empty() && hidden.is_empty() {
        return Ok(Vec::new());
    }
    let dropped = match lock::try_sweep(directory)? {
        Some(_alone) => {
            for session in hidden {
                delete_hidden(db, files, session)?;
            }
            sweep(db, files)?
        }
        // An import goes on in another process: what it has not committed must stay.
        None => 0,
    };
    close(db, &unclosed, dropped)
}

fn sweep(db: &Connection, files: &BodyFiles) -> Result<u64, Error> {
    let tx = db.snapshot()?;
    let dropped = files.sweep(|file| tx.file_length(file).map_err(Error::from))?;
    tx.commit()?;
    Ok(dropped)
}

/// Closes sessions as recovered. What was dropped is told with the newest, which was being recorded.
fn close(db: &Connection, sessions: &[SessionId], dropped_bytes: u64) -> Result<Vec<SessionInfo>, Error> {
    let newest = sessions.iter().max();
    let tx = db.begin()?;
    let mut closed = Vec::new();
    for session in sessions {
        let dropped = if Some(session) == newest { dropped_bytes } else { 0 };
        tx.close_after_crash(*session, dropped)?;
        closed.extend(tx.session(*session)?);
    }
    tx.commit()?;
    for session in &closed {
        let recovery = session.recovery.as_ref();
        tracing::warn!(
            session = %session.id,
            exchanges = session.exchanges,
            unfinished = recovery.map_or(0, |recovery| recovery.unfinished),
            dropped_bytes = recovery.map_or(0, |recovery| recovery.dropped_bytes),
            "closed a session that a crash left open"
        );
    }
    Ok(closed)
}

/// Deletes a hidden session with all it holds, in small transactions. Repeatable after a crash at any point: the
/// session's row goes last.
pub(crate) fn delete_hidden(db: &Connection, files: &BodyFiles, session: SessionId) -> Result<(), Error> {
    loop {
        let removed = with_reserve(files.store(), || {
            let tx = db.begin()?;
            let removed = tx.remove_hidden(session, DELETED_AT_ONCE)?;
            tx.commit()?;
            Ok(removed)
        })?;
        files.remove_all(&removed.files);
        if removed.exchanges == 0 {
            break;
        }
    }
    with_reserve(files.store(), || {
        let tx = db.begin()?;
        tx.delete_session_row(session)?;
        Ok(tx.commit()?)
    })?;
    shrink(db);
    Ok(())
}

/// Gives space back to the file system, that of the index of what was deleted too. What is left, because somebody else writes all the time, is used again.
pub(crate) fn shrink(db: &Connection) {
    match index::tidy(db) {
        Err(error) if !error.is_busy() => tracing::warn!(%error, "tidying the index of texts failed"),
        _ => {}
    }
    for _ in 0..SHRINK_ROUNDS {
        match db.shrink(PAGES_AT_ONCE) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.is_busy() => return,
            Err(error) => return tracing::warn!(%error, "giving space back to the file system failed"),
        }
    }
}
