//! One commit: everything that is due goes into one transaction, or stays for the next try.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use super::{
    certificates::Certificates,
    disk::Disk,
    patience::Refused,
    press::Packable,
    session::Recording,
    settle::settle,
    thread::{Include, MAX_UNWRITTEN, MUCH_PENDING, REWRITE, Writer},
};
use crate::{
    assemble::{Assembly, Bodies, BodyBuffer, Row},
    contents::{Contents, Packing, SmallBody},
    db::{BodyContent, Connection, DbError, ExchangeRow, SessionDelta, Spans, Tx},
    id::{Seq, SessionId},
    record::{BodySide, ExchangeSummary},
};

/// Exchanges in a commit up to which there is time to pack their bodies: beyond it the writer is busy, and packing
/// would cost as much as writing does.
const PACKED_AT_ONCE: usize = 128;
/// The shortest pause between two looks for what is too old.
const AGE_PAUSE: Duration = Duration::from_millis(20);
/// A commit that takes longer is told of: the wire soon waits for it.
const SLOW_COMMIT: Duration = Duration::from_secs(2);

/// What most exchanges' encoded details stay under.
const DETAIL_BYTES: usize = 4096;

/// What the writer knows of what it put down.
pub(super) struct Known {
    certificates: Certificates,
    contents: Contents,
}

impl Known {
    pub(super) fn new() -> Self {
        Self { certificates: Certificates::default(), contents: Contents::new() }
    }
}

/// What exchanges are put in order to be written, one after the other.
struct Scratch {
    summary: ExchangeSummary,
    detail: Vec<u8>,
    now: Instant,
}

impl Scratch {
    fn new() -> Self {
        let detail = Vec::with_capacity(DETAIL_BYTES);
        Self { summary: ExchangeSummary::empty(), detail, now: Instant::now() }
    }
}

/// What a transaction did, to be taken over once it is committed.
struct Outcome {
    newest: Seq,
    /// For each exchange, in order.
    written: Vec<Written>,
    /// What each session holds now.
    bytes: Vec<(SessionId, u64)>,
    /// Files of evicted bodies, and of bodies whose content was there already.
    unused_files: Vec<u64>,
    /// Files that are whole now.
    packable: Vec<Packable>,
    /// What came to the store, bodies included.
    added_bytes: u64,
    /// When the oldest of what is kept for a time is too old.
    oldest_due: Option<Duration>,
}

impl Outcome {
    fn new(newest: Seq, exchanges: usize) -> Self {
        Self {
            newest,
            written: Vec::with_capacity(exchanges),
            bytes: Vec::new(),
            unused_files: Vec::new(),
            packable: Vec::new(),
            added_bytes: 0,
            oldest_due: None,
        }
    }
}

/// What became of one exchange in a transaction.
enum Written {
    Row(Row),
    /// Its row was deleted by someone else while it was open.
    Deleted,
}

impl Writer {
    /// Commits; what the disk refuses for good is dropped and counted. Where it refuses for now this says when to try
    /// again.
    pub(super) fn commit_or_drop(&mut self, include: Include) -> Result<(), Instant> {
        // The failure is noted and logged where patience ended.
        match self.commit(include) {
            Ok(()) => Ok(()),
            Err(Refused { again: Some(again), .. }) => Err(again),
            Err(_) => {
                self.drop_ended();
                Ok(())
            }
        }
    }

    /// Commits what ended, and open exchanges that are due.
    pub(super) fn commit(&mut self, include: Include) -> Result<(), Refused> {
        let now = Instant::now();
        let much = self.pending_bytes >= MUCH_PENDING;
        let Self { shared, config, disk, open, ended, sessions, known, current, .. } = self;
        // What the rows will name is on the disk before they are.
        disk.sync()?;
        let Disk { db, db_patience, .. } = disk;
        let mut batch: Vec<&mut Assembly> = ended.iter_mut().collect();
        batch.extend(open.values_mut().filter(|assembly| match include {
            Include::All => assembly.dirty,
            Include::Due => {
                assembly.dirty
                    && (due_at(assembly, config.open_after) <= now || (much && assembly.pending_bytes > 0))
            }
        }));
        let aged = self.age_due.is_some_and(|due| due <= now);
        if batch.is_empty() && !aged && sessions.values().all(|session| session.not_recorded == 0) {
            self.open_due = next_due(self.open.values(), self.config.open_after, now);
            self.waiting_since = None;
            self.overdue = false;
            return Ok(());
        }
        let error = shared.last_error().map(|error| (*current, error));
        let outcome = db_patience.attempt(shared, || {
            let written = write(db, sessions, known, &mut batch, error.as_ref());
            if written.is_err() {
                // Numbers given in a transaction that was rolled back are no numbers.
                known.certificates.forget();
            }
            written
        })?;
        let mut deleted_files = Vec::new();
        for (assembly, written) in batch.into_iter().zip(&outcome.written) {
            take_over(assembly, written, &mut deleted_files);
        }
        self.after_commit(outcome, deleted_files, now);
        Ok(())
    }

    fn after_commit(&mut self, outcome: Outcome, deleted_files: Vec<u64>, now: Instant) {
        for assembly in self.ended.drain(..) {
            let Bodies { request, response } = assembly.bodies;
            self.disk.reuse(request.inline);
            self.disk.reuse(response.inline);
        }
        // An open exchange whose row was deleted is recorded no more.
        self.open.retain(|_, assembly| assembly.row.is_none_or(|row| row.seq != Seq(0)));
        self.pending_bytes = self.open.values().map(|assembly| assembly.pending_bytes).sum();
        for (id, bytes) in outcome.bytes {
            let uncommitted =
                self.open.values().filter(|assembly| assembly.session == id).map(uncommitted).sum();
            if let Some(recording) = self.sessions.get_mut(&id) {
                recording.sync(bytes);
                recording.uncommitted = uncommitted;
                recording.not_recorded = 0;
            }
        }
        for file in outcome.unused_files.into_iter().chain(deleted_files) {
            self.disk.files.discard(file);
        }
        for packable in outcome.packable {
            self.press.offer(packable);
        }
        self.waiting_since = None;
        self.overdue = false;
        self.last_commit = Some(now);
        self.age_due = outcome.oldest_due.map(|left| now + left.max(AGE_PAUSE));
        tell_if_slow(now.elapsed());
        self.open_due = next_due(self.open.values(), self.config.open_after, now);
        self.newest = outcome.newest;
        self.shared.count_written(outcome.added_bytes);
        self.checkpoints.note(outcome.added_bytes);
        self.shared.committed(self.newest, SystemTime::now());
    }

    /// Drops what ended and cannot be written. What is in the store as open is kept for a later try.
    pub(super) fn drop_ended(&mut self) {
        let mut dropped = 0;
        for assembly in std::mem::take(&mut self.ended) {
            if assembly.row.is_some() && self.ended.len() < MAX_UNWRITTEN {
                self.ended.push(assembly);
                continue;
            }
            dropped += 1;
            if let Some(recording) = self.sessions.get_mut(&assembly.session) {
                recording.not_recorded += 1;
            }
            for file in assembly.bodies.each().into_iter().filter_map(|(_, body)| body.file) {
                self.disk.files.discard(file);
            }
        }
        self.shared.count_dropped(dropped);
        for assembly in self.open.values_mut().filter(|assembly| assembly.pending_bytes > 0) {
            // Their number stays in the exchange, and tells that they are missing.
            assembly.messages_written();
        }
        self.pending_bytes = self.open.values().map(|assembly| assembly.pending_bytes).sum();
        let again = Instant::now() + REWRITE;
        self.waiting_since = None;
        self.overdue = false;
        self.open_due = Some(again);
        self.age_due = self.age_due.map(|due| due.max(again));
    }
}

/// Says when the disk is slow; traffic waits for it once the queue is full.
fn tell_if_slow(took: Duration) {
    if took > SLOW_COMMIT {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            took_ms,
            "the store's disk is slow; traffic waits for it when more comes than it takes"
        );
    }
}

/// Takes over what became of an exchange.
fn take_over(assembly: &mut Assembly, written: &Written, deleted_files: &mut Vec<u64>) {
    assembly.dirty = false;
    assembly.messages_written();
    match written {
        Written::Row(row) => assembly.row = Some(*row),
        Written::Deleted => {
            deleted_files.extend(assembly.bodies.each().into_iter().filter_map(|(_, body)| body.file));
            // The mark of an exchange that is to be forgotten; no row has this seq.
            assembly.row = assembly.row.map(|row| Row { seq: Seq(0), ..row });
        }
    }
}

fn uncommitted(assembly: &Assembly) -> u64 {
    assembly.content_bytes() - assembly.row.map_or(0, |row| row.content_bytes).min(assembly.content_bytes())
}

/// When an open exchange is to be written.
fn due_at(assembly: &Assembly, open_after: Duration) -> Instant {
    assembly.row.map_or(assembly.begun + open_after, |row| row.written_at + REWRITE)
}

fn next_due<'a>(
    open: impl Iterator<Item = &'a Assembly>,
    open_after: Duration,
    now: Instant,
) -> Option<Instant> {
    let due = open.filter(|assembly| assembly.dirty).map(|assembly| due_at(assembly, open_after)).min();
    due.map(|due| due.max(now))
}

/// Writes a batch in one transaction.
fn write(
    db: &Connection,
    sessions: &mut HashMap<SessionId, Recording>,
    known: &mut Known,
    batch: &mut [&mut Assembly],
    error: Option<&(SessionId, String)>,
) -> Result<Outcome, DbError> {
    let tx = db.begin()?;
    let mut newest = tx.newest_seq()?;
    let mut deltas: HashMap<SessionId, SessionDelta> = HashMap::new();
    let mut outcome = Outcome::new(newest, batch.len());
    known.contents.begin();
    let mut scratch = Scratch::new();
    let mut spans = Spans::default();
    let packing = if batch.len() <= PACKED_AT_ONCE { Packing::Yes } else { Packing::No };
    for assembly in batch.iter_mut() {
        let delta = deltas.entry(assembly.session).or_default();
        let numbers = known.certificates.numbers(&tx, assembly.upstream())?;
        let seq = assembly.row.map_or(Seq(newest.0 + 1), |row| row.seq);
        scratch.detail.clear();
        assembly.encode_detail(numbers, &mut scratch.detail);
        let written = write_exchange(&tx, assembly, seq, &mut scratch)?;
        if let Written::Row(row) = &written {
            let before = assembly.row.map_or(0, |row| row.bytes);
            delta.exchanges += i64::from(assembly.row.is_none());
            delta.bytes += signed(row.bytes) - signed(before);
            if assembly.row.is_none() {
                spans.note(seq, assembly.session, assembly.started_at);
            }
            outcome.added_bytes += row.bytes.saturating_sub(before);
            for (side, body) in assembly.bodies.each() {
                let at = Place { seq, side, packing };
                write_body(&tx, assembly, body, at, (&mut known.contents, &mut outcome))?;
            }
        }
        newest = newest.max(seq);
        outcome.written.push(written);
    }
    known.contents.count(&tx)?;
    spans.write(&tx)?;
    tx.set_newest_seq(newest)?;
    if let Some((session, error)) = error {
        tx.set_session_error(*session, error)?;
    }
    outcome.newest = newest;
    for (id, recording) in sessions.iter() {
        let mut delta = deltas.remove(id).unwrap_or_default();
        delta.not_recorded = recording.not_recorded;
        let bytes = settle(&tx, *id, recording, &delta, &mut outcome.unused_files)?;
        outcome.bytes.push((*id, bytes));
        if let Some(age) = recording.max_age
            && let Some(oldest) = tx.oldest(*id)?
        {
            let left = (oldest + age).duration_since(SystemTime::now()).unwrap_or_default();
            outcome.oldest_due = Some(outcome.oldest_due.map_or(left, |due| due.min(left)));
        }
    }
    tx.commit()?;
    Ok(outcome)
}

/// Writes an exchange's row and messages.
fn write_exchange(
    tx: &Tx<'_>,
    assembly: &Assembly,
    seq: Seq,
    Scratch { summary, detail, now }: &mut Scratch,
) -> Result<Written, DbError> {
    assembly.summary(seq, summary);
    let bytes = assembly.disk_bytes(summary, detail);
    let row = ExchangeRow { summary, detail, bytes };
    if assembly.row.is_none() {
        tx.insert_exchange(&row)?;
    } else if !tx.update_exchange(&row)? {
        return Ok(Written::Deleted);
    }
    for message in &assembly.pending {
        tx.insert_message(seq, message)?;
    }
    let content_bytes = assembly.content_bytes();
    Ok(Written::Row(Row { seq, bytes, content_bytes, written_at: *now }))
}

/// Which body, and whether there is time to pack it.
#[derive(Clone, Copy)]
struct Place {
    seq: Seq,
    side: BodySide,
    packing: Packing,
}

/// Writes a body, if there is one. Of a file whose content another file has already, only that one is kept.
fn write_body(
    tx: &Tx<'_>,
    assembly: &Assembly,
    body: &BodyBuffer,
    Place { seq, side, packing }: Place,
    (contents, outcome): (&mut Contents, &mut Outcome),
) -> Result<(), DbError> {
    if body.stored_bytes == 0 {
        return Ok(());
    }
    let hash = assembly.has_ended().then(|| body.hash());
    let Some(own) = body.file else {
        let (data, plain) = (&body.inline[..], assembly.is_plain(side));
        return match &hash {
            Some(hash) => contents.put(tx, SmallBody { seq, side, data, plain, hash }, packing),
            None => tx.put_body(seq, side, BodyContent::Inline { data, plain }, None),
        };
    };
    let length = body.stored_bytes;
    tx.put_file(own, length, hash.as_ref())?;
    let shared = match &hash {
        Some(hash) => tx.share_file(own, length, hash)?,
        None => None,
    };
    match shared {
        Some(_) => outcome.unused_files.push(own),
        None if hash.is_some() => outcome.packable.push(Packable { file: own, length }),
        None => {}
    }
    let content = BodyContent::File { file: shared.unwrap_or(own), length };
    tx.put_body(seq, side, content, hash.as_ref())
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
