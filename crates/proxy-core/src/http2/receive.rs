//! What a frame does to a connection (RFC 9113 section 6). Errors end the connection; what concerns one stream is
//! dealt with here.

use std::task::Waker;

use super::{
    arrive::Block,
    core::{Core, Past, Role},
    fault::reset_error,
    frame::{Fatal, Frame, MAX_WINDOW_BYTES, code, flag, kind, number, put, setting},
    stream::Fault,
};
use crate::wire::{WireError, WireErrorKind};

/// Frames the peer asked for and does not read; beyond it the connection ends.
const MAX_REPLIES: u32 = 1_000;

impl Core {
    /// Takes in a frame.
    ///
    /// # Errors
    ///
    /// What ends the connection.
    pub(super) fn receive(&mut self, frame: &Frame) -> Result<(), Fatal> {
        let head = frame.head;
        if !self.peer.known && head.kind != kind::SETTINGS {
            return Err(Fatal::protocol("the first frame is not SETTINGS"));
        }
        if let Some(block) = &self.block
            && (head.kind != kind::CONTINUATION || head.stream != block.stream)
        {
            return Err(Fatal::protocol("a header block is not continued"));
        }
        match head.kind {
            kind::DATA => self.data(frame),
            kind::HEADERS => self.headers(frame),
            kind::CONTINUATION => self.continuation(frame),
            kind::PRIORITY => self.priority(frame),
            kind::RST_STREAM => self.rst_stream(frame),
            kind::SETTINGS => self.settings(frame),
            kind::PUSH_PROMISE => Err(Fatal::protocol("server push, which nobody asked for")),
            kind::PING => self.ping(frame),
            kind::GOAWAY => self.go_away(frame),
            kind::WINDOW_UPDATE => self.window_update(frame),
            // RFC 9113 section 5.5.
            _ => self.idle_frame(),
        }
    }

    /// Counts a frame that moves nothing.
    pub(super) fn idle_frame(&mut self) -> Result<(), Fatal> {
        if self.idle_frames.take() { Ok(()) } else { Err(Fatal::calm("too many frames that move nothing")) }
    }

    /// Writes a frame that the peer asked for.
    pub(super) fn reply(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<(), Fatal> {
        self.replies += 1;
        if self.replies > MAX_REPLIES {
            return Err(Fatal::calm("too many frames to answer, and no answer is read"));
        }
        put(kind, flags, stream, payload, &mut self.control);
        Ok(())
    }

    /// Whether a stream was never opened.
    fn is_idle(&self, id: u32) -> bool {
        id.is_multiple_of(2) || id > self.last_stream
    }

    /// Whether frames of a stream still mean something.
    pub(super) fn is_open(&self, id: u32) -> bool {
        self.streams.get(&id).is_some_and(|stream| stream.open)
    }

    /// DATA or HEADERS for a stream that is no more.
    pub(super) fn too_late(&mut self, id: u32, kind: u8) -> Result<(), Fatal> {
        if self.is_idle(id) {
            return Err(Fatal::protocol("a frame of a stream that was never opened"));
        }
        match self.past(id) {
            Some(Past::ResetByUs) => Ok(()),
            Some(Past::Whole) => Err(Fatal::new(code::STREAM_CLOSED, "a frame after the stream's end")),
            None if kind == kind::HEADERS && self.is_server() => {
                Err(Fatal::protocol("a stream with a number that is too low"))
            }
            Some(Past::ResetByPeer) | None => {
                self.idle_frame()?;
                self.reply(kind::RST_STREAM, 0, id, &code::STREAM_CLOSED.to_be_bytes())
            }
        }
    }

    fn data(&mut self, frame: &Frame) -> Result<(), Fatal> {
        let (id, length) = (frame.head.stream, frame.payload.len());
        if id == 0 {
            return Err(Fatal::protocol("DATA without a stream"));
        }
        let payload = frame.unpadded().ok_or(Fatal::protocol("more padding than payload"))?;
        let ends = frame.head.has(flag::END_STREAM);
        self.receive_window -= length as i64;
        if self.receive_window < 0 {
            return Err(Fatal::new(code::FLOW_CONTROL_ERROR, "more DATA than the connection's window"));
        }
        if payload.is_empty() && !ends {
            self.idle_frame()?;
        } else {
            self.idle_frames.give(1);
        }
        if !self.is_open(id) {
            self.credit_connection();
            return self.too_late(id, kind::DATA);
        }
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let received = &mut stream.received;
        received.window -= length as i64;
        let wrong = if received.ended {
            Some((code::STREAM_CLOSED, "DATA after the stream's end"))
        } else if !received.has_head {
            Some((code::PROTOCOL_ERROR, "DATA before the response's head"))
        } else if received.window < 0 {
            Some((code::FLOW_CONTROL_ERROR, "more DATA than the stream's window"))
        } else {
            None
        };
        if let Some((code, detail)) = wrong {
            self.credit_connection();
            return self.reset_for(id, code, WireError::malformed(detail));
        }
        received.bytes += payload.len() as u64;
        received.since_growth += payload.len() as u64;
        if received.declared.is_some_and(|declared| received.bytes > declared) {
            self.spoil(id, WireError::malformed("the body is longer than its Content-Length"));
            self.credit_connection();
            return Ok(());
        }
        if !received.discards && !payload.is_empty() {
            self.buffered += payload.len();
            received.put(payload);
            self.wakes.extend(received.reader.take());
        }
        self.credit_connection();
        self.credit_stream(id);
        if ends {
            self.end_received(id);
        }
        Ok(())
    }

    fn headers(&mut self, frame: &Frame) -> Result<(), Fatal> {
        let id = frame.head.stream;
        if id == 0 {
            return Err(Fatal::protocol("HEADERS without a stream"));
        }
        let mut payload = frame.unpadded().ok_or(Fatal::protocol("more padding than payload"))?;
        if frame.head.has(flag::PRIORITY) {
            if payload.len() < 5 {
                return Err(Fatal::size("HEADERS too short for a priority"));
            }
            let priority = payload.split_to(5);
            if number(&priority) == Some(id) {
                return Err(Fatal::protocol("a stream that depends on itself"));
            }
        }
        let ends = frame.head.has(flag::END_STREAM);
        if frame.head.has(flag::END_HEADERS) {
            return self.block(id, ends, &payload);
        }
        self.block = Some(Block { stream: id, ends, bytes: payload.as_ref().into() });
        Ok(())
    }

    fn continuation(&mut self, frame: &Frame) -> Result<(), Fatal> {
        let Some(mut block) = self.block.take() else {
            return Err(Fatal::protocol("CONTINUATION of nothing"));
        };
        if frame.payload.len() < super::frame::DEFAULT_PAYLOAD_BYTES {
            self.idle_frame()?;
        }
        block.bytes.extend_from_slice(&frame.payload);
        if block.bytes.len() > self.settings.max_block_bytes() {
            return self.oversize_block(&block);
        }
        if frame.head.has(flag::END_HEADERS) {
            return self.block(block.stream, block.ends, &block.bytes);
        }
        self.block = Some(block);
        Ok(())
    }

    /// Priorities are for the fingerprint only (RFC 9113 section 5.3.2).
    fn priority(&mut self, frame: &Frame) -> Result<(), Fatal> {
        let id = frame.head.stream;
        if id == 0 {
            return Err(Fatal::protocol("PRIORITY without a stream"));
        }
        self.idle_frame()?;
        let Ok([d0, d1, d2, d3, weight]) = <[u8; 5]>::try_from(&frame.payload[..]) else {
            if self.is_open(id) {
                let error = WireError::malformed("PRIORITY of a wrong length");
                return self.reset_for(id, code::FRAME_SIZE_ERROR, error);
            }
            return Err(Fatal::size("PRIORITY of a wrong length"));
        };
        let depends_on = u32::from_be_bytes([d0 & 0x7f, d1, d2, d3]);
        if depends_on == id {
            return Err(Fatal::protocol("a stream that depends on itself"));
        }
        self.fingerprint.priority(id, d0 & 0x80 != 0, depends_on, weight);
        Ok(())
    }

    fn rst_stream(&mut self, frame: &Frame) -> Result<(), Fatal> {
        let id = frame.head.stream;
        let code = match <[u8; 4]>::try_from(&frame.payload[..]) {
            _ if id == 0 => return Err(Fatal::protocol("RST_STREAM without a stream")),
            Ok(octets) => u32::from_be_bytes(octets),
            Err(_) => return Err(Fatal::size("RST_STREAM of a wrong length")),
        };
        if self.is_idle(id) {
            return Err(Fatal::protocol("RST_STREAM of a stream that was never opened"));
        }
        if !self.is_open(id) {
            return self.idle_frame();
        }
        if self.is_server() && !self.resets.take() {
            return Err(Fatal::calm("too many streams opened and reset"));
        }
        let may_retry = code == code::REFUSED_STREAM && !self.is_server();
        self.fail(id, Fault { error: reset_error(code), may_retry });
        self.remember(id, Past::ResetByPeer);
        Ok(())
    }

    fn settings(&mut self, frame: &Frame) -> Result<(), Fatal> {
        if frame.head.stream != 0 {
            return Err(Fatal::protocol("SETTINGS of a stream"));
        }
        if frame.head.has(flag::ACK) {
            if !frame.payload.is_empty() {
                return Err(Fatal::size("an acknowledgement with settings"));
            }
            if !self.peer.known {
                return Err(Fatal::protocol("the first frame is not SETTINGS"));
            }
            return self.idle_frame();
        }
        let (settings, rest) = frame.payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(Fatal::size("SETTINGS of a wrong length"));
        }
        self.idle_frame()?;
        let settings = settings.iter().map(|[i0, i1, v0, v1, v2, v3]| {
            (u16::from_be_bytes([*i0, *i1]), u32::from_be_bytes([*v0, *v1, *v2, *v3]))
        });
        self.fingerprint.settings(settings.clone());
        if !self.peer.known {
            // What was allowed as long as it had not said.
            self.peer.max_streams = u32::MAX;
        }
        let initial_window = self.peer.initial_window;
        for (id, value) in settings {
            self.setting(id, value)?;
        }
        self.widen(self.peer.initial_window - initial_window)?;
        self.peer.known = true;
        self.wakes.extend(self.settling.drain(..));
        self.admit_next();
        self.reply(kind::SETTINGS, flag::ACK, 0, &[])
    }

    fn setting(&mut self, id: u16, value: u32) -> Result<(), Fatal> {
        let peer = &mut self.peer;
        match id {
            setting::HEADER_TABLE_SIZE => self.encoder.set_peer_table_bytes(value),
            setting::ENABLE_PUSH if value > 1 || (value == 1 && self.role == Role::Client) => {
                return Err(Fatal::protocol("ENABLE_PUSH out of range"));
            }
            setting::MAX_CONCURRENT_STREAMS => peer.max_streams = value,
            setting::INITIAL_WINDOW_SIZE if i64::from(value) > MAX_WINDOW_BYTES => {
                return Err(Fatal::new(code::FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE out of range"));
            }
            setting::INITIAL_WINDOW_SIZE => peer.initial_window = i64::from(value),
            setting::MAX_FRAME_SIZE => match value {
                16_384..=16_777_215 => peer.max_payload = value as usize,
                _ => return Err(Fatal::protocol("MAX_FRAME_SIZE out of range")),
            },
            setting::ENABLE_CONNECT_PROTOCOL => match value {
                1 => peer.extended_connect = true,
                0 if !peer.extended_connect => {}
                _ => return Err(Fatal::protocol("ENABLE_CONNECT_PROTOCOL out of range, or taken back")),
            },
            _ => {}
        }
        Ok(())
    }

    /// A change of the initial window holds for the streams that are open, too (RFC 9113 section 6.9.2).
    fn widen(&mut self, by: i64) -> Result<(), Fatal> {
        if by == 0 {
            return Ok(());
        }
        let mut opened = Vec::new();
        for (id, stream) in &mut self.streams {
            stream.sending.window += by;
            if stream.sending.window > MAX_WINDOW_BYTES {
                return Err(Fatal::new(code::FLOW_CONTROL_ERROR, "a window out of range"));
            }
            if stream.sending.window > 0 {
                opened.push(*id);
            }
        }
        opened.into_iter().for_each(|id| self.schedule(id));
        Ok(())
    }

    fn ping(&mut self, frame: &Frame) -> Result<(), Fatal> {
        if frame.head.stream != 0 {
            return Err(Fatal::protocol("PING of a stream"));
        }
        if frame.payload.len() != 8 {
            return Err(Fatal::size("PING of a wrong length"));
        }
        self.idle_frame()?;
        if frame.head.has(flag::ACK) {
            self.said_farewell();
            return Ok(());
        }
        self.reply(kind::PING, flag::ACK, 0, &frame.payload)
    }

    fn go_away(&mut self, frame: &Frame) -> Result<(), Fatal> {
        if frame.head.stream != 0 {
            return Err(Fatal::protocol("GOAWAY of a stream"));
        }
        let (Some(last), Some(code)) = (number(&frame.payload), frame.payload.get(4..8).and_then(number))
        else {
            return Err(Fatal::size("GOAWAY of a wrong length"));
        };
        self.idle_frame()?;
        self.peer_farewell = Some((last, code));
        if self.is_server() {
            return Ok(());
        }
        let error = match code {
            code::NO_ERROR => WireError::new(WireErrorKind::Closed, "upstream takes no more requests"),
            _ => reset_error(code),
        };
        let unseen: Vec<u32> = self.streams.keys().copied().filter(|id| *id > last).collect();
        for id in unseen {
            self.fail(id, Fault { error: error.clone(), may_retry: true });
            self.remember(id, Past::ResetByPeer);
        }
        self.wakes.extend(self.queue.iter().map(|(_, waker)| Waker::clone(waker)));
        Ok(())
    }

    fn window_update(&mut self, frame: &Frame) -> Result<(), Fatal> {
        let id = frame.head.stream;
        let increment = match <[u8; 4]>::try_from(&frame.payload[..]) {
            Ok(octets) => u32::from_be_bytes(octets) & 0x7fff_ffff,
            Err(_) => return Err(Fatal::size("WINDOW_UPDATE of a wrong length")),
        };
        self.idle_frame()?;
        if id == 0 {
            self.fingerprint.window_update(increment);
            self.send_window += i64::from(increment);
            if increment == 0 {
                return Err(Fatal::protocol("WINDOW_UPDATE by nothing"));
            }
            if self.send_window > MAX_WINDOW_BYTES {
                return Err(Fatal::new(code::FLOW_CONTROL_ERROR, "the connection's window out of range"));
            }
            let blocked = std::mem::take(&mut self.blocked);
            self.ready.extend(blocked);
            return Ok(());
        }
        if self.is_idle(id) {
            return Err(Fatal::protocol("WINDOW_UPDATE of a stream that was never opened"));
        }
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.open) else { return Ok(()) };
        stream.sending.window += i64::from(increment);
        let code = match increment {
            0 => code::PROTOCOL_ERROR,
            _ if stream.sending.window > MAX_WINDOW_BYTES => code::FLOW_CONTROL_ERROR,
            _ => {
                self.schedule(id);
                return Ok(());
            }
        };
        self.reset_for(id, code, WireError::malformed("WINDOW_UPDATE out of range"))
    }
}
