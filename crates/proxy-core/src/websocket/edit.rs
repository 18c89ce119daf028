//! Takes one direction of a WebSocket apart into messages that can be changed, and makes frames of what takes their
//! place. Messages nobody changes pass as the very bytes they came in.

use bytes::{BufMut, Bytes, BytesMut};

use super::frame::{FrameHeader, FrameReader, Opcode, Part};
use crate::event::MessageKind;

/// What the headers of a message's frames may take beside its bound: empty frames have no end otherwise.
const MAX_FRAMING_BYTES: usize = 64 * 1024;

/// What one direction of a WebSocket holds, in the order in which it is to pass.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Passing {
    /// Frames that pass as they are: control frames, and messages that are too large to be looked at.
    AsIs(Bytes),
    /// A whole message.
    Message {
        /// Text or binary.
        kind: MessageKind,
        /// What is in it.
        data: Bytes,
        /// The frames it came in.
        frames: Bytes,
    },
}

/// Splits one direction into messages. No extension may have been agreed on.
///
/// It never fails: from bytes that are no valid frame on, everything passes as it is. It holds the message under way, up
/// to a bound; one that is larger passes as it is. Control frames in the middle of a message pass before it.
#[derive(Debug)]
pub(crate) struct MessageSplitter {
    max_message_bytes: usize,
    reader: FrameReader,
    /// The bytes of the frame under way.
    frame: Vec<u8>,
    header: Option<FrameHeader>,
    message: Option<Held>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Messages are looked at.
    Following,
    /// The message under way is too large, and passes as it is.
    PassingOne,
    /// A closing frame went by: nothing of ours may follow it (RFC 6455 section 5.5.1).
    Closed,
    /// Everything passes as it is.
    Lost,
}

#[derive(Debug)]
struct Held {
    kind: MessageKind,
    data: Vec<u8>,
    frames: Vec<u8>,
}

impl MessageSplitter {
    pub(crate) fn new(max_message_bytes: usize) -> Self {
        Self {
            max_message_bytes,
            reader: FrameReader::default(),
            frame: Vec::new(),
            header: None,
            message: None,
            state: State::Following,
        }
    }

    /// Whether a message of our own may be put between what was given out and what comes.
    pub(crate) fn may_insert(&self) -> bool {
        self.state == State::Following
    }

    /// Takes the next bytes, and gives what passes now.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Passing> {
        let mut out = Vec::new();
        let mut rest = bytes;
        while self.state != State::Lost {
            let before = rest;
            let step = self.reader.next(&mut rest);
            self.frame.extend_from_slice(&before[..before.len() - rest.len()]);
            match step.and_then(|part| part.map_or(Ok(false), |part| self.take(part, &mut out))) {
                Ok(true) => {}
                Ok(false) => break,
                Err(rule) => {
                    tracing::debug!(rule, "WebSocket messages pass as they are from here on");
                    self.state = State::Lost;
                }
            }
        }
        if self.state == State::Lost {
            self.let_go(&mut out);
            as_is(&mut out, rest);
        } else if self.state == State::PassingOne {
            let frame = std::mem::take(&mut self.frame);
            as_is(&mut out, &frame);
        }
        out
    }

    /// Gives out what is held, when nothing more comes.
    pub(crate) fn finish(&mut self) -> Vec<Passing> {
        let mut out = Vec::new();
        self.let_go(&mut out);
        out
    }

    fn let_go(&mut self, out: &mut Vec<Passing>) {
        if let Some(held) = self.message.take() {
            as_is(out, &held.frames);
        }
        let frame = std::mem::take(&mut self.frame);
        as_is(out, &frame);
    }

    /// Takes one step; `true` when there may be another.
    fn take(&mut self, part: Part<'_>, out: &mut Vec<Passing>) -> Result<bool, &'static str> {
        match part {
            Part::Header(header) => self.begin(header, out)?,
            Part::Payload(payload) => {
                if self.is_held()
                    && let Some(message) = &mut self.message
                {
                    payload.append_to(&mut message.data, usize::MAX);
                }
            }
            Part::End => self.end(out),
        }
        Ok(true)
    }

    /// Whether the frame under way is part of the message that is held.
    fn is_held(&self) -> bool {
        self.header.is_some_and(|header| !header.opcode.is_control())
    }

    fn begin(&mut self, header: FrameHeader, out: &mut Vec<Passing>) -> Result<(), &'static str> {
        if header.rsv1 || header.rsv_other {
            return Err("frame sets a reserved bit");
        }
        self.header = Some(header);
        let kind = match header.opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => return Ok(()),
            Opcode::Text => MessageKind::Text,
            Opcode::Binary => MessageKind::Binary,
            Opcode::Continuation if self.message.is_some() || self.state == State::PassingOne => {
                self.hold_or_pass(header.length, out);
                return Ok(());
            }
            Opcode::Continuation => return Err("continuation frame without a message to continue"),
        };
        if self.message.is_some() || self.state == State::PassingOne {
            return Err("message begins inside another one");
        }
        self.message = Some(Held { kind, data: Vec::new(), frames: Vec::new() });
        self.hold_or_pass(header.length, out);
        Ok(())
    }

    /// Gives up on holding a message that turns out to be too large.
    fn hold_or_pass(&mut self, length: u64, out: &mut Vec<Passing>) {
        let Some(message) = &self.message else { return };
        let max = self.max_message_bytes;
        let is_too_long = (message.data.len() as u64).saturating_add(length) > max as u64;
        if is_too_long || message.frames.len() > max.saturating_add(MAX_FRAMING_BYTES) {
            self.let_go(out);
            self.state = State::PassingOne;
        }
    }

    fn end(&mut self, out: &mut Vec<Passing>) {
        let frame = std::mem::take(&mut self.frame);
        let Some(header) = self.header.take() else { return };
        match &mut self.message {
            _ if header.opcode.is_control() => {
                as_is(out, &frame);
                if header.opcode == Opcode::Close {
                    self.state = State::Closed;
                }
            }
            None => {
                as_is(out, &frame);
                if header.fin && self.state == State::PassingOne {
                    self.state = State::Following;
                }
            }
            Some(message) => {
                message.frames.extend_from_slice(&frame);
                if header.fin
                    && let Some(Held { kind, data, frames }) = self.message.take()
                {
                    out.push(Passing::Message { kind, data: data.into(), frames: frames.into() });
                }
            }
        }
    }
}

/// Has bytes pass as they are, together with those before.
fn as_is(out: &mut Vec<Passing>, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.push(Passing::AsIs(Bytes::copy_from_slice(bytes)));
    }
}

/// Makes one frame of a message. With a key it is masked, as a client has to (RFC 6455 section 5.3).
pub(crate) fn frame(kind: MessageKind, data: &[u8], mask: Option<[u8; 4]>) -> Bytes {
    let opcode = match kind {
        MessageKind::Text => 0x1,
        MessageKind::Binary => 0x2,
        MessageKind::Close => 0x8,
        MessageKind::Ping => 0x9,
        MessageKind::Pong => 0xa,
    };
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut out = BytesMut::with_capacity(data.len() + 14);
    out.put_u8(0x80 | opcode);
    match data.len() {
        length @ 0..=125 => out.put_u8(masked | length as u8),
        length @ 126..=0xffff => {
            out.put_u8(masked | 126);
            out.put_u16(length as u16);
        }
        length => {
            out.put_u8(masked | 127);
            out.put_u64(length as u64);
        }
    }
    let Some(key) = mask else {
        out.put_slice(data);
        return out.freeze();
    };
    out.put_slice(&key);
    out.extend(data.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    out.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: Option<[u8; 4]> = Some([1, 2, 3, 4]);

    fn split(bytes: &[u8], size: usize, max: usize) -> Vec<Passing> {
        let mut splitter = MessageSplitter::new(max);
        let mut out: Vec<Passing> =
            bytes.chunks(size.max(1)).flat_map(|piece| splitter.feed(piece)).collect();
        out.extend(splitter.finish());
        out
    }

    /// The bytes that pass when nothing is changed.
    fn unchanged(out: &[Passing]) -> Vec<u8> {
        out.iter().fold(Vec::new(), |mut all, passing| {
            match passing {
                Passing::AsIs(bytes) | Passing::Message { frames: bytes, .. } => {
                    all.extend_from_slice(bytes);
                }
            }
            all
        })
    }

    fn messages(out: &[Passing]) -> Vec<(MessageKind, Bytes)> {
        out.iter()
            .filter_map(|passing| match passing {
                Passing::Message { kind, data, .. } => Some((*kind, data.clone())),
                Passing::AsIs(_) => None,
            })
            .collect()
    }

    #[test]
    fn messages_come_out_whole_and_control_frames_before_those_they_interrupt() {
        let first = [0x01, 0x82, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2];
        let ping = frame(MessageKind::Ping, b"?", KEY);
        let last = [0x80, 0x81, 0, 0, 0, 0, b'c'];
        let binary = frame(MessageKind::Binary, &[7; 300], None);
        let stream = [&first[..], &ping, &last, &binary].concat();
        for size in 1..stream.len() {
            let out = split(&stream, size, 1_000);
            let expected =
                [(MessageKind::Text, "abc".into()), (MessageKind::Binary, Bytes::from(vec![7; 300]))];
            assert_eq!(messages(&out), expected, "{size}");
            assert_eq!(out[0], Passing::AsIs(ping.clone()));
            let frames = Bytes::from([&first[..], &last].concat());
            assert!(matches!(&out[1], Passing::Message { frames: came, .. } if *came == frames));
        }
    }

    #[test]
    fn a_message_over_the_bound_passes_as_it_is_and_the_next_is_looked_at_again() {
        let large = frame(MessageKind::Text, &[b'x'; 200], KEY);
        let fragments = [&[0x02, 0x02, 1, 2][..], &[0x00, 0x03, 3, 4, 5], &[0x80, 0x01, 6]].concat();
        for stream in [&large[..], &fragments[..]] {
            let max = if stream.len() > 100 { 100 } else { 4 };
            let whole = [stream, &frame(MessageKind::Text, b"next", None)].concat();
            for size in [1, 2, 50, whole.len()] {
                let out = split(&whole, size, max);
                assert_eq!(messages(&out), [(MessageKind::Text, "next".into())]);
                assert_eq!(unchanged(&out), whole);
            }
        }
    }

    #[test]
    fn a_message_of_empty_frames_without_end_is_not_held() {
        let mut splitter = MessageSplitter::new(1_000);
        assert_eq!(splitter.feed(&[0x01, 0x00]), []);
        let out = splitter.feed(&[0x00, 0x00].repeat(MAX_FRAMING_BYTES));
        assert_eq!(unchanged(&out).len(), 2 + 2 * MAX_FRAMING_BYTES);
        splitter.feed(&[0x80, 0x00]);
        let next = splitter.feed(&frame(MessageKind::Text, b"next", None));
        assert_eq!(messages(&next), [(MessageKind::Text, "next".into())]);
    }

    #[test]
    fn nothing_is_put_into_a_message_that_passes_or_behind_the_goodbye() {
        let mut splitter = MessageSplitter::new(4);
        assert!(splitter.may_insert());
        splitter.feed(&[0x01, 0x05, b'a']);
        assert!(!splitter.may_insert());
        splitter.feed(&[b'b', b'c', b'd', b'e', 0x80, 0x01, b'f']);
        assert!(splitter.may_insert());
        splitter.feed(&frame(MessageKind::Close, &[3, 0xe8], None));
        assert!(!splitter.may_insert());
    }

    proptest! {
        #[test]
        fn what_nobody_changes_passes_byte_for_byte(
            stream in proptest::collection::vec(any::<u8>(), 0..300),
            size in 1_usize..40,
            max in 0_usize..200,
        ) {
            let out = split(&stream, size, max);
            let mut passed = unchanged(&out);
            let mut expected = stream;
            // Control frames may overtake a message; nothing else moves.
            passed.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(passed, expected);
        }

        #[test]
        fn frames_read_back_as_what_they_were_made_of(
            data in proptest::collection::vec(any::<u8>(), 0..70_000),
            masked in any::<bool>(),
        ) {
            let made = frame(MessageKind::Binary, &data, masked.then_some([9, 8, 7, 6]));
            prop_assert_eq!(messages(&split(&made, 1_000, 70_000)), [(MessageKind::Binary, data.into())]);
        }
    }
}
