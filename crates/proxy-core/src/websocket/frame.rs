//! Takes a stream of bytes apart into frames (RFC 6455 section 5.2), whatever pieces it comes in.

/// The longest frame header: two bytes, eight of length, four of mask.
const MAX_HEADER_BYTES: usize = 14;

/// The longest payload of a control frame (RFC 6455 section 5.5).
const MAX_CONTROL_BYTES: u64 = 125;

/// How many bytes are unmasked in one go: as many as a vector register holds.
const MASK_BLOCK: usize = 16;

/// What a frame's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Whether it is the message's last frame.
    pub(super) fin: bool,
    /// RSV1, the one bit permessage-deflate uses.
    pub(super) rsv1: bool,
    /// RSV2 or RSV3.
    pub(super) rsv_other: bool,
    pub(super) opcode: Opcode,
    /// The payload's length in bytes.
    pub(super) length: u64,
    mask: Option<[u8; 4]>,
}

/// The opcodes in use (RFC 6455 section 11.8); the reserved ones are no valid frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// One step through the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A frame begins.
    Header(FrameHeader),
    /// A piece of its payload. Never empty.
    Payload(Payload<'a>),
    /// The frame is over.
    End,
}

/// A piece of a frame's payload, still masked where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Payload<'a> {
    bytes: &'a [u8],
    /// The key, turned so that it begins at the piece's first byte.
    mask: Option<[u8; 4]>,
}

impl<'a> Payload<'a> {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends its first `len` bytes, at most all there are, unmasked (RFC 6455 section 5.3).
    pub(super) fn append_to(&self, data: &mut Vec<u8>, len: usize) {
        let from = data.len();
        data.extend_from_slice(&self.bytes[..len.min(self.bytes.len())]);
        let Some(key) = self.mask else { return };
        let key: [u8; MASK_BLOCK] = std::array::from_fn(|at| key[at % key.len()]);
        let unmask = |block: &mut [u8]| block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        let mut blocks = data[from..].chunks_exact_mut(MASK_BLOCK);
        blocks.by_ref().for_each(unmask);
        unmask(blocks.into_remainder());
    }

    /// Cuts it into pieces of at most `len` bytes; `len` is a multiple of four, so that the key stays in step.
    pub(super) fn pieces(self, len: usize) -> impl Iterator<Item = Payload<'a>> {
        debug_assert!(len.is_multiple_of(4));
        self.bytes.chunks(len).map(move |bytes| Self { bytes, mask: self.mask })
    }
}

/// Reads frames. Holds no payload: at most one header's bytes.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    header: [u8; MAX_HEADER_BYTES],
    /// How many bytes of the next frame's header are there.
    filled: usize,
    /// The frame under way.
    frame: Option<Progress>,
}

#[derive(Debug)]
struct Progress {
    left: u64,
    mask: Option<[u8; 4]>,
}

impl FrameReader {
    /// Takes the next step, and the bytes it needs off `input`; `None` when it needs more of them.
    ///
    /// # Errors
    ///
    /// The rule the bytes break. What follows such bytes cannot be told apart into frames.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Part<'a>>, &'static str> {
        let Some(frame) = &mut self.frame else {
            let header = self.read_header(input)?;
            return Ok(header.map(Part::Header));
        };
        if frame.left == 0 {
            self.frame = None;
            return Ok(Some(Part::End));
        }
        if input.is_empty() {
            return Ok(None);
        }
        let len = usize::try_from(frame.left).unwrap_or(usize::MAX).min(input.len());
        let (bytes, rest) = input.split_at(len);
        *input = rest;
        let mask = frame.mask;
        frame.left -= len as u64;
        if let Some(key) = &mut frame.mask {
            key.rotate_left(len % 4);
        }
        Ok(Some(Part::Payload(Payload { bytes, mask })))
    }

    fn read_header(&mut self, input: &mut &[u8]) -> Result<Option<FrameHeader>, &'static str> {
        while self.filled < self.header_len() {
            let Some((byte, rest)) = input.split_first() else { return Ok(None) };
            self.header[self.filled] = *byte;
            self.filled += 1;
            *input = rest;
        }
        let header = parse_header(&self.header[..self.filled])?;
        self.filled = 0;
        self.frame = Some(Progress { left: header.length, mask: header.mask });
        Ok(Some(header))
    }

    /// The length of the header under way, as far as its first two bytes tell.
    fn header_len(&self) -> usize {
        if self.filled < 2 {
            return 2;
        }
        let extended = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + extended + mask
    }
}

/// Reads a whole header. A length that is not in its shortest form is let pass: it is wrong, but not ambiguous,
/// and endpoints take it.
fn parse_header(bytes: &[u8]) -> Result<FrameHeader, &'static str> {
    let &[first, second, ref rest @ ..] = bytes else { return Err("frame header is cut short") };
    let opcode = match first & 0x0f {
        0x0 => Opcode::Continuation,
        0x1 => Opcode::Text,
        0x2 => Opcode::Binary,
        0x8 => Opcode::Close,
        0x9 => Opcode::Ping,
        0xa => Opcode::Pong,
        _ => return Err("frame has a reserved opcode"),
    };
    let masked = second & 0x80 != 0;
    let (extended, key) = rest.split_at(rest.len() - if masked { 4 } else { 0 });
    let length = match extended {
        [] => u64::from(second & 0x7f),
        bytes => bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
    };
    let header = FrameHeader {
        fin: first & 0x80 != 0,
        rsv1: first & 0x40 != 0,
        rsv_other: first & 0x30 != 0,
        opcode,
        length,
        mask: key.try_into().ok(),
    };
    if length > i64::MAX as u64 {
        return Err("frame length has its highest bit set");
    }
    if opcode.is_control() && !header.fin {
        return Err("control frame is fragmented");
    }
    if opcode.is_control() && length > MAX_CONTROL_BYTES {
        return Err("control frame is longer than 125 bytes");
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads one header, fed byte by byte.
    fn header(bytes: &[u8]) -> Result<Option<FrameHeader>, &'static str> {
        let mut reader = FrameReader::default();
        for byte in bytes.chunks(1) {
            match reader.next(&mut &*byte)? {
                Some(Part::Header(header)) => return Ok(Some(header)),
                Some(other) => panic!("{other:?} before a header"),
                None => {}
            }
        }
        Ok(None)
    }

    #[test]
    fn lengths_have_three_forms() {
        for (bytes, length) in [
            (&[0x82, 0x7d][..], 125),
            (&[0x82, 0x7e, 0x01, 0x00], 256),
            (&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0], 65_536),
            (&[0x82, 0x7e, 0x00, 0x01], 1),
            (&[0x82, 0xfd, 1, 2, 3, 4], 125),
            (&[0x82, 0x7f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], i64::MAX as u64),
        ] {
            assert_eq!(header(bytes).unwrap().unwrap().length, length, "{bytes:x?}");
        }
    }

    #[test]
    fn headers_that_break_a_rule_say_which() {
        for (bytes, rule) in [
            (&[0x83, 0x00][..], "frame has a reserved opcode"),
            (&[0x8b, 0x00], "frame has a reserved opcode"),
            (&[0x09, 0x00], "control frame is fragmented"),
            (&[0x89, 0x7e, 0x00, 0x7e], "control frame is longer than 125 bytes"),
            (&[0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0], "frame length has its highest bit set"),
        ] {
            assert_eq!(header(bytes), Err(rule), "{bytes:x?}");
        }
    }

    #[test]
    fn a_header_cut_short_asks_for_more() {
        for bytes in [&[][..], &[0x82], &[0x82, 0x7e, 0x01], &[0x82, 0x80, 1, 2, 3]] {
            assert_eq!(header(bytes), Ok(None), "{bytes:x?}");
        }
    }

    #[test]
    fn the_mask_goes_on_across_pieces() {
        let mut reader = FrameReader::default();
        let frame: &[u8] = &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        for cut in 0..frame.len() {
            let mut data = Vec::new();
            for mut piece in [&frame[..cut], &frame[cut..]] {
                while let Some(part) = reader.next(&mut piece).unwrap() {
                    if let Part::Payload(payload) = part {
                        payload.append_to(&mut data, usize::MAX);
                    }
                }
            }
            assert_eq!(data, b"Hello", "cut at {cut}");
        }
    }
}
