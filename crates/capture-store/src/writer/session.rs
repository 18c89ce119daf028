//! The session being recorded, as the writer knows it: what it may still take.

use std::time::{Duration, Instant};

use super::{
    disk::Disk,
    patience::Refused,
    thread::{Include, Writer},
};
use crate::{
    db::{Connection, DbError, NewSession},
    error::{Error, ErrorKind},
    id::{Seq, SessionId},
    recorder::{RecorderConfig, SessionSpec},
    session::{SessionInfo, SessionKind, SessionState},
};

/// The limit of a scratch session that names none.
const SCRATCH_BYTES: u64 = 1024 * 1024 * 1024;
/// A full session goes on recording when it was cleared to this part of what it held.
const RESUME_NUMERATOR: u64 = 9;
const RESUME_DENOMINATOR: u64 = 10;

/// How often the database is asked whether a full session was cleared.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// A session's limit and where it stands.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) kind: SessionKind,
    pub(super) max_bytes: Option<u64>,
    /// What a scratch session keeps beside: so many exchanges, and none older than this.
    pub(super) max_exchanges: Option<u64>,
    pub(super) max_age: Option<Duration>,
    /// What it holds by the last commit.
    pub(super) bytes: u64,
    /// Body bytes kept since, for exchanges that are not committed.
    pub(super) uncommitted: u64,
    /// What it held when it became full.
    full_at: Option<u64>,
    /// When the database was last asked whether it still is.
    asked_at: Option<Instant>,
    /// Exchanges not recorded that the session's row does not count yet.
    pub(super) not_recorded: u64,
}

/// Whether an exchange may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Open,
    Full,
}

impl Recording {
    fn new(spec: &SessionSpec, config: &RecorderConfig) -> Self {
        let (kind, max_bytes) = match spec {
            SessionSpec::Scratch { max_bytes } => {
                (SessionKind::Scratch, Some(max_bytes.unwrap_or(SCRATCH_BYTES)))
            }
            SessionSpec::Named { max_bytes, .. } => (SessionKind::Named, *max_bytes),
        };
        let scratch = kind == SessionKind::Scratch;
        Self {
            kind,
            max_bytes,
            max_exchanges: config.max_exchanges.filter(|_| scratch),
            max_age: config.max_age.filter(|_| scratch),
            bytes: 0,
            uncommitted: 0,
            full_at: None,
            asked_at: None,
            not_recorded: 0,
        }
    }

    /// Asks whether an exchange may begin, and counts it where it may not.
    pub(super) fn admit(&mut self) -> Admission {
        if !self.is_full() && self.room() == Some(0) {
            self.full_at = Some(self.bytes);
        }
        if self.is_full() {
            self.not_recorded += 1;
            return Admission::Full;
        }
        Admission::Open
    }

    /// How much of one body is kept. In a scratch session it is half of what the session may hold, so that one download
    /// does not evict all that came before it, and then itself.
    pub(super) fn body_limit(&self, configured: Option<u64>) -> u64 {
        let scratch = self.max_bytes.filter(|_| self.kind == SessionKind::Scratch);
        let own = scratch.map_or(u64::MAX, |max| max / 2);
        own.min(configured.unwrap_or(u64::MAX))
    }

    /// Takes room for as many body bytes of an exchange that was admitted as there is room for. A named session without
    /// becomes full, and the body is cut there.
    pub(super) fn take_up_to(&mut self, bytes: usize) -> usize {
        let taken = self.room().map_or(bytes, |room| bytes.min(usize::try_from(room).unwrap_or(usize::MAX)));
        if taken < bytes {
            self.full_at.get_or_insert(self.bytes);
        }
        self.uncommitted += taken as u64;
        taken
    }

    /// Takes room for a message, all of it or none.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let taken = self.take_up_to(bytes);
        if taken < bytes {
            self.give_back(taken);
        }
        taken == bytes
    }

    /// Gives room back that was taken for what could not be written.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.uncommitted = self.uncommitted.saturating_sub(bytes as u64);
    }

    /// Takes over how much is not committed where the rest was dropped. A session that only this had made full is full no
    /// more.
    pub(super) fn dropped_to(&mut self, uncommitted: u64) {
        self.uncommitted = uncommitted;
        let resumes = |max: u64| self.bytes + uncommitted < max / RESUME_DENOMINATOR * RESUME_NUMERATOR;
        if self.max_bytes.is_some_and(resumes) {
            self.full_at = None;
        }
    }

    /// Whether it is time to ask the database whether somebody cleared it.
    pub(super) fn wants_sync(&mut self) -> bool {
        let now = Instant::now();
        let wants = self.is_full() && self.asked_at.is_none_or(|asked| now - asked >= ASK_AGAIN);
        if wants {
            self.asked_at = Some(now);
        }
        wants
    }

    pub(super) fn is_full(&self) -> bool {
        self.full_at.is_some()
    }

    /// How many bytes it may still take; `None` where that has no limit.
    fn room(&self) -> Option<u64> {
        let max = self.max_bytes.filter(|_| self.kind != SessionKind::Scratch)?;
        Some(max.saturating_sub(self.bytes + self.uncommitted))
    }

    /// What it is beyond its limit when it holds this much, where that is to be evicted.
    pub(super) fn excess(&self, bytes: u64) -> u64 {
        match self.max_bytes {
            Some(max) if self.kind == SessionKind::Scratch => bytes.saturating_sub(max),
            _ => 0,
        }
    }

    /// Takes over what the database says it holds; a full one that was cleared is full no more.
    pub(super) fn sync(&mut self, bytes: u64) {
        self.bytes = bytes;
        if let Some(full_at) = self.full_at {
            let cleared = bytes < full_at / RESUME_DENOMINATOR * RESUME_NUMERATOR;
            self.full_at = (!cleared).then(|| full_at.max(bytes));
        }
    }
}

impl Writer {
    /// Makes a session and records into it from here on.
    pub(super) fn switch(&mut self, spec: &SessionSpec) -> Result<SessionInfo, Refused> {
        if self.current != SessionId(0) {
            self.commit(Include::Due)?;
        }
        let recording = Recording::new(spec, &self.config);
        let name = match spec {
            SessionSpec::Named { name, .. } => Some(name.as_str()),
            SessionSpec::Scratch { .. } => None,
        };
        let new = NewSession {
            name,
            kind: recording.kind,
            state: SessionState::Active,
            hidden: false,
            max_bytes: recording.max_bytes,
            max_exchanges: recording.max_exchanges,
            max_age: recording.max_age,
            window_ms: millis(window(&self.config)),
        };
        let current = self.current;
        let Disk { db, db_patience, .. } = &mut self.disk;
        let (id, newest, info) = db_patience.attempt(&self.shared, || begin_session(db, current, &new))?;
        let info = info.ok_or_else(|| Error::new(ErrorKind::UnknownSession(id)))?;
        self.sessions.insert(id, recording);
        self.newest = newest;
        self.forget_idle_sessions(id);
        self.current = id;
        self.shared.set_session(id);
        Ok(info)
    }

    /// Begins the first session; a disk that refuses is not waited for.
    pub(crate) fn begin_with(&mut self, spec: &SessionSpec) -> Result<SessionInfo, Error> {
        self.switch(spec).map_err(|refused| refused.error)
    }

    /// Looks whether somebody cleared a session that is full.
    pub(super) fn sync_full_session(&mut self) {
        let Some(recording) = self.sessions.get_mut(&self.current).filter(|session| session.is_full()) else {
            return;
        };
        if recording.wants_sync()
            && let Ok(Some(bytes)) = session_bytes(&self.disk.db, self.current)
        {
            recording.sync(bytes);
        }
    }

    /// Forgets sessions that nothing is recorded into any more.
    fn forget_idle_sessions(&mut self, current: SessionId) {
        let Self { sessions, open, ended, .. } = self;
        sessions.retain(|id, recording| {
            *id == current
                || recording.not_recorded > 0
                || open.values().any(|assembly| assembly.session == *id)
                || ended.iter().any(|finished| finished.session() == *id)
        });
    }
}

/// Ends the session before, if there is one, and begins a new one.
fn begin_session(
    db: &Connection,
    before: SessionId,
    new: &NewSession<'_>,
) -> Result<(SessionId, Seq, Option<SessionInfo>), DbError> {
    let tx = db.begin()?;
    if before != SessionId(0) {
        tx.set_session_state(before, SessionState::Stopped)?;
    }
    let id = tx.create_session(new)?;
    let (newest, info) = (tx.newest_seq()?, tx.session(id)?);
    tx.commit()?;
    Ok((id, newest, info))
}

fn session_bytes(db: &Connection, id: SessionId) -> Result<Option<u64>, DbError> {
    let tx = db.snapshot()?;
    let info = tx.session(id)?;
    tx.commit()?;
    Ok(info.map(|info| info.bytes))
}

/// What a crash may cost: the longest that something waits in memory.
fn window(config: &RecorderConfig) -> Duration {
    config.open_after.max(config.commit_interval)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
