//! Upstream connections at rest, and the HTTP/2 connections that many exchanges use at once.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    connection::Http1Connection,
    destination::{Destination, Need, Wanted, Way},
};
use crate::{event::UpstreamFacts, http2};

/// Upstream connections that wait to be used again. Dropping it closes them.
///
/// Those unused for longer than the patience are closed by a task that lives while there are any.
pub(crate) struct Pool {
    state: Mutex<State>,
    /// Of each HTTP version; beyond it the one unused for longest is closed.
    max_idle: usize,
    patience: Duration,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("max_idle", &self.max_idle).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    #[expect(
        clippy::vec_box,
        reason = "it is lent boxed, and moving it in and out of its box is what costs"
    )]
    idle: Vec<Box<Http1Connection>>,
    shared: Vec<SharedConnection>,
    /// What drives the HTTP/2 connections, and the sweeper.
    tasks: JoinSet<()>,
    is_swept: bool,
}

/// An HTTP/2 connection.
struct SharedConnection {
    to: Destination,
    way: Way,
    upstream: http2::Upstream,
    facts: Arc<UpstreamFacts>,
    usage: Arc<Usage>,
}

/// How an HTTP/2 connection is used.
struct Usage(Mutex<(usize, Instant)>);

impl Usage {
    fn lock(&self) -> MutexGuard<'_, (usize, Instant)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when nobody uses it.
    fn unused_since(&self) -> Option<Instant> {
        let usage = self.lock();
        (usage.0 == 0).then_some(usage.1)
    }
}

/// Says that an HTTP/2 connection is in use, until it is dropped.
pub(crate) struct InUse(Arc<Usage>);

impl InUse {
    fn of(usage: &Arc<Usage>) -> Self {
        usage.lock().0 += 1;
        Self(usage.clone())
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut usage = self.0.lock();
        usage.0 -= 1;
        usage.1 = Instant::now();
    }
}

/// An HTTP/2 connection lent to one exchange.
pub(super) type Http2Lease = (http2::Upstream, Arc<UpstreamFacts>, InUse);

impl Pool {
    pub(crate) fn new(max_idle: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), max_idle, patience })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends an HTTP/2 connection that goes where it is wanted.
    pub(super) fn shared(&self, wanted: &Wanted<'_>) -> Option<Http2Lease> {
        let mut state = self.lock();
        state.shared.retain(|shared| !shared.upstream.is_closed());
        let found = state.shared.iter().find(|shared| wanted.is_met(&shared.to, &shared.way))?;
        Some((found.upstream.clone(), found.facts.clone(), InUse::of(&found.usage)))
    }

    /// Takes in an HTTP/2 connection and what drives it, and lends it.
    pub(super) fn add(
        self: &Arc<Self>,
        (to, way): (&Destination, Way),
        (upstream, driver): (http2::Upstream, impl Future + Send + 'static),
        facts: Arc<UpstreamFacts>,
    ) -> Http2Lease {
        let usage = Arc::new(Usage(Mutex::new((0, Instant::now()))));
        let in_use = InUse::of(&usage);
        let mut state = self.lock();
        state.tasks.spawn(driver.map(|_end| ()));
        if state.shared.len() >= self.max_idle
            && let Some((at, _)) = state
                .shared
                .iter()
                .enumerate()
                .filter_map(|(at, shared)| Some((at, shared.usage.unused_since()?)))
                .min_by_key(|(_, since)| *since)
        {
            state.shared.swap_remove(at);
        }
        let (upstream_clone, facts_clone) = (upstream.clone(), facts.clone());
        while state.tasks.try_join_next().is_some() {}
        state.shared.push(SharedConnection { to: to.clone(), way, upstream, facts, usage });
        self.see_to_sweeping(&mut state);
        (upstream_clone, facts_clone, in_use)
    }

    /// Tells whether a connection is at rest, or is one for many exchanges, of which `is_meant` says that it will do.
    pub(super) fn rests(&self, is_meant: impl Fn(&Destination, &Way) -> bool) -> bool {
        let state = self.lock();
        let idle = |connection: &Http1Connection| connection.idle_since.elapsed() < self.patience;
        let mut idle = state.idle.iter().filter(|connection| idle(connection));
        idle.any(|connection| is_meant(&connection.to, &connection.way))
            || state
                .shared
                .iter()
                .any(|shared| !shared.upstream.is_closed() && is_meant(&shared.to, &shared.way))
    }

    /// Lends an unused HTTP/1 connection that goes where it is wanted.
    pub(super) fn idle(&self, wanted: &Wanted<'_>) -> Option<Box<Http1Connection>> {
        let mut state = self.lock();
        let patience = self.patience;
        state.idle.retain(|connection| connection.idle_since.elapsed() < patience);
        while let Some(at) =
            state.idle.iter().rposition(|connection| wanted.is_met(&connection.to, &connection.way))
        {
            let mut connection = state.idle.remove(at);
            // Anything to read on an idle connection means that it was closed, or answers unasked.
            if connection.reader.read_ahead(1).now_or_never().is_none() {
                return Some(connection);
            }
        }
        None
    }

    /// Takes back an HTTP/1 connection.
    pub(super) fn give_back(self: &Arc<Self>, mut connection: Box<Http1Connection>) {
        if self.max_idle == 0 {
            return;
        }
        connection.idle_since = Instant::now();
        connection.reader.rest();
        let mut state = self.lock();
        if state.idle.len() >= self.max_idle {
            state.idle.remove(0);
        }
        state.idle.push(connection);
        self.see_to_sweeping(&mut state);
    }

    fn see_to_sweeping(self: &Arc<Self>, state: &mut State) {
        if !state.is_swept {
            while state.tasks.try_join_next().is_some() {}
            state.is_swept = true;
            state.tasks.spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Closes what was unused for too long. Says when to look again; never when nothing is left.
    fn expire(&self) -> Option<Instant> {
        let now = Instant::now();
        let is_over = |since: Instant| now.saturating_duration_since(since) >= self.patience;
        let mut state = self.lock();
        state.idle.retain(|connection| !is_over(connection.idle_since));
        state.shared.retain(|shared| {
            !shared.upstream.is_closed() && !shared.usage.unused_since().is_some_and(is_over)
        });
        let idle = state.idle.iter().map(|connection| connection.idle_since);
        let shared = state.shared.iter().map(|shared| shared.usage.unused_since().unwrap_or(now));
        let oldest = idle.chain(shared).min();
        state.is_swept = oldest.is_some();
        oldest.map(|since| since + self.patience)
    }
}

/// Closes a pool's connections when their time has come.
async fn sweep(pool: Weak<Pool>) {
    while let Some(next) = pool.upgrade().and_then(|pool| pool.expire()) {
        sleep_until(next).await;
    }
}

impl Wanted<'_> {
    /// Whether a connection that goes to `to` by `way` is what is wanted.
    fn is_met(&self, to: &Destination, way: &Way) -> bool {
        let takes_it = self.need == Need::Message || !matches!(way, Way::Absolute(_));
        takes_it && self.to == to && self.parent == way.parent()
    }
}
