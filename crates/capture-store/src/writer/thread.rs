//! The thread's life: what it takes in, and when it commits.
//!
//! Pace: an exchange that ends after a lull is committed within [`GATHER`]; under load commits keep
//! `commit_interval` apart, or come sooner when much waits. An open exchange is written after `open_after`, and at
//! most once a second after that.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    mem,
    sync::{Arc, mpsc::SyncSender},
    thread,
    time::{Duration, Instant},
};

use proxy_core::{Event, EventKind, ExchangeId, FailureKind};

use super::{
    checkpoint::Checkpoints,
    disk::Disk,
    patience::Stage,
    press::Press,
    session::{Admission, Recording},
    staged::Finished,
    stall::unknown_ending,
    transaction::Known,
    unwritten::Unwritten,
};
use crate::{
    assemble::Assembly,
    error::Error,
    id::{Seq, SessionId},
    lock::Lock,
    queue::{Item, Sleep, body_bytes},
    record::BodySide,
    recorder::{DiskPart, RecorderConfig, SessionSpec, Shared},
    session::SessionInfo,
    store::RecordingParts,
};

/// How long the first ended exchange after a lull waits for company.
const GATHER: Duration = Duration::from_millis(10);
/// How often an open exchange is written again at most.
pub(super) const REWRITE: Duration = Duration::from_secs(1);
/// Ended exchanges that are committed without waiting.
const MANY_ENDED: usize = 2048;
/// Bytes held in memory that are.
pub(super) const MUCH_PENDING: usize = 8 * 1024 * 1024;
/// Body files not yet forced to the disk that are.
pub(super) const MANY_UNSYNCED: usize = 256;
/// Processed body bytes that are given back to the queue at once.
const RELEASE_BYTES: usize = 1024 * 1024;

/// What the writer is told.
pub(crate) enum Command {
    /// Commit everything and say the newest seq.
    Flush(SyncSender<Result<Seq, Error>>),
    /// Record into a new session.
    Switch(SessionSpec, SyncSender<Result<SessionInfo, Error>>),
    /// Commit everything, end the session, and stop.
    Close(SyncSender<Result<SessionInfo, Error>>),
}

/// The writer's state; see the module.
pub(crate) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) config: RecorderConfig,
    pub(super) disk: Disk,
    pub(super) open: HashMap<ExchangeId, Assembly>,
    pub(super) ended: Vec<Finished>,
    /// What is among `ended` since the disk refused it for good.
    pub(super) unwritten: Unwritten,
    /// Bytes that `ended`, and messages of `open`, hold in memory.
    pub(super) pending_bytes: usize,
    /// They are few.
    pub(super) sessions: BTreeMap<SessionId, Recording>,
    pub(super) current: SessionId,
    pub(super) known: Known,
    pub(super) press: Press,
    pub(super) checkpoints: Checkpoints,
    /// Since when something ended waits.
    pub(super) waiting_since: Option<Instant>,
    pub(super) last_commit: Option<Instant>,
    /// When open exchanges are looked through for one that is due.
    pub(super) open_due: Option<Instant>,
    pub(super) newest: Seq,
    /// When exchanges that are gathered are looked through for such that go on for long.
    pub(super) stage_due: Option<Instant>,
    /// When something kept is too old.
    pub(super) age_due: Option<Instant>,
    /// What is in hand: taken out of the queue, and not yet taken in.
    pub(super) batch: VecDeque<Item>,
    /// Whether the disk refused the last commit.
    pub(super) overdue: bool,
    /// Whether the wire waits for the disk.
    pub(super) held: bool,
    /// Commands that came while it did, to be answered when it was tried once more.
    pub(super) asked: Vec<Item>,
    _locks: (Lock, Lock),
}

/// Whether the writer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    /// Until then the disk is left alone.
    Stalled(Instant),
    Stop,
}

/// Which open exchanges a commit takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Include {
    /// Those that are due, or hold messages.
    Due,
    /// All that changed.
    All,
}

impl Writer {
    /// Makes a session and a writer that records into it.
    pub(crate) fn new(shared: Arc<Shared>, parts: RecordingParts, config: RecorderConfig) -> Self {
        let RecordingParts { db, another, files, locks } = parts;
        let press = Press::start(another.clone(), files.clone(), shared.clone(), config.sync);
        let checkpoints = Checkpoints::start(&db, another);
        Self {
            disk: Disk::new(db, files, shared.clone(), &config),
            shared,
            config,
            open: HashMap::new(),
            ended: Vec::new(),
            unwritten: Unwritten::default(),
            pending_bytes: 0,
            sessions: BTreeMap::new(),
            current: SessionId(0),
            known: Known::new(),
            press,
            checkpoints,
            waiting_since: None,
            last_commit: None,
            open_due: None,
            newest: Seq(0),
            stage_due: None,
            age_due: None,
            batch: VecDeque::new(),
            overdue: false,
            held: false,
            asked: Vec::new(),
            _locks: locks,
        }
    }

    /// Runs until it is told to close.
    pub(crate) fn run(mut self) {
        let _end = CloseOnDrop(self.shared.clone());
        loop {
            match self.step() {
                Next::GoOn => {}
                Next::Stalled(until) => self.stall(until),
                Next::Stop => return,
            }
            self.hold_or_let_go();
        }
    }

    /// Commits what is due, else takes in what there is, else waits for it. While the disk refuses nothing more is taken
    /// in than is in hand, so that memory stays bounded.
    pub(super) fn step(&mut self) -> Next {
        self.look_at_stage();
        if self.is_due() {
            return match self.commit_or_drop(Include::Due) {
                Ok(()) => Next::GoOn,
                Err(until) => {
                    self.overdue = true;
                    Next::Stalled(until)
                }
            };
        }
        if self.batch.is_empty() {
            let mut items = Vec::from(mem::take(&mut self.batch));
            let until = [self.deadline(), self.stage_due, self.disk.rest_due].into_iter().flatten().min();
            self.shared.queue.take(&mut items, self.sleep(), until);
            self.batch = items.into();
            self.note_refused();
        }
        self.take_in()
    }

    pub(super) fn is_due(&self) -> bool {
        self.overdue || self.is_much() || self.deadline().is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Whether so much came since the last try that the next is made at once.
    fn is_much(&self) -> bool {
        self.ended.len().saturating_sub(self.unwritten.exchanges) >= MANY_ENDED
            || self.pending_bytes >= MUCH_PENDING
            || self.disk.files.unsynced().saturating_sub(self.unwritten.files) >= MANY_UNSYNCED
    }

    /// Takes in what is in hand, until much is together or the disk refuses.
    fn take_in(&mut self) -> Next {
        let mut released = 0;
        let mut next = Next::GoOn;
        while let Some(item) = self.batch.pop_front() {
            next = match item {
                Item::Late(event, begun) => {
                    self.late(event, begun);
                    Next::GoOn
                }
                Item::Batch(batch) => {
                    released += batch.queued_bytes;
                    self.batch(batch);
                    Next::GoOn
                }
                Item::Ended(event, told_at) => {
                    self.end(event, told_at);
                    Next::GoOn
                }
                Item::Event(event) => match self.event(event) {
                    Ok(bytes) => {
                        released += bytes;
                        Next::GoOn
                    }
                    Err((event, until)) => {
                        self.batch.push_front(Item::Event(event));
                        Next::Stalled(until)
                    }
                },
                Item::Command(command) => {
                    // Whoever waits for the answer finds the queue as it is by then.
                    self.shared.queue.release(mem::take(&mut released));
                    self.command(command)
                }
            };
            if released >= RELEASE_BYTES {
                self.shared.queue.release(mem::take(&mut released));
            }
            if next != Next::GoOn || self.is_much() {
                break;
            }
        }
        self.shared.queue.release(released);
        next
    }

    fn sleep(&self) -> Sleep {
        if self.waiting_since.is_some() {
            Sleep::Gathering
        } else if self.open_due.is_none() && self.stage_due.is_none() {
            // Whatever comes next, also to an exchange that is open and was quiet, has to be given a time.
            Sleep::Idle
        } else {
            Sleep::Watching
        }
    }

    /// When something has to be committed.
    fn deadline(&self) -> Option<Instant> {
        let interval = self.config.commit_interval;
        let ended = self.waiting_since.map(|since| {
            let soon = since + GATHER.min(interval);
            let paced = self.last_commit.map_or(soon, |last| last + interval);
            soon.max(paced.min(since + interval))
        });
        [ended, self.open_due, self.age_due].into_iter().flatten().min()
    }

    /// Takes in an event and returns the body bytes it no longer holds in the queue; or gives it back, and says when to
    /// come again with it.
    pub(super) fn event(&mut self, event: Event) -> Result<usize, (Event, Instant)> {
        let released = body_bytes(&event);
        match event.kind {
            EventKind::Request { client, head, started_at } => {
                self.begin(event.exchange, |session, limit| {
                    Assembly::new(session, client, head, started_at, limit)
                });
            }
            EventKind::RequestBody(ref piece) | EventKind::ResponseBody(ref piece) => {
                let side = match event.kind {
                    EventKind::RequestBody(_) => BodySide::Request,
                    _ => BodySide::Response,
                };
                if let Err(until) = self.piece(event.exchange, side, piece) {
                    return Err((event, until));
                }
            }
            EventKind::Ended(_) => self.end(event, Instant::now()),
            kind => self.apply(event.exchange, event.at, kind),
        }
        Ok(released)
    }

    pub(super) fn begin(&mut self, id: ExchangeId, make: impl FnOnce(SessionId, u64) -> Assembly) {
        self.sync_full_session();
        let Some(recording) = self.sessions.get_mut(&self.current) else { return };
        match recording.admit() {
            Admission::Full => {
                self.shared.count_dropped(1);
                self.waiting_since.get_or_insert_with(Instant::now);
            }
            Admission::Open => {
                let limit = recording.body_limit(self.config.max_body_bytes);
                let assembly = make(self.current, limit);
                self.due_by(assembly.begun + self.config.open_after);
                let replaced = self.open.insert(id, assembly);
                if let Some(mut replaced) = replaced {
                    replaced.end(unknown_ending(FailureKind::Crash), Duration::ZERO);
                    self.finish(replaced);
                }
            }
        }
    }

    fn apply(&mut self, id: ExchangeId, at: Duration, kind: EventKind) {
        let Some(assembly) = self.open.get_mut(&id) else { return };
        let before = assembly.pending_bytes;
        if let EventKind::Message(message) = &kind {
            let length = message.data.len();
            let session = self.sessions.get_mut(&assembly.session);
            if !assembly.admits_message(length) || !session.is_some_and(|session| session.take(length)) {
                assembly.skip_message();
                let due = assembly.row.map(|row| row.written_at + REWRITE);
                return self.rewrite_by(due);
            }
        }
        assembly.apply(at, kind);
        self.pending_bytes += assembly.pending_bytes - before;
        let due = assembly.row.map(|row| row.written_at + REWRITE);
        self.rewrite_by(due);
    }

    fn end(&mut self, event: Event, told_at: Instant) {
        let EventKind::Ended(ending) = event.kind else { return };
        let Some(mut assembly) = self.open.remove(&event.exchange) else { return };
        assembly.end(ending, event.at);
        assembly.ended_at = Some(told_at);
        self.finish(assembly);
    }

    pub(super) fn finish(&mut self, assembly: Assembly) {
        for (_, body) in assembly.bodies.each() {
            self.pending_bytes += body.inline.len();
            if let Some(file) = body.file {
                self.disk.files.close(file);
            }
        }
        self.ended.push(Finished::Assembly(Box::new(assembly)));
        self.waiting_since.get_or_insert_with(Instant::now);
    }

    fn piece(&mut self, id: ExchangeId, side: BodySide, piece: &[u8]) -> Result<(), Instant> {
        let Some(assembly) = self.open.get_mut(&id) else { return Ok(()) };
        let Some(session) = self.sessions.get_mut(&assembly.session) else { return Ok(()) };
        assembly.dirty = true;
        let due = assembly.row.map(|row| row.written_at + REWRITE);
        let kept = self.disk.keep(session, assembly, side, piece);
        // Also where the file refuses: only a commit finds out that the exchange is wanted no more.
        self.rewrite_by(due);
        kept
    }

    fn rewrite_by(&mut self, due: Option<Instant>) {
        if let Some(due) = due {
            self.due_by(due);
        }
    }

    fn due_by(&mut self, due: Instant) {
        self.open_due = Some(self.open_due.map_or(due, |known| known.min(due)));
    }

    /// Counts exchanges that the queue refused as not recorded.
    pub(super) fn note_refused(&mut self) {
        let refused = self.shared.queue.take_refused();
        if refused > 0 {
            self.shared.count_dropped(refused);
            if let Some(recording) = self.sessions.get_mut(&self.current) {
                recording.not_recorded += refused;
            }
            self.waiting_since.get_or_insert_with(Instant::now);
        }
    }
}

/// Lets the engine go on when the writer is gone, also when it panicked.
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.note_error(
                DiskPart::Database,
                Stage::Dropping,
                &"the recorder's thread panicked; nothing is recorded any more",
            );
        }
        self.0.queue.close();
    }
}
