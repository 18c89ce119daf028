//! What whoever tells events has to know of the queue each time, to be read without its lock.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::{Sleep, State};

/// See the module. Written under the lock of the queue's state, seldom; on a line of the cache of its own, which those who
/// read it share.
///
/// Both are read by whoever has locked a part of the stage. Who writes one that counts (the queue is closed, the writer lies
/// down) locks each part afterwards: so either the reader came first, and what it put there is found, or it sees what
/// was written, as the part's lock lies between the two.
#[repr(align(128))]
#[derive(Default)]
pub(super) struct Gate {
    /// Whether the queue is closed, or too heavy.
    shut: AtomicBool,
    sleep: AtomicU8,
}

impl Gate {
    /// Whether new exchanges are perhaps refused or ignored.
    pub(super) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Relaxed)
    }

    /// Takes over how the queue stands.
    pub(super) fn note(&self, state: &State, refuse_bytes: usize) {
        let shut = state.closed || state.weight > refuse_bytes;
        if self.shut.load(Ordering::Relaxed) != shut {
            self.shut.store(shut, Ordering::Relaxed);
        }
    }

    /// How the writer sleeps.
    pub(super) fn sleep(&self) -> Sleep {
        match self.sleep.load(Ordering::Relaxed) {
            1 => Sleep::Idle,
            2 => Sleep::Watching,
            3 => Sleep::Gathering,
            _ => Sleep::Awake,
        }
    }

    pub(super) fn set_sleep(&self, sleep: Sleep) {
        let code = match sleep {
            Sleep::Awake => 0,
            Sleep::Idle => 1,
            Sleep::Watching => 2,
            Sleep::Gathering => 3,
        };
        self.sleep.store(code, Ordering::Relaxed);
    }
}
