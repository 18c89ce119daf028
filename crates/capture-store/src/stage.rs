//! Where the events of an exchange are gathered until it ends, by the threads that tell them.
//!
//! Most exchanges are small and over within a moment. Told one by one, each of their events takes the queue's lock, and
//! all that hangs on them is read, and given back, by another thread, long after it left the caches of the one that made
//! it. So the events wait here, and what enters the queue is the whole exchange ([`Whole`]). One that goes on for long,
//! grows, or carries messages goes into the queue event by event, in their order, as what came of it so far.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use proxy_core::{Event, EventKind, ExchangeId};

use crate::{
    assemble::INLINE_BYTES,
    whole::{Whole, WholePacker},
};

/// Parts of the stage, each with a lock of its own, so that threads seldom meet.
const SHARDS: usize = 64;
/// Exchanges in each at most; more are told event by event.
const MAX_EXCHANGES: usize = 32;
/// Events of one exchange at most.
const MAX_EVENTS: usize = 16;

/// See the module.
pub(crate) struct Stage {
    shards: Vec<Mutex<Shard>>,
}

/// The exchanges that share a lock.
pub(crate) struct Shard {
    exchanges: Vec<Staged>,
    /// Empty, to be used again.
    spare: Vec<Vec<Event>>,
    packer: WholePacker,
}

/// An exchange that goes on.
pub(crate) struct Staged {
    exchange: ExchangeId,
    pub(crate) begun: Instant,
    pub(crate) events: Vec<Event>,
    /// What its body pieces weigh in the queue's bound.
    pub(crate) bytes: usize,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::new(Shard::new())).collect() }
    }

    /// The part that an exchange belongs to.
    pub(crate) fn shard(&self, exchange: ExchangeId) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(exchange.0 % SHARDS as u64).unwrap_or(0);
        lock(&self.shards[index])
    }

    /// All parts, one after the other.
    pub(crate) fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(lock)
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn new() -> Self {
        Self { exchanges: Vec::new(), spare: Vec::new(), packer: WholePacker::new() }
    }

    /// Whether one more exchange may be gathered.
    pub(crate) fn has_room(&self) -> bool {
        self.exchanges.len() < MAX_EXCHANGES
    }

    /// Gathers an exchange, whose first event this is.
    pub(crate) fn begin(&mut self, event: Event) {
        let mut events = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(MAX_EVENTS));
        let exchange = event.exchange;
        events.push(event);
        self.exchanges.push(Staged { exchange, begun: Instant::now(), events, bytes: 0 });
    }

    /// Where an exchange is, if it is gathered.
    pub(crate) fn find(&self, exchange: ExchangeId) -> Option<usize> {
        self.exchanges.iter().position(|staged| staged.exchange == exchange)
    }

    /// Adds to an exchange what weighs so much, and says whether it is to be gathered any longer.
    pub(crate) fn add(&mut self, at: usize, event: Event, bytes: usize) -> bool {
        let staged = &mut self.exchanges[at];
        let stays = !matches!(event.kind, EventKind::Message(_) | EventKind::TunnelBytes { .. });
        staged.bytes += bytes;
        staged.events.push(event);
        stays && staged.events.len() < MAX_EVENTS && staged.bytes <= INLINE_BYTES
    }

    /// Where blocks for whole exchanges are taken from.
    pub(crate) fn spare_blocks(&mut self) -> &mut Vec<Vec<u8>> {
        self.packer.spare()
    }

    /// Takes out an exchange that ended. `None` where it was not told as it should be; it is gone then.
    pub(crate) fn pack(&mut self, at: usize) -> Option<Whole> {
        let mut staged = self.exchanges.swap_remove(at);
        let whole = self.packer.pack(&mut staged.events, staged.bytes);
        self.reuse(staged.events);
        whole
    }

    /// Takes out an exchange as it is.
    pub(crate) fn remove(&mut self, at: usize) -> Staged {
        self.exchanges.swap_remove(at)
    }

    /// Takes out those that go on for so long.
    pub(crate) fn remove_older(&mut self, than: Duration) -> Vec<Staged> {
        let (older, rest) =
            mem::take(&mut self.exchanges).into_iter().partition(|staged| staged.begun.elapsed() >= than);
        self.exchanges = rest;
        older
    }

    fn reuse(&mut self, mut events: Vec<Event>) {
        if self.spare.len() < MAX_EXCHANGES {
            events.clear();
            self.spare.push(events);
        }
    }
}
