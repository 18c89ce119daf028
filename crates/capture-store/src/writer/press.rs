//! Packs body files once they are whole, on a thread of its own, while the writer has nothing better to do.
//!
//! The frame is written beside the file; one transaction makes the row say that it holds; then the file goes. A crash in
//! between leaves one too many, which the next opening removes. Nothing is lost when packing fails: the file stays.

use std::{
    fs, io,
    io::{BufWriter, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::rest::Seldom;
use crate::{
    db::Opener,
    error::Error,
    files::{BodyFiles, private_file},
    packing::{is_texty, pack_stream},
    recorder::{Shared, SyncPolicy},
};

/// Files waiting at most; what comes beyond stays as it is.
const WAITING: usize = 256;
/// Body bytes in the queue beyond which packing pauses.
const BUSY_BYTES: usize = 64 * 1024;
/// How long it pauses before it looks again.
const PAUSE: Duration = Duration::from_millis(5);
/// What of the content is looked at to tell whether it is text.
const LOOKED_AT: usize = 512;
/// What is written at once.
const BUFFER_BYTES: usize = 128 * 1024;

/// A file to be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packable {
    pub(super) file: u64,
    pub(super) length: u64,
}

/// The thread. Dropping this stops it, after the piece it is at.
pub(super) struct Press {
    files: Option<SyncSender<Packable>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread has.
struct Work {
    db: Seldom,
    files: BodyFiles,
    shared: Arc<Shared>,
    sync: SyncPolicy,
    stop: Arc<AtomicBool>,
}

impl Press {
    /// Starts the thread; where that cannot be, nothing is packed.
    pub(super) fn start(another: Opener, files: BodyFiles, shared: Arc<Shared>, sync: SyncPolicy) -> Self {
        let (sender, receiver) = sync_channel(WAITING);
        let stop = Arc::new(AtomicBool::new(false));
        let mut work = Work { db: Seldom::new(another), files, shared, sync, stop: stop.clone() };
        let thread =
            thread::Builder::new().name("capture-packing".to_owned()).spawn(move || work.run(&receiver));
        if let Err(error) = &thread {
            tracing::warn!(%error, "large bodies are not packed");
        }
        Self { files: Some(sender), stop, thread: thread.ok() }
    }

    /// Packs a file when there is time; forgets it when too many wait.
    pub(super) fn offer(&self, packable: Packable) {
        if let Some(files) = &self.files {
            // A file that is not packed is whole all the same.
            let _ = files.try_send(packable);
        }
    }
}

impl Drop for Press {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.files = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that packs bodies panicked");
        }
    }
}

impl Work {
    fn run(&mut self, files: &Receiver<Packable>) {
        while let Some(packable) = self.db.next(files) {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if let Err(error) = self.pack(packable) {
                tracing::debug!(file = packable.file, %error, "a body stays as it is");
                self.forget_frame(packable.file);
            }
        }
    }

    fn pack(&self, Packable { file, length }: Packable) -> Result<(), Error> {
        let Some(stored) = self.write_frame(file, length)? else {
            self.forget_frame(file);
            return Ok(());
        };
        self.put_in_place(file, stored)
    }

    /// Makes the row say that the frame holds, and removes the file. Once the row does the frame stays, whatever becomes
    /// of the file: one that cannot be removed is one too many, and no loss.
    fn put_in_place(&self, file: u64, stored: u64) -> Result<(), Error> {
        let tx = self.db.open()?.begin()?;
        let known = tx.note_packed(file, stored)?;
        tx.commit()?;
        if !known {
            self.forget_frame(file);
        } else if let Err(error) = self.files.remove_unpacked(file) {
            tracing::warn!(file, %error, "a body is packed, and its file cannot be removed");
        }
        Ok(())
    }

    /// Writes the frame and says how long it is; `None` where it is not worth it.
    fn write_frame(&self, file: u64, length: u64) -> io::Result<Option<u64>> {
        let mut content = self.files.open(file)?;
        let mut start = [0; LOOKED_AT];
        let read = content.read(&mut start)?;
        if !is_texty(&start[..read]) {
            return Ok(None);
        }
        let path = self.files.frame_path(file);
        let frame = private_file().open(&path)?;
        frame.set_len(0)?;
        let content =
            Patiently { work: self, reader: io::Cursor::new(start).take(read as u64).chain(content) };
        pack_stream(content.take(length), BufWriter::with_capacity(BUFFER_BYTES, &frame))?;
        if self.sync == SyncPolicy::Full {
            frame.sync_data()?;
        }
        let stored = frame.metadata()?.len();
        Ok((stored < length / 4 * 3).then_some(stored))
    }

    fn forget_frame(&self, file: u64) {
        // What stays is swept after a crash, and replaced when its number is packed again.
        let _ = fs::remove_file(self.files.frame_path(file));
    }
}

/// Reads while the writer has little to do, and no more once the press stops.
struct Patiently<'w, R> {
    work: &'w Work,
    reader: R,
}

impl<R: Read> Read for Patiently<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.work.shared.queue.body_bytes() > BUSY_BYTES && !self.work.stop.load(Ordering::Relaxed) {
            thread::sleep(PAUSE);
        }
        if self.work.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("the recorder closes"));
        }
        self.reader.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        files::create_private_directory,
        recorder::RecorderConfig,
        store::{Store, StoreConfig},
    };

    #[test]
    fn a_frame_stays_although_the_file_it_replaces_cannot_be_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreConfig::default()).unwrap();
        let parts = store.recording_parts(SyncPolicy::Normal).unwrap();
        let work = Work {
            db: Seldom::new(parts.another),
            files: parts.files,
            shared: Arc::new(Shared::new(&RecorderConfig::default())),
            sync: SyncPolicy::Normal,
            stop: Arc::default(),
        };
        let tx = work.db.open().unwrap().begin().unwrap();
        tx.put_file(7, 1_000, Some(&[1; 32])).unwrap();
        tx.commit().unwrap();
        // A directory in the file's place is no file that could be removed, whoever runs the test.
        let frame = work.files.frame_path(7);
        create_private_directory(&frame.with_extension("")).unwrap();
        fs::write(&frame, "a frame").unwrap();
        assert!(work.files.remove_unpacked(7).is_err());
        work.put_in_place(7, 7).unwrap();
        assert!(frame.exists());
        let tx = work.db.open().unwrap().snapshot().unwrap();
        assert_eq!(
            tx.file_length(7).unwrap().map(|on_disk| (on_disk.bytes, on_disk.is_frame)),
            Some((7, true))
        );
    }
}
