//! Exchanges that were gathered before the writer heard of them.

use std::time::{Duration, Instant};

use proxy_core::{Event, EventKind};

use super::{session::Admission, thread::Writer};
use crate::{
    assemble::Assembly,
    id::SessionId,
    whole::{Batch, Whole},
};

/// The shortest pause between two looks at what is gathered.
const LEAST_LOOK: Duration = Duration::from_millis(10);

/// An exchange that ended and is to be written.
pub(super) enum Finished {
    /// Put together here.
    Assembly(Box<Assembly>),
    /// As it came.
    Whole(Whole),
}

impl Finished {
    pub(super) fn session(&self) -> SessionId {
        match self {
            Self::Assembly(assembly) => assembly.session,
            Self::Whole(whole) => whole.session,
        }
    }

    /// What was put together here.
    pub(super) fn assembly(&self) -> Option<&Assembly> {
        match self {
            Self::Assembly(assembly) => Some(assembly),
            Self::Whole(_) => None,
        }
    }

    /// When its end was told; nothing is known of ends that were never told.
    pub(super) fn ended_at(&self) -> Option<Instant> {
        match self {
            Self::Assembly(assembly) => assembly.ended_at,
            Self::Whole(whole) => Some(whole.ended_at()),
        }
    }
}

impl Writer {
    /// Has exchanges that are gathered put in, once they go on for so long that they are soon to be written as open. Looks
    /// for such also while others are to be written: who sleeps until then does not hear of one that begins.
    pub(super) fn look_at_stage(&mut self) {
        self.rest_when_due();
        let queue = &self.shared.queue;
        let quarter = (self.config.open_after / 4).max(LEAST_LOOK);
        if self.stage_due.is_some_and(|due| due <= Instant::now()) {
            queue.put_older(self.config.open_after.saturating_sub(quarter));
            self.stage_due = None;
        }
        if !queue.has_staged() && self.open_due.is_none() {
            self.stage_due = None;
        } else if self.stage_due.is_none() {
            self.stage_due = Some(Instant::now() + quarter);
        }
    }

    /// Takes in a request that was told before.
    pub(super) fn late(&mut self, event: Event, begun: Instant) {
        let EventKind::Request { client, head, started_at } = event.kind else { return };
        self.begin(event.exchange, |session, limit| {
            let mut assembly = Assembly::new(session, client, head, started_at, limit);
            assembly.begun = begun;
            assembly
        });
    }

    /// Takes in exchanges that were gathered until their end.
    pub(super) fn batch(&mut self, batch: Batch) {
        for whole in batch.exchanges(self.current) {
            self.whole(whole);
        }
    }

    fn whole(&mut self, mut whole: Whole) {
        self.sync_full_session();
        let Some(recording) = self.sessions.get_mut(&self.current) else { return };
        self.waiting_since.get_or_insert_with(Instant::now);
        if recording.admit() == Admission::Full {
            return self.shared.count_dropped(1);
        }
        let limit = recording.body_limit(self.config.max_body_bytes);
        for body in [&mut whole.request, &mut whole.response] {
            let admitted = body.kept.min(usize::try_from(limit).unwrap_or(usize::MAX));
            body.kept = recording.take_up_to(admitted);
        }
        self.pending_bytes += whole.memory_bytes();
        self.ended.push(Finished::Whole(whole));
    }
}
