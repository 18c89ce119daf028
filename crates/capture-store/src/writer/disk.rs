//! What the writer writes through: the database, the body files, and patience with both.

use std::sync::Arc;

use super::{patience::Patience, session::Recording};
use crate::{
    assemble::BodyBuffer,
    db::{Connection, DbError},
    error::{Error, ErrorKind},
    files::{BodyFiles, BodyWriter},
    recorder::{DiskPart, RecorderConfig, Shared, SyncPolicy},
};

/// Numbers of body files reserved at once.
const FILE_NUMBERS: u64 = 1024;

/// The writer's hold on the disk. Database and files fail, and recover, each by itself: a disk without room for new
/// files may have pages free in the database.
pub(super) struct Disk {
    pub(super) db: Connection,
    pub(super) files: BodyWriter,
    pub(super) db_patience: Patience,
    file_patience: Patience,
    shared: Arc<Shared>,
    numbers: std::ops::Range<u64>,
}

impl Disk {
    pub(super) fn new(
        db: Connection,
        files: BodyFiles,
        shared: Arc<Shared>,
        config: &RecorderConfig,
    ) -> Self {
        let patience = config.disk_patience;
        Self {
            db,
            files: BodyWriter::new(files).syncing(config.sync == SyncPolicy::Full),
            db_patience: Patience::new(DiskPart::Database, patience),
            file_patience: Patience::new(DiskPart::Files, patience),
            shared,
            numbers: 0..0,
        }
    }

    /// Keeps a piece of a body: in memory while the body is small, else in its file. What there is no room for, or
    /// what the disk refuses, is counted as passed and not kept, with all that follows it.
    pub(super) fn keep(&mut self, session: &mut Recording, body: &mut BodyBuffer, piece: &[u8]) {
        body.wire_bytes += piece.len() as u64;
        let kept = body.admit(piece);
        if kept.is_empty() {
            return;
        }
        if !session.take(kept.len()) {
            return body.cut();
        }
        if body.fits_inline(kept) {
            body.inline.extend_from_slice(kept);
            return body.stored(kept);
        }
        match self.write(body.file, body.stored_bytes, &body.inline, kept) {
            Ok(file) => {
                body.file = Some(file);
                body.inline = Vec::new();
                body.stored(kept);
            }
            // The failure is noted and logged where patience ended.
            Err(_) => body.cut(),
        }
    }

    /// Writes a piece to a body's file at its place, after what was kept in memory, and returns the file.
    fn write(
        &mut self,
        file: Option<u64>,
        offset: u64,
        beginning: &[u8],
        piece: &[u8],
    ) -> Result<u64, Error> {
        let file = match file {
            Some(file) => file,
            None => self.next_number()?,
        };
        let Self { file_patience, files, shared, .. } = self;
        file_patience.insist(shared, || {
            if !beginning.is_empty() {
                files.write(file, 0, beginning)?;
            }
            files.write(file, offset, piece)
        })?;
        Ok(file)
    }

    fn next_number(&mut self) -> Result<u64, Error> {
        if self.numbers.is_empty() {
            let Self { db_patience, db, shared, .. } = self;
            let first = db_patience.insist(shared, || {
                let tx = db.begin()?;
                let first = tx.reserve_files(FILE_NUMBERS)?;
                tx.commit()?;
                Ok::<_, DbError>(first)
            })?;
            self.numbers = first..first + FILE_NUMBERS;
        }
        self.numbers.next().ok_or_else(|| Error::new(ErrorKind::Database))
    }
}
