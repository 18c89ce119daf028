//! Threads of the proxy's own, each with a runtime that carries a share of the connections
//! (docs/design/034-a-runtime-for-each-thread.md).

use std::{
    io,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use futures_util::FutureExt;
use tokio::{
    net::TcpStream,
    runtime::{Builder, Handle, Runtime},
    sync::oneshot,
    task::JoinSet,
};

use crate::{
    error::{Error, ErrorKind},
    proxy::ProxyBuilder,
};

/// More threads than this are no help to anybody; a greater number counts as this.
const MAX_THREADS: usize = 256;

/// Work that blocks a thread at once, of each runtime: looking names up, coding large bodies. Further work waits.
pub(crate) const MAX_BLOCKING_THREADS: usize = 128;

impl ProxyBuilder {
    /// Carries client connections, and everything done for them, on this many threads of the proxy's own: each connection
    /// stays on one, and costs less there than where threads hand work to each other. A connection stays on the thread that
    /// accepted it unless another carries clearly fewer. Without this the caller's runtime accepts and carries them. Those of
    /// listeners that are opened later ([`ProxyHandle::listen`](crate::ProxyHandle::listen)) are carried there as well; the
    /// threads end with the last listener.
    ///
    /// Observers, interceptors and bodies are called on these threads. What computes for long in one of them, an
    /// interceptor or a rule over a large body, holds up the other connections of its thread.
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = Some(threads);
        self
    }
}

/// The threads that carry connections. Dropping it lets them end; what they still carry is cut.
pub(crate) struct Crew {
    hands: Hands,
    ends: Vec<End>,
}

/// What work is given to threads by. Empty where the caller's runtime carries connections.
#[derive(Clone)]
pub(crate) struct Hands(Arc<[Hand]>);

/// One thread.
struct Hand {
    runtime: Handle,
    /// Connections it carries.
    carries: Arc<AtomicUsize>,
}

/// The end of one thread.
struct End {
    /// Dropped, it lets the thread end.
    stop: oneshot::Sender<()>,
    /// Closed once its runtime is gone.
    ended: oneshot::Receiver<()>,
}

impl Crew {
    /// Starts the threads that were asked for.
    pub(crate) fn start(threads: Option<NonZeroUsize>) -> Result<Self, Error> {
        let count = threads.map_or(0, NonZeroUsize::get).min(MAX_THREADS);
        let failed = |error| Error::new(ErrorKind::Threads { threads: count }).because(error);
        let started = (1..=count).map(Hand::start).collect::<io::Result<Vec<_>>>().map_err(failed)?;
        let (hands, ends): (Vec<_>, _) = started.into_iter().unzip();
        Ok(Self { hands: Hands(hands.into()), ends })
    }

    pub(crate) fn hands(&self) -> Hands {
        self.hands.clone()
    }

    /// Has no more need of the threads. If nobody else has, lets them end, and waits for that: what they carry is cut.
    /// Dropped, it no longer waits.
    pub(crate) async fn leave(crew: Arc<Self>) {
        if let Some(crew) = Arc::into_inner(crew) {
            crew.stop().await;
        }
    }

    async fn stop(self) {
        let ending: Vec<_> = self
            .ends
            .into_iter()
            .map(|End { stop, ended }| {
                drop(stop);
                ended
            })
            .collect();
        for ended in ending {
            // Nothing is ever sent: it is closed.
            let _ = ended.await;
        }
    }
}

impl Hands {
    /// Their numbers, each with its runtime.
    pub(crate) fn runtimes(&self) -> impl Iterator<Item = (usize, &Handle)> {
        self.0.iter().map(|hand| &hand.runtime).enumerate()
    }

    /// Has a connection carried by a thread, or by the caller's runtime where there are none. `at` is the thread it was
    /// accepted on, and this is called on.
    pub(crate) fn carry<C: Future<Output = ()> + Send + 'static>(
        &self,
        at: Option<usize>,
        connections: &mut JoinSet<()>,
        tcp: TcpStream,
        connection: impl FnOnce(TcpStream) -> C + Send + 'static,
    ) {
        let loads = self.0.iter().map(|hand| hand.carries.load(Relaxed));
        let Some((number, hand)) = choose(loads, at).and_then(|number| Some((number, self.0.get(number)?)))
        else {
            connections.spawn(connection(tcp));
            return;
        };
        let carried = Carried::by(hand);
        if at == Some(number) {
            connections.spawn_on(connection(tcp).map(move |()| drop(carried)), &hand.runtime);
            return;
        }
        // Readiness is told by the runtime that a socket is registered with: it changes over.
        let tcp = match tcp.into_std() {
            Ok(tcp) => tcp,
            Err(error) => return tracing::debug!(%error, "cannot hand a connection to its thread"),
        };
        let work = async move {
            match TcpStream::from_std(tcp) {
                Ok(tcp) => connection(tcp).await,
                Err(error) => tracing::debug!(%error, "cannot take over a connection"),
            }
            drop(carried);
        };
        connections.spawn_on(work, &hand.runtime);
    }
}

/// The thread that is to carry a connection: the one it was accepted on, unless that carries over a quarter more than
/// the one with the fewest. Handing it over takes a wake-up, and its socket from one epoll to another.
fn choose(loads: impl Iterator<Item = usize> + Clone, at: Option<usize>) -> Option<usize> {
    let (least, fewest) = loads.clone().enumerate().min_by_key(|(_, load)| *load)?;
    let own = at.and_then(|at| Some((at, loads.clone().nth(at)?)));
    match own {
        Some((at, load)) if load <= fewest + fewest / 4 => Some(at),
        _ => Some(least),
    }
}

impl Hand {
    fn start(number: usize) -> io::Result<(Self, End)> {
        // The thread is there before its runtime: one that never got a thread could not be dropped here.
        let (give, take) = mpsc::sync_channel::<Runtime>(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let (ends, ended) = oneshot::channel::<()>();
        thread::Builder::new().name(format!("proxy-{number}")).spawn(move || {
            let Ok(runtime) = take.recv() else { return };
            let _ = runtime.block_on(stopped);
            // A look-up that hangs is not waited for.
            runtime.shutdown_background();
            drop(ends);
        })?;
        let built = Builder::new_current_thread()
            .enable_all()
            .thread_name(format!("proxy-{number}-blocking"))
            .max_blocking_threads(MAX_BLOCKING_THREADS)
            .build()?;
        let runtime = built.handle().clone();
        // There is room for one, and the thread waits for it.
        let _ = give.send(built);
        Ok((Self { runtime, carries: Arc::default() }, End { stop, ended }))
    }
}

/// A connection's place in the count of its thread.
struct Carried(Arc<AtomicUsize>);

impl Carried {
    fn by(hand: &Hand) -> Self {
        hand.carries.fetch_add(1, Relaxed);
        Self(hand.carries.clone())
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_stays_where_it_was_accepted_unless_another_thread_carries_clearly_fewer() {
        for (loads, at, expected) in [
            (&[0, 0][..], Some(1), Some(1)),
            (&[0, 1], Some(1), Some(0)),
            (&[3, 3], Some(1), Some(1)),
            (&[3, 4], Some(1), Some(0)),
            (&[4, 5], Some(1), Some(1)),
            (&[8, 10], Some(1), Some(1)),
            (&[8, 11], Some(1), Some(0)),
            (&[5, 2, 3], Some(0), Some(1)),
            (&[5, 2, 3], None, Some(1)),
            (&[1], Some(7), Some(0)),
            (&[], None, None),
            (&[], Some(0), None),
        ] {
            assert_eq!(choose(loads.iter().copied(), at), expected, "{loads:?} {at:?}");
        }
    }
}
