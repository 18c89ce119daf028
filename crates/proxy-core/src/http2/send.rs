//! What goes out: header blocks, window, and bodies by turns.

use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    core::{Core, Farewell},
    frame::{DEFAULT_WINDOW_BYTES, FrameHead, HEAD_BYTES, code, flag, kind, put, setting},
    hpack::Encoder,
    stream::{Out, Phase, Stream},
    writer::reset_by_us,
};
use crate::head::Headers;

/// Bytes made ready for one write.
const WRITE_BYTES: usize = 128 * 1024;
/// Payloads smaller than this are copied together with what is around them.
const SMALL_PAYLOAD_BYTES: usize = 4 * 1024;
/// What a stream may have waiting when the connection has a lot.
const LEAST_QUEUED_BYTES: usize = 16 * 1024;
/// A lot, in streams' full buffers.
const FULL_BUFFERS: usize = 16;

/// The pseudo-fields of a message, in their order.
pub(super) type Pseudo<'h> = [(&'static str, &'h [u8])];

/// Bytes that are ready to be written.
#[derive(Debug, Default)]
pub(super) struct Output {
    done: std::collections::VecDeque<Bytes>,
    tail: BytesMut,
    length: usize,
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_full(&self) -> bool {
        self.length >= WRITE_BYTES
    }

    fn put(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let before = self.tail.len();
        write(&mut self.tail);
        self.length += self.tail.len() - before;
    }

    fn put_payload(&mut self, payload: Bytes) {
        if payload.len() < SMALL_PAYLOAD_BYTES {
            return self.put(|tail| tail.put_slice(&payload));
        }
        self.length += payload.len();
        if !self.tail.is_empty() {
            self.done.push_back(self.tail.split().freeze());
        }
        self.done.push_back(payload);
    }

    /// What is to be written next, as far as there are slices for it.
    pub(super) fn slices<'s>(&'s self, slices: &mut [IoSlice<'s>]) -> usize {
        let parts = self.done.iter().map(|part| &part[..]).chain(Some(&self.tail[..]));
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(parts.filter(|part| !part.is_empty())) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        count
    }

    /// Takes off what was written.
    pub(super) fn advance(&mut self, mut written: usize) {
        self.length -= written.min(self.length);
        while let Some(first) = self.done.front_mut() {
            if written < first.len() {
                return first.advance(written);
            }
            written -= first.len();
            self.done.pop_front();
        }
        self.tail.advance(written.min(self.tail.len()));
        if self.tail.is_empty() && self.tail.capacity() < HEAD_BYTES {
            self.tail = BytesMut::new();
        }
    }

    /// Gives back its memory while the connection is quiet.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

/// Writes a header block as HEADERS and as many CONTINUATION frames as it takes.
pub(super) fn put_block(
    (encoder, max_payload): (&mut Encoder, usize),
    (id, flags): (u32, u8),
    pseudo: &Pseudo<'_>,
    headers: &Headers,
    out: &mut BytesMut,
) {
    let at = out.len();
    out.put_bytes(0, HEAD_BYTES);
    encoder.begin(out);
    for (name, value) in pseudo {
        encoder.field(name.as_bytes(), value, false, out);
    }
    for header in headers {
        encoder.field(&header.name, &header.value, header.is_never_indexed(), out);
    }
    let length = out.len() - at - HEAD_BYTES;
    if length <= max_payload {
        let head = FrameHead { length, kind: kind::HEADERS, flags: flags | flag::END_HEADERS, stream: id };
        return out[at..at + HEAD_BYTES].copy_from_slice(&head.to_bytes());
    }
    let block = out.split_off(at + HEAD_BYTES);
    out.truncate(at);
    let last = block.chunks(max_payload).count() - 1;
    for (index, part) in block.chunks(max_payload).enumerate() {
        let (kind, flags) = if index == 0 { (kind::HEADERS, flags) } else { (kind::CONTINUATION, 0) };
        let end = if index == last { flag::END_HEADERS } else { 0 };
        put(kind, flags | end, id, part, out);
    }
}

/// How a stream's turn went.
enum Turn {
    /// It has more.
    More,
    /// It has nothing, or waits for its own window.
    Over,
    /// It waits for the connection's window.
    Blocked,
}

impl Core {
    /// Writes the settings, and the connection's window, before anything else.
    pub(super) fn introduce(&mut self) {
        let settings = &self.settings;
        let head_bytes = u32::try_from(settings.max_head_bytes).unwrap_or(u32::MAX);
        let mut list = Vec::new();
        if self.is_server() {
            list.push((setting::MAX_CONCURRENT_STREAMS, settings.max_concurrent_streams));
        } else {
            list.push((setting::ENABLE_PUSH, 0));
        }
        list.push((setting::INITIAL_WINDOW_SIZE, settings.stream_window_bytes));
        list.push((setting::MAX_FRAME_SIZE, settings.max_payload_bytes));
        list.push((setting::MAX_HEADER_LIST_SIZE, head_bytes));
        if settings.extended_connect && self.is_server() {
            list.push((setting::ENABLE_CONNECT_PROTOCOL, 1));
        }
        self.put_settings(&list);
        let more = self.settings.connection_window_bytes.saturating_sub(DEFAULT_WINDOW_BYTES);
        if more > 0 {
            put(kind::WINDOW_UPDATE, 0, 0, &more.to_be_bytes(), &mut self.control);
            self.receive_window += i64::from(more);
        }
    }

    pub(super) fn put_settings(&mut self, list: &[(u16, u32)]) {
        let mut payload = BytesMut::with_capacity(6 * list.len());
        for (id, value) in list {
            payload.put_u16(*id);
            payload.put_u32(*value);
        }
        put(kind::SETTINGS, 0, 0, &payload, &mut self.control);
        self.stirred = true;
    }

    /// Says goodbye: streams beyond `last` are not looked at.
    pub(super) fn put_farewell(&mut self, last: u32, code: u32, detail: &str) {
        let mut payload = BytesMut::with_capacity(8 + detail.len());
        payload.put_u32(last);
        payload.put_u32(code);
        payload.put_slice(detail.as_bytes());
        put(kind::GOAWAY, 0, 0, &payload, &mut self.control);
        self.stirred = true;
    }

    /// Announces the goodbye, and asks by a ping what was on its way (RFC 9113 section 6.8).
    pub(super) fn announce_farewell(&mut self) {
        if self.farewell == Farewell::NotYet {
            self.farewell = Farewell::Announced;
            self.put_farewell((1 << 31) - 1, code::NO_ERROR, "");
            put(kind::PING, 0, 0, b"farewell", &mut self.control);
        }
    }

    /// The ping came back: nothing is on its way any more.
    pub(super) fn said_farewell(&mut self) {
        if self.farewell == Farewell::Announced {
            self.farewell = Farewell::Said(self.last_stream);
            self.put_farewell(self.last_stream, code::NO_ERROR, "");
        }
    }

    /// Opens the connection's window for what was taken.
    pub(super) fn credit_connection(&mut self) {
        let target = i64::from(self.settings.connection_window_bytes);
        let credit = target - self.receive_window - self.buffered as i64;
        if credit > 0 && self.receive_window <= credit {
            put(kind::WINDOW_UPDATE, 0, 0, &(credit as u32).to_be_bytes(), &mut self.control);
            self.receive_window += credit;
            self.stirred = true;
        }
    }

    /// Opens a stream's window for what was taken of it.
    pub(super) fn credit_stream(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.open) else { return };
        let credit = stream.received.credit();
        if credit > 0 {
            put(kind::WINDOW_UPDATE, 0, id, &(credit as u32).to_be_bytes(), &mut self.control);
            stream.received.window += credit;
            self.stirred = true;
        }
    }

    /// Gives a stream more window whose reader waits for its sender: a whole window passed, and nothing is left of
    /// it. Up to its own bound, and all such streams to half of what the connection may hold.
    pub(super) fn grow(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let received = &mut stream.received;
        let more = received.target.min(i64::from(self.settings.max_stream_window_bytes) - received.target);
        let is_slow = received.since_growth < received.target as u64;
        if is_slow || more <= 0 || self.grown + more > i64::from(self.settings.connection_window_bytes) / 2 {
            return;
        }
        received.target += more;
        received.since_growth = 0;
        self.grown += more;
        self.credit_stream(id);
    }

    /// Puts a stream in the queue of those with something to write.
    pub(super) fn schedule(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !stream.sending.scheduled && !stream.sending.queue.is_empty() {
            stream.sending.scheduled = true;
            self.ready.push_back(id);
            self.stirred = true;
        }
    }

    /// Resets a stream on behalf of whoever writes it. What was handed over still goes where the windows allow all of
    /// it, so that the peer has what came before the break.
    pub(super) fn break_off(&mut self, id: u32, code: u32) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.open) else { return };
        let code = if stream.malformed { code::PROTOCOL_ERROR } else { code };
        let sending = &mut stream.sending;
        let queued = sending.queued as i64;
        if queued > 0 && sending.phase == Phase::Open && queued <= sending.window.min(self.send_window) {
            let (queue, window) = (std::mem::take(&mut sending.queue), sending.queued);
            self.queued -= std::mem::take(&mut sending.queued);
            self.send_window -= window as i64;
            for data in queue {
                if let Out::Data(data) = data {
                    put_whole(id, &data, self.peer.max_payload, &mut self.control);
                }
            }
        }
        self.reset(id, code, reset_by_us(code));
    }

    /// How much more a stream may hand over.
    pub(super) fn room(&self, stream: &Stream) -> usize {
        let most = self.settings.send_buffer_bytes;
        let least = LEAST_QUEUED_BYTES.min(most);
        let bound = if self.queued < most.saturating_mul(FULL_BUFFERS) { most } else { least };
        bound.saturating_sub(stream.sending.queued)
    }

    /// Moves what can be written into `out`, until that is enough for a write.
    pub(super) fn assemble(&mut self, out: &mut Output) {
        loop {
            if !self.control.is_empty() {
                let control = self.control.split();
                out.put(|tail| tail.unsplit(control));
                self.replies = 0;
            }
            if out.is_full() {
                return;
            }
            let Some(id) = self.ready.pop_front() else { return };
            match self.turn(id, out) {
                Turn::More => self.ready.push_back(id),
                Turn::Blocked => self.blocked.push_back(id),
                Turn::Over => {
                    if let Some(stream) = self.streams.get_mut(&id) {
                        stream.sending.scheduled = false;
                    }
                }
            }
        }
    }

    /// Writes one frame of a stream.
    fn turn(&mut self, id: u32, out: &mut Output) -> Turn {
        let Some(stream) = self.streams.get_mut(&id) else { return Turn::Over };
        let sending = &mut stream.sending;
        let ends = match sending.queue.pop_front() {
            None => return Turn::Over,
            Some(Out::Trailers(fields)) => {
                let encoder = (&mut self.encoder, self.peer.max_payload);
                out.put(|tail| put_block(encoder, (id, flag::END_STREAM), &[], &fields, tail));
                true
            }
            Some(Out::End) => {
                out.put(|tail| put(kind::DATA, flag::END_STREAM, id, &[], tail));
                true
            }
            Some(Out::Data(mut data)) => {
                let window = sending.window.min(self.send_window);
                let room = usize::try_from(window).unwrap_or(0).min(self.peer.max_payload);
                if room == 0 {
                    let turn = if sending.window > 0 { Turn::Blocked } else { Turn::Over };
                    sending.queue.push_front(Out::Data(data));
                    return turn;
                }
                let part = data.split_to(room.min(data.len()));
                sending.window -= part.len() as i64;
                self.send_window -= part.len() as i64;
                sending.queued -= part.len();
                self.queued -= part.len();
                self.idle_frames.give(2);
                if !data.is_empty() {
                    sending.queue.push_front(Out::Data(data));
                }
                let ends = matches!(sending.queue.front(), Some(Out::End));
                put_data(id, ends, part, out);
                if sending.queued <= self.settings.send_buffer_bytes / 2 {
                    self.wakes.extend(sending.writer.take());
                }
                ends
            }
        };
        if !ends {
            return if sending.queue.is_empty() { Turn::Over } else { Turn::More };
        }
        sending.queue.clear();
        sending.phase = Phase::Done;
        self.settle(id);
        Turn::Over
    }
}

/// Writes data as frames among the others that go first.
fn put_whole(id: u32, data: &[u8], max_payload: usize, out: &mut BytesMut) {
    for part in data.chunks(max_payload) {
        put(kind::DATA, 0, id, part, out);
    }
}

fn put_data(id: u32, ends: bool, payload: Bytes, out: &mut Output) {
    let flags = if ends { flag::END_STREAM } else { 0 };
    let head = FrameHead { length: payload.len(), kind: kind::DATA, flags, stream: id };
    out.put(|tail| tail.put_slice(&head.to_bytes()));
    out.put_payload(payload);
}
