//! Message compression (RFC 7692) with a window kept from message to message.

use std::io;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// What every compressed message ends with, and is sent without (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// One side's compressor and decompressor.
#[derive(Debug)]
pub(crate) struct Deflate {
    compress: Compress,
    decompress: Decompress,
}

impl Deflate {
    pub(crate) fn new() -> Self {
        Self { compress: Compress::new(Compression::default(), false), decompress: Decompress::new(false) }
    }

    /// Compresses one message.
    pub(crate) fn compress(&mut self, message: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(message.len() + 64);
        let mut rest = message;
        loop {
            let before = self.compress.total_in();
            self.compress.compress_vec(rest, &mut out, FlushCompress::Sync).map_err(io::Error::other)?;
            rest = unread(rest, self.compress.total_in() - before);
            if rest.is_empty() && out.len() < out.capacity() {
                break;
            }
            out.reserve(out.capacity());
        }
        if out.ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
        }
        Ok(out)
    }

    /// Inflates one message.
    pub(crate) fn inflate(&mut self, message: &[u8]) -> io::Result<Vec<u8>> {
        let message = [message, &TAIL].concat();
        let mut out = Vec::with_capacity(message.len() * 4 + 64);
        let mut rest = message.as_slice();
        loop {
            let (before, length) = (self.decompress.total_in(), out.len());
            self.decompress
                .decompress_vec(rest, &mut out, FlushDecompress::Sync)
                .map_err(io::Error::other)?;
            rest = unread(rest, self.decompress.total_in() - before);
            if rest.is_empty() && (out.len() < out.capacity() || out.len() == length) {
                return Ok(out);
            }
            out.reserve(out.capacity());
        }
    }
}

fn unread(input: &[u8], taken: u64) -> &[u8] {
    usize::try_from(taken).ok().and_then(|taken| input.get(taken..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_inflate_in_order_with_a_shared_window() {
        let (mut from, mut to) = (Deflate::new(), Deflate::new());
        let large = crate::body::pattern_bytes(200_000);
        for message in [b"hello".as_slice(), b"hello", b"", &large, b"hello"] {
            let wire = from.compress(message).unwrap();
            assert!(to.inflate(&wire).unwrap() == message, "a message of {} bytes", message.len());
        }
    }

    #[test]
    fn hello_inflates_from_the_example_of_the_rfc() {
        // RFC 7692 section 7.2.3.1 and, with the window kept, 7.2.3.2.
        let mut deflate = Deflate::new();
        let first = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(deflate.inflate(&first).unwrap(), b"Hello");
        assert_eq!(deflate.inflate(&[0xf2, 0x00, 0x11, 0x00, 0x00]).unwrap(), b"Hello");
    }
}
