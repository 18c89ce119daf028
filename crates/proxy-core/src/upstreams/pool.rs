//! Upstream connections at rest, and the HTTP/2 connections that many exchanges use at once.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until},
};

use super::{
    connection::Http1Connection,
    destination::{Destination, Need, Wanted, Way},
};
use crate::{alarm, event::UpstreamFacts, http2};

/// Upstream connections that wait to be used again. Dropping it closes them.
///
/// Those unused for longer than the patience are closed by a task that lives while there are any.
pub(crate) struct Pool {
    state: Mutex<State>,
    /// Unused ones, of each HTTP version; beyond it the one unused for longest is closed.
    max_idle: usize,
    patience: Duration,
    /// Whether there are more HTTP/2 connections than may be unused.
    is_crowded: AtomicBool,
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
    multiplexed: Vec<MultiplexedConnection>,
    /// What drives the HTTP/2 connections, and the sweeper.
    tasks: JoinSet<()>,
    sweeper: Option<AbortHandle>,
}

/// An HTTP/2 connection: one for many exchanges at once.
struct MultiplexedConnection {
    to: Destination,
    way: Way,
    upstream: http2::Upstream,
    facts: Arc<UpstreamFacts>,
    usage: Arc<Usage>,
}

/// How an HTTP/2 connection is used.
struct Usage {
    /// By how many exchanges, and since when.
    state: Mutex<(usize, Instant)>,
    pool: Weak<Pool>,
}

impl Usage {
    fn lock(&self) -> MutexGuard<'_, (usize, Instant)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let is_unused = {
            let mut usage = self.0.lock();
            usage.0 -= 1;
            usage.1 = Instant::now();
            usage.0 == 0
        };
        if is_unused && let Some(pool) = self.0.pool.upgrade() {
            pool.trim();
        }
    }
}

/// An HTTP/2 connection lent to one exchange.
pub(super) type Http2Lease = (http2::Upstream, Arc<UpstreamFacts>, InUse);

impl Pool {
    pub(crate) fn new(max_idle: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), max_idle, patience, is_crowded: AtomicBool::new(false) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends an HTTP/2 connection that goes where it is wanted.
    pub(super) fn multiplexed(&self, wanted: &Wanted<'_>) -> Option<Http2Lease> {
        let mut state = self.lock();
        state.multiplexed.retain(|connection| !connection.upstream.is_closed());
        let found =
            state.multiplexed.iter().find(|connection| wanted.is_met(&connection.to, &connection.way))?;
        Some((found.upstream.clone(), found.facts.clone(), InUse::of(&found.usage)))
    }

    /// Takes in an HTTP/2 connection and what drives it, and lends it.
    pub(super) fn add(
        self: &Arc<Self>,
        (to, way): (&Destination, Way),
        (upstream, driver): (http2::Upstream, impl Future + Send + 'static),
        facts: Arc<UpstreamFacts>,
    ) -> Http2Lease {
        let usage = Arc::new(Usage { state: Mutex::new((0, Instant::now())), pool: Arc::downgrade(self) });
        let in_use = InUse::of(&usage);
        let mut state = self.lock();
        state.tasks.spawn(driver.map(|_end| ()));
        let (upstream_clone, facts_clone) = (upstream.clone(), facts.clone());
        while state.tasks.try_join_next().is_some() {}
        state.multiplexed.push(MultiplexedConnection { to: to.clone(), way, upstream, facts, usage });
        self.is_crowded.store(state.multiplexed.len() > self.max_idle, Relaxed);
        self.see_to_sweeping(&mut state);
        (upstream_clone, facts_clone, in_use)
    }

    /// Closes the HTTP/2 connections unused for longest where too many are.
    fn trim(&self) {
        if !self.is_crowded.load(Relaxed) {
            return;
        }
        let mut state = self.lock();
        let surplus = state.surplus(self.max_idle);
        self.is_crowded.store(state.multiplexed.len() > self.max_idle, Relaxed);
        drop(state);
        // Closed by this, while nobody waits for the pool.
        drop(surplus);
    }

    /// Tells whether a connection is at rest, or is one for many exchanges, of which `is_meant` says that it will do.
    pub(super) fn has(&self, is_meant: impl Fn(&Destination, &Way) -> bool) -> bool {
        let state = self.lock();
        let idle = |connection: &Http1Connection| connection.idle_since.elapsed() < self.patience;
        let mut idle = state.idle.iter().filter(|connection| idle(connection));
        idle.any(|connection| is_meant(&connection.to, &connection.way))
            || state.multiplexed.iter().any(|connection| {
                !connection.upstream.is_closed() && is_meant(&connection.to, &connection.way)
            })
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
        connection.writer.rest();
        let mut state = self.lock();
        if state.idle.len() >= self.max_idle {
            state.idle.remove(0);
        }
        state.idle.push(connection);
        self.see_to_sweeping(&mut state);
    }

    fn see_to_sweeping(self: &Arc<Self>, state: &mut State) {
        // It goes before its time where the thread that it was on ends.
        if state.sweeper.as_ref().is_none_or(AbortHandle::is_finished) {
            while state.tasks.try_join_next().is_some() {}
            state.sweeper = Some(state.tasks.spawn(sweep(Arc::downgrade(self))));
        }
    }

    /// Closes what was unused for too long. Says when to look again; never when nothing is left.
    fn expire(&self) -> Option<Instant> {
        let now = Instant::now();
        let is_over = |since: Instant| now.saturating_duration_since(since) >= self.patience;
        let mut state = self.lock();
        state.idle.retain(|connection| !is_over(connection.idle_since));
        state.multiplexed.retain(|connection| {
            !connection.upstream.is_closed() && !connection.usage.unused_since().is_some_and(is_over)
        });
        self.is_crowded.store(state.multiplexed.len() > self.max_idle, Relaxed);
        let idle = state.idle.iter().map(|connection| connection.idle_since);
        let multiplexed =
            state.multiplexed.iter().map(|connection| connection.usage.unused_since().unwrap_or(now));
        let oldest = idle.chain(multiplexed).min();
        if oldest.is_none() {
            state.sweeper = None;
        }
        oldest.map(|since| alarm::after(since, self.patience))
    }
}

impl State {
    /// Takes out the HTTP/2 connections unused for longest where more than so many are unused.
    fn surplus(&mut self, max_idle: usize) -> Vec<MultiplexedConnection> {
        let unused = self.multiplexed.iter().enumerate();
        let mut unused: Vec<_> =
            unused.filter_map(|(at, connection)| Some((connection.usage.unused_since()?, at))).collect();
        unused.sort_unstable();
        unused.truncate(unused.len().saturating_sub(max_idle));
        let mut places: Vec<usize> = unused.into_iter().map(|(_, at)| at).collect();
        places.sort_unstable_by(|one, other| other.cmp(one));
        places.into_iter().map(|at| self.multiplexed.swap_remove(at)).collect()
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{DuplexStream, duplex},
        time::advance,
    };

    use super::{super::destination::Security, *};
    use crate::{
        event::ConnectionId,
        limits::{Limits, Timeouts},
    };

    const PATIENCE: Duration = Duration::from_secs(60);

    fn to(port: u16) -> Destination {
        Destination { host: "a.test".to_owned(), port, security: Security::Plain { http2: true } }
    }

    /// Adds a connection to this port, whose peer is there for as long as the other end.
    fn add(pool: &Arc<Pool>, port: u16) -> (Http2Lease, DuplexStream) {
        let (io, peer) = duplex(64 * 1024);
        let settings = http2::Settings::upstream_facing(&Limits::default(), &Timeouts::default());
        let address = ([127, 0, 0, 1], port).into();
        let facts = Arc::new(UpstreamFacts::new(ConnectionId(1), address, address));
        let connected = http2::Upstream::connect(Box::new(io), &settings);
        (pool.add((&to(port), Way::Direct), connected, facts), peer)
    }

    fn ports(pool: &Pool) -> Vec<u16> {
        let mut ports: Vec<_> = pool.lock().multiplexed.iter().map(|connection| connection.to.port).collect();
        ports.sort_unstable();
        ports
    }

    #[tokio::test(start_paused = true)]
    async fn connections_of_many_exchanges_are_closed_once_too_many_are_unused() {
        let pool = Pool::new(2, PATIENCE);
        let (leases, _peers): (Vec<_>, Vec<_>) = (1..=5).map(|port| add(&pool, port)).unzip();
        assert_eq!(ports(&pool), [1, 2, 3, 4, 5]);
        let mut leases = leases.into_iter();
        drop(leases.next_back());
        for (unused, expected) in
            [(1, vec![1, 2, 3, 4, 5]), (2, vec![1, 2, 3, 4]), (3, vec![2, 3, 4]), (4, vec![3, 4])]
        {
            advance(Duration::from_secs(1)).await;
            drop(leases.next());
            // The one to port 5 was unused first.
            assert_eq!(ports(&pool), expected, "after {unused}");
        }
    }

    #[test]
    fn connections_are_swept_by_another_thread_when_the_first_has_ended() {
        let pool = Pool::new(8, Duration::from_millis(1));
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let first = runtime();
        let kept = first.block_on(async { add(&pool, 1) });
        drop(first);
        let second = runtime();
        second.block_on(async {
            let (lease, _peer) = add(&pool, 2);
            drop((lease, kept));
            let swept = async {
                while !ports(&pool).is_empty() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, swept).await.unwrap();
        });
    }
}
