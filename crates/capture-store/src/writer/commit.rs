//! One commit: everything that is due goes into one transaction, or stays for the next try.

use std::time::{Duration, Instant, SystemTime};

use super::{
    disk::Disk,
    patience::Refused,
    staged::Finished,
    thread::{Include, MUCH_PENDING, REWRITE, Writer},
    transaction::{Entry, Outcome, Written, write},
    unwritten::Unwritten,
};
use crate::{
    assemble::{Assembly, Bodies, Row},
    id::Seq,
};

/// The shortest pause between two looks for what is too old.
const AGE_PAUSE: Duration = Duration::from_millis(20);
/// A commit that takes longer is told of: the wire soon waits for it.
const SLOW_COMMIT: Duration = Duration::from_secs(2);

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
        let due = open.values_mut().filter(|assembly| match include {
            Include::All => assembly.dirty,
            Include::Due => {
                assembly.dirty
                    && (due_at(assembly, config.open_after) <= now || (much && assembly.pending_bytes > 0))
            }
        });
        // Numbers follow the order in which ends were told, whichever way they came. Mostly it is that already.
        ended.sort_by_key(Finished::ended_at);
        let ended = ended.iter_mut().map(|finished| match finished {
            Finished::Assembly(assembly) => Entry::Assembly(assembly),
            Finished::Whole(whole) => Entry::Whole(whole),
        });
        let mut batch: Vec<Entry<'_>> = ended.chain(due.map(Entry::Assembly)).collect();
        let aged = self.age_due.is_some_and(|due| due <= now);
        if batch.is_empty() && !aged && sessions.values().all(|session| session.not_recorded == 0) {
            self.open_due = next_due(self.open.values(), self.config.open_after, now);
            self.waiting_since = None;
            self.overdue = false;
            return Ok(());
        }
        let error = shared.last_error();
        let outcome = db_patience.attempt(shared, || {
            let written = write(db, sessions, known, &mut batch, (*current, error.as_deref()));
            if written.is_err() {
                // Numbers given in a transaction that was rolled back are no numbers.
                known.forget();
            }
            written
        })?;
        let mut deleted_files = Vec::new();
        let assemblies = batch.into_iter().filter_map(|entry| match entry {
            Entry::Assembly(assembly) => Some(assembly),
            Entry::Whole(_) => None,
        });
        for (assembly, written) in assemblies.zip(&outcome.written) {
            take_over(assembly, written, &mut deleted_files);
        }
        self.after_commit(outcome, deleted_files, now);
        Ok(())
    }

    fn after_commit(&mut self, outcome: Outcome, deleted_files: Vec<u64>, now: Instant) {
        let mut batches = Vec::new();
        self.unwritten = Unwritten::default();
        for finished in self.ended.drain(..) {
            match finished {
                Finished::Assembly(assembly) => {
                    let Bodies { mut request, mut response } = assembly.bodies;
                    self.disk.reuse(request.inline.take());
                    self.disk.reuse(response.inline.take());
                }
                Finished::Whole(whole) => batches.extend(whole.into_batch()),
            }
        }
        self.shared.queue.give_batches(batches);
        // An open exchange that was deleted is recorded no more.
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
        self.disk.committed(now, outcome.added_bytes);
        self.age_due = outcome.oldest_due.map(|left| now + left.max(AGE_PAUSE));
        tell_if_slow(now.elapsed());
        self.open_due = next_due(self.open.values(), self.config.open_after, now);
        self.newest = outcome.newest;
        self.shared.count_written(outcome.added_bytes);
        self.checkpoints.note(outcome.added_bytes);
        self.shared.committed(self.newest, SystemTime::now());
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
        Written::Row(row) => {
            assembly.row = Some(*row);
            assembly.bodies.written();
        }
        Written::Deleted => {
            deleted_files.extend(assembly.bodies.each().into_iter().filter_map(|(_, body)| body.file));
            // The mark of an exchange that is to be forgotten; no row has this seq.
            let none = Row { seq: Seq(0), bytes: 0, content_bytes: 0, written_at: assembly.begun };
            assembly.row = Some(Row { seq: Seq(0), ..assembly.row.unwrap_or(none) });
        }
    }
}

/// Bytes of bodies and messages that no row counts.
pub(super) fn uncommitted(assembly: &Assembly) -> u64 {
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
