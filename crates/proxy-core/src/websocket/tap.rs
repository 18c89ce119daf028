//! Joins frames into messages.

use bytes::Bytes;

use super::{
    extension::Negotiated,
    frame::{FrameHeader, FrameReader, Opcode, Part, Payload},
    inflate::Inflater,
};
use crate::event::{Direction, MessageKind, WebSocketMessage};

/// How much of a compressed payload is unmasked at a time.
const PIECE_BYTES: usize = 4_096;

/// Decodes one direction of an upgraded connection.
///
/// It never fails: bytes that are no valid frame end the decoding for good, [`broken`](Self::broken) says why,
/// and whatever is fed to it afterwards is ignored. Of the message under way it holds at most the bytes that
/// will be recorded; a longer one is cut there and counted to its end.
///
/// It follows the mask bit in whichever direction it is set, and hands text on as it is, valid UTF-8 or not:
/// what the peers make of such a frame is theirs to decide.
#[derive(Debug)]
pub(crate) struct MessageTap {
    direction: Direction,
    max_message_bytes: usize,
    extension: Extension,
    frames: FrameReader,
    /// The data message under way, over however many frames.
    message: Option<Assembly>,
    /// The control frame under way, which may come in between.
    control: Option<Assembly>,
    /// Whether the frame under way is its message's last.
    fin: bool,
    broken: Option<&'static str>,
}

#[derive(Debug)]
enum Extension {
    None,
    Deflate(Box<Inflater>),
    Unknown,
}

impl MessageTap {
    /// Makes a tap for one direction of a connection on which `negotiated` was agreed.
    pub(crate) fn new(direction: Direction, negotiated: Negotiated, max_message_bytes: usize) -> Self {
        let extension = match (negotiated, direction) {
            (Negotiated::None, _) => Extension::None,
            (Negotiated::Unknown, _) => Extension::Unknown,
            (Negotiated::Deflate { to_upstream: params, .. }, Direction::ToUpstream)
            | (Negotiated::Deflate { to_client: params, .. }, Direction::ToClient) => {
                Extension::Deflate(Box::new(Inflater::new(params)))
            }
        };
        Self {
            direction,
            max_message_bytes,
            extension,
            frames: FrameReader::default(),
            message: None,
            control: None,
            fin: false,
            broken: None,
        }
    }

    /// Takes the next bytes of the stream and hands each message and control frame they finish to `sink`, in
    /// the order in which they end.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(WebSocketMessage)) {
        while self.broken.is_none() {
            let step = match self.frames.next(&mut bytes) {
                Ok(None) => return,
                Ok(Some(part)) => self.take(part, sink),
                Err(rule) => Err(rule),
            };
            if let Err(rule) = step {
                self.broken = Some(rule);
                self.finish(sink);
            }
        }
    }

    /// Takes note that the stream ended: what is under way is handed out as truncated.
    pub(crate) fn finish(&mut self, sink: &mut impl FnMut(WebSocketMessage)) {
        for unfinished in [self.control.take(), self.message.take()].into_iter().flatten() {
            let mut message = unfinished.into_message(self.direction);
            message.truncated = true;
            sink(message);
        }
    }

    /// Why decoding stopped, if it did: the rule of RFC 6455 that was broken.
    pub(crate) fn broken(&self) -> Option<&'static str> {
        self.broken
    }

    fn take(&mut self, part: Part<'_>, sink: &mut impl FnMut(WebSocketMessage)) -> Result<(), &'static str> {
        match part {
            Part::Header(header) => self.begin_frame(header),
            Part::Payload(payload) => {
                self.take_payload(payload);
                Ok(())
            }
            Part::End => {
                if let Some(message) = self.end_frame() {
                    sink(message);
                }
                Ok(())
            }
        }
    }

    fn begin_frame(&mut self, header: FrameHeader) -> Result<(), &'static str> {
        let coding = self.coding(header)?;
        self.fin = header.fin;
        match (header.opcode, &mut self.message) {
            (Opcode::Close, _) => self.control = Some(Assembly::new(MessageKind::Close, coding)),
            (Opcode::Ping, _) => self.control = Some(Assembly::new(MessageKind::Ping, coding)),
            (Opcode::Pong, _) => self.control = Some(Assembly::new(MessageKind::Pong, coding)),
            (Opcode::Continuation, None) => return Err("continuation frame without a message to continue"),
            // An extension that is not known may mark any frame; one mark is enough for the message.
            (Opcode::Continuation, Some(message)) if coding == Coding::Opaque => message.coding = coding,
            (Opcode::Continuation, Some(_)) => {}
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err("message begins inside another one"),
            (Opcode::Text, None) => self.message = Some(Assembly::new(MessageKind::Text, coding)),
            (Opcode::Binary, None) => self.message = Some(Assembly::new(MessageKind::Binary, coding)),
        }
        if let (Coding::Deflate, Extension::Deflate(inflater)) = (coding, &mut self.extension) {
            inflater.begin();
        }
        Ok(())
    }

    /// What a frame's RSV bits mean (RFC 6455 section 5.2, RFC 7692 section 6).
    fn coding(&self, header: FrameHeader) -> Result<Coding, &'static str> {
        match &self.extension {
            _ if !header.rsv1 && !header.rsv_other => Ok(Coding::Plain),
            Extension::Unknown => Ok(Coding::Opaque),
            _ if header.rsv_other => Err("frame sets a reserved bit"),
            Extension::None => Err("frame sets RSV1 without an extension"),
            Extension::Deflate(_) if matches!(header.opcode, Opcode::Text | Opcode::Binary) => {
                Ok(Coding::Deflate)
            }
            Extension::Deflate(_) => Err("frame that begins no message sets RSV1"),
        }
    }

    fn take_payload(&mut self, payload: Payload<'_>) {
        let Some(under_way) = self.control.as_mut().or(self.message.as_mut()) else { return };
        let max = self.max_message_bytes;
        match (&mut self.extension, under_way.coding) {
            (Extension::Deflate(inflater), Coding::Deflate) if !under_way.undecodable => {
                let mut piece = Vec::with_capacity(payload.len().min(PIECE_BYTES));
                for part in payload.pieces(PIECE_BYTES) {
                    piece.clear();
                    part.append_to(&mut piece, usize::MAX);
                    if inflater.push(&piece, &mut |decoded| under_way.append(decoded, max)).is_err() {
                        under_way.undecodable = true;
                        break;
                    }
                }
            }
            (_, Coding::Deflate) => {}
            (_, Coding::Plain | Coding::Opaque) => {
                let room = max - under_way.data.len();
                payload.append_to(&mut under_way.data, room);
                under_way.length = under_way.length.saturating_add(payload.len() as u64);
            }
        }
    }

    fn end_frame(&mut self) -> Option<WebSocketMessage> {
        if let Some(control) = self.control.take() {
            return Some(control.into_message(self.direction));
        }
        if !self.fin {
            return None;
        }
        let mut message = self.message.take()?;
        let max = self.max_message_bytes;
        if let (Extension::Deflate(inflater), Coding::Deflate) = (&mut self.extension, message.coding)
            && !message.undecodable
        {
            message.undecodable = inflater.end(&mut |decoded| message.append(decoded, max)).is_err();
        }
        Some(message.into_message(self.direction))
    }
}

/// How a message's payload is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Plain,
    Deflate,
    /// In a way only the endpoints know.
    Opaque,
}

/// A message under way.
#[derive(Debug)]
struct Assembly {
    kind: MessageKind,
    coding: Coding,
    data: Vec<u8>,
    length: u64,
    /// Whether its compressed payload could not be decoded any further.
    undecodable: bool,
}

impl Assembly {
    fn new(kind: MessageKind, coding: Coding) -> Self {
        Self { kind, coding, data: Vec::new(), length: 0, undecodable: false }
    }

    /// Counts decoded bytes and keeps them as far as `max` goes.
    fn append(&mut self, decoded: &[u8], max: usize) {
        let room = max - self.data.len();
        self.data.extend_from_slice(&decoded[..room.min(decoded.len())]);
        self.length += decoded.len() as u64;
    }

    fn into_message(self, direction: Direction) -> WebSocketMessage {
        let truncated =
            self.undecodable || self.coding == Coding::Opaque || (self.data.len() as u64) < self.length;
        WebSocketMessage {
            direction,
            kind: self.kind,
            // A boxed slice has no spare capacity, which a queue of messages would otherwise hold on to.
            data: Bytes::from(self.data.into_boxed_slice()),
            length: self.length,
            truncated,
            compressed: self.coding != Coding::Plain,
        }
    }
}
