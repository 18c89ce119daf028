//! One transaction: rows, details, bodies, and what they change of their sessions.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use super::{certificates::Certificates, facts::Facts, press::Packable, session::Recording, settle::settle};
use crate::{
    assemble::{Assembly, BodyBuffer, Row},
    contents::{Contents, Packing, SmallBody},
    db::{BodyContent, Connection, DbError, ExchangeRow, FactsPlace, SessionDelta, Spans, Tx},
    id::{Seq, SessionId},
    record::{BodySide, ExchangeSummary},
    whole::Whole,
};

/// Exchanges in a commit up to which there is time to pack their bodies: beyond it the writer is busy, and packing
/// would cost as much as writing does.
const PACKED_AT_ONCE: usize = 128;
/// What most exchanges' encoded details stay under.
const DETAIL_BYTES: usize = 4096;

/// What the writer knows of what it put down.
pub(super) struct Known {
    certificates: Certificates,
    facts: Facts,
    contents: Contents,
}

impl Known {
    pub(super) fn new() -> Self {
        Self { certificates: Certificates::default(), facts: Facts::default(), contents: Contents::new() }
    }

    fn begin(&mut self, packing: Packing) {
        self.facts.begin();
        self.contents.begin(packing);
    }

    /// Gives back what keeps connections alive, and memory to pack in. What was put down is known all the same.
    pub(super) fn rest(&mut self) {
        self.certificates.rest();
        self.facts.rest();
        self.contents.rest();
    }

    /// Forgets the numbers that were given in a transaction that was rolled back.
    pub(super) fn forget(&mut self) {
        self.certificates.forget();
        self.facts.forget();
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
pub(super) struct Outcome {
    pub(super) newest: Seq,
    /// For each exchange that did not come whole, in order.
    pub(super) written: Vec<Written>,
    /// What each session holds now.
    pub(super) bytes: Vec<(SessionId, u64)>,
    /// Files of evicted bodies, and of bodies whose content was there already.
    pub(super) unused_files: Vec<u64>,
    /// Files that are whole now.
    pub(super) packable: Vec<Packable>,
    /// What came to the store, bodies included.
    pub(super) added_bytes: u64,
    /// When the oldest of what is kept for a time is too old.
    pub(super) oldest_due: Option<Duration>,
}

impl Outcome {
    fn new(newest: Seq) -> Self {
        Self {
            newest,
            written: Vec::new(),
            bytes: Vec::new(),
            unused_files: Vec::new(),
            packable: Vec::new(),
            added_bytes: 0,
            oldest_due: None,
        }
    }
}

/// An exchange to be written.
pub(super) enum Entry<'a> {
    Assembly(&'a mut Assembly),
    Whole(&'a Whole),
}

impl Entry<'_> {
    fn row(&self) -> Option<Row> {
        match self {
            Self::Assembly(assembly) => assembly.row,
            Self::Whole(_) => None,
        }
    }

    fn session(&self) -> SessionId {
        match self {
            Self::Assembly(assembly) => assembly.session,
            Self::Whole(whole) => whole.session,
        }
    }

    fn began(&self) -> SystemTime {
        match self {
            Self::Assembly(assembly) => assembly.started_at,
            Self::Whole(whole) => whole.started_at(),
        }
    }
}

/// What became of one exchange in a transaction.
pub(super) enum Written {
    Row(Row),
    /// Its row, or its session, was deleted by someone else while it was open.
    Deleted,
}

impl Written {
    /// What it takes.
    fn bytes(&self) -> Option<u64> {
        match self {
            Self::Row(row) => Some(row.bytes),
            Self::Deleted => None,
        }
    }
}

/// What a transaction adds to its sessions. They are few, and one after the other the same.
#[derive(Default)]
struct Deltas(Vec<(SessionId, SessionDelta)>);

impl Deltas {
    /// What it adds to one of them.
    fn of(&mut self, session: SessionId) -> &mut SessionDelta {
        let at = self.0.iter().rposition(|(id, _)| *id == session).unwrap_or_else(|| {
            self.0.push((session, SessionDelta::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    fn take(&mut self, session: SessionId) -> SessionDelta {
        std::mem::take(self.of(session))
    }
}

/// Writes a batch in one transaction.
pub(super) fn write(
    db: &Connection,
    sessions: &mut BTreeMap<SessionId, Recording>,
    known: &mut Known,
    batch: &mut [Entry<'_>],
    (current, error): (SessionId, Option<&str>),
) -> Result<Outcome, DbError> {
    let tx = db.begin()?;
    let deleted = deleted_sessions(&tx, sessions, current)?;
    let mut newest = tx.newest_seq()?;
    let mut deltas = Deltas::default();
    let mut outcome = Outcome::new(newest);
    known.begin(if batch.len() <= PACKED_AT_ONCE { Packing::Yes } else { Packing::No });
    let mut scratch = Scratch::new();
    let mut spans = Spans::default();
    for entry in batch.iter_mut() {
        let (row, session) = (entry.row(), entry.session());
        if deleted.contains(&session) {
            if matches!(entry, Entry::Assembly(_)) {
                outcome.written.push(Written::Deleted);
            }
            continue;
        }
        let seq = row.map_or(Seq(newest.0 + 1), |row| row.seq);
        let bytes = match entry {
            Entry::Assembly(assembly) => {
                let also = (&mut *known, &mut outcome);
                let written = write_assembly(&tx, assembly, seq, &mut scratch, also)?;
                let bytes = written.bytes();
                outcome.written.push(written);
                bytes
            }
            Entry::Whole(whole) => Some(write_whole(&tx, whole, seq, known)?),
        };
        if let Some(bytes) = bytes {
            let before = row.map_or(0, |row| row.bytes);
            let delta = deltas.of(session);
            delta.exchanges += i64::from(row.is_none());
            delta.bytes += signed(bytes) - signed(before);
            if row.is_none() {
                spans.note(seq, session, entry.began());
            }
            outcome.added_bytes += bytes.saturating_sub(before);
        }
        newest = newest.max(seq);
    }
    known.contents.count(&tx)?;
    spans.write(&tx)?;
    tx.set_newest_seq(newest)?;
    if let Some(error) = error {
        tx.set_session_error(current, error)?;
    }
    outcome.newest = newest;
    for (id, recording) in sessions.iter() {
        let mut delta = deltas.take(*id);
        delta.not_recorded = recording.not_recorded;
        settle_one(&tx, *id, recording, &delta, &mut outcome)?;
    }
    tx.commit()?;
    Ok(outcome)
}

/// Settles a session, and notes what it holds and when it is to be looked at again.
fn settle_one(
    tx: &Tx<'_>,
    id: SessionId,
    recording: &Recording,
    delta: &SessionDelta,
    outcome: &mut Outcome,
) -> Result<(), DbError> {
    let bytes = settle(tx, id, recording, delta, &mut outcome.unused_files)?;
    outcome.bytes.push((id, bytes));
    if let Some(age) = recording.max_age
        && let Some(oldest) = tx.oldest(id)?
    {
        let left = (oldest + age).duration_since(SystemTime::now()).unwrap_or_default();
        outcome.oldest_due = Some(outcome.oldest_due.map_or(left, |due| due.min(left)));
    }
    Ok(())
}

/// Sessions that exchanges still go into and somebody deleted. The one being recorded cannot be.
fn deleted_sessions(
    tx: &Tx<'_>,
    sessions: &BTreeMap<SessionId, Recording>,
    current: SessionId,
) -> Result<Vec<SessionId>, DbError> {
    let mut deleted = Vec::new();
    for id in sessions.keys().filter(|id| **id != current) {
        if tx.session(*id)?.is_none() {
            deleted.push(*id);
        }
    }
    Ok(deleted)
}

/// Writes an exchange that was put together here, or what is new of it.
fn write_assembly(
    tx: &Tx<'_>,
    assembly: &Assembly,
    seq: Seq,
    scratch: &mut Scratch,
    (known, outcome): (&mut Known, &mut Outcome),
) -> Result<Written, DbError> {
    let numbers = known.certificates.numbers(tx, assembly.upstream())?;
    scratch.detail.clear();
    assembly.encode_detail(numbers, &mut scratch.detail);
    let written = write_exchange(tx, assembly, seq, scratch)?;
    if matches!(written, Written::Row(_)) {
        for (side, body) in assembly.bodies.each() {
            write_body(tx, assembly, body, (seq, side), (&mut known.contents, outcome))?;
        }
    }
    Ok(written)
}

/// Writes an exchange that came whole, and says what it takes.
fn write_whole(
    tx: &Tx<'_>,
    whole: &Whole,
    seq: Seq,
    Known { certificates, facts, contents }: &mut Known,
) -> Result<u64, DbError> {
    let place = FactsPlace::of(whole.session, seq);
    let (facts, added) = facts.number(tx, place, whole.connections(), certificates)?;
    let bytes = whole.disk_bytes() + added as u64;
    let (columns, detail) = (whole.columns(seq), whole.detail());
    tx.insert_exchange(&ExchangeRow { columns, detail, facts: Some(facts), bytes })?;
    for side in [BodySide::Request, BodySide::Response] {
        let data = whole.body(side);
        if !data.is_empty() {
            let hash = whole.body_hash(side);
            let plain = whole.is_plain(side);
            contents.put(tx, SmallBody { seq, side, data, plain, hash: &hash })?;
        }
    }
    Ok(bytes)
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
    let row = ExchangeRow { columns: (&*summary).into(), detail, facts: None, bytes };
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

/// Writes a body where there is one: all that will be of it, or more than its row has. Of a file whose content another file
/// has already, only that one is kept.
fn write_body(
    tx: &Tx<'_>,
    assembly: &Assembly,
    body: &BodyBuffer,
    (seq, side): (Seq, BodySide),
    (contents, outcome): (&mut Contents, &mut Outcome),
) -> Result<(), DbError> {
    let is_there = !assembly.has_ended() && body.written == Some(body.stored_bytes);
    if body.stored_bytes == 0 || is_there {
        return Ok(());
    }
    let hash = assembly.has_ended().then(|| body.hash());
    let Some(own) = body.file else {
        let (data, plain) = (&body.inline[..], assembly.is_plain(side));
        return match &hash {
            Some(hash) => contents.put(tx, SmallBody { seq, side, data, plain, hash }),
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
