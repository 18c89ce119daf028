//! How events come into the queue: gathered until their exchange ends, or one by one.

use std::{
    sync::{PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use proxy_core::{Event, EventKind, Headers};

use super::{EVENT_BYTES, Item, Queue, Sleep, State, body_bytes};
use crate::{
    stage::{Held, Staged},
    whole::Batch,
};

/// What a batch of exchanges weighs when it is handed over, at most.
const BATCH_WEIGHT: usize = 64 * 1024;

impl Item {
    /// An event that is told by itself.
    fn of(event: Event) -> Self {
        match event.kind {
            EventKind::Ended(_) => Self::Ended(event, Instant::now()),
            _ => Self::Event(event),
        }
    }

    /// How many it stands for.
    fn count(&self) -> usize {
        match self {
            Self::Batch(batch) => batch.len(),
            _ => 1,
        }
    }
}

/// What one field of a head is taken to weigh beside its name and value.
const FIELD_BYTES: usize = 64;

impl Queue {
    /// Takes note of an event. Never waits for the writer; ignored once the queue is closed.
    ///
    /// What belongs to an exchange that is gathered is kept with it, until its end has it packed as a whole.
    pub(crate) fn push(&self, event: Event) {
        if matches!(event.kind, EventKind::Request { .. }) {
            return self.begin(event);
        }
        if let Some((shard, at)) = self.stage.find(event.exchange) {
            return self.add(shard, at, event);
        }
        self.put_event(event);
    }

    /// Gathers an exchange that begins, if there is room, and wakes the writer where it sleeps for anything.
    fn begin(&self, event: Event) {
        let mut shard = self.stage.own();
        if let Some(at) = shard.find(event.exchange) {
            return self.add(shard, at, event);
        }
        // Looked at while the part is locked: closing looks into each part after it was said.
        if self.gate.is_shut() && self.refuses() {
            return;
        }
        if !shard.has_room() {
            drop(shard);
            return self.put_event(event);
        }
        shard.begin(event);
        // Likewise: who lies down says so, then looks into each part.
        let wakes = self.gate.sleep() == Sleep::Idle;
        drop(shard);
        if wakes {
            self.wake_from(&[Sleep::Idle]);
        }
    }

    /// Adds an event to an exchange that is gathered, packs it where it is whole, and puts it in where it is too much.
    fn add(&self, mut shard: Held<'_>, at: usize, event: Event) {
        let bytes = body_bytes(&event);
        let ends = matches!(event.kind, EventKind::Ended(_));
        if !shard.add(at, event, bytes, self.max_staged_bytes) {
            let staged = shard.remove(at);
            self.put_staged(staged);
        } else if ends {
            self.pack(shard, at);
        }
    }

    fn pack(&self, mut shard: Held<'_>, at: usize) {
        if shard.is_full_for(at) {
            self.hand_over(&mut shard);
        }
        let weight = shard.pack(at);
        if weight >= self.max_batch_bytes {
            self.hand_over(&mut shard);
        }
        let wakes = matches!(self.gate.sleep(), Sleep::Idle | Sleep::Watching);
        drop(shard);
        if wakes {
            self.wake_from(&[Sleep::Idle, Sleep::Watching]);
        }
    }

    /// Puts in what was packed.
    fn hand_over(&self, shard: &mut Held<'_>) {
        let Some(batch) = shard.take_batch(|| self.empty_batch()) else { return };
        let bytes = batch.queued_bytes;
        let weight = batch.memory_bytes().max(bytes);
        self.put([Item::Batch(batch)], (bytes, weight), true);
    }

    fn empty_batch(&self) -> Option<Batch> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Takes what was packed out of all parts, which nobody uses meanwhile: what ended before something that is taken is
    /// taken too.
    pub(super) fn pull(&self, items: &mut Vec<Item>) {
        self.pull_out_of(&mut self.stage.all().collect::<Vec<_>>(), items);
    }

    /// As [`pull`](Self::pull), by who has locked all parts.
    pub(super) fn pull_out_of(&self, parts: &mut [Held<'_>], items: &mut Vec<Item>) {
        for batch in parts.iter_mut().filter_map(|shard| shard.take_batch(|| self.empty_batch())) {
            self.body_bytes.fetch_add(batch.queued_bytes, Ordering::Relaxed);
            items.push(Item::Batch(batch));
        }
    }

    /// Gives back the memory that is kept for what comes next.
    pub(crate) fn rest(&self) {
        self.stage.all().for_each(|mut shard| shard.rest());
        *self.batches.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
        self.lock().items.shrink_to_fit();
    }

    /// Puts in the events that were gathered of an exchange.
    fn put_staged(&self, staged: Staged) {
        let Staged { begun, events, bytes } = staged;
        let ends = events.last().is_some_and(|event| matches!(event.kind, EventKind::Ended(_)));
        let weight = events.iter().map(weight).sum();
        let items = events.into_iter().map(|event| match event.kind {
            EventKind::Request { .. } => Item::Late(event, begun),
            _ => Item::of(event),
        });
        self.put(items, (bytes, weight), ends);
    }

    /// Puts an event in by itself.
    fn put_event(&self, event: Event) {
        if matches!(event.kind, EventKind::Request { .. }) && self.refuses() {
            return;
        }
        let ends = matches!(event.kind, EventKind::Ended(_));
        let bytes = body_bytes(&event);
        let weight = weight(&event);
        self.put([Item::of(event)], (bytes, weight), ends);
    }

    /// Whether a new exchange is refused, which is counted, or ignored.
    fn refuses(&self) -> bool {
        let mut state = self.lock();
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
        for item in items {
            state.count += item.count();
            state.items.push(item);
        }
        state.weight += weight;
        state.ended |= ends;
        self.gate.note(&state, self.refuse_bytes);
        let queued = self.body_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let wakes = match state.sleep {
            Sleep::Awake => false,
            Sleep::Idle => true,
            Sleep::Watching => ends || self.is_much(queued, &state),
            Sleep::Gathering => self.is_much(queued, &state),
        };
        if wakes {
            self.set_sleep(&mut state, Sleep::Awake);
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Wakes the writer where it sleeps in one of these ways.
    fn wake_from(&self, sleeps: &[Sleep]) {
        let mut state = self.lock();
        if sleeps.contains(&state.sleep) {
            self.set_sleep(&mut state, Sleep::Awake);
            drop(state);
            self.wake.notify_one();
        }
    }

    pub(super) fn set_sleep(&self, state: &mut State, sleep: Sleep) {
        state.sleep = sleep;
        self.gate.set_sleep(sleep);
    }

    /// Whether exchanges are gathered, which may go on for so long that they are to be put in as they are.
    pub(crate) fn has_staged(&self) -> bool {
        self.stage.holds_any()
    }

    /// Puts in what was packed, and what came of exchanges that are gathered for so long.
    pub(crate) fn put_older(&self, than: Duration) {
        for mut shard in self.stage.all() {
            self.hand_over(&mut shard);
            let now = Instant::now();
            while let Some(staged) = shard.remove_older(than, now) {
                self.put_staged(staged);
            }
        }
    }

    /// What may be gathered in each part of the stage, and what may be packed there: an eighth of the queue's bound in
    /// all, if that is less.
    pub(super) fn part_bounds(max_body_bytes: usize, parts: usize) -> (usize, usize) {
        let share = max_body_bytes / 8 / parts;
        (share.min(super::STAGED_BYTES), share.min(BATCH_WEIGHT))
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
