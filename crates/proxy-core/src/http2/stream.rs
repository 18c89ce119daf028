//! One stream's state (RFC 9113 section 5.1): what it received and nobody took, what it was given and nobody wrote.

use std::{collections::VecDeque, task::Waker};

use bytes::{Bytes, BytesMut};

use super::wakes::Wakes;
use crate::{
    head::{Headers, ResponseHead},
    wire::WireError,
};

/// Payloads smaller than this are copied together: a slice of its own would hold all of the buffer it was read into.
const SMALL_PAYLOAD_BYTES: usize = 8 * 1024;
/// Copied bytes that make a piece.
const GATHERED_BYTES: usize = 16 * 1024;

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// Handles that are held by others; the stream goes when there are none and it is closed.
    pub(super) handles: u32,
    /// Whether it counts as open between the peers.
    pub(super) open: bool,
    pub(super) received: Received,
    pub(super) sending: Sending,
    /// Why it ended before its time: the peer's reset, ours, or the connection's end.
    pub(super) fault: Option<Fault>,
    /// Whoever waits for the fault.
    pub(super) gone: Option<Waker>,
    /// The request was malformed: whatever is answered, PROTOCOL_ERROR follows (RFC 9113 section 8.1.1).
    pub(super) malformed: bool,
}

/// Why a stream ended before its time.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) error: WireError,
    /// Whether the peer surely did nothing with it.
    pub(super) may_retry: bool,
}

/// The incoming half.
#[derive(Debug)]
pub(super) struct Received {
    /// Responses' heads and their sizes: interim ones, then the final one.
    pub(super) heads: VecDeque<(ResponseHead, u64)>,
    /// Whether the final head (or the request's) came.
    pub(super) has_head: bool,
    data: VecDeque<Bytes>,
    gathered: BytesMut,
    /// Bytes in `data` and `gathered`, and those of the piece that was given out last.
    pub(super) buffered: usize,
    /// Bytes of the piece that was given out last.
    pub(super) held: usize,
    pub(super) trailers: Option<Headers>,
    pub(super) ended: bool,
    /// What is wrong with what follows the pieces that are left.
    pub(super) broken: Option<WireError>,
    /// What the peer may send.
    pub(super) window: i64,
    /// What it may be ahead of whoever reads.
    pub(super) target: i64,
    /// Bytes since the target grew.
    pub(super) since_growth: u64,
    /// Nobody reads any more.
    pub(super) discards: bool,
    /// What Content-Length says the body has, where it has one.
    pub(super) declared: Option<u64>,
    /// The message has no content, whatever its Content-Length says: the response to a HEAD.
    pub(super) bodiless: bool,
    pub(super) bytes: u64,
    pub(super) reader: Option<Waker>,
}

/// What waits to be written.
#[derive(Debug)]
pub(super) enum Out {
    Data(Bytes),
    Trailers(Headers),
    End,
}

/// How far the outgoing half is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// More may come.
    Open,
    /// All was handed over, and not all is written.
    Ending,
    /// END_STREAM is written.
    Done,
}

/// The outgoing half.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) queue: VecDeque<Out>,
    /// Bytes of data in the queue.
    pub(super) queued: usize,
    /// What the peer takes.
    pub(super) window: i64,
    pub(super) phase: Phase,
    /// Whether it stands in a queue of the connection.
    pub(super) scheduled: bool,
    pub(super) writer: Option<Waker>,
}

impl Stream {
    pub(super) fn new(receive_window: u32, send_window: i64) -> Self {
        Self {
            handles: 0,
            open: true,
            received: Received {
                heads: VecDeque::new(),
                has_head: false,
                data: VecDeque::new(),
                gathered: BytesMut::new(),
                buffered: 0,
                held: 0,
                trailers: None,
                ended: false,
                broken: None,
                window: i64::from(receive_window),
                target: i64::from(receive_window),
                since_growth: 0,
                discards: false,
                declared: None,
                bodiless: false,
                bytes: 0,
                reader: None,
            },
            sending: Sending {
                queue: VecDeque::new(),
                queued: 0,
                window: send_window,
                phase: Phase::Open,
                scheduled: false,
                writer: None,
            },
            fault: None,
            gone: None,
            malformed: false,
        }
    }

    /// Whether both halves came to their end.
    pub(super) fn is_over(&self) -> bool {
        self.fault.is_some() || (self.received.ended && self.sending.phase == Phase::Done)
    }

    /// Ends it before its time. What was received before is still there to be read; gives how much that was to be
    /// sent is thrown away. The first fault is the one that stays.
    pub(super) fn fail(&mut self, fault: Fault, wakes: &mut Wakes) -> usize {
        if !self.received.ended && self.received.broken.is_none() {
            self.received.broken = Some(fault.error.clone());
        }
        self.fault.get_or_insert(fault);
        self.open = false;
        self.sending.queue.clear();
        wakes.extend(self.received.reader.take());
        wakes.extend(self.sending.writer.take());
        wakes.extend(self.gone.take());
        std::mem::take(&mut self.sending.queued)
    }
}

impl Received {
    /// Keeps a payload until somebody reads it.
    pub(super) fn put(&mut self, payload: Bytes) {
        self.buffered += payload.len();
        if payload.len() >= SMALL_PAYLOAD_BYTES {
            self.gather();
            self.data.push_back(payload);
            return;
        }
        self.gathered.extend_from_slice(&payload);
        if self.gathered.len() >= GATHERED_BYTES {
            self.gather();
        }
    }

    fn gather(&mut self) {
        if !self.gathered.is_empty() {
            self.data.push_back(std::mem::take(&mut self.gathered).freeze());
        }
    }

    /// The next piece; it counts as buffered until it is given back.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        if self.data.is_empty() {
            self.gather();
        }
        let piece = self.data.pop_front()?;
        self.held = piece.len();
        Some(piece)
    }

    /// Whether nothing is left to read.
    pub(super) fn is_drained(&self) -> bool {
        self.buffered == self.held && self.trailers.is_none()
    }

    /// Throws away what nobody will read; gives how much that was.
    pub(super) fn discard(&mut self) -> usize {
        self.discards = true;
        self.data.clear();
        self.gathered = BytesMut::new();
        self.trailers = None;
        self.held = 0;
        std::mem::take(&mut self.buffered)
    }

    /// Window to be given to the peer now, so that it may be `target` ahead of whoever reads. Little of it waits
    /// until it is worth a frame. What nobody reads gets none.
    pub(super) fn credit(&self) -> i64 {
        let credit = self.target - self.window - self.buffered as i64;
        let is_over = self.ended || self.discards || self.broken.is_some();
        if is_over || credit <= 0 || self.window > credit { 0 } else { credit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_payloads_are_gathered_and_large_ones_kept() {
        let mut received = Stream::new(65_535, 65_535).received;
        for (length, byte) in [(10, 1), (10, 2), (9_000, 3), (10, 4)] {
            received.put(vec![byte; length].into());
        }
        assert_eq!(received.buffered, 9_030);
        assert_eq!(received.take().unwrap(), [[1; 10], [2; 10]].concat());
        assert_eq!(received.take().unwrap().len(), 9_000);
        assert_eq!(received.take().unwrap(), vec![4; 10]);
        assert!(received.take().is_none());
    }

    #[test]
    fn window_is_given_in_pieces_worth_a_frame() {
        let mut received = Stream::new(1_000, 1_000).received;
        received.window = 501;
        assert_eq!(received.credit(), 0);
        received.window = 500;
        assert_eq!(received.credit(), 500);
        // Somebody who holds half of it gets the other half in the same way.
        received.buffered = 500;
        assert_eq!(received.credit(), 0);
        received.window = 250;
        assert_eq!(received.credit(), 250);
    }
}
