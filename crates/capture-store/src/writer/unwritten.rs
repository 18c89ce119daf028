//! What becomes of exchanges that the disk refuses for good: dropped and counted, but for what is in the store as open.

use std::{mem, time::Instant};

use super::{
    commit::uncommitted,
    staged::Finished,
    thread::{MANY_UNSYNCED, MUCH_PENDING, REWRITE, Writer},
};
use crate::{
    assemble::{Assembly, BodyBuffer},
    queue::weight_of_fields,
};

/// Exchanges kept at most.
const MAX_EXCHANGES: usize = 10_000;

/// Ended exchanges whose beginning is in the store and whose end could not be written. They are kept for a later try, and
/// do not hasten it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unwritten {
    /// How many, [`MAX_EXCHANGES`] at most.
    pub(super) exchanges: usize,
    /// Files of their bodies that are open and to be forced to the disk, [`MANY_UNSYNCED`] and one more at most.
    pub(super) files: usize,
    /// What they take in memory, [`MUCH_PENDING`] at most.
    bytes: usize,
}

impl Unwritten {
    /// Counts one more, where there is room for it.
    fn admits(&mut self, assembly: &Assembly, syncs: bool) -> bool {
        let files = if syncs { files(assembly).count() } else { 0 };
        let bytes = self.bytes + memory_bytes(assembly);
        let admits = self.exchanges < MAX_EXCHANGES && self.files < MANY_UNSYNCED && bytes <= MUCH_PENDING;
        if admits {
            *self = Self { exchanges: self.exchanges + 1, files: self.files + files, bytes };
        }
        admits
    }
}

impl Writer {
    /// Drops what ended and cannot be written, and messages of what is open. What is in the store as open is kept for a later
    /// try, as far as there is room.
    pub(super) fn drop_ended(&mut self) {
        let mut kept = Unwritten::default();
        let syncs = self.disk.files.syncs();
        for finished in mem::take(&mut self.ended) {
            match finished {
                Finished::Assembly(assembly) if assembly.row.is_some() && kept.admits(&assembly, syncs) => {
                    self.ended.push(Finished::Assembly(assembly));
                }
                finished => self.drop_one(finished),
            }
        }
        self.unwritten = kept;
        for assembly in self.open.values_mut().filter(|assembly| assembly.pending_bytes > 0) {
            // Their number stays in the exchange, and tells that they are missing.
            assembly.drop_messages();
        }
        self.pending_bytes = 0;
        self.recount();
        let again = Instant::now() + REWRITE;
        self.waiting_since = None;
        self.overdue = false;
        self.open_due = Some(again);
        self.age_due = self.age_due.map(|due| due.max(again));
    }

    fn drop_one(&mut self, finished: Finished) {
        self.shared.count_dropped(1);
        if let Some(recording) = self.sessions.get_mut(&finished.session()) {
            recording.not_recorded += 1;
        }
        let Finished::Assembly(assembly) = finished else { return };
        for file in files(&assembly) {
            if assembly.row.is_some() {
                // The row may name it.
                self.disk.files.forget(file);
            } else {
                self.disk.files.discard(file);
            }
        }
    }

    /// Counts again what sessions hold that is not committed.
    fn recount(&mut self) {
        let Self { sessions, open, ended, .. } = self;
        for (id, recording) in sessions {
            let ended = ended.iter().filter_map(Finished::assembly);
            let left = open.values().chain(ended).filter(|assembly| assembly.session == *id);
            recording.dropped_to(left.map(uncommitted).sum());
        }
    }
}

fn files(assembly: &Assembly) -> impl Iterator<Item = u64> {
    assembly.bodies.each().into_iter().filter_map(|(_, body)| body.file)
}

/// What an exchange takes in memory, about.
fn memory_bytes(assembly: &Assembly) -> usize {
    let of = |(side, body): (_, &BodyBuffer)| {
        body.inline.len() + assembly.headers(side).map_or(0, weight_of_fields)
    };
    size_of::<Assembly>() + assembly.pending_bytes + assembly.bodies.each().into_iter().map(of).sum::<usize>()
}
