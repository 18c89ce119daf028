//! What the server keeps for one client.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
};

use tokio::task::AbortHandle;

use crate::{subscriptions::Subscriptions, toolsets::Open};

/// What the server keeps for one client: it ends with it.
pub(crate) struct Client {
    pub(crate) open: Open,
    pub(crate) subscriptions: Subscriptions,
    log: Task,
}

impl Client {
    pub(crate) fn new(open: Open) -> Self {
        Self { open, subscriptions: Subscriptions::default(), log: Task::default() }
    }

    /// Sends the log with `forwarding` from now on, and no longer with what did before.
    pub(crate) fn log_with(&self, forwarding: impl Future<Output = Infallible> + Send + 'static) {
        self.log.set(tokio::spawn(forwarding).abort_handle());
    }
}

/// A task that ends when another takes its place, and when it is dropped.
#[derive(Default)]
pub(crate) struct Task(Mutex<Option<AbortHandle>>);

impl Task {
    pub(crate) fn set(&self, task: AbortHandle) {
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(task);
        if let Some(before) = before {
            before.abort();
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let task = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
        }
    }
}
