//! The joint between the engine and whoever records: the lower crate defines it, the upper one implements it.

use std::{future::Future, pin::Pin, sync::Arc};

use crate::event::Event;

/// A boxed future, chosen at run time.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Looks at every exchange. Sync, never blocks, never changes anything.
pub trait Observer: Send + Sync + 'static {
    /// Takes note of one event. Called from many threads; must return at once.
    fn observe(&self, event: &Event);

    /// Takes note of one event that nobody else is told of, so that it may be kept without a copy. Called instead of
    /// [`observe`](Self::observe), which it calls by default, with the same guarantees.
    fn take(&self, event: Event) {
        self.observe(&event);
    }

    /// Says when there is room for more body bytes: `None` while there is.
    ///
    /// The body tap awaits the future before it pulls the next piece from either side: that is the
    /// back-pressure. Heads and endings are observed without asking. Dropping the future has no effect.
    fn ready(&self) -> Option<BoxFuture<'static, ()>> {
        None
    }
}

impl<T: Observer + ?Sized> Observer for Arc<T> {
    fn observe(&self, event: &Event) {
        (**self).observe(event);
    }

    fn take(&self, event: Event) {
        (**self).take(event);
    }

    fn ready(&self) -> Option<BoxFuture<'static, ()>> {
        (**self).ready()
    }
}
