//! Writing a session from somewhere else than the wire.

use std::{
    collections::BTreeSet,
    fmt,
    io::{self, Read},
    mem,
};

use crate::{
    assemble::ROW_BYTES,
    contents::{Contents, Packing},
    db::{Connection, NewSession, SessionDelta, Spans},
    error::{Error, ErrorKind},
    files::{BodyFiles, BodyWriter},
    id::{Seq, SessionId},
    import_body::{ImportBody, ImportMessages},
    import_row::{Sink, content_bytes, write_exchange, write_messages},
    lock::Lock,
    record::{Exchange, ExchangeState},
    recovery,
    session::{SessionInfo, SessionKind, SessionState},
};

/// Exchanges written in one transaction at most, so that a recorder waits little for the next.
const CHUNK_EXCHANGES: usize = 500;
/// Bytes of bodies and messages held before they are written.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// A session being imported. Nothing of it is visible until [`finish`](Self::finish); dropping it leaves no trace, and
/// what a crash leaves of it is removed when the store is next opened.
///
/// Exchanges are held until some hundred, or some megabytes of bodies, are together, and written as one. Should the
/// session's limit be reached, what comes after is not imported, and counted in
/// [`SessionInfo::not_recorded`].
pub struct ImportSession {
    /// `None` once it is finished.
    parts: Option<Parts>,
}

struct Parts {
    db: Connection,
    body_files: BodyFiles,
    files: BodyWriter,
    /// Body files that are written and belong to no exchange yet.
    loose: BTreeSet<u64>,
    contents: Contents,
    session: SessionId,
    max_bytes: Option<u64>,
    bytes: u64,
    not_recorded: u64,
    /// Numbers reserved for the exchanges that wait.
    next: Seq,
    reserved: u64,
    waiting: Vec<(Seq, ImportedExchange)>,
    waiting_bytes: usize,
    /// What those that wait will take on disk.
    waiting_disk: u64,
    _bodies: Lock,
}

/// One exchange to import. `exchange.summary.seq` and `.session` are given anew. A body whose
/// [`Recorded::identity`](crate::Recorded) is set is stored as already decoded.
pub struct ImportedExchange {
    /// The exchange.
    pub exchange: Exchange,
    /// The request's body as on the wire, or decoded where `exchange.request_body.identity` says so.
    pub request_body: Option<ImportBody>,
    /// The response's body as on the wire, or decoded where `exchange.response_body.identity` says so.
    pub response_body: Option<ImportBody>,
    /// WebSocket messages.
    pub messages: ImportMessages,
}

impl ImportSession {
    pub(crate) fn begin(
        db: Connection,
        body_files: BodyFiles,
        bodies: Lock,
        name: &str,
        max_bytes: Option<u64>,
    ) -> Result<Self, Error> {
        let tx = db.begin()?;
        let session = tx.create_session(&NewSession {
            name: Some(name),
            kind: SessionKind::Imported,
            state: SessionState::Stopped,
            hidden: true,
            max_bytes,
            max_exchanges: None,
            max_age: None,
            window_ms: 0,
        })?;
        tx.commit()?;
        let parts = Parts {
            db,
            files: BodyWriter::new(body_files.clone()),
            loose: BTreeSet::new(),
            body_files,
            contents: Contents::new(),
            session,
            max_bytes,
            bytes: 0,
            not_recorded: 0,
            next: Seq(0),
            reserved: 0,
            waiting: Vec::new(),
            waiting_bytes: 0,
            waiting_disk: 0,
            _bodies: bodies,
        };
        Ok(Self { parts: Some(parts) })
    }

    /// Adds one exchange and returns the seq it has once the import is finished. Of its summary, `kind`, `state` and
    /// `started_at` are kept, and the rest is derived from the other fields.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn add(&mut self, exchange: ImportedExchange) -> Result<Seq, Error> {
        self.parts()?.add(exchange)
    }

    /// Adds bytes to a body that comes in pieces. It is in memory up to 128 KiB, then in a file of the store: a body
    /// of any size takes no more. One that is not added with an exchange in the end is removed with the import, or by
    /// [`discard`](Self::discard).
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn append(&mut self, body: &mut ImportBody, piece: &[u8]) -> Result<(), Error> {
        self.parts()?.append(body, piece)
    }

    /// Reads a body that came in pieces, from its beginning.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(&self, body: &ImportBody) -> Result<Box<dyn Read + Send>, Error> {
        let parts = self.parts.as_ref().ok_or_else(|| Error::new(ErrorKind::Database))?;
        Ok(parts.open(body)?)
    }

    /// Removes a body that is not to be imported.
    ///
    /// # Errors
    /// When the import is finished already.
    pub fn discard(&mut self, body: ImportBody) -> Result<(), Error> {
        self.parts()?.discard(body);
        Ok(())
    }

    /// Keeps what the file said of itself, as JSON, for [`Store::foreign_facts`](crate::Store::foreign_facts).
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn set_foreign_facts(&mut self, facts: &str) -> Result<(), Error> {
        let parts = self.parts()?;
        let tx = parts.db.begin()?;
        tx.set_foreign_facts(parts.session, facts)?;
        Ok(tx.commit()?)
    }

    /// Makes the session visible, stopped.
    ///
    /// # Errors
    /// When the store cannot be written; nothing is left behind then.
    pub fn finish(mut self) -> Result<SessionInfo, Error> {
        let info = self.parts()?.finish()?;
        self.parts = None;
        Ok(info)
    }

    fn parts(&mut self) -> Result<&mut Parts, Error> {
        self.parts.as_mut().ok_or_else(|| Error::new(ErrorKind::Database))
    }
}

impl Drop for ImportSession {
    fn drop(&mut self) {
        let Some(mut parts) = self.parts.take() else { return };
        parts.remove_loose();
        // What cannot be removed now is removed when the store is next opened.
        if let Err(error) = recovery::delete_hidden(&parts.db, &parts.body_files, parts.session) {
            tracing::warn!(%error, "removing an unfinished import failed");
        }
    }
}

impl fmt::Debug for ImportSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportSession").finish_non_exhaustive()
    }
}

impl Parts {
    fn add(&mut self, mut imported: ImportedExchange) -> Result<Seq, Error> {
        if self.reserved == 0 {
            self.reserve()?;
        }
        let seq = self.next;
        derive(&mut imported, self.session, seq);
        let (held, disk) = weight(&imported);
        if self.max_bytes.is_some_and(|max| self.bytes + self.waiting_disk + disk > max) {
            self.not_recorded += 1;
            for body in [imported.request_body, imported.response_body].into_iter().flatten() {
                self.discard(body);
            }
            if let ImportMessages::Spooled(messages) = imported.messages {
                self.discard(messages.body);
            }
            return Ok(seq);
        }
        self.next = Seq(seq.0 + 1);
        self.reserved -= 1;
        self.waiting_bytes += held;
        self.waiting_disk += disk;
        self.waiting.push((seq, imported));
        if self.reserved == 0 || self.waiting_bytes >= CHUNK_BYTES {
            self.write()?;
        }
        Ok(seq)
    }

    fn append(&mut self, body: &mut ImportBody, piece: &[u8]) -> Result<(), Error> {
        let (db, loose) = (&self.db, &mut self.loose);
        body.append(piece, &mut self.files, || {
            let tx = db.begin()?;
            let file = tx.reserve_files(1)?;
            tx.commit()?;
            loose.insert(file);
            Ok(file)
        })
    }

    fn open(&self, body: &ImportBody) -> io::Result<Box<dyn Read + Send>> {
        Ok(match body.file() {
            Some(file) => Box::new(self.body_files.open(file)?),
            None => Box::new(io::Cursor::new(body.held().unwrap_or_default().to_vec())),
        })
    }

    fn discard(&mut self, body: ImportBody) {
        if let Some(file) = body.file() {
            self.loose.remove(&file);
            self.files.discard(file);
        }
    }

    fn remove_loose(&mut self) {
        for file in mem::take(&mut self.loose) {
            self.files.discard(file);
        }
    }

    /// Reserves seqs for a chunk. What is not used of them stays a gap.
    fn reserve(&mut self) -> Result<(), Error> {
        let tx = self.db.begin()?;
        let newest = tx.newest_seq()?;
        tx.set_newest_seq(Seq(newest.0 + CHUNK_EXCHANGES as u64))?;
        tx.commit()?;
        self.next = Seq(newest.0 + 1);
        self.reserved = CHUNK_EXCHANGES as u64;
        Ok(())
    }

    fn write(&mut self) -> Result<(), Error> {
        let mut waiting = mem::take(&mut self.waiting);
        (self.waiting_bytes, self.waiting_disk) = (0, 0);
        let tx = self.db.begin()?;
        let mut delta = SessionDelta { exchanges: signed(waiting.len() as u64), ..SessionDelta::default() };
        let (mut unused, mut claimed) = (Vec::new(), Vec::new());
        let mut spans = Spans::default();
        self.contents.begin(Packing::No);
        for (seq, imported) in &mut waiting {
            let mut sink = Sink {
                files: &mut self.files,
                unused: &mut unused,
                claimed: &mut claimed,
                contents: &mut self.contents,
            };
            let bytes = write_exchange(&tx, *seq, imported, &mut sink)?;
            write_messages(&tx, *seq, &mut imported.messages, &self.body_files)?;
            delta.bytes += signed(bytes);
            self.bytes += bytes;
            spans.note(*seq, self.session, imported.exchange.summary.started_at);
        }
        self.contents.count(&tx)?;
        spans.write(&tx)?;
        tx.add_to_session(self.session, &delta)?;
        tx.commit()?;
        for file in claimed {
            self.loose.remove(&file);
        }
        for file in unused {
            self.files.discard(file);
        }
        for (_, imported) in waiting {
            if let ImportMessages::Spooled(spooled) = imported.messages {
                self.discard(spooled.body);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<SessionInfo, Error> {
        self.write()?;
        self.remove_loose();
        let tx = self.db.begin()?;
        let delta = SessionDelta { not_recorded: self.not_recorded, ..SessionDelta::default() };
        tx.add_to_session(self.session, &delta)?;
        tx.set_session_state(self.session, SessionState::Stopped)?;
        tx.set_session_hidden(self.session, false)?;
        let info = tx.session(self.session)?;
        tx.commit()?;
        info.ok_or_else(|| Error::new(ErrorKind::UnknownSession(self.session)))
    }
}

/// Brings the summary in line with the rest.
fn derive(imported: &mut ImportedExchange, session: SessionId, seq: Seq) {
    let exchange = &mut imported.exchange;
    exchange.derive_summary();
    exchange.summary.seq = seq;
    exchange.summary.session = session;
    exchange.summary.messages = exchange.summary.messages.max(imported.messages.len());
    let total = exchange.timings.total;
    exchange.summary.duration =
        (exchange.summary.state != ExchangeState::Open || !total.is_zero()).then_some(total);
}

/// What an exchange takes in memory until it is written, and on disk then, by estimate: certificates and facts aside.
fn weight(imported: &ImportedExchange) -> (usize, u64) {
    let exchange = &imported.exchange;
    let heads = [Some(&exchange.request.headers), exchange.response.as_ref().map(|head| &head.headers)];
    let fields: usize = heads
        .into_iter()
        .flatten()
        .flat_map(|headers| headers.iter())
        .map(|header| header.name.len() + header.value.len() + 2)
        .sum();
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let texts = exchange.summary.url.len() * 2 + text(&exchange.comment) + text(&exchange.foreign);
    let row = fields + texts + usize::try_from(ROW_BYTES).unwrap_or(0);
    let bodies = [&imported.request_body, &imported.response_body].into_iter().flatten();
    let held = bodies.map(ImportBody::weight).sum::<usize>() + imported.messages.weight();
    (row + held, row as u64 + content_bytes(imported))
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
