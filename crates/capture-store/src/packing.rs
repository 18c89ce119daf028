//! Compression of bodies by the store itself: one zstd frame (RFC 8878) each, told by a column of the body's row and
//! never by its bytes. What a peer encoded stays as it was, inside.

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    io::{self, BufReader, Read, Write},
    mem,
};

use crate::assemble::INLINE_BYTES;

/// zstd's level. JSON of 16 KiB takes 36 us at level 1, 43 at 3 and 308 at 9, and leaves 34, 34 and 32 % of its bytes.
const LEVEL: i32 = 1;
/// Bodies below this size are not worth the frame, nor the time to open it.
const LEAST_BYTES: usize = 1024;
/// What is looked at to tell whether bytes are text.
const LOOKED_AT: usize = 512;
/// Bytes of a frame below which it is kept, per 4 of the content: what saves less than a quarter is stored as it is.
const KEPT_QUARTERS: usize = 3;
/// The window a frame of ours may ask for: what level 1 uses at most, with room.
const MAX_WINDOW_LOG: u32 = 24;

/// Compresses bodies, one after the other, with one working memory.
pub(crate) struct Packer {
    /// `None` where zstd has no memory; everything is stored as it is then.
    zstd: Option<zstd::bulk::Compressor<'static>>,
    frame: Vec<u8>,
}

impl Packer {
    pub(crate) fn new() -> Self {
        Self { zstd: zstd::bulk::Compressor::new(LEVEL).ok(), frame: Vec::new() }
    }

    /// The frame of some content, where that is text and the frame is much shorter.
    pub(crate) fn pack(&mut self, content: &[u8]) -> Option<&[u8]> {
        if !is_packable(content) {
            return None;
        }
        let most = content.len() / 4 * KEPT_QUARTERS;
        self.frame.resize(most, 0);
        // A frame that does not fit is an error of zstd's, and not worth keeping.
        let length = self.zstd.as_mut()?.compress_to_buffer(content, &mut self.frame[..]).ok()?;
        self.frame.get(..length)
    }
}

/// Whether packing some content is worth trying.
pub(crate) fn is_packable(content: &[u8]) -> bool {
    content.len() >= LEAST_BYTES && is_texty(content)
}

/// Compresses a stream into a writer, which is flushed.
pub(crate) fn pack_stream(mut content: impl Read, frame: impl Write) -> io::Result<()> {
    let mut encoder = zstd::stream::write::Encoder::new(frame, LEVEL)?;
    io::copy(&mut content, &mut encoder)?;
    encoder.finish()?.flush()
}

/// Reads the content of a frame.
pub(crate) fn unpacked(frame: impl Read + Send + 'static) -> io::Result<impl Read + Send + 'static> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(BufReader::new(frame))?;
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    Ok(decoder)
}

/// Whether a frame's content is worth a look by whoever compresses: it begins like text, in whatever encoding of ASCII's
/// kin. What is compressed or encrypted already has control characters among its first bytes.
pub(crate) fn is_texty(content: &[u8]) -> bool {
    let start = &content[..content.len().min(LOOKED_AT)];
    !start.iter().any(|byte| matches!(byte, 0..=8 | 14..=26 | 28..=31 | 127))
}

/// Takes frames apart for a scan, one after the other, with one working memory.
pub(crate) struct Unpacker {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
    content: Vec<u8>,
}

impl Unpacker {
    pub(crate) fn new() -> Self {
        Self { zstd: zstd::bulk::Decompressor::new().ok(), content: Vec::new() }
    }

    /// As [`unpack`](Self::unpack), of a frame that stands in the database; `None` also where its content is longer than what
    /// does.
    pub(crate) fn unpack_stored(&mut self, frame: &[u8], length: u64) -> Option<&[u8]> {
        let length = usize::try_from(length).ok().filter(|length| *length <= INLINE_BYTES)?;
        self.unpack(frame, length)
    }

    /// The content of a frame, which has this length; `None` where the frame is damaged.
    fn unpack(&mut self, frame: &[u8], length: usize) -> Option<&[u8]> {
        self.content.resize(length, 0);
        let read = self.zstd.as_mut()?.decompress_to_buffer(frame, &mut self.content[..]).ok()?;
        self.content.get(..read)
    }
}

/// Hashes seen at most in each of two generations: some hundred thousand bodies in 3 MiB.
const REMEMBERED: usize = 65_536;

/// Which contents passed lately, by the beginning of their hash. What comes again is worth sharing; most never does,
/// and an index of all hashes would put a random write beside each append.
#[derive(Default)]
pub(crate) struct Repeats {
    now: HashSet<u64, OfHashes>,
    before: HashSet<u64, OfHashes>,
}

/// A map by content hash.
pub(crate) type ByHash<T> = HashMap<[u8; 32], T, OfHashes>;

/// Hashes what is a hash already: its first bytes, mixed with a seed of our own, so that contents made to begin alike do
/// not meet.
#[derive(Clone, Debug)]
pub(crate) struct OfHashes(u64);

impl Default for OfHashes {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for OfHashes {
    type Hasher = OfHash;

    fn build_hasher(&self) -> OfHash {
        OfHash(self.0)
    }
}

/// See [`OfHashes`].
pub(crate) struct OfHash(u64);

impl Hasher for OfHash {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.write_u64(u64::from_ne_bytes(*first));
        }
    }

    fn write_u64(&mut self, value: u64) {
        // Both halves of the product, so that each bit of the result depends on all (the finalizer of foldhash and wyhash).
        let product = u128::from(self.0 ^ value) * u128::from(self.0.rotate_left(32) | 1);
        let [low, high] = [product, product >> 64].map(|half| (half & u128::from(u64::MAX)) as u64);
        self.0 = low ^ high;
    }

    fn write_usize(&mut self, _length: usize) {
        // They are all as long.
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Repeats {
    /// Notes a content, and says whether it was seen before. One that is mistaken for another costs a look at the index.
    pub(crate) fn seen(&mut self, hash: &[u8; 32]) -> bool {
        let [a, b, c, d, e, f, g, h, ..] = *hash;
        let key = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        if self.now.len() >= REMEMBERED {
            self.before = mem::take(&mut self.now);
        }
        !self.now.insert(key) || self.before.contains(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_packed_and_comes_back_by_stream_and_at_once() {
        let mut packer = Packer::new();
        for content in
            [br#"{"name":"value","list":[1,2,3]}"#.repeat(40), "grün und blau, ".repeat(9_000).into_bytes()]
        {
            let frame = packer.pack(&content).unwrap().to_vec();
            assert!(frame.len() < content.len() / 4);
            let mut read = Vec::new();
            unpacked(io::Cursor::new(frame.clone())).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, content);
            assert_eq!(Unpacker::new().unpack(&frame, content.len()), Some(&content[..]));
            let mut streamed = Vec::new();
            pack_stream(&content[..], &mut streamed).unwrap();
            let mut read = Vec::new();
            unpacked(io::Cursor::new(streamed)).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, content);
        }
    }

    #[test]
    fn what_is_short_or_binary_or_does_not_shrink_is_left_as_it_is() {
        let mut packer = Packer::new();
        let noise: Vec<u8> =
            (0..4096_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let mut state = 88_172_645_463_325_252_u64;
        let mut letter = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            32 + u8::try_from(state % 94).unwrap()
        };
        let letters: Vec<u8> = (0..4096).map(|_| letter()).collect();
        for content in [&b"short"[..], &[0; 5000], &noise, &letters] {
            assert_eq!(packer.pack(content).map(<[u8]>::len), None, "{} bytes", content.len());
        }
    }

    #[test]
    fn a_damaged_frame_is_no_content() {
        let mut packer = Packer::new();
        let frame = packer.pack(&b"abc ".repeat(1000)).unwrap().to_vec();
        assert_eq!(Unpacker::new().unpack(&frame[..frame.len() - 3], 4000), None);
        let mut read = Vec::new();
        let cut = io::Cursor::new(frame[..frame.len() - 3].to_vec());
        assert!(unpacked(cut).unwrap().read_to_end(&mut read).is_err());
    }

    #[test]
    fn a_content_is_seen_the_second_time_until_many_others_came() {
        let mut repeats = Repeats::default();
        let hash = |n: u64| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_le_bytes());
            hash
        };
        assert!(!repeats.seen(&hash(1)));
        assert!(repeats.seen(&hash(1)));
        for n in 0..REMEMBERED as u64 * 3 {
            repeats.seen(&hash(1_000 + n));
        }
        assert!(!repeats.seen(&hash(1)));
    }
}
