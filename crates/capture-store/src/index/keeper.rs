//! The thread that builds the index while little is recorded.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Limits, Progress, is_untidy, step, tidy};
use crate::{error::Error, id::Seq, recorder::Shared, scan::Next, store::Store};

/// How often it looks whether there is something to do.
const LOOK: Duration = Duration::from_secs(1);
/// How long it leaves a store alone that could not be written, or whose rest it looked at for nothing.
const AFTER_NOTHING: Duration = Duration::from_secs(60);
/// Exchanges that come within [`LOOK`] and are still little.
const LITTLE: u64 = 1_000;
/// Bytes that wait for the recorder and are still little.
const LITTLE_WAITING: usize = 256 * 1024;
/// It rests as long as it worked, and no shorter than this.
const REST: Duration = Duration::from_millis(1);

/// The thread; dropping this ends it after the exchanges it looks at, some milliseconds, and waits for that.
///
/// What is built and not yet whole is lost then, and begun again by the next.
pub(crate) struct Keeper {
    end: Arc<End>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct End {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// It is to end.
    told: bool,
    /// It built all there was to build, once.
    kept: bool,
}

impl Keeper {
    /// Starts it; a system that gives no thread for it gets no index.
    pub(crate) fn start(store: Store, shared: Arc<Shared>) -> Option<Self> {
        Self::start_with(store, shared, Limits::default())
    }

    pub(super) fn start_with(store: Store, shared: Arc<Shared>, limits: Limits) -> Option<Self> {
        let end = Arc::new(End::default());
        let looked = Instant::now();
        let keeping = Keeping { store, shared, limits, end: end.clone(), newest: Seq(0), looked };
        let thread = thread::Builder::new().name("capture-index".to_owned()).spawn(move || keeping.run());
        match thread {
            Ok(thread) => Some(Self { end, thread: Some(thread) }),
            Err(error) => {
                tracing::warn!(%error, "starting the thread that builds the index failed");
                None
            }
        }
    }
}

#[cfg(test)]
impl Keeper {
    /// Waits until it built all that can be built.
    pub(super) fn wait_until_kept(&self) {
        let state = self.end.state.lock().unwrap();
        drop(self.end.changed.wait_while(state, |state| !state.kept).unwrap());
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end.state.lock().unwrap_or_else(PoisonError::into_inner).told = true;
        self.end.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the thread that builds the index panicked");
        }
    }
}

impl End {
    /// Waits for the end, no longer than `most`.
    fn wait(&self, most: Duration) -> Next {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, most, |state| !state.told);
        if waited.unwrap_or_else(PoisonError::into_inner).0.told { Next::Stop } else { Next::GoOn }
    }

    fn note_kept(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).kept = true;
        self.changed.notify_all();
    }
}

/// What the thread knows.
struct Keeping {
    store: Store,
    shared: Arc<Shared>,
    limits: Limits,
    end: Arc<End>,
    /// The newest seq when it looked last, and when that was.
    newest: Seq,
    looked: Instant,
}

impl Keeping {
    fn run(mut self) {
        let mut wait = LOOK;
        while self.end.wait(wait) == Next::GoOn {
            wait = LOOK;
            if self.is_busy() {
                continue;
            }
            match self.keep() {
                Ok(Progress::TooLittle) => wait = AFTER_NOTHING,
                Ok(_) => self.end.note_kept(),
                Err(error) => {
                    tracing::debug!(%error, "building the index failed");
                    wait = AFTER_NOTHING;
                }
            }
        }
    }

    /// Builds what can be built, and says how that ended.
    fn keep(&mut self) -> Result<Progress, Error> {
        let (store, limits) = (self.store.clone(), self.limits);
        // Most often there is nothing to tidy up, and no connection to be opened for that.
        if store.read(is_untidy)? {
            store.write(|db| Ok(tidy(db)?))?;
        }
        loop {
            let mut worked = Instant::now();
            let mut pause = || {
                let rest = worked.elapsed().max(REST);
                let mut next = self.end.wait(rest);
                while next == Next::GoOn && self.is_busy() {
                    next = self.end.wait(LOOK);
                }
                worked = Instant::now();
                next
            };
            let progress = step(&store, limits, &mut pause)?;
            if progress != Progress::More {
                return Ok(progress);
            }
        }
    }

    /// Whether much is recorded: the disk and the processor are the recorder's then.
    fn is_busy(&mut self) -> bool {
        if self.shared.queue.body_bytes() > LITTLE_WAITING {
            return true;
        }
        let since = self.looked.elapsed();
        if since < LOOK {
            return false;
        }
        let newest = self.shared.newest();
        let came = newest.0.saturating_sub(self.newest.0);
        (self.newest, self.looked) = (newest, Instant::now());
        u128::from(came) * LOOK.as_millis() > u128::from(LITTLE) * since.as_millis()
    }
}
