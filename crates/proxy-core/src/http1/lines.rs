//! Lines of a head or a trailer section: where they end, and where the section does.

use std::ops::Range;

use memchr::memchr;

use super::error::HeadError;

/// What ends a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnds {
    /// CRLF only: a bare LF is an error. For requests and chunked framing, where it is a way to smuggle.
    Crlf,
    /// CRLF or a bare LF (RFC 9112 section 2.2 allows it). For heads of responses, where origins differ.
    CrlfOrLf,
}

impl LineEnds {
    /// Takes the rest of the line end off a line that was cut before its LF.
    fn strip(self, line: &[u8]) -> Result<&[u8], HeadError> {
        match (line.strip_suffix(b"\r"), self) {
            (Some(line), _) => Ok(line),
            (None, Self::CrlfOrLf) => Ok(line),
            (None, Self::Crlf) => Err(HeadError::malformed("line ends in a bare LF")),
        }
    }

    /// The length of the empty line that `buf` begins with; 0 where there is none.
    pub(super) fn empty_line(self, buf: &[u8]) -> usize {
        match self {
            _ if buf.starts_with(b"\r\n") => 2,
            Self::CrlfOrLf if buf.starts_with(b"\n") => 1,
            _ => 0,
        }
    }
}

/// Looks for the empty line that ends a section, and remembers between reads how far it has looked.
#[derive(Clone, Debug, Default)]
pub(super) struct SectionScan {
    line_start: usize,
    looked: usize,
    lines: usize,
}

impl SectionScan {
    /// The length of the section with its empty line, once `buf` holds all of it.
    ///
    /// `buf` must be the same bytes as in the last call, with more at the end.
    pub(super) fn find_end(&mut self, buf: &[u8], ends: LineEnds) -> Result<Option<usize>, HeadError> {
        while let Some(offset) = memchr(b'\n', &buf[self.looked..]) {
            let at = self.looked + offset;
            let line = ends.strip(&buf[self.line_start..at])?;
            self.looked = at + 1;
            self.line_start = at + 1;
            if line.is_empty() {
                return Ok(Some(at + 1));
            }
            self.lines += 1;
        }
        self.looked = buf.len();
        Ok(None)
    }

    /// How many whole lines it has seen, without the empty one.
    pub(super) fn lines(&self) -> usize {
        self.lines
    }
}

/// Walks the lines of a whole section from `at`, as ranges without their line ends, up to its empty line.
pub(super) fn lines(
    section: &[u8],
    mut at: usize,
    ends: LineEnds,
) -> impl Iterator<Item = Result<Range<usize>, HeadError>> {
    std::iter::from_fn(move || {
        let length = memchr(b'\n', section.get(at..)?)?;
        let start = at;
        at += length + 1;
        match ends.strip(&section[start..start + length]) {
            Ok([]) => None,
            Ok(line) => Some(Ok(start..start + line.len())),
            Err(error) => Some(Err(error)),
        }
    })
}
