//! Decompresses one direction's messages (RFC 7692 section 7.2.2), in pieces and within bounds.

use flate2::{Decompress, FlushDecompress, Status};

use super::extension::DeflateParams;

/// How much of one message is decompressed, kept or not; beyond it the context is given up. It bounds the work
/// a small message can cause.
const MAX_DECODED_BYTES: u64 = 1 << 30;

/// How many final blocks one message may hold; each costs a fresh inflater. Senders make one or none.
const MAX_FINAL_BLOCKS: u32 = 64;

/// The largest window of DEFLATE (RFC 1951 section 2).
const WINDOW_BYTES: usize = 32 * 1024;

/// The most one byte of DEFLATE can become: four symbols of two bits, each a copy of 258 bytes.
const MAX_EXPANSION: usize = 1_032;

/// Bytes of input the inflater may have taken earlier and still hold undecoded.
const HELD_BACK_BYTES: usize = 8;

/// Room for the window, and twice for what is decoded next.
const BUFFER_BYTES: usize = 3 * WINDOW_BYTES;

/// What every sender cuts off the end of a message (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The message cannot be decoded any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Undecodable;

/// The decompressor of one direction. Takes its 140 KiB with the first compressed message, not before.
#[derive(Debug)]
pub(super) struct Inflater {
    params: DeflateParams,
    max_decoded_bytes: u64,
    engine: Option<Engine>,
    /// Bytes decoded of the message under way.
    decoded: u64,
    /// Final blocks in the message under way.
    final_blocks: u32,
    /// Whether the message under way has any payload.
    fed: bool,
    /// Whether a message could not be decoded, so that later ones that refer to it cannot be either.
    lost: bool,
}

impl Inflater {
    pub(super) fn new(params: DeflateParams) -> Self {
        Self {
            params,
            max_decoded_bytes: MAX_DECODED_BYTES,
            engine: None,
            decoded: 0,
            final_blocks: 0,
            fed: false,
            lost: false,
        }
    }

    /// Begins a message.
    pub(super) fn begin(&mut self) {
        (self.decoded, self.final_blocks, self.fed) = (0, 0, false);
        if self.params.no_context_takeover {
            self.lost = false;
            if let Some(engine) = &mut self.engine {
                engine.reset();
            }
        }
    }

    /// Decodes the next bytes of the message and hands what they hold to `out`.
    ///
    /// # Errors
    ///
    /// When they are no DEFLATE, or a bound is reached; then the direction's context is lost, and each further
    /// message is undecodable from its first byte unless it comes without context.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut impl FnMut(&[u8])) -> Result<(), Undecodable> {
        self.fed |= !bytes.is_empty();
        let result = self.inflate(bytes, out);
        self.lost |= result.is_err();
        result
    }

    /// Ends the message: decodes the tail its sender cut off.
    ///
    /// A message without any payload has no tail either, and after a final block there is none to complete
    /// (RFC 7692 section 7.2.3.4 adds an empty block instead, which is read as such).
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub(super) fn end(&mut self, out: &mut impl FnMut(&[u8])) -> Result<(), Undecodable> {
        let complete = self.engine.as_ref().is_none_or(|engine| engine.ended);
        if self.fed && (self.lost || !complete) { self.push(&TAIL, out) } else { Ok(()) }
    }

    fn inflate(&mut self, mut bytes: &[u8], out: &mut impl FnMut(&[u8])) -> Result<(), Undecodable> {
        if self.lost {
            return Err(Undecodable);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let engine = self.engine.get_or_insert_with(Engine::new);
        while !bytes.is_empty() {
            if engine.ended {
                self.final_blocks += 1;
                if self.final_blocks > MAX_FINAL_BLOCKS {
                    return Err(Undecodable);
                }
                engine.revive()?;
            }
            let (taken, decoded, result) = engine.step(bytes);
            let room = self.max_decoded_bytes - self.decoded;
            let within = usize::try_from(room).unwrap_or(usize::MAX).min(decoded.len());
            out(&decoded[..within]);
            self.decoded += within as u64;
            if within < decoded.len() {
                return Err(Undecodable);
            }
            result?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }
}

/// A raw inflater and the output it made last, which is its window.
struct Engine {
    inflater: Decompress,
    /// The output; what lies before `at` is made, at least the last `WINDOW_BYTES` of it.
    buffer: Box<[u8]>,
    at: usize,
    /// Whether a final block ended the stream; the inflater takes no more until it is revived.
    ended: bool,
}

impl Engine {
    fn new() -> Self {
        Self {
            inflater: Decompress::new(false),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            at: 0,
            ended: false,
        }
    }

    /// Forgets everything decoded so far.
    fn reset(&mut self) {
        self.inflater.reset(false);
        self.at = 0;
        self.ended = false;
    }

    /// Decodes some of `input`: how many of its bytes were taken, what they hold, and whether it went well.
    ///
    /// It takes no more at once than the buffer can surely hold decoded: the inflater drops what it has decoded
    /// and not yet handed out when it then comes upon an error.
    fn step(&mut self, input: &[u8]) -> (usize, &[u8], Result<(), Undecodable>) {
        if self.buffer.len() - self.at < WINDOW_BYTES {
            self.slide();
        }
        let room = self.buffer.len() - self.at;
        let input = &input[..input.len().min(room / MAX_EXPANSION - HELD_BACK_BYTES)];
        let (taken, made) = (self.inflater.total_in(), self.inflater.total_out());
        let result = self.inflater.decompress(input, &mut self.buffer[self.at..], FlushDecompress::None);
        let taken = (self.inflater.total_in() - taken) as usize;
        let made = (self.inflater.total_out() - made) as usize;
        let from = self.at;
        self.at += made;
        let result = match result {
            Ok(Status::StreamEnd) => {
                self.ended = true;
                Ok(())
            }
            Ok(_) if taken + made > 0 => Ok(()),
            Ok(_) | Err(_) => Err(Undecodable),
        };
        (taken, &self.buffer[from..self.at], result)
    }

    /// Moves the window to the buffer's beginning.
    fn slide(&mut self) {
        let from = self.at.saturating_sub(WINDOW_BYTES);
        self.buffer.copy_within(from..self.at, 0);
        self.at -= from;
    }

    /// Begins a new stream that can refer to what the one before it decoded.
    ///
    /// The inflater cannot be given a window, so it is given a stored block (RFC 1951 section 3.2.4) that holds
    /// it, whose output is thrown away.
    fn revive(&mut self) -> Result<(), Undecodable> {
        self.slide();
        self.inflater.reset(false);
        self.ended = false;
        let (window, scratch) = self.buffer.split_at_mut(self.at);
        let len = u16::try_from(window.len()).map_err(|_| Undecodable)?;
        let [a, b] = len.to_le_bytes();
        for mut input in [&[0x00, a, b, !a, !b], &*window] {
            while !input.is_empty() {
                let taken = self.inflater.total_in();
                self.inflater.decompress(input, scratch, FlushDecompress::None).map_err(|_| Undecodable)?;
                let taken = (self.inflater.total_in() - taken) as usize;
                if taken == 0 {
                    return Err(Undecodable);
                }
                input = &input[taken..];
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("at", &self.at).field("ended", &self.ended).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Hello", compressed as in RFC 7692 section 7.2.3.1.
    const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

    fn decode(inflater: &mut Inflater, payload: &[u8]) -> (Vec<u8>, Result<(), Undecodable>) {
        let mut decoded = Vec::new();
        inflater.begin();
        let mut out = |bytes: &[u8]| decoded.extend_from_slice(bytes);
        let result = inflater.push(payload, &mut out).and_then(|()| inflater.end(&mut out));
        (decoded, result)
    }

    #[test]
    fn decoding_stops_at_the_bound_and_is_given_up_with_the_context() {
        for (no_context_takeover, next) in
            [(false, (Vec::new(), Err(Undecodable))), (true, (b"Hell".to_vec(), Err(Undecodable)))]
        {
            let mut inflater = Inflater::new(DeflateParams { no_context_takeover });
            inflater.max_decoded_bytes = 4;
            assert_eq!(decode(&mut inflater, &HELLO), (b"Hell".to_vec(), Err(Undecodable)));
            assert_eq!(decode(&mut inflater, &HELLO), next);
            inflater.max_decoded_bytes = 5;
            let whole = no_context_takeover.then(|| b"Hello".to_vec());
            assert_eq!(decode(&mut inflater, &HELLO).0, whole.unwrap_or_default());
        }
    }

    #[test]
    fn nothing_is_allocated_before_the_first_compressed_byte() {
        let mut inflater = Inflater::new(DeflateParams::default());
        assert_eq!(decode(&mut inflater, &[]), (Vec::new(), Ok(())));
        assert!(inflater.engine.is_none());
    }
}
