//! The store: a directory holding sessions.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    answer,
    db::{BodySource, Connection, DbError, Mode, Tx},
    detail::{BodyState, Detail, StoredPeer},
    error::{Error, ErrorKind},
    files::{BodyFiles, create_private_directory, private_file},
    id::{Seq, SessionId},
    import::ImportSession,
    lock::{self, Lock},
    query::{Page, Query, Tail},
    readers::Readers,
    record::{Body, BodySide, Exchange, ExchangeSummary, Peer, Recorded, StoredMessage},
    recovery,
    search::{Search, SearchPage},
    session::{SessionInfo, SessionState},
};

const DATABASE: &str = "store.db";
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
    readers: Readers,
    /// The connection that deletes and clears; opened when it is first needed.
    writer: Mutex<Option<Connection>>,
    files: BodyFiles,
    recovered: Vec<SessionInfo>,
}

/// What a recorder takes over from the store it records into.
pub(crate) struct RecordingParts {
    pub(crate) db: Connection,
    pub(crate) files: BodyFiles,
    pub(crate) locks: (Lock, Lock),
}

/// How to open a store.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StoreConfig {
    /// Open for reading only: nothing is created, migrated or recovered.
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
        let recovered = if config.read_only {
            check_readable(directory)?;
            Vec::new()
        } else {
            prepare(directory, &files)?
        };
        let inner = Inner {
            directory: directory.to_owned(),
            read_only: config.read_only,
            readers: Readers::new(directory.join(DATABASE)),
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
            let tx = db.begin()?;
            let info = tx.session(id)?.ok_or_else(|| Error::new(ErrorKind::UnknownSession(id)))?;
            if is_active(&info) {
                return Err(Error::new(ErrorKind::SessionActive(id)));
            }
            tx.retire_session(id)?;
            tx.commit()?;
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
                let tx = db.begin()?;
                let removed = tx.clear(id, after, recovery::DELETED_AT_ONCE)?;
                tx.commit()?;
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
        let read = self.read(|tx| {
            let Some(summary) = tx.summary(seq)? else { return Ok(None) };
            let stored = [tx.body_length(seq, BodySide::Request)?, tx.body_length(seq, BodySide::Response)?];
            let blob = tx.detail(seq)?.unwrap_or_default();
            let detail = Detail::decode(blob);
            let mut certificates = Vec::new();
            if let Ok(Detail { upstream: Some(upstream), .. }) = &detail {
                for id in &upstream.certificates {
                    certificates.extend(tx.certificate_der(*id)?);
                }
            }
            Ok(Some((summary, detail, stored, certificates)))
        })?;
        let (summary, detail, stored, certificates) =
            read.ok_or_else(|| Error::new(ErrorKind::UnknownExchange(seq)))?;
        Ok(exchange(summary, detail?, stored, certificates))
    }

    /// One body, open for reading; `None` where the message has none. Once open it can be read to its end, also when
    /// the exchange is evicted meanwhile.
    ///
    /// # Errors
    /// When the exchange is not there or the body cannot be read.
    pub fn body(&self, seq: Seq, side: BodySide) -> Result<Option<Body>, Error> {
        let read = self.read(|tx| {
            let Some(summary) = tx.summary(seq)? else { return Ok(None) };
            Ok(Some((summary, tx.detail(seq)?.unwrap_or_default(), tx.body(seq, side)?)))
        })?;
        let (summary, blob, row) = read.ok_or_else(|| Error::new(ErrorKind::UnknownExchange(seq)))?;
        let detail = Detail::decode(blob)?;
        let (wire_bytes, state, headers) = match side {
            BodySide::Request => {
                (summary.request_body_bytes, detail.request_body, Some(&detail.request.headers))
            }
            BodySide::Response => {
                let headers = detail.response.as_ref().map(|head| &head.headers);
                (summary.response_body_bytes, detail.response_body, headers)
            }
        };
        if wire_bytes == 0 && row.is_none() {
            return Ok(None);
        }
        let stored_bytes = row.as_ref().map_or(0, |row| row.length);
        let reader: Box<dyn io::Read + Send> = match row.map(|row| row.source) {
            None => Box::new(io::empty()),
            Some(BodySource::Inline(data)) => Box::new(io::Cursor::new(data)),
            Some(BodySource::File(file)) => match self.inner.files.open(file, stored_bytes) {
                Ok(file) => Box::new(file),
                Err(error) => return Err(self.body_error(seq, error)),
            },
        };
        let text =
            |name| headers.map(|headers| joined(headers, name)).filter(|value: &String| !value.is_empty());
        Ok(Some(Body {
            recorded: recorded(wire_bytes, stored_bytes, state),
            content_encoding: if state.identity { None } else { text("content-encoding") },
            content_type: text("content-type"),
            reader,
        }))
    }

    /// Says why a body's file does not open: the exchange went since its row was read, or the file is damaged.
    fn body_error(&self, seq: Seq, error: io::Error) -> Error {
        match self.read(|tx| tx.summary(seq)) {
            Ok(None) => Error::new(ErrorKind::UnknownExchange(seq)),
            _ => Error::with_source(ErrorKind::Body(seq), error),
        }
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
    pub(crate) fn recording_parts(&self) -> Result<RecordingParts, Error> {
        self.check_writable()?;
        let directory = &self.inner.directory;
        let Some(recorder) = lock::recorder(directory)? else {
            return Err(Error::new(ErrorKind::Locked(directory.clone())));
        };
        let db = Connection::open(&directory.join(DATABASE), Mode::Write)?;
        // A recorder may have died since this store was opened.
        recovery::recover(directory, &db, &self.inner.files)?;
        let bodies = lock::bodies(directory)?;
        Ok(RecordingParts { db, files: self.inner.files.clone(), locks: (recorder, bodies) })
    }

    /// Reads at one moment of the store.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Tx<'_>) -> Result<T, DbError>) -> Result<T, Error> {
        self.inner.readers.read(read)
    }

    fn write<T>(&self, write: impl FnOnce(&Connection) -> Result<T, Error>) -> Result<T, Error> {
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

    fn check_writable(&self) -> Result<(), Error> {
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

/// Creates, migrates and recovers.
fn prepare(directory: &Path, files: &BodyFiles) -> Result<Vec<SessionInfo>, Error> {
    let unusable = |error: io::Error| Error::with_source(ErrorKind::Directory(directory.to_owned()), error);
    create_private_directory(directory).map_err(unusable)?;
    let _opening = lock::opening(directory).map_err(unusable)?;
    let path = directory.join(DATABASE);
    // SQLite would make it readable for all; its side files take after it.
    private_file().open(&path).map_err(unusable)?;
    let mut db = Connection::open(&path, Mode::Write)?;
    check_version(directory, &db)?;
    db.migrate()?;
    match lock::try_recorder(directory).map_err(unusable)? {
        Some(_dead) => recovery::recover(directory, &db, files),
        None => Ok(Vec::new()),
    }
}

fn check_readable(directory: &Path) -> Result<(), Error> {
    let path = directory.join(DATABASE);
    std::fs::metadata(&path)
        .map_err(|error| Error::with_source(ErrorKind::Directory(directory.to_owned()), error))?;
    let db = Connection::open(&path, Mode::Read)?;
    let (found, _) = check_version(directory, &db)?;
    if found == 0 {
        return Err(Error::new(ErrorKind::Directory(directory.to_owned())));
    }
    Ok(())
}

fn check_version(directory: &Path, db: &Connection) -> Result<(u32, u32), Error> {
    let (found, known) = db.versions()?;
    if found > known {
        let path = directory.display().to_string();
        return Err(Error::new(ErrorKind::NewerSchema { path, found, known }));
    }
    Ok((found, known))
}

fn is_active(info: &SessionInfo) -> bool {
    matches!(info.state, SessionState::Active | SessionState::Full)
}

fn exchange(
    summary: ExchangeSummary,
    detail: Detail,
    stored: [u64; 2],
    certificates: Vec<bytes::Bytes>,
) -> Exchange {
    Exchange {
        request_body: recorded(summary.request_body_bytes, stored[0], detail.request_body),
        response_body: recorded(summary.response_body_bytes, stored[1], detail.response_body),
        summary,
        request: detail.request,
        request_trailers: detail.request_trailers,
        informational: detail.informational,
        response: detail.response,
        response_source: detail.response_source,
        response_trailers: detail.response_trailers,
        client: detail.client.map(|stored| peer(stored, Vec::new())),
        upstream: detail.upstream.map(|stored| peer(stored, certificates)),
        tunnel: detail.tunnel,
        timings: detail.timings,
        sizes: detail.sizes,
        tunnel_bytes: detail.tunnel_bytes,
        comment: detail.comment,
    }
}

fn recorded(wire_bytes: u64, stored_bytes: u64, state: BodyState) -> Recorded {
    Recorded { wire_bytes, stored_bytes, complete: state.complete, identity: state.identity }
}

fn peer(stored: StoredPeer, certificates: Vec<bytes::Bytes>) -> Peer {
    let tls = stored.tls.map(|mut tls| {
        tls.certificates = certificates;
        tls
    });
    Peer { connection: stored.connection, address: stored.address, tls }
}

/// All values of a list field, joined as RFC 9110 section 5.3 has it.
fn joined(headers: &proxy_core::Headers, name: &str) -> String {
    let values: Vec<_> = headers.get_all(name).map(|value| String::from_utf8_lossy(value)).collect();
    values.join(", ")
}
