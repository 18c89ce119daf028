//! The account of one exchange: its clock, its sizes, and the telling of its events.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;

use crate::{
    event::{
        ClientFacts, Ending, Event, EventKind, ExchangeId, Outcome, ResponseSource, Sizes, Timings,
        UpstreamFacts,
    },
    failure::{Failure, FailureKind},
    head::{Headers, RequestHead, ResponseHead},
    observer::Observer,
    process::Sought,
};

/// Everyone who looks at exchanges.
#[derive(Clone, Default)]
pub(crate) struct Observers(Arc<Vec<Arc<dyn Observer>>>);

impl Observers {
    pub(crate) fn push(&mut self, observer: Arc<dyn Observer>) {
        Arc::make_mut(&mut self.0).push(observer);
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An observer that panics is passed over: nothing that is only looked at may break by it. The last one gets the event
    /// itself.
    fn tell(&self, event: Event) {
        let Some((last, others)) = self.0.split_last() else { return };
        let exchange = event.exchange;
        for observer in others {
            pass_over_panics(exchange, || observer.observe(&event));
        }
        pass_over_panics(exchange, || last.take(event));
    }

    /// Waits until every observer has room for more body bytes.
    pub(crate) async fn ready(&self) {
        for observer in self.0.iter() {
            while let Some(room) = observer.ready() {
                room.await;
            }
        }
    }
}

fn pass_over_panics(exchange: ExchangeId, tell: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(tell)).is_err() {
        tracing::error!(exchange = exchange.0, "an observer panicked");
    }
}

/// The account of one exchange. Tells its beginning when made and its ending exactly once: by [`end`](Self::end),
/// or, when it is dropped before (the connection's task was aborted), as cut short by the proxy's shutdown.
pub(crate) struct Ledger {
    observers: Observers,
    exchange: ExchangeId,
    begun: Instant,
    request_head: u64,
    request_body: AtomicU64,
    response_head: AtomicU64,
    response_body: AtomicU64,
    /// Nanoseconds since `begun`, plus one; zero while it has not happened.
    forwarded_at: AtomicU64,
    request_done_at: AtomicU64,
    response_began_at: AtomicU64,
    /// Nanoseconds since `begun`.
    stirred_at: AtomicU64,
    dialled: Mutex<Dialled>,
    ended: AtomicBool,
    /// What the ending waits for to be told, if anything.
    sought: Option<Arc<Sought>>,
}

/// Where the time of getting an upstream connection went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dialled {
    pub(crate) dns: Option<Duration>,
    /// TCP and TLS together, as HAR has it.
    pub(crate) connect: Option<Duration>,
    pub(crate) ssl: Option<Duration>,
}

impl Ledger {
    pub(crate) fn begin(
        observers: &Observers,
        exchange: ExchangeId,
        client: &Arc<ClientFacts>,
        head: &Arc<RequestHead>,
        request_head: u64,
    ) -> Self {
        let ledger = Self {
            observers: observers.clone(),
            exchange,
            begun: Instant::now(),
            request_head,
            request_body: AtomicU64::new(0),
            response_head: AtomicU64::new(0),
            response_body: AtomicU64::new(0),
            forwarded_at: AtomicU64::new(0),
            request_done_at: AtomicU64::new(0),
            response_began_at: AtomicU64::new(0),
            stirred_at: AtomicU64::new(0),
            dialled: Mutex::default(),
            ended: AtomicBool::new(false),
            sought: client.sought.clone(),
        };
        ledger.tell_at(Duration::ZERO, || EventKind::Request {
            client: client.clone(),
            head: head.clone(),
            started_at: SystemTime::now(),
        });
        ledger
    }

    pub(crate) fn exchange(&self) -> ExchangeId {
        self.exchange
    }

    /// Tells what happens now.
    fn tell(&self, kind: impl FnOnce() -> EventKind) {
        if !self.observers.is_empty() {
            self.tell_at(self.begun.elapsed(), kind);
        }
    }

    /// Tells what happened at a time that was looked at already: looking at the clock is the larger part of telling.
    fn tell_at(&self, at: Duration, kind: impl FnOnce() -> EventKind) {
        if !self.observers.is_empty() {
            self.observers.tell(Event { exchange: self.exchange, at, kind: kind() });
        }
    }

    /// Waits for room: the body tap's back-pressure.
    pub(crate) async fn ready(&self) {
        self.observers.ready().await;
    }

    /// Notes when something happened first: now, which is returned.
    fn mark(&self, cell: &AtomicU64) -> Duration {
        let now = self.begun.elapsed();
        // Written by the exchange's own task alone; a lock of the processor's for it would cost more than the clock.
        if cell.load(Relaxed) == 0 {
            cell.store(nanos(now) + 1, Relaxed);
        }
        now
    }

    /// Notes that bytes of a body or a tunnel passed, in either direction. Says when: now.
    pub(crate) fn stir(&self) -> Duration {
        let now = self.begun.elapsed();
        self.stirred_at.store(nanos(now), Relaxed);
        now
    }

    /// How long nothing of a body or a tunnel has passed in either direction.
    pub(crate) fn quiet_for(&self) -> Duration {
        Duration::from_nanos(nanos(self.begun.elapsed()).saturating_sub(self.stirred_at.load(Relaxed)))
    }

    pub(crate) fn upstream(&self, upstream: &Arc<UpstreamFacts>, reused: bool, dialled: Dialled) {
        *self.dialled.lock().unwrap_or_else(PoisonError::into_inner) = dialled;
        let now = self.mark(&self.forwarded_at);
        self.tell_at(now, || EventKind::Upstream { upstream: upstream.clone(), reused });
    }

    /// Tells of the upstream connection that came to nothing, where the failure knows one.
    pub(crate) fn failed_upstream(&self, failure: &Failure) {
        if let Some(upstream) = failure.upstream() {
            self.tell(|| EventKind::Upstream { upstream: upstream.clone(), reused: false });
        }
    }

    pub(crate) fn request_piece(&self, data: &Bytes) {
        let now = self.stir();
        add(&self.request_body, data.len());
        self.tell_at(now, || EventKind::RequestBody(data.clone()));
    }

    pub(crate) fn request_trailers(&self, trailers: &Headers) {
        self.tell(|| EventKind::RequestTrailers(trailers.clone()));
    }

    pub(crate) fn request_done(&self) {
        let now = self.mark(&self.request_done_at);
        self.tell_at(now, || EventKind::RequestEnd);
    }

    /// Whether the request's body came to its proper end.
    pub(crate) fn is_request_done(&self) -> bool {
        self.request_done_at.load(Relaxed) != 0
    }

    pub(crate) fn informational(&self, head: &ResponseHead) {
        self.tell(|| EventKind::Informational(Arc::new(head.clone())));
    }

    pub(crate) fn response(&self, head: &Arc<ResponseHead>, bytes: u64, source: ResponseSource) {
        let now = self.mark(&self.response_began_at);
        self.response_head.store(bytes, Relaxed);
        self.tell_at(now, || EventKind::Response { head: head.clone(), source });
    }

    pub(crate) fn response_piece(&self, data: &Bytes) {
        let now = self.stir();
        add(&self.response_body, data.len());
        self.tell_at(now, || EventKind::ResponseBody(data.clone()));
    }

    pub(crate) fn response_trailers(&self, trailers: &Headers) {
        self.tell(|| EventKind::ResponseTrailers(trailers.clone()));
    }

    /// Tells something that is not counted here: messages, tunnel bytes.
    pub(crate) fn note(&self, kind: EventKind) {
        self.tell(|| kind);
    }

    /// Tells the ending, once; later calls do nothing. Where the client's process is still sought it is told when that is
    /// known, so that it is known to whoever is told.
    pub(crate) fn end(&self, outcome: Outcome) {
        if self.ended.swap(true, Relaxed) || self.observers.is_empty() {
            return;
        }
        let total = self.begun.elapsed();
        let kind = EventKind::Ended(Box::new(Ending::new(outcome, self.timings(total), self.sizes())));
        let event = Event { exchange: self.exchange, at: total, kind };
        match &self.sought {
            Some(sought) => {
                let observers = self.observers.clone();
                sought.then(move || observers.tell(event));
            }
            None => self.observers.tell(event),
        }
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            request_head: self.request_head,
            request_body: self.request_body.load(Relaxed),
            response_head: self.response_head.load(Relaxed),
            response_body: self.response_body.load(Relaxed),
        }
    }

    fn timings(&self, total: Duration) -> Timings {
        let since = |cell: &AtomicU64| match cell.load(Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos - 1)),
        };
        let dialled = *self.dialled.lock().unwrap_or_else(PoisonError::into_inner);
        let dialling = dialled.dns.unwrap_or_default() + dialled.connect.unwrap_or_default();
        let forwarded = since(&self.forwarded_at).unwrap_or(total);
        let sent = since(&self.request_done_at).unwrap_or(forwarded).max(forwarded);
        let began = since(&self.response_began_at).map(|began| began.max(forwarded));
        // A response may begin before the request has ended; HAR has no overlap, so sending ends there.
        let sent = began.map_or(sent, |began| sent.min(began));
        Timings {
            blocked: Some(forwarded.saturating_sub(dialling)),
            dns: dialled.dns,
            connect: dialled.connect,
            ssl: dialled.ssl,
            send: sent.saturating_sub(forwarded),
            wait: began.unwrap_or(total).saturating_sub(sent),
            receive: began.map_or(Duration::ZERO, |began| total.saturating_sub(began)),
            total,
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX - 1)
}

fn add(bytes: &AtomicU64, more: usize) {
    bytes.store(bytes.load(Relaxed) + more as u64, Relaxed);
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let what = if std::thread::panicking() { "panicked" } else { "was stopped" };
        let cut = Failure::new(FailureKind::Shutdown, format!("the connection's task {what}"));
        self.end(Outcome::Failed(cut));
    }
}
