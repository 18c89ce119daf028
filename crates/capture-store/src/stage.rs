//! Where the events of an exchange are gathered until it ends, by the threads that tell them.
//!
//! Most exchanges are small and over within a moment. Told one by one, each of their events takes the queue's lock, and
//! all that hangs on them is read, and given back, by another thread, long after it left the caches of the one that made
//! it. So the events wait here, and what the writer gets is the whole exchange, with others ([`Batch`]). One that goes on
//! for long, grows, or carries messages goes into the queue event by event, in their order, as what came of it so far.
//!
//! Each thread has a part of the stage, which it shares with few others or none, so that its lock and its memory stay
//! with that thread's processor. An exchange whose events come from different threads is found in the part it began in.

use std::{
    hash::{Hash, Hasher},
    mem,
    ops::{Deref, DerefMut},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use proxy_core::{Event, EventKind, ExchangeId};

use crate::whole::Batch;

/// Parts at least: more threads than processors may tell.
const MIN_PARTS: usize = 4;
/// And at most.
const MAX_PARTS: usize = 64;
/// Exchanges in each at most; more are told event by event.
const MAX_EXCHANGES: usize = 256;
/// Events of one exchange at most.
const MAX_EVENTS: usize = 16;
/// Bytes of its bodies at most.
const MAX_BYTES: usize = 32 * 1024;
/// What an exchange takes in a batch beside its bodies, about.
const ABOUT_HEADS: usize = 2048;

/// See the module.
pub(crate) struct Stage {
    /// As many as a power of two.
    parts: Vec<Part>,
}

/// One part, on lines of the cache that no other has.
#[repr(align(128))]
struct Part {
    /// How many exchanges are gathered in it. It is written under its lock, after what was taken out came into the queue:
    /// who reads 0 finds nothing here, and comes after it in the queue.
    held: AtomicUsize,
    shard: Mutex<Shard>,
}

/// The exchanges that share a lock.
pub(crate) struct Shard {
    /// The number of each exchange, in the order of `exchanges`.
    numbers: Vec<ExchangeId>,
    exchanges: Vec<Staged>,
    /// What the bodies of all weigh in the queue's bound.
    bytes: usize,
    /// Empty, to be used again.
    spare: Vec<Vec<Event>>,
    /// Exchanges that ended, to be taken by the writer, or handed to it when they are enough.
    batch: Batch,
}

/// An exchange that goes on.
pub(crate) struct Staged {
    pub(crate) begun: Instant,
    pub(crate) events: Vec<Event>,
    /// What its body pieces weigh in the queue's bound.
    pub(crate) bytes: usize,
}

/// A part that nobody else uses meanwhile.
pub(crate) struct Held<'a> {
    held: &'a AtomicUsize,
    shard: MutexGuard<'a, Shard>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let parts = threads.next_power_of_two().clamp(MIN_PARTS, MAX_PARTS);
        let part = || Part { held: AtomicUsize::new(0), shard: Mutex::new(Shard::new()) };
        Self { parts: (0..parts).map(|_| part()).collect() }
    }

    /// How many parts there are.
    pub(crate) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The part of the thread that asks.
    pub(crate) fn own(&self) -> Held<'_> {
        self.parts[self.own_index()].lock()
    }

    /// The part where an exchange is gathered, and where in it.
    pub(crate) fn find(&self, exchange: ExchangeId) -> Option<(Held<'_>, usize)> {
        let own = self.own_index();
        // The number of parts is a power of two, so that this looks at each of them once, the own first.
        for index in 0..self.parts.len() {
            let part = &self.parts[own ^ index];
            if part.held.load(Ordering::Acquire) == 0 {
                continue;
            }
            let shard = part.lock();
            if let Some(at) = shard.find(exchange) {
                return Some((shard, at));
            }
        }
        None
    }

    /// Whether exchanges are gathered.
    pub(crate) fn holds_any(&self) -> bool {
        self.parts.iter().any(|part| part.held.load(Ordering::Acquire) > 0)
    }

    /// All parts, one after the other.
    pub(crate) fn all(&self) -> impl Iterator<Item = Held<'_>> {
        self.parts.iter().map(Part::lock)
    }

    fn own_index(&self) -> usize {
        let mut number = Number(0);
        thread::current().id().hash(&mut number);
        usize::try_from(number.0 % self.parts.len() as u64).unwrap_or(0)
    }
}

/// The number of a thread: they are counted from one, so that threads that began together have parts of their own.
struct Number(u64);

impl Hasher for Number {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(31).wrapping_add(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

impl Part {
    fn lock(&self) -> Held<'_> {
        let shard = self.shard.lock().unwrap_or_else(PoisonError::into_inner);
        Held { held: &self.held, shard }
    }
}

impl Deref for Held<'_> {
    type Target = Shard;

    fn deref(&self) -> &Shard {
        &self.shard
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Shard {
        &mut self.shard
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.held.store(self.shard.exchanges.len(), Ordering::Release);
    }
}

impl Shard {
    fn new() -> Self {
        Self {
            numbers: Vec::new(),
            exchanges: Vec::new(),
            bytes: 0,
            spare: Vec::new(),
            batch: Batch::default(),
        }
    }

    /// Whether one more exchange may be gathered.
    pub(crate) fn has_room(&self) -> bool {
        self.exchanges.len() < MAX_EXCHANGES
    }

    /// Gathers an exchange, whose first event this is.
    pub(crate) fn begin(&mut self, event: Event) {
        let mut events = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(MAX_EVENTS));
        self.numbers.push(event.exchange);
        events.push(event);
        self.exchanges.push(Staged { begun: Instant::now(), events, bytes: 0 });
    }

    /// Where an exchange is, if it is gathered.
    pub(crate) fn find(&self, exchange: ExchangeId) -> Option<usize> {
        self.numbers.iter().position(|number| *number == exchange)
    }

    /// Adds to an exchange what weighs so much, and says whether it is to be gathered any longer, where all of them may
    /// weigh `max_bytes`.
    pub(crate) fn add(&mut self, at: usize, event: Event, bytes: usize, max_bytes: usize) -> bool {
        let staged = &mut self.exchanges[at];
        let stays = !matches!(
            event.kind,
            EventKind::Message(_) | EventKind::TunnelBytes { .. } | EventKind::Request { .. }
        );
        staged.bytes += bytes;
        staged.events.push(event);
        self.bytes += bytes;
        stays && staged.events.len() < MAX_EVENTS && staged.bytes <= MAX_BYTES && self.bytes <= max_bytes
    }

    /// Whether an exchange that ends goes into another batch than the one at hand.
    pub(crate) fn is_full_for(&self, at: usize) -> bool {
        self.batch.is_full_for(self.exchanges[at].bytes + ABOUT_HEADS)
    }

    /// Packs an exchange that ended; one that was not told as it should be is gone then. Says what the batch weighs.
    pub(crate) fn pack(&mut self, at: usize) -> usize {
        let mut staged = self.remove(at);
        if self.batch.pack(&staged.events, Instant::now()) {
            self.batch.queued_bytes += staged.bytes;
        }
        if self.spare.len() < MAX_EXCHANGES {
            staged.events.clear();
            self.spare.push(staged.events);
        }
        self.batch.queued_bytes
    }

    /// Gives back memory that nothing lies in.
    pub(crate) fn rest(&mut self) {
        self.spare = Vec::new();
        self.numbers.shrink_to_fit();
        self.exchanges.shrink_to_fit();
        if self.batch.len() == 0 {
            self.batch = Batch::default();
        }
    }

    /// Takes what was packed, if there is anything, and goes on with an empty batch.
    pub(crate) fn take_batch(&mut self, empty: impl FnOnce() -> Option<Batch>) -> Option<Batch> {
        if self.batch.len() == 0 {
            return None;
        }
        let mut next = empty().unwrap_or_default();
        next.reserve_like(&self.batch);
        Some(mem::replace(&mut self.batch, next))
    }

    /// Takes out an exchange as it is.
    pub(crate) fn remove(&mut self, at: usize) -> Staged {
        self.numbers.swap_remove(at);
        let staged = self.exchanges.swap_remove(at);
        self.bytes -= staged.bytes;
        staged
    }

    /// Takes out one of those that by now go on for so long.
    pub(crate) fn remove_older(&mut self, than: Duration, now: Instant) -> Option<Staged> {
        let is_older = |staged: &Staged| now.saturating_duration_since(staged.begun) >= than;
        let at = self.exchanges.iter().position(is_older)?;
        Some(self.remove(at))
    }
}
