//! The bytes of a HAR file, a buffer at a time: unpacked where they are packed, and with their place for error messages.

use std::{
    cell::Cell,
    io::{self, BufReader, Read},
};

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};

use crate::error::{Error, ErrorKind};

/// Bytes read from the file at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// The magic bytes of gzip (RFC 1952 section 2.3.1).
const GZIP: &[u8] = b"\x1f\x8b";

/// What reading did so far, shared with whoever tells of progress.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// Bytes taken from the file.
    pub(crate) bytes: Cell<u64>,
    /// Characters that were no Unicode and were replaced, since this was last taken.
    pub(crate) replaced: Cell<u64>,
}

/// Bytes with a look ahead.
pub(crate) struct Input<'g> {
    source: Box<dyn Read + 'g>,
    pub(crate) gauge: &'g Gauge,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    ended: bool,
    /// Line breaks before the buffer.
    lines: usize,
    /// Bytes of the line that the buffer begins in, before it.
    column: usize,
}

impl<'g> Input<'g> {
    /// Begins to read: gzip and zlib (mitmproxy's `.zhar`) are unpacked, a byte order mark is dropped.
    pub(crate) fn new(source: impl Read + 'g, gauge: &'g Gauge) -> Result<Self, Error> {
        let counted = Counted { source, bytes: &gauge.bytes };
        let mut input = Self::over(Box::new(counted), gauge);
        input.fill(4)?;
        let (is_gzip, is_zlib) = (input.ahead().starts_with(GZIP), is_zlib(input.ahead()));
        if is_gzip || is_zlib {
            let Self { source, buffer, start, end, .. } = input;
            let packed = BufReader::new(io::Cursor::new(buffer[start..end].to_vec()).chain(source));
            let unpacked: Box<dyn Read + 'g> = if is_gzip {
                Box::new(MultiGzDecoder::new(packed))
            } else {
                Box::new(ZlibDecoder::new(packed))
            };
            input = Self::over(unpacked, gauge);
            input.fill(4)?;
        }
        if let Some(form) = other_form(input.ahead()) {
            return Err(Error::with_source(
                ErrorKind::Input,
                io::Error::new(io::ErrorKind::InvalidData, form),
            ));
        }
        if input.ahead().starts_with(b"\xef\xbb\xbf") {
            input.start += 3;
        }
        Ok(input)
    }

    fn over(source: Box<dyn Read + 'g>, gauge: &'g Gauge) -> Self {
        Self {
            source,
            gauge,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            ended: false,
            lines: 0,
            column: 0,
        }
    }

    /// Reads until at least so many bytes are ahead, or the input ends.
    pub(crate) fn fill(&mut self, wanted: usize) -> Result<(), Error> {
        while !self.ended && self.end - self.start < wanted {
            self.leave_behind();
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::with_source(ErrorKind::Input, error)),
            }
        }
        Ok(())
    }

    /// Makes room in the buffer, and counts the lines that leave it.
    fn leave_behind(&mut self) {
        (self.lines, self.column) = self.place();
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }

    /// The bytes that are ahead in the buffer.
    pub(crate) fn ahead(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Whether the bytes ahead are the last.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Goes on by so many bytes, which are ahead.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// Line breaks before the next byte, and bytes before it in its line.
    fn place(&self) -> (usize, usize) {
        let passed = &self.buffer[..self.start];
        let lines = memchr::memchr_iter(b'\n', passed).count();
        let column =
            memchr::memrchr(b'\n', passed).map_or(self.column + passed.len(), |last| passed.len() - last - 1);
        (self.lines + lines, column)
    }

    /// An error about the next byte.
    pub(crate) fn not_json(&self, reason: impl Into<String>) -> Error {
        let (lines, column) = self.place();
        let column = column + usize::from(!self.ahead().is_empty());
        Error::new(ErrorKind::NotJson { line: lines + 1, column, reason: reason.into() })
    }
}

/// Counts what is read.
struct Counted<'g, R> {
    source: R,
    bytes: &'g Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.bytes.set(self.bytes.get() + read as u64);
        Ok(read)
    }
}

/// The beginning of zlib (RFC 1950 section 2.2), which no JSON begins with.
fn is_zlib(ahead: &[u8]) -> bool {
    matches!(ahead, [first @ 0x78, second, ..] if (u16::from(*first) << 8 | u16::from(*second)).is_multiple_of(31))
}

/// Names what a file is by its first bytes where it is no JSON in UTF-8, which a JSON reader would not say.
fn other_form(ahead: &[u8]) -> Option<&'static str> {
    match ahead {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, b'{', ..] | [b'{', 0, ..] => {
            Some("it is text in UTF-16; save it as UTF-8")
        }
        [b'P', b'K', 3, 4, ..] => Some("it is a ZIP archive; unpack it first"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("it is compressed with zstd; unpack it first"),
        _ => None,
    }
}
