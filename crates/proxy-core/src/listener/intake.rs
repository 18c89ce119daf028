//! Taking connections in at a proxy's doors, and owning them.

use std::{
    convert::Infallible,
    future::{Future, pending},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use futures_util::FutureExt;
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
};

use super::{
    doors::{Accepted, Doors},
    strangers::Strangers,
};
use crate::{crew::Hands, engine::Engine, proxy::client};

/// Connections that ended, whose tasks are cleared away at the latest when there are so many. Each that ended waking
/// somebody for it would cost a thread's wake-up for each connection.
const CLEARED_AT: usize = 64;

/// Takes connections in, and owns them. Dropping it cuts them all at once.
pub(crate) struct Intake(Arc<Inner>);

struct Inner {
    engine: Arc<Engine>,
    hands: Hands,
    /// Places for connections that may be open at once.
    room: Arc<Semaphore>,
    strangers: Strangers,
    draining: watch::Receiver<bool>,
    /// `None` once nothing is taken in any more.
    connections: Mutex<Option<JoinSet<()>>>,
    ended: Arc<Ended>,
}

/// Connections that ended.
#[derive(Default)]
struct Ended {
    count: AtomicUsize,
    /// Told at every [`CLEARED_AT`]th.
    many: Notify,
}

impl Ended {
    fn one_more(&self) {
        if self.count.fetch_add(1, Relaxed) % CLEARED_AT == CLEARED_AT - 1 {
            self.many.notify_one();
        }
    }
}

impl Intake {
    pub(crate) fn new(engine: Arc<Engine>, hands: Hands, draining: watch::Receiver<bool>) -> Self {
        Self(Arc::new(Inner {
            room: Arc::new(Semaphore::new(engine.limits.max_connections)),
            engine,
            hands,
            strangers: Strangers::default(),
            draining,
            connections: Mutex::new(Some(JoinSet::new())),
            ended: Arc::default(),
        }))
    }

    /// Takes in what comes through the doors until `over` resolves: on each of the proxy's threads, or on the caller's
    /// runtime where it has none. Dropping the future stops that, too.
    pub(crate) async fn until<T>(&self, doors: Doors, over: impl Future<Output = T>) -> T {
        // Aborted when it is dropped.
        let mut doormen = JoinSet::new();
        let left = match self.post(&doors, &mut doormen) {
            Ok(true) => {
                drop(doors);
                None
            }
            Ok(false) => Some(doors),
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections on the proxy's own threads");
                doormen.abort_all();
                Some(doors)
            }
        };
        let mut here = pin!(async {
            match left {
                Some(doors) => self.0.attend(doors, None).await,
                None => pending().await,
            }
        });
        let mut over = pin!(over);
        loop {
            tokio::select! {
                over = &mut over => return over,
                never = &mut here => match never {},
                () = self.0.ended.many.notified() => self.0.clear(),
            }
        }
    }

    /// Has each thread take connections in; tells whether there are any threads.
    fn post(&self, doors: &Doors, doormen: &mut JoinSet<()>) -> io::Result<bool> {
        let mut posted = false;
        for (number, runtime) in self.0.hands.runtimes() {
            let doors = {
                let _context = runtime.enter();
                doors.again()?
            };
            let inner = self.0.clone();
            doormen.spawn_on(async move { match inner.attend(doors, Some(number)).await {} }, runtime);
            posted = true;
        }
        Ok(posted)
    }

    /// Takes nothing in any more, and gives what was taken in.
    pub(crate) fn close(self) -> JoinSet<()> {
        self.0.connections().take().unwrap_or_default()
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        // Those at the doors may hold on to the rest for a moment.
        let cut = self.0.connections().take();
        drop(cut);
    }
}

impl Inner {
    fn connections(&self) -> MutexGuard<'_, Option<JoinSet<()>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what comes through the doors, on the thread of this number where it is one of the proxy's own.
    async fn attend(&self, mut doors: Doors, at: Option<usize>) -> Infallible {
        loop {
            let accepted = doors.accept(&self.room).await;
            // One connection may be lost over it; nobody else would stand at this door.
            if catch_unwind(AssertUnwindSafe(|| self.take_in(accepted, at))).is_err() {
                tracing::error!("taking a connection in panicked");
            }
        }
    }

    fn take_in(&self, accepted: Accepted, at: Option<usize>) {
        if !self.engine.clients.lets_in(accepted.peer.ip()) {
            let turning_away = self.strangers.turn_away(&self.engine, accepted);
            if let (Some(turning_away), Some(connections)) = (turning_away, &mut *self.connections()) {
                clear(connections);
                connections.spawn(turning_away);
            }
            return;
        }
        let (engine, draining, ended) = (self.engine.clone(), self.draining.clone(), self.ended.clone());
        let Accepted { tcp, peer, listener, permit } = accepted;
        let connection = move |tcp| {
            client(engine, Accepted { tcp, peer, listener, permit }, draining).map(move |()| ended.one_more())
        };
        if let Some(connections) = &mut *self.connections() {
            clear(connections);
            self.hands.carry(at, connections, tcp, connection);
        }
    }

    fn clear(&self) {
        if let Some(connections) = &mut *self.connections() {
            clear(connections);
        }
    }
}

/// Clears away the tasks of connections that ended.
fn clear(connections: &mut JoinSet<()>) {
    while connections.try_join_next().is_some() {}
}
