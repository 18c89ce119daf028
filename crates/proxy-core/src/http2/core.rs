//! The state of a connection, shared between the task that moves its bytes and the handles to its streams.
//!
//! One lock, never held across an await or while bytes are read or written. Whoever changes something wakes whom it
//! concerns after the lock is released.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use bytes::BytesMut;

use super::{
    arrive::{Arrived, Block},
    calm::Allowance,
    fingerprint::Fingerprint,
    frame::{DEFAULT_PAYLOAD_BYTES, DEFAULT_WINDOW_BYTES, Fatal, code, kind, put},
    hpack::{Decoder, Encoder},
    settings::Settings,
    stream::{Fault, Phase, Stream},
    wakes::Wakes,
};
use crate::{
    head::Scheme,
    wire::{WireError, WireErrorKind},
};

/// Streams whose end is remembered, so that what the peer still sends there is told apart from nonsense.
const MAX_REMEMBERED: usize = 512;

/// Pseudo-fields a message has at most.
const MAX_PSEUDO_FIELDS: usize = 5;

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Towards clients. The scheme is that of requests that name none.
    Server(Scheme),
    /// Towards upstream.
    Client,
}

/// How a stream ended that is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// Both sides ended it.
    Whole,
    /// The peer reset it.
    ResetByPeer,
    /// We did: what comes on it was on its way.
    ResetByUs,
}

/// What the peer's settings say.
#[derive(Debug)]
pub(super) struct PeerSettings {
    /// Whether the first ones came.
    pub(super) known: bool,
    pub(super) initial_window: i64,
    pub(super) max_payload: usize,
    pub(super) max_streams: u32,
    pub(super) extended_connect: bool,
}

/// A GOAWAY that we sent: streams after this one are not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    NotYet,
    /// Announced; streams may be on their way until the peer answers our ping (RFC 9113 section 6.8).
    Announced,
    /// Said.
    Said(u32),
}

/// Hashes the numbers of streams. They only ever rise, and no more of them are open than we allow, so that nobody gains by
/// choosing them; what keeps strangers' keys apart is not needed here, and each step of an exchange looks its stream up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StreamHasher(u64);

impl Hasher for StreamHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        // Fibonacci hashing: the golden ratio's bits spread neighbours, and the upper half is folded into the lower.
        let spread = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ (spread >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A connection.
pub(super) struct Core {
    pub(super) role: Role,
    pub(super) settings: Settings,
    pub(super) peer: PeerSettings,
    pub(super) streams: HashMap<u32, Stream, BuildHasherDefault<StreamHasher>>,
    /// Streams that count as open.
    pub(super) open: u32,
    past: VecDeque<(u32, Past)>,
    /// The last stream the peer opened (as server), or that we did (as client).
    pub(super) last_stream: u32,
    pub(super) arrived: VecDeque<Arrived>,
    pub(super) fingerprint: Fingerprint,

    pub(super) decoder: Decoder,
    /// The header block under way, where it goes on in CONTINUATION frames.
    pub(super) block: Option<Block>,
    pub(super) encoder: Encoder,
    /// Frames to be written before any stream's turn, in this order.
    pub(super) control: BytesMut,
    /// How many frames wait there that the peer asked for.
    pub(super) replies: u32,
    /// Streams with something to write; and those that wait for the connection's window.
    pub(super) ready: VecDeque<u32>,
    pub(super) blocked: VecDeque<u32>,
    /// Body bytes handed over and not yet written, over all streams.
    pub(super) queued: usize,
    pub(super) send_window: i64,

    pub(super) receive_window: i64,
    /// Body bytes received and not yet taken, over all streams.
    pub(super) buffered: usize,
    /// What streams may be ahead of their readers beyond their first windows.
    pub(super) grown: i64,

    pub(super) resets: Allowance,
    pub(super) idle_frames: Allowance,
    pub(super) farewell: Farewell,
    /// The peer's GOAWAY: its last stream and its code.
    pub(super) peer_farewell: Option<(u32, u32)>,
    /// Nobody opens streams any more.
    pub(super) abandoned: bool,
    /// What ended the connection, or is about to.
    pub(super) closed: Option<WireError>,

    /// Requests that wait for room among the peer's streams, in their order.
    pub(super) queue: VecDeque<(u64, Waker)>,
    pub(super) next_ticket: u64,
    pub(super) settling: Vec<Waker>,
    /// Whoever moves the bytes.
    pub(super) driver: Option<Waker>,
    /// Whether there is something for it to do.
    pub(super) stirred: bool,
    pub(super) wakes: Wakes,
}

impl Core {
    pub(super) fn new(role: Role, settings: &Settings) -> Self {
        let limits = settings.section_limits();
        Self {
            role,
            settings: settings.clone(),
            peer: PeerSettings {
                known: false,
                initial_window: i64::from(DEFAULT_WINDOW_BYTES),
                max_payload: DEFAULT_PAYLOAD_BYTES,
                // Until it says otherwise: what everybody allows (RFC 9113 section 6.5.2).
                max_streams: 100,
                extended_connect: false,
            },
            streams: HashMap::default(),
            open: 0,
            past: VecDeque::new(),
            last_stream: 0,
            arrived: VecDeque::new(),
            fingerprint: Fingerprint::default(),
            decoder: Decoder::new(limits.max_bytes, limits.max_count.saturating_add(MAX_PSEUDO_FIELDS)),
            block: None,
            encoder: Encoder::new(),
            control: BytesMut::new(),
            replies: 0,
            ready: VecDeque::new(),
            blocked: VecDeque::new(),
            queued: 0,
            send_window: i64::from(DEFAULT_WINDOW_BYTES),
            receive_window: i64::from(DEFAULT_WINDOW_BYTES),
            buffered: 0,
            grown: 0,
            resets: Allowance::new(settings.resets.0, settings.resets.1),
            idle_frames: Allowance::new(settings.idle_frames.0, settings.idle_frames.1),
            farewell: Farewell::NotYet,
            peer_farewell: None,
            abandoned: false,
            closed: None,
            queue: VecDeque::new(),
            next_ticket: 0,
            settling: Vec::new(),
            driver: None,
            stirred: false,
            wakes: Wakes::default(),
        }
    }

    pub(super) fn is_server(&self) -> bool {
        matches!(self.role, Role::Server(_))
    }

    /// How a stream ended that is no more, if that is remembered.
    pub(super) fn past(&self, id: u32) -> Option<Past> {
        self.past.iter().rev().find(|(past, _)| *past == id).map(|(_, how)| *how)
    }

    pub(super) fn remember(&mut self, id: u32, how: Past) {
        if self.past.len() == MAX_REMEMBERED {
            self.past.pop_front();
        }
        self.past.push_back((id, how));
    }

    /// Resets a stream, both directions.
    pub(super) fn reset(&mut self, id: u32, code: u32, error: WireError) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.open
        {
            put(kind::RST_STREAM, 0, id, &code.to_be_bytes(), &mut self.control);
            self.stirred = true;
            self.fail(id, Fault { error, may_retry: false });
            self.remember(id, Past::ResetByUs);
        }
    }

    /// Resets a stream over what the peer did there. A client that provokes it counts as one that resets: either way
    /// the stream makes room for the next before its request is dealt with (CVE-2025-8671).
    ///
    /// # Errors
    ///
    /// A client that does it too often.
    pub(super) fn reset_for(&mut self, id: u32, code: u32, error: WireError) -> Result<(), Fatal> {
        if self.is_server() && self.is_open(id) && !self.resets.take() {
            return Err(Fatal::calm("too many streams that had to be reset"));
        }
        self.reset(id, code, error);
        Ok(())
    }

    /// Ends a stream before its time.
    pub(super) fn fail(&mut self, id: u32, fault: Fault) {
        if let Some(stream) = self.streams.get_mut(&id) {
            let was_open = stream.open;
            self.queued -= stream.fail(fault, &mut self.wakes);
            self.open -= u32::from(was_open);
            self.admit_next();
        }
        self.settle(id);
    }

    /// Takes note that a half of a stream may have come to its end, or a handle was dropped.
    pub(super) fn settle(&mut self, id: u32) {
        let is_server = self.is_server();
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let over = stream.is_over();
        if over && stream.open {
            stream.open = false;
            self.open -= 1;
            if stream.malformed {
                put(kind::RST_STREAM, 0, id, &code::PROTOCOL_ERROR.to_be_bytes(), &mut self.control);
                self.stirred = true;
            }
            self.remember(id, Past::Whole);
            self.admit_next();
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.handles > 0 {
            return;
        }
        if stream.is_over() {
            return self.forget(id);
        }
        let code = match (is_server, stream.sending.phase) {
            // What was handed over is still written.
            (true, Phase::Ending) => return,
            _ if stream.malformed => code::PROTOCOL_ERROR,
            (true, Phase::Done) => code::NO_ERROR,
            (false, _) if stream.received.ended => code::NO_ERROR,
            _ => code::CANCEL,
        };
        self.reset(id, code, WireError::new(WireErrorKind::Closed, "nobody holds the stream any more"));
    }

    fn forget(&mut self, id: u32) {
        if let Some(mut stream) = self.streams.remove(&id) {
            self.queued -= std::mem::take(&mut stream.sending.queued);
            self.buffered -= stream.received.discard();
            self.grown -= stream.received.target - i64::from(self.settings.stream_window_bytes);
            self.credit_connection();
        }
        // A connection that winds up may be over now.
        self.stirred |= self.streams.is_empty();
    }

    /// Ends every stream with the connection.
    pub(super) fn fail_all(&mut self, error: &WireError) {
        self.closed.get_or_insert_with(|| error.clone());
        let ids: Vec<u32> = self.streams.keys().copied().collect();
        for id in ids {
            self.fail(id, Fault { error: error.clone(), may_retry: false });
        }
        self.wakes.extend(self.queue.drain(..).map(|(_, waker)| waker));
        self.wakes.extend(self.settling.drain(..));
    }

    /// Wakes the first request that waits for room.
    pub(super) fn admit_next(&mut self) {
        if let Some((_, waker)) = self.queue.front() {
            self.wakes.push(waker.clone());
        }
    }

    /// Whether requests may still be sent.
    pub(super) fn takes_requests(&self) -> bool {
        self.closed.is_none() && self.peer_farewell.is_none() && self.last_stream < (1 << 31) - 2
    }
}

/// A connection that several hold.
pub(super) struct Shared(Mutex<Core>);

impl Shared {
    pub(super) fn new(core: Core) -> Arc<Self> {
        Arc::new(Self(Mutex::new(core)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to it, then wakes whom that concerns: the task that moves its bytes, too, unless it is that
    /// which does it, which has taken its waker out.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = self.lock();
        let result = act(&mut core);
        let driver = if std::mem::take(&mut core.stirred) { core.driver.take() } else { None };
        let wakes = std::mem::take(&mut core.wakes);
        drop(core);
        wakes.wake();
        driver.into_iter().for_each(Waker::wake);
        result
    }
}
