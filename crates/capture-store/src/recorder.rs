//! The recorder: an observer of the engine that writes what it sees, in groups, on a thread of its own.

mod config;
mod status;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::SystemTime,
};

use proxy_core::{Event, Observer, observer::BoxFuture};

use crate::{
    error::{Error, ErrorKind},
    id::{Seq, SessionId},
    index::Keeper,
    queue::Queue,
    session::{SessionInfo, SessionState},
    store::Store,
    writer::{Command, Stage, Writer},
};

pub use config::{IndexPolicy, OnDiskFailure, RecorderConfig, SessionSpec, SyncPolicy};
pub use status::{RecorderState, RecorderStatus};

/// Records into a store. Clones share one writer thread, which ends when the last clone is dropped or
/// [`close`](Self::close) is called.
///
/// Observing is cheap and never waits: events go into a queue. While more body bytes are queued than
/// [`RecorderConfig::max_queued_bytes`], [`Observer::ready`] makes the wire wait; heads and endings get in all the
/// same. Should the queue nevertheless grow to four times that (and 64 MiB at least), new exchanges are not recorded,
/// and counted in [`RecorderStatus::dropped`].
///
/// When the disk refuses, writing is tried again while the wire waits. That goes on until the disk takes it, unless
/// [`RecorderConfig::on_disk_failure`] says to drop: then, [`RecorderConfig::disk_patience`] later, what cannot be written
/// is dropped and counted: whole exchanges in [`RecorderStatus::dropped`], ends of bodies by their `stored_bytes`.
/// [`RecorderStatus::state`] and [`RecorderStatus::last_error`] say so until writing succeeds again, and
/// [`SessionInfo::last_error`] keeps the last such failure. Closing does not wait for longer than patience lasts.
#[derive(Clone)]
pub struct Recorder {
    handle: Arc<Handle>,
}

impl Recorder {
    /// Starts recording into a new session. One process at a time records into a store.
    ///
    /// # Errors
    /// When the store is read-only, another process records into it, or it cannot be written.
    pub fn start(store: &Store, session: SessionSpec, config: RecorderConfig) -> Result<Self, Error> {
        let parts = store.recording_parts(config.sync)?;
        let shared = Arc::new(Shared::new(&config));
        let indexes = config.index == IndexPolicy::WhenIdle;
        let mut writer = Writer::new(shared.clone(), parts, config);
        writer.begin_with(&session)?;
        let thread = thread::Builder::new()
            .name("capture-store".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| Error::with_source(ErrorKind::RecorderStopped, error))?;
        let keeper = if indexes { Keeper::start(store.clone(), shared.clone()) } else { None };
        let handle = Handle {
            store: store.clone(),
            keeper: Mutex::new(keeper),
            shared,
            thread: Mutex::new(Some(thread)),
            closed: Mutex::new(None),
        };
        Ok(Self { handle: Arc::new(handle) })
    }

    /// Ends the current session and records into a new one from here on. Exchanges that are open go on into the
    /// session they began in. Blocks the calling thread for one commit.
    ///
    /// # Errors
    /// When the store cannot be written; the current session goes on then.
    pub fn switch(&self, session: SessionSpec) -> Result<SessionInfo, Error> {
        self.handle.ask(|reply| Command::Switch(session, reply))
    }

    /// The session being recorded.
    #[must_use]
    pub fn session(&self) -> SessionId {
        SessionId(self.handle.shared.session.load(Ordering::Relaxed))
    }

    /// How it stands.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn status(&self) -> Result<RecorderStatus, Error> {
        let session = self.handle.store.session(self.session())?;
        let shared = &self.handle.shared;
        let notes = shared.notes();
        let failing = notes.failing.iter().flatten();
        let worst = failing.clone().max_by_key(|failing| failing.stage == Stage::Holding);
        let state = match worst.map(|failing| failing.stage) {
            _ if shared.queue.is_closed() => RecorderState::Stopped,
            Some(Stage::Retrying) => RecorderState::Retrying,
            Some(Stage::Holding) => RecorderState::Holding,
            Some(Stage::Dropping) => RecorderState::Dropping,
            None if session.state == SessionState::Full => RecorderState::Full,
            None if shared.queue.is_full() => RecorderState::Behind,
            None => RecorderState::Recording,
        };
        Ok(RecorderStatus {
            session,
            state,
            failing_since: failing.map(|failing| failing.since).min(),
            queued_bytes: shared.queue.body_bytes(),
            bytes_written: notes.bytes_written,
            dropped: notes.dropped,
            last_commit: notes.last_commit,
            last_error: worst.map(|failing| failing.message.clone()),
        })
    }

    /// Waits until everything observed so far is committed (open exchanges as open), and returns the newest seq.
    /// Blocks the calling thread, while the disk refuses for no longer than [`RecorderConfig::disk_patience`].
    ///
    /// # Errors
    /// When the store cannot be written, or the recorder has stopped.
    pub fn flush(&self) -> Result<Seq, Error> {
        self.handle.ask(Command::Flush)
    }

    /// Calls `listener` with the newest seq after each commit that made something visible or changed it, on the
    /// writer's thread. It must return at once. Replaces nothing: every listener is called.
    pub fn on_commit(&self, listener: impl Fn(Seq) + Send + Sync + 'static) {
        lock(&self.handle.shared.listeners).push(Arc::new(listener));
    }

    /// Writes what is left, ends the session and the thread. Exchanges still open end as failed (`shutdown`). Closing
    /// again says how the session ended. Blocks the calling thread.
    ///
    /// # Errors
    /// When the rest cannot be written.
    pub fn close(&self) -> Result<SessionInfo, Error> {
        self.handle.close()
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("session", &self.session()).finish_non_exhaustive()
    }
}

impl Observer for Recorder {
    fn observe(&self, event: &Event) {
        self.handle.shared.queue.push(event.clone());
    }

    fn take(&self, event: Event) {
        self.handle.shared.queue.push(event);
    }

    fn ready(&self) -> Option<BoxFuture<'static, ()>> {
        Some(Box::pin(self.handle.shared.queue.ready()?))
    }
}

/// What the clones of a recorder share; the last one to go closes it.
struct Handle {
    store: Store,
    /// Who builds the index of texts.
    keeper: Mutex<Option<Keeper>>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The session that was closed.
    closed: Mutex<Option<SessionId>>,
}

impl Handle {
    /// Gives the writer a command and waits for its answer.
    fn ask<T>(&self, command: impl FnOnce(SyncSender<Result<T, Error>>) -> Command) -> Result<T, Error> {
        let (reply, answer) = sync_channel(1);
        if !self.shared.queue.command(command(reply)) {
            return Err(Error::new(ErrorKind::RecorderStopped));
        }
        answer.recv().unwrap_or_else(|_| Err(Error::new(ErrorKind::RecorderStopped)))
    }

    fn close(&self) -> Result<SessionInfo, Error> {
        let mut closed = lock(&self.closed);
        if let Some(session) = *closed {
            return self.store.session(session);
        }
        // Dropping it waits for the moment's work.
        drop(lock(&self.keeper).take());
        let answer = self.ask(Command::Close);
        if let Ok(session) = &answer {
            *closed = Some(session.id);
        }
        drop(closed);
        self.join();
        answer
    }

    /// Waits for the thread, so that its locks are free; not on the thread itself, where a listener may hold the last
    /// clone.
    fn join(&self) {
        let Some(thread) = lock(&self.thread).take() else { return };
        if thread.thread().id() != thread::current().id() && thread.join().is_err() {
            tracing::error!("the recorder's thread panicked");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let on_writer =
            lock(&self.thread).as_ref().is_some_and(|thread| thread.thread().id() == thread::current().id());
        if on_writer {
            // Nobody can wait for the answer here; the thread ends by itself.
            let (reply, _) = sync_channel(1);
            self.shared.queue.command(Command::Close(reply));
        } else if let Err(error) = self.close()
            && *error.kind() != ErrorKind::RecorderStopped
        {
            tracing::error!(%error, "closing the recorder failed");
        }
    }
}

type Listener = Arc<dyn Fn(Seq) + Send + Sync>;

/// What the recorder and its writer's thread share.
pub(crate) struct Shared {
    pub(crate) queue: Arc<Queue>,
    session: AtomicU64,
    /// The newest seq that was committed.
    newest: AtomicU64,
    notes: Mutex<Notes>,
    listeners: Mutex<Vec<Listener>>,
}

/// What can fail by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DiskPart {
    Database,
    Files,
}

#[derive(Default)]
struct Notes {
    bytes_written: u64,
    dropped: u64,
    last_commit: Option<SystemTime>,
    /// How each part of the disk fails, while it does.
    failing: [Option<Failing>; 2],
}

/// How a part of the disk fails.
#[derive(Clone)]
struct Failing {
    message: String,
    since: SystemTime,
    stage: Stage,
}

impl Shared {
    pub(crate) fn new(config: &RecorderConfig) -> Self {
        Self {
            queue: Arc::new(Queue::new(config.max_queued_bytes)),
            session: AtomicU64::new(0),
            newest: AtomicU64::new(0),
            notes: Mutex::default(),
            listeners: Mutex::default(),
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        lock(&self.notes)
    }

    pub(crate) fn set_session(&self, session: SessionId) {
        self.session.store(session.0, Ordering::Relaxed);
    }

    /// The newest seq that was committed since the recorder began; 0 before that.
    pub(crate) fn newest(&self) -> Seq {
        Seq(self.newest.load(Ordering::Relaxed))
    }

    pub(crate) fn count_written(&self, bytes: u64) {
        self.notes().bytes_written += bytes;
    }

    pub(crate) fn count_dropped(&self, exchanges: u64) {
        self.notes().dropped += exchanges;
    }

    pub(crate) fn note_error(&self, part: DiskPart, stage: Stage, error: &dyn fmt::Display) {
        let mut notes = self.notes();
        let known = &mut notes.failing[part as usize];
        let since = known.as_ref().map_or_else(SystemTime::now, |known| known.since);
        *known = Some(Failing { message: error.to_string(), since, stage });
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.notes().failing.iter().flatten().next().map(|failing| failing.message.clone())
    }

    pub(crate) fn clear_error(&self, part: DiskPart) {
        self.notes().failing[part as usize] = None;
    }

    /// Tells that a commit made something visible.
    pub(crate) fn committed(&self, newest: Seq, at: SystemTime) {
        self.newest.store(newest.0, Ordering::Relaxed);
        self.notes().last_commit = Some(at);
        let listeners = lock(&self.listeners).clone();
        for listener in listeners {
            listener(newest);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
