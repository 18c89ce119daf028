//! The queue between the engine's threads and the writer's: a short lock to put an event in, one swap to take all
//! out, and a wake-up only when the writer sleeps and the event matters.

mod gate;
mod intake;

pub(crate) use intake::weight_of_fields;

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use gate::Gate;
use proxy_core::{Event, EventKind};

use crate::{stage::Stage, whole::Batch, writer::Command};

/// Queued body bytes that wake the writer although it gathers for a commit; half the bound where that is less, so that
/// the wire never waits for a writer that sleeps.
const WAKE_BYTES: usize = 256 * 1024;
/// Queued events, or whole exchanges, that do.
const WAKE_ITEMS: usize = 4096;
/// What one queued event is taken to weigh beside the body bytes it carries.
const EVENT_BYTES: usize = 256;
/// The heaviest queue, in multiples of the bound on body bytes, beyond which new exchanges are refused.
const REFUSE_FACTOR: usize = 4;
/// And never less than this.
const REFUSE_FLOOR: usize = 64 * 1024 * 1024;
/// Batches of whole exchanges that are kept to be used again: 8 MiB in all.
const SPARE_BATCHES: usize = 128;
/// Body bytes with exchanges that are gathered in one part of the stage, at most.
const STAGED_BYTES: usize = 512 * 1024;

/// One thing to do for the writer, in order.
pub(crate) enum Item {
    Event(Event),
    /// The end of an exchange, and when it was told.
    Ended(Event, Instant),
    /// A request that was told before this, at that time.
    Late(Event, Instant),
    /// Exchanges from their beginning to their end.
    Batch(Batch),
    Command(Command),
}

/// What came while the writer waited for the disk.
pub(crate) struct Stalled {
    /// Commands to be answered at once, as `Item::Command`s.
    pub(crate) commands: Vec<Item>,
    /// Whether the queue is to be closed.
    pub(crate) closing: bool,
}

/// What wakes the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// It is awake.
    Awake,
    /// Anything: all that came is written.
    Idle,
    /// The end of an exchange: open ones are to be written soon.
    Watching,
    /// Volume: a commit is due soon anyway.
    Gathering,
}

/// Bounded by bytes: while more than `max_body_bytes` of bodies are queued, [`ready`](Self::ready) makes the wire
/// wait. Heads and endings get in all the same, until the queue weighs [`REFUSE_FACTOR`] times as much: then new
/// exchanges are refused, and counted.
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Exchanges whose events are gathered until they end. Its locks are taken before `state`'s.
    stage: Stage,
    /// What is gathered in each part of the stage weighs at most.
    max_staged_bytes: usize,
    /// And what is packed there.
    max_batch_bytes: usize,
    gate: Gate,
    /// Memory of whole exchanges that were written, for the next: what one thread asks for and another gives back costs
    /// both a lock.
    batches: Mutex<Vec<Batch>>,
    wake: Condvar,
    body_bytes: AtomicUsize,
    /// Whether the wire waits whatever is queued.
    held: AtomicBool,
    max_body_bytes: usize,
    refuse_bytes: usize,
    wake_bytes: usize,
}

/// What its lock holds.
struct State {
    items: Vec<Item>,
    /// How many events and whole exchanges they are.
    count: usize,
    /// What all queued items weigh.
    weight: usize,
    /// Whether a command is among them.
    commanded: bool,
    /// Whether the end of an exchange is among them.
    ended: bool,
    sleep: Sleep,
    closed: bool,
    refused: u64,
    waiters: Vec<(u64, Waker)>,
    next_waiter: u64,
}

impl Queue {
    pub(crate) fn new(max_body_bytes: usize) -> Self {
        let stage = Stage::new();
        let (max_staged_bytes, max_batch_bytes) = Self::part_bounds(max_body_bytes, stage.parts());
        Self {
            state: Mutex::new(State {
                items: Vec::new(),
                count: 0,
                weight: 0,
                commanded: false,
                ended: false,
                sleep: Sleep::Awake,
                closed: false,
                refused: 0,
                waiters: Vec::new(),
                next_waiter: 0,
            }),
            stage,
            max_staged_bytes,
            max_batch_bytes,
            gate: Gate::default(),
            batches: Mutex::default(),
            wake: Condvar::new(),
            body_bytes: AtomicUsize::new(0),
            held: AtomicBool::new(false),
            max_body_bytes,
            refuse_bytes: max_body_bytes.saturating_mul(REFUSE_FACTOR).max(REFUSE_FLOOR),
            wake_bytes: WAKE_BYTES.min(max_body_bytes / 2),
        }
    }

    /// Puts a command in, after all that was told before it, and wakes the writer. Returns false when the queue is closed.
    pub(crate) fn command(&self, command: Command) -> bool {
        self.put_older(Duration::ZERO);
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.items.push(Item::Command(command));
        state.commanded = true;
        self.set_sleep(&mut state, Sleep::Awake);
        drop(state);
        self.wake.notify_one();
        true
    }

    /// Takes all items out into `items`, which is empty; waits until something wakes the writer or `deadline` comes.
    pub(crate) fn take(&self, items: &mut Vec<Item>, sleep: Sleep, deadline: Option<Instant>) {
        let mut state = self.lock();
        self.set_sleep(&mut state, sleep);
        if matches!(sleep, Sleep::Idle | Sleep::Watching) {
            // Whoever ends an exchange in a part that was looked at knows by then that the writer sleeps, and wakes it.
            drop(state);
            self.pull(items);
            state = self.lock();
        }
        let enough = match sleep {
            Sleep::Awake => true,
            Sleep::Idle => !items.is_empty() || !state.items.is_empty(),
            Sleep::Watching => !items.is_empty() || state.ended,
            Sleep::Gathering => false,
        };
        // Who sleeps for anything would not hear of an exchange that is gathered and goes on.
        let unheard = sleep == Sleep::Idle && self.has_staged();
        if enough || unheard || state.commanded || self.is_much(self.body_bytes(), &state) {
            self.set_sleep(&mut state, Sleep::Awake);
        }
        while state.sleep != Sleep::Awake {
            let Some(deadline) = deadline else {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.set_sleep(&mut state, Sleep::Awake);
                break;
            }
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        // While all parts are locked nothing is on its way from one of them into the queue, so what ended before something
        // that is taken is taken too.
        let mut parts: Vec<_> = self.stage.all().collect();
        let mut state = self.lock();
        if items.is_empty() {
            mem::swap(&mut state.items, items);
        } else {
            items.append(&mut state.items);
        }
        (state.count, state.weight) = (0, 0);
        state.commanded = false;
        state.ended = false;
        self.gate.note(&state, self.refuse_bytes);
        drop(state);
        // What is packed by now was told after any command that is in `items`.
        self.pull_out_of(&mut parts, items);
    }

    /// Takes back the memory of whole exchanges.
    pub(crate) fn give_batches(&self, batches: Vec<Batch>) {
        let batches: Vec<_> = batches.into_iter().filter_map(Batch::emptied).collect();
        let mut spare = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        let room = SPARE_BATCHES.saturating_sub(spare.len());
        spare.extend(batches.into_iter().take(room));
    }

    /// Says that this many body bytes are written, or dropped, and lets the wire go on.
    pub(crate) fn release(&self, bytes: usize) {
        let before = self.body_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if before > self.max_body_bytes
            && before - bytes <= self.max_body_bytes
            && !self.held.load(Ordering::Relaxed)
        {
            let waiters = mem::take(&mut self.lock().waiters);
            wake_all(waiters);
        }
    }

    /// Makes the wire wait, whatever is queued, or lets it go on as far as there is room.
    pub(crate) fn hold(&self, held: bool) {
        let mut state = self.lock();
        self.held.store(held, Ordering::Relaxed);
        if !held && self.body_bytes() <= self.max_body_bytes {
            let waiters = mem::take(&mut state.waiters);
            drop(state);
            wake_all(waiters);
        }
    }

    /// Waits until `until`, or until a command comes, and takes out the commands that can be answered while the events
    /// before them cannot be written. One that closes stays in its place, and ends the wait.
    pub(crate) fn wait_stalled(&self, until: Instant) -> Stalled {
        let mut state = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.commanded || left.is_zero() {
                break;
            }
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if !state.commanded {
            return Stalled { commands: Vec::new(), closing: false };
        }
        let is_answered =
            |item: &mut Item| matches!(item, Item::Command(command) if !matches!(command, Command::Close(_)));
        let commands = state.items.extract_if(.., is_answered).collect();
        state.commanded = state.items.iter().any(|item| matches!(item, Item::Command(_)));
        Stalled { commands, closing: state.commanded }
    }

    /// Body bytes that wait to be written.
    pub(crate) fn body_bytes(&self) -> usize {
        self.body_bytes.load(Ordering::Relaxed)
    }

    /// Exchanges that were refused since the last call.
    pub(crate) fn take_refused(&self) -> u64 {
        mem::take(&mut self.lock().refused)
    }

    /// Whether the wire waits.
    pub(crate) fn is_full(&self) -> bool {
        self.body_bytes() > self.max_body_bytes || self.held.load(Ordering::Relaxed)
    }

    /// Whether it was ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Ends the queue: what is in it is dropped, what comes is ignored, who waits goes on.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.gate.note(&state, self.refuse_bytes);
        state.items = Vec::new();
        let waiters = mem::take(&mut state.waiters);
        self.body_bytes.store(0, Ordering::Relaxed);
        self.held.store(false, Ordering::Relaxed);
        drop(state);
        wake_all(waiters);
        // What is still gathered is put in, and so dropped.
        self.put_older(Duration::ZERO);
    }

    /// Resolves when there is room for body bytes; `None` while there is. Dropping the future has no effect.
    pub(crate) fn ready(self: &Arc<Self>) -> Option<Ready> {
        self.is_full().then(|| Ready { queue: self.clone(), waiter: None })
    }

    /// Whether so much waits that the writer is woken for it.
    fn is_much(&self, body_bytes: usize, state: &State) -> bool {
        body_bytes > self.wake_bytes || state.count >= WAKE_ITEMS
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake_all(waiters: Vec<(u64, Waker)>) {
    for (_, waker) in waiters {
        waker.wake();
    }
}

/// What an event weighs in the bound: the body bytes it carries, and itself, so that a flood of tiny pieces is bounded
/// too. Heads and endings weigh nothing there.
pub(crate) fn body_bytes(event: &Event) -> usize {
    match &event.kind {
        EventKind::RequestBody(piece) | EventKind::ResponseBody(piece) => piece.len() + EVENT_BYTES,
        EventKind::Message(message) => message.data.len() + EVENT_BYTES,
        EventKind::TunnelBytes { .. } => EVENT_BYTES,
        _ => 0,
    }
}

/// Waits for room in the queue.
pub(crate) struct Ready {
    queue: Arc<Queue>,
    waiter: Option<u64>,
}

impl Future for Ready {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let queue = self.queue.clone();
        let mut state = queue.lock();
        // Read under the lock that `release` takes after it has counted down, so that no wake-up is missed.
        if state.closed || !queue.is_full() {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        let known = self.waiter.and_then(|id| state.waiters.iter_mut().find(|(waiter, _)| *waiter == id));
        match known {
            Some(entry) => entry.1 = waker,
            None => {
                let id = state.next_waiter;
                state.next_waiter += 1;
                state.waiters.push((id, waker));
                self.waiter = Some(id);
            }
        }
        Poll::Pending
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if let Some(id) = self.waiter {
            self.queue.lock().waiters.retain(|(waiter, _)| *waiter != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{task::Wake, thread, time::Duration};

    use bytes::Bytes;
    use proxy_core::{ExchangeId, Failure, FailureKind, Outcome, Sizes, Timings};

    use super::*;
    use crate::{id::SessionId, record::BodySide};

    fn piece(bytes: usize) -> Event {
        event(EventKind::ResponseBody(Bytes::from(vec![0; bytes])))
    }

    fn ended() -> Event {
        let outcome = Outcome::Failed(Failure::new(FailureKind::Aborted, ""));
        let ending = proxy_core::Ending::new(outcome, Timings::default(), Sizes::default());
        event(EventKind::Ended(Box::new(ending)))
    }

    fn event(kind: EventKind) -> Event {
        Event { exchange: ExchangeId(1), at: Duration::ZERO, kind }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll(ready: &mut Ready, woken: &Arc<Woken>) -> Poll<()> {
        let waker = Waker::from(woken.clone());
        Pin::new(ready).poll(&mut Context::from_waker(&waker))
    }

    #[test]
    fn the_wire_waits_beyond_the_bound_and_only_then() {
        let queue = Arc::new(Queue::new(100 + EVENT_BYTES));
        queue.push(piece(100));
        assert!(queue.ready().is_none());
        queue.push(piece(0));
        let woken = Arc::new(Woken::default());
        let mut ready = queue.ready().unwrap();
        assert!(poll(&mut ready, &woken).is_pending());
        assert!(poll(&mut ready, &woken).is_pending());
        queue.release(EVENT_BYTES);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(poll(&mut ready, &woken).is_ready());
    }

    #[test]
    fn a_wait_that_is_dropped_is_not_woken() {
        let queue = Arc::new(Queue::new(0));
        queue.push(piece(1));
        let woken = Arc::new(Woken::default());
        let mut ready = queue.ready().unwrap();
        assert!(poll(&mut ready, &woken).is_pending());
        drop(ready);
        queue.release(1 + EVENT_BYTES);
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn closing_lets_everybody_go_and_takes_nothing_more() {
        let queue = Arc::new(Queue::new(0));
        queue.push(piece(1));
        let woken = Arc::new(Woken::default());
        let mut ready = queue.ready().unwrap();
        assert!(poll(&mut ready, &woken).is_pending());
        queue.close();
        assert!(poll(&mut ready, &woken).is_ready());
        queue.push(piece(1));
        assert!(queue.ready().is_none());
        let (reply, _answer) = std::sync::mpsc::sync_channel(1);
        assert!(!queue.command(Command::Flush(reply)));
    }

    #[test]
    fn the_writer_wakes_for_what_it_sleeps_for() {
        let far = Some(Instant::now() + Duration::from_secs(3_600));
        let cases: [(Sleep, Vec<Event>); 4] = [
            (Sleep::Idle, vec![piece(1)]),
            (Sleep::Watching, vec![piece(1), ended()]),
            (Sleep::Watching, vec![piece(WAKE_BYTES), piece(1)]),
            (Sleep::Gathering, vec![ended(), piece(WAKE_BYTES + 1)]),
        ];
        for early in [true, false] {
            for (sleep, events) in &cases {
                let queue = Queue::new(16 * 1024 * 1024);
                let mut items = Vec::new();
                thread::scope(|scope| {
                    let tell = || events.iter().for_each(|event| queue.push(event.clone()));
                    if early {
                        tell();
                    } else {
                        scope.spawn(tell);
                    }
                    queue.take(&mut items, *sleep, far);
                });
                assert!(!items.is_empty(), "{sleep:?}");
            }
        }
    }

    #[test]
    fn the_writer_wakes_at_its_deadline_with_what_there_is() {
        let queue = Queue::new(1024 * 1024);
        queue.push(ended());
        let mut items = Vec::new();
        queue.take(&mut items, Sleep::Gathering, Some(Instant::now() + Duration::from_millis(5)));
        assert_eq!(items.len(), 1);
    }

    #[test]
    fn a_queue_far_beyond_its_bound_refuses_new_exchanges_and_counts_them() {
        let queue = Queue::new(0);
        let request = request();
        queue.push(request.clone());
        assert_eq!(queue.take_refused(), 0);
        queue.push(piece(REFUSE_FLOOR));
        queue.push(request.clone());
        queue.push(ended());
        assert_eq!(queue.take_refused(), 1);
        let mut items = Vec::new();
        queue.take(&mut items, Sleep::Awake, None);
        assert_eq!(items.len(), 3);
    }

    #[test]
    fn heads_weigh_what_they_hold() {
        let queue = Queue::new(0);
        queue.push(request());
        let mut head = proxy_core::ResponseHead::new(http::StatusCode::EARLY_HINTS);
        head.headers.push("x-long", vec![b'x'; REFUSE_FLOOR / 4]);
        let hint = event(EventKind::Informational(Arc::new(head)));
        // Gathered until they are many, and one by one.
        for (hints, exchange) in [(16, 2), (5, 3)] {
            for _ in 0..hints {
                queue.push(hint.clone());
            }
            queue.push(request_of(exchange));
            assert_eq!(queue.take_refused(), 1, "{hints}");
            assert!(taken(&queue).len() >= hints);
        }
    }

    fn request() -> Event {
        request_of(1)
    }

    fn request_of(exchange: u64) -> Event {
        let facts = proxy_core::ClientFacts::new(
            proxy_core::ConnectionId(1),
            "127.0.0.1:1".parse().unwrap(),
            "127.0.0.1:2".parse().unwrap(),
        );
        let head = proxy_core::RequestHead {
            method: http::Method::GET,
            scheme: proxy_core::Scheme::Http,
            authority: "a.test".to_owned(),
            target: "/".to_owned(),
            version: http::Version::HTTP_11,
            headers: proxy_core::Headers::new(),
        };
        let kind = EventKind::Request {
            client: Arc::new(facts),
            head: Arc::new(head),
            started_at: std::time::SystemTime::now(),
        };
        Event { exchange: ExchangeId(exchange), ..event(kind) }
    }

    /// How many whole exchanges there are.
    fn wholes(items: &[Item]) -> usize {
        let count = |item: &Item| if let Item::Batch(batch) = item { batch.len() } else { 0 };
        items.iter().map(count).sum()
    }

    #[test]
    fn no_end_is_missed_by_a_writer_that_lies_down_while_it_is_told() {
        const EACH: u64 = 300;
        let queue = Queue::new(16 * 1024 * 1024);
        let far = Some(Instant::now() + Duration::from_secs(3_600));
        for sleep in [Sleep::Watching, Sleep::Idle] {
            thread::scope(|scope| {
                for thread in 0..4 {
                    let queue = &queue;
                    scope.spawn(move || {
                        for number in 0..EACH {
                            let exchange = ExchangeId(thread * EACH + number);
                            queue.push(Event { exchange, ..request() });
                            queue.push(Event { exchange, ..ended() });
                        }
                    });
                }
                let mut got = 0;
                while got < 4 * EACH as usize {
                    let mut items = Vec::new();
                    queue.take(&mut items, sleep, far);
                    got += wholes(&items);
                }
                assert_eq!(got, 4 * EACH as usize);
            });
        }
        assert!(!queue.has_staged());
    }

    #[test]
    fn what_ended_before_something_that_is_taken_is_taken_too() {
        const PAIRS: u64 = 3_000;
        let queue = Queue::new(1024 * 1024);
        let body = Bytes::from(vec![0; 40_000]);
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..PAIRS {
                    // One is gathered, and the other, which ends later, comes event by event.
                    let (small, large) = (ExchangeId(number * 2), ExchangeId(number * 2 + 1));
                    queue.push(request_of(small.0));
                    queue.push(Event { exchange: small, ..ended() });
                    queue.push(request_of(large.0));
                    let piece = EventKind::ResponseBody(body.clone());
                    queue.push(Event { exchange: large, ..event(piece) });
                    queue.push(Event { exchange: large, ..ended() });
                    // As whoever asks for something does.
                    queue.put_older(Duration::ZERO);
                }
            });
            let (mut small, mut large) = (0, 0);
            while small < PAIRS as usize || large < PAIRS as usize {
                let items = taken(&queue);
                small += wholes(&items);
                large += items.iter().filter(|item| matches!(item, Item::Ended(..))).count();
                assert!(small >= large, "{small} of {large}");
            }
        });
    }

    #[test]
    fn an_exchange_is_found_whichever_thread_tells_of_it() {
        let queue = Queue::new(16 * 1024 * 1024);
        for event in [request(), piece(3), ended()] {
            thread::scope(|scope| scope.spawn(|| queue.push(event)).join().unwrap());
        }
        let items = taken(&queue);
        assert_eq!((items.len(), wholes(&items)), (1, 1));
    }

    fn taken(queue: &Queue) -> Vec<Item> {
        let mut items = Vec::new();
        queue.take(&mut items, Sleep::Awake, None);
        items
    }

    #[test]
    fn an_exchange_comes_whole_when_it_ends() {
        let queue = Queue::new(16 * 1024 * 1024);
        for event in [request(), piece(3), piece(4)] {
            queue.push(event);
        }
        assert!(taken(&queue).is_empty());
        assert!(queue.has_staged());
        queue.push(ended());
        assert!(!queue.has_staged());
        let items = taken(&queue);
        let [Item::Batch(_)] = &items[..] else { panic!("no batch") };
        let wholes = items.into_iter().flat_map(|item| match item {
            Item::Batch(batch) => batch.exchanges(SessionId(1)).collect(),
            _ => Vec::new(),
        });
        let bodies: Vec<_> = wholes.map(|whole| whole.body(BodySide::Response).to_vec()).collect();
        assert_eq!(bodies, [[0; 7]]);
        assert_eq!(queue.body_bytes(), 7 + 2 * EVENT_BYTES);
    }

    #[test]
    fn an_exchange_that_grows_comes_event_by_event_and_all_of_it() {
        let large = || vec![piece(20_000), piece(20_000), piece(5), ended()];
        let many = || (0..40).map(|_| piece(1)).chain([ended()]).collect::<Vec<_>>();
        for events in [large(), many()] {
            let queue = Queue::new(16 * 1024 * 1024);
            queue.push(request());
            events.iter().for_each(|event| queue.push(event.clone()));
            let items = taken(&queue);
            assert!(matches!(items.first(), Some(Item::Late(..))));
            assert!(matches!(items.last(), Some(Item::Ended(..))));
            assert_eq!(items.len(), events.len() + 1);
            assert!(!queue.has_staged());
            assert_eq!(queue.body_bytes(), events.iter().map(body_bytes).sum::<usize>());
        }
    }

    #[test]
    fn what_goes_on_for_long_comes_before_its_end_and_before_a_command() {
        let queue = Queue::new(16 * 1024 * 1024);
        queue.push(request());
        queue.put_older(Duration::from_secs(3_600));
        assert!(taken(&queue).is_empty());
        let (reply, _answer) = std::sync::mpsc::sync_channel(1);
        assert!(queue.command(Command::Flush(reply)));
        assert!(matches!(&taken(&queue)[..], [Item::Late(..), Item::Command(_)]));
        queue.push(ended());
        assert!(matches!(&taken(&queue)[..], [Item::Ended(..)]));
    }

    #[test]
    fn who_sleeps_for_anything_hears_of_an_exchange_that_is_gathered() {
        let queue = Queue::new(16 * 1024 * 1024);
        let mut items = Vec::new();
        queue.push(request());
        queue.take(&mut items, Sleep::Idle, None);
        let queue = Queue::new(16 * 1024 * 1024);
        thread::scope(|scope| {
            scope.spawn(|| queue.push(request()));
            queue.take(&mut items, Sleep::Idle, None);
        });
        assert!(items.is_empty() && queue.has_staged());
    }

    #[test]
    fn a_queue_without_room_gathers_no_bodies() {
        let queue = Queue::new(0);
        queue.push(request());
        queue.push(piece(1));
        assert_eq!(taken(&queue).len(), 2);
    }

    #[test]
    fn a_closed_queue_keeps_nothing_that_was_gathered() {
        let queue = Queue::new(16 * 1024 * 1024);
        queue.push(request());
        queue.close();
        queue.push(request());
        queue.push(ended());
        assert!(!queue.has_staged());
        assert!(taken(&queue).is_empty());
    }
}
