//! What the writer writes through: the database, the body files, and patience with both.

use std::{sync::Arc, time::Instant};

use super::{
    patience::{Patience, Refused, Stage},
    rest::LULL,
    session::Recording,
};
use crate::{
    assemble::Assembly,
    db::{Connection, DbError},
    files::{BodyFiles, BodyWriter},
    held::Waiting,
    record::BodySide,
    recorder::{DiskPart, RecorderConfig, Shared, SyncPolicy},
};

/// Numbers of body files reserved at once.
const FILE_NUMBERS: u64 = 1024;

/// Buffers of written bodies that are kept for the next ones, and how long each may be: 8 MiB in all.
const BUFFERS: usize = 2048;
const BUFFER_BYTES: usize = 4096;
/// What bodies may take in memory, until they are committed, for one of them to be longer there than
/// [`FIRST_BYTES`](crate::assemble::FIRST_BYTES); the queue's bound if that is less.
const MAX_WAITING: usize = 16 * 1024 * 1024;

/// What is committed from one lull to the next that is much.
const MUCH_BYTES: u64 = 4 * 1024 * 1024;

/// The writer's hold on the disk. Database and files fail, and recover, each by itself: a disk without room for new
/// files may have pages free in the database.
pub(super) struct Disk {
    pub(super) db: Connection,
    pub(super) files: BodyWriter,
    pub(super) db_patience: Patience,
    file_patience: Patience,
    shared: Arc<Shared>,
    numbers: std::ops::Range<u64>,
    /// Empty, to be used again: memory that is given back and asked for with each commit is zeroed each time.
    buffers: Vec<Vec<u8>>,
    /// What bodies in memory take.
    pub(super) waiting: Waiting,
    /// When memory is given back, if nothing comes until then.
    pub(super) rest_due: Option<Instant>,
    /// What was committed since it last was; `None` where that was much.
    little: Option<u64>,
}

impl Disk {
    pub(super) fn new(
        db: Connection,
        files: BodyFiles,
        shared: Arc<Shared>,
        config: &RecorderConfig,
    ) -> Self {
        let patience = |part| Patience::new(part, config.disk_patience, config.on_disk_failure);
        Self {
            db: db.failing(config.faults.clone()),
            files: BodyWriter::new(files)
                .syncing(config.sync == SyncPolicy::Full)
                .failing(config.faults.clone()),
            db_patience: patience(DiskPart::Database),
            file_patience: patience(DiskPart::Files),
            shared,
            numbers: 0..0,
            buffers: Vec::new(),
            waiting: Waiting::new(MAX_WAITING.min(config.max_queued_bytes)),
            rest_due: Some(Instant::now() + LULL),
            little: Some(0),
        }
    }

    /// Keeps a piece of a body: in memory while the body is small, or there is room among all of them, else in its file. What
    /// there is no room for on the disk, or what that refuses for good, is counted as passed and not kept, with all that
    /// follows it. Where the disk refuses for now nothing has happened yet: this says when to come again with the same piece.
    pub(super) fn keep(
        &mut self,
        session: &mut Recording,
        assembly: &mut Assembly,
        side: BodySide,
        piece: &[u8],
    ) -> Result<(), Instant> {
        let most = assembly.most_inline(side, piece.len());
        let body = assembly.bodies.side(side);
        let admitted = body.admit(piece);
        let kept = &admitted[..session.take_up_to(admitted.len())];
        if kept.is_empty() {
            // Nothing more is kept of it.
        } else if body.fits_inline(kept, most, &self.waiting) {
            let buffers = &mut self.buffers;
            let of_size = kept.len() <= BUFFER_BYTES;
            body.keep(kept, &self.waiting, || buffers.pop_if(|_| of_size).unwrap_or_default());
        } else {
            match self.write(body.file, body.stored_bytes, &body.inline, kept) {
                Ok(file) => body.in_file(file, kept),
                Err(refused) => {
                    session.give_back(kept.len());
                    if let Some(again) = refused.again {
                        return Err(again);
                    }
                    // The failure is noted and logged where patience ended.
                    body.cut();
                }
            }
        }
        if kept.len() < admitted.len() {
            body.cut();
        }
        body.wire_bytes += piece.len() as u64;
        Ok(())
    }

    /// Takes back what a body that is written was kept in.
    pub(super) fn reuse(&mut self, mut buffer: Vec<u8>) {
        if (1..=BUFFER_BYTES).contains(&buffer.capacity()) && self.buffers.len() < BUFFERS {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }

    /// Notes a commit of so many bytes. While few come the database keeps few pages.
    pub(super) fn committed(&mut self, at: Instant, bytes: u64) {
        self.rest_due = Some(at + LULL);
        let Some(little) = &mut self.little else { return };
        *little += bytes;
        if *little >= MUCH_BYTES {
            self.little = None;
            if let Err(error) = self.db.keep_more() {
                tracing::debug!(%error, "the database keeps few pages");
            }
        }
    }

    /// Gives back what memory is kept for the next; once.
    pub(super) fn rest(&mut self) {
        (self.rest_due, self.little) = (None, Some(0));
        self.buffers = Vec::new();
        if let Err(error) = self.db.rest() {
            tracing::debug!(%error, "the database's memory is kept");
        }
    }

    /// Forces files to the disk, where that is wanted.
    pub(super) fn sync(&mut self) -> Result<(), Refused> {
        let Self { file_patience, files, shared, .. } = self;
        if files.syncs() { file_patience.attempt(shared, || files.sync()) } else { Ok(()) }
    }

    /// How far it is with the part of the disk that is worst off.
    pub(super) fn stage(&self) -> Option<Stage> {
        let stages = [self.db_patience.stage(), self.file_patience.stage()];
        let is = |wanted| stages.contains(&Some(wanted));
        [Stage::Holding, Stage::Retrying, Stage::Dropping].into_iter().find(|stage| is(*stage))
    }

    /// Drops from here on what cannot be written.
    pub(super) fn give_up(&mut self) {
        self.db_patience.give_up();
        self.file_patience.give_up();
    }

    /// Forgets what was refused for now: nobody wants it any more.
    pub(super) fn forgive(&mut self) {
        self.db_patience.forgive(&self.shared);
        self.file_patience.forgive(&self.shared);
    }

    /// Writes a piece to a body's file at its place, after what was kept in memory, and returns the file.
    fn write(
        &mut self,
        file: Option<u64>,
        offset: u64,
        beginning: &[u8],
        piece: &[u8],
    ) -> Result<u64, Refused> {
        let number = match file {
            Some(file) => file,
            None => self.next_number()?,
        };
        let Self { file_patience, files, shared, numbers, .. } = self;
        let written = file_patience.attempt(shared, || {
            if !beginning.is_empty() {
                files.write(number, 0, beginning)?;
            }
            files.write(number, offset, piece)
        });
        let settled = written.as_ref().map_or_else(|refused| refused.again.is_none(), |()| true);
        if file.is_none() && settled {
            numbers.next();
            if written.is_err() {
                files.discard(number);
            }
        }
        written.map(|()| number)
    }

    /// The number for a file to be made; it stays the next until it is taken.
    fn next_number(&mut self) -> Result<u64, Refused> {
        if self.numbers.is_empty() {
            let Self { db_patience, db, shared, .. } = self;
            let first = db_patience.attempt(shared, || {
                let tx = db.begin()?;
                let first = tx.reserve_files(FILE_NUMBERS)?;
                tx.commit()?;
                Ok::<_, DbError>(first)
            })?;
            self.numbers = first..first + FILE_NUMBERS;
        }
        Ok(self.numbers.start)
    }
}
