//! How events come into the queue: gathered until their exchange ends, or one by one.

use std::{
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

use proxy_core::{Event, EventKind, Headers};

use super::{BLOCKS_AT_ONCE, EVENT_BYTES, Item, Queue, Sleep, State, body_bytes};
use crate::stage::{Shard, Staged};

/// What one field of a head is taken to weigh beside its name and value.
const FIELD_BYTES: usize = 64;

impl Queue {
    /// Takes note of an event. Never waits for the writer; ignored once the queue is closed.
    ///
    /// What belongs to an exchange that is gathered is kept with it, until its end puts it in as a whole.
    pub(crate) fn push(&self, event: &Event) {
        let mut shard = self.stage.shard(event.exchange);
        if let Some(at) = shard.find(event.exchange) {
            return self.add(&mut shard, at, event);
        }
        if matches!(event.kind, EventKind::Request { .. }) && shard.has_room() {
            if self.admit() {
                shard.begin(event.clone());
            }
            return;
        }
        drop(shard);
        let ends = matches!(event.kind, EventKind::Ended(_));
        if matches!(event.kind, EventKind::Request { .. }) && self.refuses() {
            return;
        }
        let bytes = body_bytes(event);
        self.put([Item::Event(event.clone())], (bytes, weight(event)), ends);
    }

    /// Adds an event to an exchange that is gathered, and puts that in where it is whole, or too much.
    fn add(&self, shard: &mut Shard, at: usize, event: &Event) {
        let bytes = body_bytes(event);
        let all = self.staged_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let is_little = shard.add(at, event.clone(), bytes) && all <= self.max_staged_bytes;
        if !is_little || matches!(event.kind, EventKind::Request { .. }) {
            let staged = shard.remove(at);
            return self.put_staged(staged);
        }
        if !matches!(event.kind, EventKind::Ended(_)) {
            return;
        }
        self.supply(shard.spare_blocks());
        let Some(whole) = shard.pack(at) else { return };
        let bytes = whole.queued_bytes;
        let weight = whole.memory_bytes().max(bytes);
        self.unstage(bytes);
        self.put([Item::Whole(Box::new(whole))], (bytes, weight), true);
    }

    /// Puts in the events that were gathered of an exchange.
    fn put_staged(&self, staged: Staged) {
        let Staged { begun, events, bytes, .. } = staged;
        let ends = events.last().is_some_and(|event| matches!(event.kind, EventKind::Ended(_)));
        self.unstage(bytes);
        let weight = events.iter().map(weight).sum();
        let items = events.into_iter().map(|event| match event.kind {
            EventKind::Request { .. } => Item::Late(event, begun),
            _ => Item::Event(event),
        });
        self.put(items, (bytes, weight), ends);
    }

    /// Brings memory for whole exchanges where there is none.
    fn supply(&self, spare: &mut Vec<Vec<u8>>) {
        if spare.is_empty() {
            let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
            let rest = blocks.len().saturating_sub(BLOCKS_AT_ONCE);
            spare.extend(blocks.drain(rest..));
        }
    }

    fn unstage(&self, bytes: usize) {
        self.staged.fetch_sub(1, Ordering::Relaxed);
        self.staged_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether an exchange that begins is to be gathered: not when the queue is closed, or refuses it. Wakes the writer
    /// where it sleeps for anything.
    fn admit(&self) -> bool {
        let mut state = self.lock();
        if self.refuses_in(&mut state) {
            return false;
        }
        self.staged.fetch_add(1, Ordering::Relaxed);
        if state.sleep == Sleep::Idle {
            state.sleep = Sleep::Awake;
            drop(state);
            self.wake.notify_one();
        }
        true
    }

    fn refuses(&self) -> bool {
        self.refuses_in(&mut self.lock())
    }

    /// Whether a new exchange is refused, which is counted, or ignored.
    fn refuses_in(&self, state: &mut State) -> bool {
        let refuses = !state.closed && state.weight > self.refuse_bytes;
        state.refused += u64::from(refuses);
        refuses || state.closed
    }

    /// Puts items in, with the body bytes they hold and what they weigh.
    fn put(&self, items: impl IntoIterator<Item = Item>, (bytes, weight): (usize, usize), ends: bool) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        state.items.extend(items);
        state.weight += weight;
        state.ended |= ends;
        let queued = self.body_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let wakes = match state.sleep {
            Sleep::Awake => false,
            Sleep::Idle => true,
            Sleep::Watching => ends || self.is_much(queued, &state),
            Sleep::Gathering => self.is_much(queued, &state),
        };
        if wakes {
            state.sleep = Sleep::Awake;
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Whether exchanges are gathered, which may go on for so long that they are to be put in as they are.
    pub(crate) fn has_staged(&self) -> bool {
        self.staged.load(Ordering::Relaxed) > 0
    }

    /// Puts in what came of exchanges that are gathered for so long.
    pub(crate) fn put_older(&self, than: Duration) {
        for mut shard in self.stage.shards() {
            for staged in shard.remove_older(than) {
                self.put_staged(staged);
            }
        }
    }
}

/// What an event weighs in the queue: what it carries, and itself.
fn weight(event: &Event) -> usize {
    let carried = match &event.kind {
        EventKind::Request { head, .. } => {
            head.authority.len() + head.target.len() + weight_of_fields(&head.headers)
        }
        EventKind::Informational(head) | EventKind::Response { head, .. } => weight_of_fields(&head.headers),
        EventKind::RequestTrailers(fields) | EventKind::ResponseTrailers(fields) => weight_of_fields(fields),
        _ => return body_bytes(event).max(EVENT_BYTES),
    };
    EVENT_BYTES + carried
}

/// What header fields weigh.
pub(crate) fn weight_of_fields(fields: &Headers) -> usize {
    fields.iter().map(|field| FIELD_BYTES + field.name.len() + field.value.len()).sum()
}
