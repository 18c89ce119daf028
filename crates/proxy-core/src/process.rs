//! Which process of this machine a client connection comes from, where that is asked for
//! (docs/design/036-client-processes.md).
//!
//! It is sought once for each connection, from when that is accepted on, beside everything else: no exchange waits for
//! the answer. Only the telling of an ending does, and no longer than the search lasts.

mod owners;
mod sockets;

use std::{
    fmt, mem,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use crate::{
    event::{ClientFacts, ListenerKind},
    proxy::ProxyBuilder,
};

/// Connections whose process is sought at once; that of further ones stays unknown.
const MAX_WANTED: usize = 4_096;

/// Endings that wait for the same connection's process; with one more it stays unknown.
const MAX_UNTOLD: usize = 256;

/// How much longer a search is rested for than it took, where searching goes on and on: it takes a fifth of one
/// processor at most.
const REST: u32 = 4;

/// The name of the thread that searches.
const SEARCHER: &str = "proxy-processes";

/// What may be searched without a rest: clients that come one by one are looked at while they are there.
const ALLOWANCE: Duration = Duration::from_millis(200);

/// The longest rest, that of a search of twice the time that one may take: endings wait for it.
const MAX_REST: Duration = owners::MAX_SEARCH.saturating_mul(2 * REST);

/// A process of this machine, as it was when it connected.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ClientProcess {
    /// Its number.
    pub pid: u32,
    /// What it calls itself: on Linux the first 15 bytes of its program's name, unless it chose another. It is the
    /// client's own word. Control characters in it are replaced.
    pub name: String,
}

impl ClientProcess {
    /// Makes a process.
    #[must_use]
    pub fn new(pid: u32, name: impl Into<String>) -> Self {
        Self { pid, name: name.into() }
    }
}

impl ProxyBuilder {
    /// Says whether to find out which process each client connection comes from, for
    /// [`ClientFacts::process`]; off without this. It is found for clients on this machine, on Linux, where the proxy's
    /// user may look at the process: at its own user's, or as root at all. Otherwise it stays unknown.
    ///
    /// No exchange waits for it. The search reads `/proc`, on a thread of its own, and takes a fifth of one processor at
    /// most. It ends with the proxy: connections of a listener that outlives it
    /// ([`FurtherListener`](crate::FurtherListener)) stay unknown from then on.
    pub fn client_processes(mut self, wanted: bool) -> Self {
        self.processes.wanted = wanted;
        self
    }
}

impl ClientFacts {
    /// The process the client is, where it was asked for and found. It may come to be known while the first exchange of
    /// a connection goes on; at an exchange's ending it does not change any more.
    #[must_use]
    pub fn process(&self) -> Option<&ClientProcess> {
        self.sought.as_ref()?.found.get()?.as_ref()
    }

    /// The same facts with a process that is known.
    #[must_use]
    pub fn with_process(mut self, process: ClientProcess) -> Self {
        let sought = Sought::default();
        sought.settle(Some(process));
        self.sought = Some(Arc::new(sought));
        self
    }
}

/// A connection's process: sought, then known or given up.
#[derive(Default)]
pub(crate) struct Sought {
    found: OnceLock<Option<ClientProcess>>,
    /// What is to be told when it is settled.
    untold: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

impl fmt::Debug for Sought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.found.get().fmt(f)
    }
}

impl Sought {
    /// Tells something once the process is known or given up; at once where it is.
    pub(crate) fn then(&self, tell: impl FnOnce() + Send + 'static) {
        if self.found.get().is_none() {
            let mut untold = held(&self.untold);
            let is_open = self.found.get().is_none();
            if is_open && untold.len() < MAX_UNTOLD {
                untold.push(Box::new(tell));
                return;
            }
            drop(untold);
            self.settle(None);
        }
        tell();
    }

    /// Settles it, unless it is, and tells what waited.
    fn settle(&self, process: Option<ClientProcess>) {
        let untold = {
            let mut untold = held(&self.untold);
            let _ = self.found.set(process);
            mem::take(&mut *untold)
        };
        for tell in untold {
            tell();
        }
    }
}

/// Finds the processes of client connections.
#[derive(Default)]
pub(crate) struct Processes {
    wanted: bool,
    desk: Arc<Desk>,
}

/// Where searches are asked for, and told of.
#[derive(Default)]
struct Desk {
    list: Mutex<List>,
    /// Held from before what a search was for is taken off the list until all of it is told.
    telling: Mutex<()>,
}

/// What is sought.
#[derive(Default)]
struct List {
    waiting: Vec<(Ends, Arc<Sought>)>,
    /// Those of the search that goes on.
    at_work: Vec<Arc<Sought>>,
    is_searching: bool,
    /// Whoever searched last.
    searcher: Option<ThreadId>,
    /// Whether the proxy has ended, so that nothing is sought any more.
    is_closed: bool,
    /// Processes found last, the latest first: they are likely to connect again.
    recent: Vec<u32>,
    debt: Debt,
}

/// Time spent on searches that was not rested for yet.
#[derive(Default)]
struct Debt {
    unrested: Duration,
    counted_at: Option<Instant>,
}

impl Debt {
    /// Counts a search that ended now, and says how long to rest after it.
    fn rest(&mut self, now: Instant, took: Duration) -> Duration {
        let passed = self.counted_at.map_or(Duration::ZERO, |then| now.saturating_duration_since(then));
        let rested = passed.saturating_sub(took) / REST;
        self.unrested = self.unrested.saturating_sub(rested) + took;
        self.counted_at = Some(now);
        (self.unrested.saturating_sub(ALLOWANCE) * REST).min(MAX_REST)
    }
}

/// The two ends of a connection, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    client: SocketAddr,
    /// Where the client thinks it is connected to; `None` where only it knows.
    server: Option<SocketAddr>,
}

impl Processes {
    /// Begins to look for the process of a connection that was just accepted, if it may be found.
    pub(crate) fn seek(
        &self,
        peer: SocketAddr,
        local: SocketAddr,
        listener: ListenerKind,
    ) -> Option<Arc<Sought>> {
        let is_own = peer.ip().to_canonical().is_loopback() || same(peer.ip(), local.ip());
        if !self.wanted || !cfg!(target_os = "linux") || !is_own {
            return None;
        }
        // A redirected client does not know of the proxy.
        let server = (listener != ListenerKind::Transparent).then_some(local);
        let sought = Arc::new(Sought::default());
        let mut list = held(&self.desk.list);
        if list.is_closed || list.waiting.len() >= MAX_WANTED {
            return None;
        }
        list.waiting.push((Ends { client: peer, server }, sought.clone()));
        if !mem::replace(&mut list.is_searching, true) {
            drop(list);
            let shift = Shift { desk: self.desk.clone(), is_over: false };
            // Owned by itself: it ends when nothing waits, and settles what waits when it is dropped, also where there is no
            // thread to be had for it. Threads for blocking work may all be waiting for name servers.
            if let Err(error) = thread::Builder::new().name(SEARCHER.to_owned()).spawn(move || shift.work()) {
                tracing::warn!(%error, "cannot look for the processes of clients");
            }
        }
        Some(sought)
    }

    /// Seeks nothing any more, settles all that is sought as unknown, and returns once all is told that waited for it.
    pub(crate) fn close(&self) {
        let (left, searcher) = {
            let mut list = held(&self.desk.list);
            list.is_closed = true;
            (list.take_all(), list.searcher)
        };
        left.iter().for_each(|sought| sought.settle(None));
        // An observer that is just being told may be the one who ends the proxy.
        if searcher != Some(thread::current().id()) {
            drop(held(&self.desk.telling));
        }
    }
}

impl List {
    fn take_all(&mut self) -> Vec<Arc<Sought>> {
        let waiting = mem::take(&mut self.waiting).into_iter().map(|(_, sought)| sought);
        waiting.chain(mem::take(&mut self.at_work)).collect()
    }
}

/// Search after search, each for all that wait when it begins, until none does.
struct Shift {
    desk: Arc<Desk>,
    is_over: bool,
}

impl Shift {
    fn work(mut self) {
        held(&self.desk.list).searcher = Some(thread::current().id());
        while let Some((ends, mut recent)) = self.next() {
            let begun = Instant::now();
            let found = owners::find(&ends, &mut recent);
            let rest = {
                let mut list = held(&self.desk.list);
                list.recent = recent;
                let now = Instant::now();
                list.debt.rest(now, now.saturating_duration_since(begun))
            };
            self.tell(found);
            thread::sleep(rest);
        }
    }

    fn tell(&self, found: Vec<Option<ClientProcess>>) {
        let _telling = held(&self.desk.telling);
        // Empty where they were given up meanwhile.
        let sought = mem::take(&mut held(&self.desk.list).at_work);
        for (sought, process) in sought.iter().zip(found) {
            sought.settle(process);
        }
    }

    /// What waits, and where to look first.
    fn next(&mut self) -> Option<(Vec<Ends>, Vec<u32>)> {
        let mut list = held(&self.desk.list);
        if list.waiting.is_empty() {
            list.is_searching = false;
            self.is_over = true;
            return None;
        }
        let (ends, sought) = mem::take(&mut list.waiting).into_iter().unzip();
        list.at_work = sought;
        Some((ends, list.recent.clone()))
    }
}

impl Drop for Shift {
    fn drop(&mut self) {
        if !self.is_over {
            let _telling = held(&self.desk.telling);
            let left = {
                let mut list = held(&self.desk.list);
                list.is_searching = false;
                list.take_all()
            };
            left.iter().for_each(|sought| sought.settle(None));
        }
    }
}

/// Whether two addresses are the same, be they written for IPv4 or IPv6.
fn same(one: IpAddr, other: IpAddr) -> bool {
    one.to_canonical() == other.to_canonical()
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    };

    use super::*;
    use crate::{ca::CertificateAuthority, proxy::Proxy, tls::UpstreamTrust};

    #[test]
    fn what_waits_is_told_once_when_it_is_settled() {
        let (sought, told) = (Sought::default(), Arc::new(AtomicUsize::new(0)));
        let tell = || {
            let told = told.clone();
            sought.then(move || _ = told.fetch_add(1, Relaxed));
        };
        tell();
        tell();
        assert_eq!(told.load(Relaxed), 0);
        sought.settle(Some(ClientProcess::new(7, "curl")));
        assert_eq!(told.load(Relaxed), 2);
        sought.settle(None);
        tell();
        assert_eq!(told.load(Relaxed), 3);
        assert_eq!(sought.found.get(), Some(&Some(ClientProcess::new(7, "curl"))));
    }

    #[test]
    fn too_many_endings_do_not_wait() {
        let (sought, told) = (Sought::default(), Arc::new(AtomicUsize::new(0)));
        for _ in 0..=MAX_UNTOLD {
            let told = told.clone();
            sought.then(move || _ = told.fetch_add(1, Relaxed));
        }
        assert_eq!((told.load(Relaxed), sought.found.get()), (MAX_UNTOLD + 1, Some(&None)));
    }

    /// What a search is for that goes on as long as nobody gives it up.
    fn never_found(processes: &Processes) -> Arc<Sought> {
        let sought = Arc::new(Sought::default());
        let mut list = held(&processes.desk.list);
        list.at_work.push(sought.clone());
        list.is_searching = true;
        sought
    }

    #[test]
    fn whoever_ends_the_searches_waits_for_what_is_being_told() {
        let processes = Processes::default();
        let sought = never_found(&processes);
        let (tells, telling) = mpsc::channel();
        let (goes_on, may_go_on) = mpsc::channel::<()>();
        let told = Arc::new(AtomicUsize::new(0));
        sought.then({
            let told = told.clone();
            move || {
                tells.send(()).unwrap();
                may_go_on.recv().unwrap();
                told.store(1, Relaxed);
            }
        });
        let shift = Shift { desk: processes.desk.clone(), is_over: true };
        let searcher = thread::spawn(move || shift.tell(vec![Some(ClientProcess::new(7, "curl"))]));
        telling.recv().unwrap();
        let (closes, closed) = mpsc::channel();
        let closer = thread::spawn(move || {
            processes.close();
            closes.send(told.load(Relaxed)).unwrap();
        });
        assert!(closed.recv_timeout(Duration::from_millis(50)).is_err(), "an ending was not told yet");
        goes_on.send(()).unwrap();
        assert_eq!(closed.recv().unwrap(), 1);
        assert_eq!(sought.found.get(), Some(&Some(ClientProcess::new(7, "curl"))));
        searcher.join().unwrap();
        closer.join().unwrap();
    }

    #[test]
    fn whoever_is_being_told_may_end_the_searches() {
        let processes = Arc::new(Processes::default());
        let sought = never_found(&processes);
        held(&processes.desk.list).searcher = Some(thread::current().id());
        let closing = processes.clone();
        sought.then(move || closing.close());
        Shift { desk: processes.desk.clone(), is_over: true }.tell(vec![None]);
        assert!(held(&processes.desk.list).is_closed);
    }

    #[tokio::test]
    async fn a_further_listener_that_closes_leaves_the_searches_of_others_alone() {
        let ca = CertificateAuthority::in_memory().unwrap();
        let proxy = Proxy::builder(ca).upstream_trust(UpstreamTrust::nobody()).client_processes(true);
        let proxy = proxy.bind("127.0.0.1:0").await.unwrap().spawn();
        let engine = proxy.engine().clone();
        let sought = never_found(&engine.processes);
        let further = proxy.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        further.shutdown(Duration::ZERO).await;
        assert_eq!(sought.found.get(), None);
        proxy.shutdown(Duration::ZERO).await;
        assert_eq!(sought.found.get(), Some(&None));
    }

    #[tokio::test]
    async fn a_handle_that_is_dropped_leaves_no_search_behind() {
        let ca = CertificateAuthority::in_memory().unwrap();
        let proxy = Proxy::builder(ca).upstream_trust(UpstreamTrust::nobody()).client_processes(true);
        let proxy = proxy.bind("127.0.0.1:0").await.unwrap().spawn();
        let engine = proxy.engine().clone();
        let sought = never_found(&engine.processes);
        drop(proxy);
        assert_eq!(sought.found.get(), Some(&None));
        let near = SocketAddr::from(([127, 0, 0, 1], 9));
        assert!(engine.processes.seek(near, near, ListenerKind::Explicit).is_none());
    }

    #[test]
    fn a_search_that_never_began_leaves_nothing_untold() {
        let processes = Processes::default();
        let sought = never_found(&processes);
        drop(Shift { desk: processes.desk.clone(), is_over: false });
        assert_eq!(sought.found.get(), Some(&None));
        assert!(!held(&processes.desk.list).is_searching);
    }

    #[test]
    fn searches_rest_where_they_go_on_and_on() {
        let (mut debt, mut now, took) = (Debt::default(), Instant::now(), Duration::from_millis(10));
        let rests: Vec<Duration> = (0..1_000)
            .map(|_| {
                now += took;
                let rest = debt.rest(now, took);
                now += rest;
                rest
            })
            .collect();
        assert!(rests[..19].iter().all(Duration::is_zero), "{rests:?}");
        let total: Duration = rests.iter().sum();
        assert!(total >= Duration::from_secs(39), "{total:?}");
        now += Duration::from_secs(1);
        assert!(debt.rest(now, took).is_zero());
        assert_eq!(debt.rest(now + MAX_REST, MAX_REST), MAX_REST);
    }

    #[test]
    fn nothing_is_sought_that_was_not_asked_for_or_comes_from_elsewhere() {
        let near = SocketAddr::from(([127, 0, 0, 1], 9));
        let far = SocketAddr::from(([192, 0, 2, 1], 9));
        let mut processes = Processes::default();
        assert!(processes.seek(near, near, ListenerKind::Explicit).is_none());
        processes.wanted = true;
        assert!(processes.seek(far, near, ListenerKind::Explicit).is_none());
        assert_eq!(processes.seek(near, near, ListenerKind::Explicit).is_some(), cfg!(target_os = "linux"));
        processes.close();
        assert!(processes.seek(near, near, ListenerKind::Explicit).is_none());
    }
}
