//! Content codings (RFC 9110 section 8.4.1) taken off a body that is to be looked at, and put on one that was changed.
//!
//! What enters: bytes in pieces of any size. What leaves: bytes. How much one piece may decode to is bounded, so that
//! what a peer sends in a few bytes does not fill the memory.

use std::io::{self, Write};

use brotli::{CompressorWriter, DecompressorWriter};
use bytes::Bytes;
use flate2::{
    Compression,
    write::{DeflateDecoder, GzDecoder, GzEncoder, ZlibDecoder, ZlibEncoder},
};

use crate::head::Headers;

/// Codings applied one upon the other at most; real bodies have one or two.
const MAX_CODINGS: usize = 4;
/// What is decoded in one go, so that a bound is noticed before much is decoded beyond it.
const STEP_BYTES: usize = 4 * 1024;
/// What a step may decode to between two codings.
const MAX_BETWEEN_BYTES: usize = 16 * 1024 * 1024;
/// What a body may decode to between two codings beyond that, for each of its bytes. What is coded already hardly
/// shrinks when it is coded again; what shrinks a thousandfold there is made to cost time without ever giving a byte.
const MAX_BETWEEN_RATIO: usize = 16;
/// A zstd frame may ask for a window of 2^23 bytes at most on the web (RFC 9659 section 3).
const MAX_ZSTD_WINDOW_LOG: u32 = 23;
/// Brotli's own buffers for input and output.
const BROTLI_BUFFER_BYTES: usize = 4 * 1024;
/// Brotli's quality for bodies that are sent once: half way, fast enough for that.
const BROTLI_QUALITY: u32 = 5;
/// The window Brotli uses unless it is told otherwise (RFC 7932 section 9.1).
const BROTLI_WINDOW_LOG: u32 = 22;

/// A coding that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The codings that `Content-Encoding` names, in the order they were applied.
///
/// # Errors
///
/// Names the coding that is not understood.
pub(crate) fn codings(headers: &Headers) -> Result<Vec<Coding>, String> {
    let mut codings = Vec::new();
    for value in headers.get_all("content-encoding") {
        for name in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            codings.push(match &*name.to_ascii_lowercase() {
                b"" | b"identity" => continue,
                b"gzip" | b"x-gzip" => Coding::Gzip,
                b"deflate" => Coding::Deflate,
                b"br" => Coding::Brotli,
                b"zstd" => Coding::Zstd,
                other => return Err(format!("unknown content coding {:?}", String::from_utf8_lossy(other))),
            });
        }
    }
    if codings.len() > MAX_CODINGS {
        return Err(format!("more than {MAX_CODINGS} content codings"));
    }
    Ok(codings)
}

/// Puts the codings on, the first named first.
pub(crate) fn encode(codings: &[Coding], body: Bytes) -> io::Result<Bytes> {
    codings.iter().try_fold(body, |body, coding| encode_one(*coding, &body).map(Bytes::from))
}

fn encode_one(coding: Coding, body: &[u8]) -> io::Result<Vec<u8>> {
    match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(body)?;
            encoder.finish()
        }
        Coding::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(body)?;
            encoder.finish()
        }
        Coding::Brotli => {
            let (quality, window) = (BROTLI_QUALITY, BROTLI_WINDOW_LOG);
            let mut encoder = CompressorWriter::new(Vec::new(), BROTLI_BUFFER_BYTES, quality, window);
            encoder.write_all(body)?;
            Ok(encoder.into_inner())
        }
        Coding::Zstd => zstd::stream::encode_all(body, zstd::DEFAULT_COMPRESSION_LEVEL),
    }
}

/// Why a body could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Undecodable {
    /// It holds more than it may.
    TooLarge,
    /// It does not follow its coding.
    Broken(String),
}

/// Takes codings off a stream of bytes.
pub(crate) struct Decoder {
    /// The coding put on last comes first.
    chain: Vec<One>,
    /// Bytes that may still come out between two codings.
    between: usize,
}

impl Decoder {
    /// Makes a decoder that takes off these codings, which were applied in this order.
    pub(crate) fn new(codings: &[Coding]) -> io::Result<Self> {
        let chain = codings.iter().rev().map(|coding| One::new(*coding)).collect::<io::Result<_>>()?;
        Ok(Self { chain, between: MAX_BETWEEN_BYTES })
    }

    /// Takes note of what came out between two codings.
    fn pass_between(&mut self, bytes: usize) -> Result<(), Undecodable> {
        self.between = self.between.checked_sub(bytes).ok_or(Undecodable::TooLarge)?;
        Ok(())
    }

    /// Decodes a piece: at most `max_bytes` of it.
    pub(crate) fn push(&mut self, data: &[u8], max_bytes: usize) -> Result<Vec<u8>, Undecodable> {
        let mut out = Vec::new();
        for step in data.chunks(STEP_BYTES) {
            self.between = self.between.saturating_add(step.len().saturating_mul(MAX_BETWEEN_RATIO));
            let mut step = step.to_vec();
            let last = self.chain.len().saturating_sub(1);
            for at in 0..self.chain.len() {
                let bound = if at == last { max_bytes - out.len() } else { MAX_BETWEEN_BYTES };
                step = self.chain[at].push(&step, bound)?;
                if at != last {
                    self.pass_between(step.len())?;
                }
            }
            if out.len() + step.len() > max_bytes {
                return Err(Undecodable::TooLarge);
            }
            out.append(&mut step);
        }
        Ok(out)
    }

    /// Ends the body: says whether it was whole, and gives what was still held back, at most `max_bytes`.
    pub(crate) fn finish(&mut self, max_bytes: usize) -> Result<Vec<u8>, Undecodable> {
        let mut carried = Vec::new();
        let last = self.chain.len().saturating_sub(1);
        for (at, one) in self.chain.iter_mut().enumerate() {
            let bound = if at == last { max_bytes } else { MAX_BETWEEN_BYTES };
            let mut out = if carried.is_empty() { Vec::new() } else { one.push(&carried, bound)? };
            out.append(&mut one.finish(bound - out.len())?);
            carried = out;
        }
        Ok(carried)
    }
}

/// Decodes a whole body of which at most `max_bytes` are wanted.
pub(crate) fn decode<'a>(
    codings: &[Coding],
    pieces: impl IntoIterator<Item = &'a Bytes>,
    max_bytes: usize,
) -> Result<Bytes, Undecodable> {
    let mut decoder = Decoder::new(codings).map_err(|error| Undecodable::Broken(error.to_string()))?;
    let mut out = Vec::new();
    for piece in pieces {
        out.append(&mut decoder.push(piece, max_bytes - out.len())?);
    }
    out.append(&mut decoder.finish(max_bytes - out.len())?);
    Ok(out.into())
}

/// Takes what a decoder writes, up to a bound.
#[derive(Default)]
struct Sink {
    data: Vec<u8>,
    max_bytes: usize,
    overflowed: bool,
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.data.len() + data.len() > self.max_bytes {
            self.overflowed = true;
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.data.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One coding being taken off.
enum One {
    /// Nothing came yet: a body of no bytes decodes to none, whatever its coding. `deflate` also needs its first two
    /// bytes to tell zlib, which it is by the RFC, from the raw deflate of some origins (RFC 1950 section 2.2).
    Unopened(Coding, Vec<u8>),
    Gzip(GzDecoder<Sink>),
    Zlib(ZlibDecoder<Sink>),
    Raw(DeflateDecoder<Sink>),
    Brotli(Box<DecompressorWriter<Sink>>),
    Zstd(zstd::stream::write::Decoder<'static, Sink>),
    /// After the last gzip member: what follows is padding, which curl and the browsers pass over too.
    Over,
}

impl One {
    fn new(coding: Coding) -> io::Result<Self> {
        Ok(Self::Unopened(coding, Vec::new()))
    }

    fn push(&mut self, data: &[u8], max_bytes: usize) -> Result<Vec<u8>, Undecodable> {
        let joined;
        let mut data = data;
        if let Self::Unopened(coding, held) = self {
            held.extend_from_slice(data);
            if held.is_empty() || (*coding == Coding::Deflate && held.len() < 2) {
                return Ok(Vec::new());
            }
            joined = std::mem::take(held);
            *self = Self::open(*coding, &joined).map_err(|error| broken(&error))?;
            data = &joined;
        }
        if let Self::Gzip(_) = self {
            let mut out = Vec::new();
            return self.gzip(data, max_bytes, &mut out).map(|()| out);
        }
        self.bound(max_bytes);
        let written = match self {
            Self::Zlib(decoder) => decoder.write_all(data).and_then(|()| decoder.flush()),
            Self::Raw(decoder) => decoder.write_all(data).and_then(|()| decoder.flush()),
            Self::Brotli(decoder) => decoder.write_all(data).and_then(|()| decoder.flush()),
            Self::Zstd(decoder) => decoder.write_all(data).and_then(|()| decoder.flush()),
            Self::Gzip(_) | Self::Unopened(..) | Self::Over => Ok(()),
        };
        self.taken(written)
    }

    fn open(coding: Coding, start: &[u8]) -> io::Result<Self> {
        let sink = Sink::default();
        let is_zlib = matches!(start, [cmf, flg, ..]
            if cmf & 0x0f == 8 && (u16::from(*cmf) << 8 | u16::from(*flg)).is_multiple_of(31));
        Ok(match coding {
            Coding::Gzip => Self::Gzip(GzDecoder::new(sink)),
            Coding::Deflate if is_zlib => Self::Zlib(ZlibDecoder::new(sink)),
            Coding::Deflate => Self::Raw(DeflateDecoder::new(sink)),
            Coding::Brotli => Self::Brotli(Box::new(DecompressorWriter::new(sink, BROTLI_BUFFER_BYTES))),
            Coding::Zstd => {
                let mut decoder = zstd::stream::write::Decoder::new(sink)?;
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
                Self::Zstd(decoder)
            }
        })
    }

    /// One gzip member after the other (RFC 1952 section 2.2).
    fn gzip(&mut self, mut data: &[u8], max_bytes: usize, out: &mut Vec<u8>) -> Result<(), Undecodable> {
        while !data.is_empty() {
            let Self::Gzip(member) = self else { return Ok(()) };
            member.get_mut().max_bytes = max_bytes - out.len();
            let mut taken = 0;
            let written = member.write(data).and_then(|count| {
                taken = count;
                member.flush()
            });
            out.append(&mut self.taken(written)?);
            data = &data[taken..];
            if taken == 0 {
                // The member is over.
                out.append(&mut self.finish(max_bytes - out.len())?);
                *self = match data {
                    [0x1f, ..] => Self::Gzip(GzDecoder::new(Sink::default())),
                    _ => Self::Over,
                };
            }
        }
        Ok(())
    }

    fn finish(&mut self, max_bytes: usize) -> Result<Vec<u8>, Undecodable> {
        if let Self::Unopened(_, held) = self {
            return if held.is_empty() {
                Ok(Vec::new())
            } else {
                Err(Undecodable::Broken("the body is cut short".into()))
            };
        }
        self.bound(max_bytes);
        let finished = match self {
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Zlib(decoder) => decoder.try_finish(),
            Self::Raw(decoder) => decoder.try_finish(),
            Self::Brotli(decoder) => decoder.close(),
            Self::Zstd(decoder) => decoder.flush(),
            Self::Unopened(..) | Self::Over => Ok(()),
        };
        self.taken(finished)
    }

    fn sink(&mut self) -> Option<&mut Sink> {
        match self {
            Self::Gzip(decoder) => Some(decoder.get_mut()),
            Self::Zlib(decoder) => Some(decoder.get_mut()),
            Self::Raw(decoder) => Some(decoder.get_mut()),
            Self::Brotli(decoder) => Some(decoder.get_mut()),
            Self::Zstd(decoder) => Some(decoder.get_mut()),
            Self::Unopened(..) | Self::Over => None,
        }
    }

    fn bound(&mut self, max_bytes: usize) {
        if let Some(sink) = self.sink() {
            sink.max_bytes = max_bytes;
        }
    }

    /// What came out of a step that ended so.
    fn taken(&mut self, result: io::Result<()>) -> Result<Vec<u8>, Undecodable> {
        let sink = self.sink();
        if sink.as_ref().is_some_and(|sink| sink.overflowed) {
            return Err(Undecodable::TooLarge);
        }
        result.map_err(|error| broken(&error))?;
        Ok(sink.map(|sink| std::mem::take(&mut sink.data)).unwrap_or_default())
    }
}

fn broken(error: &io::Error) -> Undecodable {
    Undecodable::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

    fn text() -> Bytes {
        "the same words again and again; ".repeat(2_000).into()
    }

    #[test]
    fn what_was_put_on_comes_off_however_it_is_cut() {
        for codings in ALL.map(|one| vec![one]).into_iter().chain([vec![Coding::Gzip, Coding::Brotli]]) {
            let coded = encode(&codings, text()).unwrap();
            assert!(coded.len() < text().len(), "{codings:?}");
            for size in [1, 7, 5_000, coded.len()] {
                let pieces: Vec<Bytes> = coded.chunks(size).map(Bytes::copy_from_slice).collect();
                let whole = decode(&codings, &pieces, text().len());
                assert!(whole.as_ref() == Ok(&text()), "{codings:?} {size} {:?}", whole.err());
                let too_few = decode(&codings, &pieces, text().len() - 1);
                assert!(too_few == Err(Undecodable::TooLarge), "{codings:?} {size}");
            }
        }
    }

    #[test]
    fn pieces_come_out_as_soon_as_they_are_there() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(b"first").unwrap();
        encoder.flush().unwrap();
        let mut decoder = Decoder::new(&[Coding::Gzip]).unwrap();
        assert_eq!(decoder.push(encoder.get_ref(), 100).unwrap(), b"first");
    }

    #[test]
    fn a_body_of_no_bytes_decodes_to_none_and_a_broken_one_says_so() {
        for coding in ALL {
            assert_eq!(decode(&[coding], &[], 10), Ok(Bytes::new()), "{coding:?}");
            let broken = decode(&[coding], &[Bytes::from_static(b"\xff\xfeno such coding at all")], 100);
            assert!(matches!(broken, Err(Undecodable::Broken(_))), "{coding:?}: {broken:?}");
        }
    }

    #[test]
    fn bombs_are_stopped_at_the_bound() {
        for coding in ALL {
            let bomb = encode(&[coding], vec![0; 64 << 20].into()).unwrap();
            assert!(bomb.len() < 100_000, "{coding:?}");
            assert_eq!(decode(&[coding], &[bomb], 1 << 20), Err(Undecodable::TooLarge), "{coding:?}");
        }
    }

    #[test]
    fn bombs_that_give_nothing_are_stopped_between_two_codings() {
        // Empty stored blocks (RFC 1951 section 3.2.4): the inner coding is all work and no content.
        let idle =
            |blocks: usize| -> Bytes { [&b"\0\0\0\xff\xff".repeat(blocks)[..], b"\x03\0"].concat().into() };
        let codings = [Coding::Deflate, Coding::Gzip];
        let bomb = encode(&[Coding::Gzip], idle(8 << 20)).unwrap();
        assert!(bomb.len() < 200_000, "{}", bomb.len());
        assert_eq!(decode(&codings, &[bomb], 1 << 20), Err(Undecodable::TooLarge));
        let harmless = encode(&[Coding::Gzip], idle(1_000)).unwrap();
        assert_eq!(decode(&codings, &[harmless], 10), Ok(Bytes::new()));
    }

    #[test]
    fn gzip_members_follow_each_other_and_padding_is_passed_over() {
        let member = encode(&[Coding::Gzip], "ab".into()).unwrap();
        let whole = [&member[..], &member[..], b"\0\0"].concat();
        for size in [1, 3, whole.len()] {
            let pieces: Vec<Bytes> = whole.chunks(size).map(Bytes::copy_from_slice).collect();
            assert_eq!(decode(&[Coding::Gzip], &pieces, 100).unwrap(), "abab", "{size}");
        }
    }

    #[test]
    fn deflate_may_be_raw() {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(b"raw").unwrap();
        let raw = Bytes::from(encoder.finish().unwrap());
        assert_eq!(decode(&[Coding::Deflate], &[raw], 100).unwrap(), "raw");
    }

    #[test]
    fn codings_are_read_in_their_order() {
        let mut headers = Headers::new();
        headers.push("Content-Encoding", "X-GZIP, identity");
        headers.push("content-encoding", " br");
        assert_eq!(codings(&headers), Ok(vec![Coding::Gzip, Coding::Brotli]));
        headers.push("content-encoding", "compress");
        assert_eq!(codings(&headers), Err("unknown content coding \"compress\"".into()));
    }
}
