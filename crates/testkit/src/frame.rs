//! WebSocket frames as bytes (RFC 6455 section 5.2), written here so that tests see exactly what was on the wire.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The largest payload accepted, so that a broken peer cannot exhaust memory.
const MAX_PAYLOAD_BYTES: u64 = 64 * 1024 * 1024;

/// What a frame is for (RFC 6455 section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A further fragment of the message under way.
    Continuation,
    /// Text, or the first fragment of it.
    Text,
    /// Bytes, or the first fragment of them.
    Binary,
    /// The closing handshake.
    Close,
    /// A ping.
    Ping,
    /// A pong.
    Pong,
    /// Anything else, by its four bits.
    Other(u8),
}

/// One frame, its payload unmasked but not inflated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whether this is the last fragment of its message.
    pub fin: bool,
    /// Reserved bit 1: the message is compressed (RFC 7692 section 6).
    pub rsv1: bool,
    /// What the frame is for.
    pub opcode: Opcode,
    /// The masking key, when there is one.
    pub mask: Option<[u8; 4]>,
    /// The payload as meant, not as masked.
    pub payload: Bytes,
}

impl Frame {
    /// A whole, unmasked, uncompressed message.
    pub fn new(opcode: Opcode, payload: impl Into<Bytes>) -> Self {
        Self { fin: true, rsv1: false, opcode, mask: None, payload: payload.into() }
    }

    /// The frame's bytes on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let flags = u8::from(self.fin) << 7 | u8::from(self.rsv1) << 6;
        let masked = u8::from(self.mask.is_some()) << 7;
        let mut wire = vec![flags | self.opcode.bits()];
        let length = self.payload.len();
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ 0..=125), _) => wire.push(masked | short),
            (_, Ok(medium)) => {
                wire.push(masked | 126);
                wire.extend(medium.to_be_bytes());
            }
            _ => {
                wire.push(masked | 127);
                wire.extend((length as u64).to_be_bytes());
            }
        }
        let mut payload = self.payload.to_vec();
        if let Some(mask) = self.mask {
            wire.extend(mask);
            apply(mask, &mut payload);
        }
        wire.extend(payload);
        wire
    }

    /// Reads one frame. Dropping the future may lose the part that was read.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let first = stream.read_u8().await?;
        let second = stream.read_u8().await?;
        let length = match second & 0x7f {
            126 => u64::from(stream.read_u16().await?),
            127 => stream.read_u64().await?,
            short => u64::from(short),
        };
        if length > MAX_PAYLOAD_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "frame over the test limit"));
        }
        let mut mask = None;
        if second & 0x80 != 0 {
            let mut key = [0; 4];
            stream.read_exact(&mut key).await?;
            mask = Some(key);
        }
        let mut payload = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        stream.read_exact(&mut payload).await?;
        if let Some(key) = mask {
            apply(key, &mut payload);
        }
        let opcode = Opcode::from_bits(first & 0x0f);
        Ok(Self { fin: first & 0x80 != 0, rsv1: first & 0x40 != 0, opcode, mask, payload: payload.into() })
    }
}

impl Opcode {
    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
            Self::Other(bits) => bits & 0x0f,
        }
    }

    fn from_bits(bits: u8) -> Self {
        match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            other => Self::Other(other),
        }
    }
}

/// Masks, or unmasks: the operation is its own inverse (RFC 6455 section 5.3).
fn apply(mask: [u8; 4], payload: &mut [u8]) {
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_of_every_length_form_read_back_as_written() {
        for length in [0, 125, 126, 65_535, 65_536] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let frame = Frame { mask, ..Frame::new(Opcode::Binary, vec![7; length]) };
                let wire = frame.encode();
                assert_eq!(Frame::read(&mut wire.as_slice()).await.unwrap(), frame);
            }
        }
    }

    #[test]
    fn masked_hello_is_the_example_of_the_rfc() {
        // RFC 6455 section 5.7.
        let frame = Frame { mask: Some([0x37, 0xfa, 0x21, 0x3d]), ..Frame::new(Opcode::Text, "Hello") };
        let wire = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(frame.encode(), wire);
    }
}
