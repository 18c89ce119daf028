//! The store: a directory holding sessions.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    answer,
    bulk::{self, Batch},
    copy,
    db::{Connection, DbError, Mode, Opener, Tx},
    error::{Error, ErrorKind},
    files::BodyFiles,
    filter::Candidate,
    id::{Seq, SessionId},
    import::ImportSession,
    lock::{self, Lock},
    opening::{self, DATABASE},
    query::{Page, Query, Tail},
    readers::Readers,
    record::{Body, BodySide, Exchange, StoredMessage},
    recorder::SyncPolicy,
    recovery,
    reserve::{self, with_reserve},
    retrieve,
    search::{Search, SearchPage},
    session::{SessionEdit, SessionInfo, SessionState},
    sql::{Sql, SqlAnswer},
    statement,
    verify::{self, Verification},
};

const BODIES: &str = "bodies";
/// Messages given where no limit is named.
const DEFAULT_MESSAGES: usize = 1_000;
/// Messages given at most.
const MAX_MESSAGES: usize = 10_000;

/// A store, open. Clones share it. Every method blocks on the disk: call from a blocking thread.
///
/// At most four threads read at once; a fifth waits. Writing methods take turns with the recorder and with other
/// processes, in transactions of some milliseconds each.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    read_only: bool,
    /// How it is read.
    mode: Mode,
    readers: Readers,
    /// The connection that deletes and clears; opened when it is first needed.
    writer: Mutex<Option<Connection>>,
    files: BodyFiles,
    recovered: Vec<SessionInfo>,
}

/// What a recorder takes over from the store it records into.
pub(crate) struct RecordingParts {
    pub(crate) db: Connection,
    /// Opens more connections.
    pub(crate) another: Opener,
    pub(crate) files: BodyFiles,
    pub(crate) locks: (Lock, Lock),
}

/// How to open a store.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StoreConfig {
    /// Open for reading only: nothing is created, migrated or recovered. Works on a medium that cannot be written to,
    /// too, where the store was closed before it came there.
    pub read_only: bool,
}

impl StoreConfig {
    /// Opens for reading only.
    #[must_use]
    pub fn read_only() -> Self {
        Self { read_only: true }
    }
}

impl Store {
    /// Opens the store in `directory`, creating it (0700) where it does not exist, migrating an older schema, and
    /// closing sessions that a crash left open as recovered (unless a live process records there).
    ///
    /// # Errors
    /// When the directory cannot be used, or a newer schema is found.
    pub fn open(directory: impl AsRef<Path>, config: StoreConfig) -> Result<Self, Error> {
        let directory = directory.as_ref();
        let files = BodyFiles::new(directory.join(BODIES));
        let (mode, recovered) = if config.read_only {
            (opening::check_readable(directory)?, Vec::new())
        } else {
            (Mode::Read, opening::prepare(directory, &files)?)
        };
        let inner = Inner {
            directory: directory.to_owned(),
            read_only: config.read_only,
            mode,
            readers: Readers::new(directory.join(DATABASE), mode),
            writer: Mutex::new(None),
            files,
            recovered,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// Sessions that this opening recovered after a crash.
    #[must_use]
    pub fn recovered(&self) -> &[SessionInfo] {
        &self.inner.recovered
    }

    /// Recovers again on request: sessions left open by a process that is gone. One session, or all. Returns those
    /// that were recovered now.
    ///
    /// # Errors
    /// When the session is unknown, or is being recorded.
    pub fn recover(&self, session: Option<SessionId>) -> Result<Vec<SessionInfo>, Error> {
        let wanted = session.map(|id| self.session(id)).transpose()?;
        self.write(|db| {
            let directory = &self.inner.directory;
            let _opening = lock::opening(directory)?;
            let Some(_dead) = lock::try_recorder(directory)? else {
                return match wanted {
                    Some(info) if is_active(&info) => Err(Error::new(ErrorKind::SessionActive(info.id))),
                    _ => Ok(Vec::new()),
                };
            };
            let mut recovered = recovery::recover(directory, db, &self.inner.files)?;
            recovered.retain(|info| session.is_none_or(|id| info.id == id));
            Ok(recovered)
        })
    }

    /// All sessions, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn sessions(&self) -> Result<Vec<SessionInfo>, Error> {
        self.read(|tx| tx.sessions())
    }

    /// One session.
    ///
    /// # Errors
    /// When there is no such session.
    pub fn session(&self, id: SessionId) -> Result<SessionInfo, Error> {
        self.read(|tx| tx.session(id))?.ok_or_else(|| Error::new(ErrorKind::UnknownSession(id)))
    }

    /// Deletes a session with all it holds. It is gone at once; its space is freed in small steps before this returns.
    ///
    /// # Errors
    /// When there is no such session, or it is being recorded.
    pub fn delete_session(&self, id: SessionId) -> Result<(), Error> {
        self.write(|db| {
            with_reserve(&self.inner.directory, || {
                let tx = db.begin()?;
                let info = tx.session(id)?.ok_or_else(|| Error::new(ErrorKind::UnknownSession(id)))?;
                if is_active(&info) {
                    return Err(Error::new(ErrorKind::SessionActive(id)));
                }
                tx.retire_session(id)?;
                Ok(tx.commit()?)
            })?;
            recovery::delete_hidden(db, &self.inner.files, id)
        })
    }

    /// Deletes the exchanges of a session that have ended, and says how many. Works while it is being recorded.
    /// Exchanges that end while this runs may stay.
    ///
    /// # Errors
    /// When there is no such session.
    pub fn clear_session(&self, id: SessionId) -> Result<u64, Error> {
        self.session(id)?;
        self.write(|db| {
            let (mut cleared, mut after) = (0, Seq(0));
            loop {
                let removed = with_reserve(&self.inner.directory, || {
                    let tx = db.begin()?;
                    let removed = tx.clear(id, after, recovery::DELETED_AT_ONCE)?;
                    tx.commit()?;
                    Ok(removed)
                })?;
                self.inner.files.remove_all(&removed.files);
                cleared += removed.exchanges;
                after = removed.last;
                if removed.exchanges == 0 {
                    break;
                }
            }
            recovery::shrink(db);
            Ok(cleared)
        })
    }

    /// Changes the name, comment or tags of a session; works while it is being recorded.
    ///
    /// # Errors
    /// When there is no such session, or the store cannot be written.
    pub fn edit_session(&self, id: SessionId, edit: &SessionEdit) -> Result<SessionInfo, Error> {
        self.write(|db| {
            let tx = db.begin()?;
            tx.edit_session(id, edit)?;
            let info = tx.session(id)?;
            tx.commit()?;
            info.ok_or_else(|| Error::new(ErrorKind::UnknownSession(id)))
        })
    }

    /// Copies what a query finds, oldest first, into a new session: a part of one, or several as one. Its order, offset and
    /// limit are not used. The copies have seqs of their own; large bodies are shared, not copied. Nothing is visible
    /// until all of it is.
    ///
    /// # Errors
    /// As for [`query`](Self::query), and when the store cannot be written; nothing is left behind then.
    pub fn copy(&self, query: &Query, name: &str) -> Result<SessionInfo, Error> {
        self.check_writable()?;
        let _bodies = lock::bodies(&self.inner.directory)?;
        self.write(|db| copy::copy(self, db, &self.inner.files, query, name))
    }

    /// Verifies one session, or all: the database's structure, every exchange's details, and every body against its
    /// hash. Reads all of it, in small steps, also while it is being recorded.
    ///
    /// # Errors
    /// When there is no such session, or the database cannot be read at all.
    pub fn verify(&self, session: Option<SessionId>) -> Result<Verification, Error> {
        if let Some(id) = session {
            self.session(id)?;
        }
        verify::verify(self, session)
    }

    /// Answers a query.
    ///
    /// # Errors
    /// When a session is named that does not exist, or the store cannot be read.
    pub fn query(&self, query: &Query) -> Result<Page, Error> {
        answer::query(self, query)
    }

    /// What came after a cursor; of the query, the filters and `limit` count.
    ///
    /// An exchange comes once, when it first becomes visible; one that was open then is read again by its seq.
    /// Imported exchanges have the seqs of the time they were read, and come all at once when their import is
    /// finished: a tail over all sessions may pass them by, one over their session does not.
    ///
    /// # Errors
    /// As for [`query`](Self::query).
    pub fn tail(&self, cursor: Seq, query: &Query) -> Result<Tail, Error> {
        answer::tail(self, cursor, query)
    }

    /// The newest seq there is, or the last that was.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn newest(&self) -> Result<Seq, Error> {
        self.read(|tx| tx.newest_seq())
    }

    /// One exchange.
    ///
    /// # Errors
    /// When it is not there.
    pub fn exchange(&self, seq: Seq) -> Result<Exchange, Error> {
        retrieve::exchange(self, seq)
    }

    /// One body, open for reading; `None` where the message has none. Once open it can be read to its end, also when
    /// the exchange is evicted meanwhile.
    ///
    /// # Errors
    /// When the exchange is not there or the body cannot be read.
    pub fn body(&self, seq: Seq, side: BodySide) -> Result<Option<Body>, Error> {
        retrieve::body(self, seq, side)
    }

    /// WebSocket messages of an exchange from `from` on, at most `limit` (0 means 1,000, and no more than 10,000 are
    /// given).
    ///
    /// # Errors
    /// When the exchange is not there.
    pub fn messages(&self, seq: Seq, from: u64, limit: usize) -> Result<Vec<StoredMessage>, Error> {
        let limit = if limit == 0 { DEFAULT_MESSAGES } else { limit.min(MAX_MESSAGES) };
        let read = self.read(|tx| match tx.summary(seq)? {
            Some(_) => tx.messages(seq, from, limit).map(Some),
            None => Ok(None),
        })?;
        read.ok_or_else(|| Error::new(ErrorKind::UnknownExchange(seq)))
    }

    /// Looks for a text.
    ///
    /// # Errors
    /// As for [`query`](Self::query).
    pub fn search(&self, search: &Search) -> Result<SearchPage, Error> {
        answer::search(self, search)
    }

    /// Proposes what may be written at `cursor` (in bytes) of a filter: fields, their values, and of hosts, methods,
    /// content types and failures those that were recorded.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn complete(&self, filter: &str, cursor: usize) -> Result<Vec<Candidate>, Error> {
        answer::complete(self, filter, cursor)
    }

    /// Runs one `SELECT` over the views of docs/sql.md, with a bound on time, rows and bytes. Nothing can be changed.
    ///
    /// # Errors
    /// When the statement is wrong, does more than read, or runs too long.
    pub fn sql(&self, sql: &Sql) -> Result<SqlAnswer, Error> {
        statement::run(self, (&self.inner.directory.join(DATABASE), self.inner.mode), sql)
    }

    /// What the file that a session was imported from said of itself, as JSON; `None` where it was not, or said nothing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn foreign_facts(&self, id: SessionId) -> Result<Option<String>, Error> {
        self.read(|tx| tx.foreign_facts(id))
    }

    /// The next exchanges that a query names, whole and with their small bodies, read as one: for those who walk through very
    /// many. Counts nothing. `query.limit` is the most that are given (0 means 50); `offset` does not count.
    ///
    /// # Errors
    /// As for [`query`](Self::query).
    pub fn batch(&self, query: &Query) -> Result<Batch, Error> {
        bulk::batch(self, query)
    }

    /// Begins to import a session named `name`.
    ///
    /// # Errors
    /// When the store is read-only or cannot be written.
    pub fn import(&self, name: &str, max_bytes: Option<u64>) -> Result<ImportSession, Error> {
        self.check_writable()?;
        let bodies = lock::bodies(&self.inner.directory)?;
        let db = Connection::open(&self.inner.directory.join(DATABASE), Mode::Write)?;
        ImportSession::begin(db, self.inner.files.clone(), bodies, name, max_bytes)
    }

    /// Takes the recorder's lock and what else a recorder needs.
    pub(crate) fn recording_parts(&self, sync: SyncPolicy) -> Result<RecordingParts, Error> {
        self.check_writable()?;
        let directory = &self.inner.directory;
        let _opening = lock::opening(directory)?;
        let Some(recorder) = lock::try_recorder(directory)? else {
            return Err(Error::new(ErrorKind::Locked(directory.clone())));
        };
        let another = Opener::new(directory.join(DATABASE), sync);
        let db = another.open()?;
        // A recorder may have died since this store was opened.
        recovery::recover(directory, &db, &self.inner.files)?;
        let bodies = lock::bodies(directory)?;
        reserve::keep(directory);
        let files = self.inner.files.clone();
        Ok(RecordingParts { db, another, files, locks: (recorder, bodies) })
    }

    /// The body files.
    pub(crate) fn files(&self) -> &BodyFiles {
        &self.inner.files
    }

    /// Reads at one moment of the store.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Tx<'_>) -> Result<T, DbError>) -> Result<T, Error> {
        self.inner.readers.read(read)
    }

    /// Writes, taking turns with the other writers of this store.
    pub(crate) fn write<T>(&self, write: impl FnOnce(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        self.check_writable()?;
        let mut writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.is_none() {
            *writer = Some(Connection::open(&self.inner.directory.join(DATABASE), Mode::Write)?);
        }
        match &*writer {
            Some(db) => write(db),
            None => Err(Error::new(ErrorKind::Database)),
        }
    }

    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        if self.inner.read_only { Err(Error::new(ErrorKind::ReadOnly)) } else { Ok(()) }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("directory", &self.inner.directory)
            .field("read_only", &self.inner.read_only)
            .finish_non_exhaustive()
    }
}

fn is_active(info: &SessionInfo) -> bool {
    matches!(info.state, SessionState::Active | SessionState::Full)
}
