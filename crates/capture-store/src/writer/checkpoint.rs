//! Takes the database's log into the database, on a thread of its own, while the writer goes on.
//!
//! A checkpoint forces the log to the disk, reads it back and writes each page to its place: a fifth of what the writer
//! would otherwise do, and it would wait for the disk meanwhile. SQLite lets one connection do so beside one that writes; the
//! log begins anew once nothing is left in it, so what came meanwhile is taken in by another pass. Where the thread cannot
//! keep up, the writer takes the rest in itself: the log is bounded.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use super::rest::Seldom;
use crate::db::{Connection, Opener};

/// What the log holds by estimate when it is taken in.
const LOG_BYTES: u64 = 16 * 1024 * 1024;
/// What it holds when the writer does so itself.
const MOST_LOG_BYTES: u64 = 2 * LOG_BYTES;
/// What a commit adds to the log beside the exchanges: the last page of each table and index.
const COMMIT_BYTES: u64 = 256 * 1024;
/// Passes over the log, each taking in what came during the one before.
const PASSES: usize = 4;

/// The thread. Dropping this stops it, after the pass it is at.
pub(super) struct Checkpoints {
    /// What came to the log since it was last taken in, by estimate.
    log_bytes: u64,
    ask: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Starts the thread, which opens a connection of its own when it is asked; where there is none, the writer's does as it always
    /// did.
    pub(super) fn start(writer: &Connection, another: Opener) -> Self {
        let (ask, asked) = sync_channel(1);
        let work = move || run(Seldom::new(another), &asked);
        let thread = thread::Builder::new().name("capture-log".to_owned()).spawn(work);
        let left = match &thread {
            Ok(_) => writer.checkpoint_beyond(MOST_LOG_BYTES).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = left {
            tracing::warn!(%error, "the writer takes the log into the database itself");
        }
        Self { log_bytes: 0, ask: Some(ask), thread: thread.ok() }
    }

    /// Notes what a commit wrote, and has the log taken in when it is long.
    pub(super) fn note(&mut self, bytes: u64) {
        self.log_bytes += bytes + COMMIT_BYTES;
        if self.log_bytes >= LOG_BYTES
            && let Some(ask) = &self.ask
            && ask.try_send(()).is_ok()
        {
            self.log_bytes = 0;
        }
    }

    /// Stops the thread, after the pass it is at.
    pub(super) fn stop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that takes the log into the database panicked");
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(mut own: Seldom, asked: &Receiver<()>) {
    while let Some(()) = own.next(asked) {
        for _ in 0..PASSES {
            match own.open().and_then(Connection::checkpoint_beside) {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    // The log has it all; the next pass, or the writer, tries again.
                    tracing::debug!(%error, "the log stays");
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        db::{BodyContent, Mode},
        id::Seq,
        record::BodySide,
        recorder::SyncPolicy,
    };

    #[test]
    fn the_log_is_taken_in_beside_the_writer_and_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("store.db");
        let mut db = Connection::open(&file, Mode::Write).unwrap();
        db.migrate().unwrap();
        let data = vec![7; 1024 * 1024];
        let write = |seq| {
            let tx = db.begin().unwrap();
            for seq in seq..seq + 24 {
                let content = BodyContent::Inline { data: &data, plain: true };
                tx.put_body(Seq(seq), BodySide::Response, content, None).unwrap();
            }
            tx.commit().unwrap();
        };
        let length = |name: &str| fs::metadata(directory.path().join(name)).unwrap().len();
        let mut checkpoints = Checkpoints::start(&db, Opener::new(file, SyncPolicy::Normal));
        write(0);
        assert!(length("store.db") < LOG_BYTES, "the writer took it in by itself");
        checkpoints.note(LOG_BYTES - COMMIT_BYTES - 1);
        checkpoints.note(0);
        checkpoints.stop();
        assert!(length("store.db") > LOG_BYTES);
        let log = length("store.db-wal");
        write(100);
        assert_eq!(length("store.db-wal"), log);
        // Where nobody does so, the log stays bounded all the same.
        write(200);
        write(300);
        assert!(length("store.db") > 3 * LOG_BYTES);
    }
}
