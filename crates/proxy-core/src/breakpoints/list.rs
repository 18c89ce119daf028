//! The list of what is paused.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{oneshot, watch};

use super::{
    paused::{PauseId, Paused},
    resume::{Resume, ResumeError},
};
use crate::observer::BoxFuture;

/// Bounds on what is paused. What happens at each bound stands with it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BreakpointLimits {
    /// Exchanges that are paused at once; beyond it they pass, and the record says so. Default 64.
    pub max_paused: usize,
    /// Bytes of a body that are held to be looked at; a larger one passes untouched. Default 1 MiB.
    pub max_body_bytes: usize,
}

impl Default for BreakpointLimits {
    fn default() -> Self {
        Self { max_paused: 64, max_body_bytes: 1024 * 1024 }
    }
}

/// The exchanges of a proxy that are paused: a handle to be cloned.
///
/// A paused exchange leaves the list when it is resumed, when its deadline passes, when its client leaves, and when the
/// proxy shuts down, in which case what was to happen at the deadline happens at once.
#[derive(Clone, Default)]
pub struct Breakpoints(Arc<Shared>);

struct Shared {
    limits: BreakpointLimits,
    waiting: Mutex<Waiting>,
    version: watch::Sender<u64>,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    paused: BTreeMap<PauseId, (Paused, oneshot::Sender<Resume>)>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            limits: BreakpointLimits::default(),
            waiting: Mutex::default(),
            version: watch::Sender::new(0),
        }
    }
}

impl Breakpoints {
    /// Nothing is paused yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing is paused yet, within these bounds.
    #[must_use]
    pub fn with_limits(limits: BreakpointLimits) -> Self {
        Self(Arc::new(Shared { limits, ..Shared::default() }))
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> BreakpointLimits {
        self.0.limits
    }

    /// What is paused now, the longest first.
    #[must_use]
    pub fn list(&self) -> Vec<Paused> {
        self.waiting().paused.values().map(|(paused, _)| paused.clone()).collect()
    }

    /// One paused exchange; `None` when it is not paused any more.
    #[must_use]
    pub fn get(&self, id: PauseId) -> Option<Paused> {
        self.waiting().paused.get(&id).map(|(paused, _)| paused.clone())
    }

    /// Says what is to become of a paused exchange.
    ///
    /// # Errors
    /// When it is not paused any more, or cannot become that; then it stays paused.
    pub fn resume(&self, id: PauseId, resume: Resume) -> Result<(), ResumeError> {
        let mut waiting = self.waiting();
        let (paused, _) = waiting.paused.get(&id).ok_or(ResumeError::NotPaused(id))?;
        resume.check(paused)?;
        let Some((_, decided)) = waiting.paused.remove(&id) else { return Err(ResumeError::NotPaused(id)) };
        drop(waiting);
        self.changed_now();
        // Its client may have left in this moment.
        decided.send(resume).map_err(|_left| ResumeError::NotPaused(id))
    }

    /// Lets everything go on that is paused now; says how many.
    pub fn resume_all(&self) -> usize {
        let ids: Vec<PauseId> = self.waiting().paused.keys().copied().collect();
        ids.into_iter().filter(|id| self.resume(*id, Resume::Continue).is_ok()).count()
    }

    /// A number that grows whenever an exchange is paused or goes on.
    #[must_use]
    pub fn version(&self) -> u64 {
        *self.0.version.borrow()
    }

    /// Waits until [`version`](Self::version) is another than `seen`, and gives it. Dropping the future has no effect.
    #[must_use]
    pub fn changed(&self, seen: u64) -> BoxFuture<'static, u64> {
        let shared = self.0.clone();
        Box::pin(async move {
            let mut version = shared.version.subscribe();
            // The sender lives as long as this future.
            version.wait_for(|version| *version != seen).await.map_or(seen, |version| *version)
        })
    }

    /// Pauses an exchange; `None` when too many are already.
    pub(crate) fn pause(&self, describe: impl FnOnce(PauseId) -> Paused) -> Option<Pause> {
        let mut waiting = self.waiting();
        if waiting.paused.len() >= self.0.limits.max_paused {
            return None;
        }
        waiting.last += 1;
        let id = PauseId(waiting.last);
        let (decided, decision) = oneshot::channel();
        waiting.paused.insert(id, (describe(id), decided));
        drop(waiting);
        self.changed_now();
        Some(Pause { breakpoints: self.clone(), id, decision })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed_now(&self) {
        self.0.version.send_modify(|version| *version += 1);
    }
}

impl fmt::Debug for Breakpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breakpoints").field("paused", &self.waiting().paused.len()).finish_non_exhaustive()
    }
}

/// An exchange's place among the paused. Dropping it takes it off the list.
pub(crate) struct Pause {
    breakpoints: Breakpoints,
    pub(super) id: PauseId,
    decision: oneshot::Receiver<Resume>,
}

impl Pause {
    /// Waits until somebody decides. Cancel safe.
    pub(crate) async fn decided(&mut self) -> Resume {
        // The sender is only dropped unsent with the list.
        (&mut self.decision).await.unwrap_or(Resume::Continue)
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        let gone = self.breakpoints.waiting().paused.remove(&self.id).is_some();
        if gone {
            self.breakpoints.changed_now();
        }
    }
}
