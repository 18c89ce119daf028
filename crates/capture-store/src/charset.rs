//! Taking the character encoding off a text, lazily and in constant memory, so that it is looked through as UTF-8.

use std::io::{self, Read};

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8};

/// What is decoded at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// The encoding that a content type names, where it is one whose bytes are not UTF-8's. UTF-16 is also told by its byte
/// order mark, which `start` may begin with.
pub(crate) fn foreign(content_type: Option<&str>, start: &[u8]) -> Option<&'static Encoding> {
    let named = content_type.and_then(charset).and_then(|label| Encoding::for_label(label.as_bytes()));
    let marked = Encoding::for_bom(start).map(|(encoding, _)| encoding);
    marked.or(named).filter(|encoding| *encoding != UTF_8)
}

/// Whether a content type names an encoding other than UTF-8 and its subset ASCII.
pub(crate) fn names_foreign(content_type: Option<&str>) -> bool {
    let label = content_type.and_then(charset);
    label.is_some_and(|label| {
        !label.eq_ignore_ascii_case("us-ascii")
            && Encoding::for_label(label.as_bytes()).is_none_or(|encoding| encoding != UTF_8)
    })
}

/// The `charset` parameter of a content type (RFC 9110 section 8.3.2).
fn charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })
}

/// Reads a text as UTF-8.
pub(crate) fn to_utf8(mut reader: Box<dyn Read + Send>, content_type: Option<&str>) -> Box<dyn Read + Send> {
    let mut start = [0; 4];
    let mut filled = 0;
    while filled < start.len() {
        match reader.read(&mut start[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Box::new(Failing(Some(error))),
        }
    }
    let start = start[..filled].to_vec();
    let foreign = foreign(content_type, &start);
    let whole = io::Cursor::new(start).chain(reader);
    match foreign {
        None => Box::new(whole),
        Some(encoding) => Box::new(Transcoder {
            source: whole,
            decoder: encoding.new_decoder(),
            input: Vec::new(),
            output: String::new(),
            given: 0,
            ended: false,
        }),
    }
}

struct Transcoder<R> {
    source: R,
    decoder: Decoder,
    /// What was read and is not decoded.
    input: Vec<u8>,
    output: String,
    /// What of `output` was given.
    given: usize,
    ended: bool,
}

impl<R: Read> Transcoder<R> {
    fn fill(&mut self) -> io::Result<()> {
        self.output.clear();
        self.given = 0;
        while self.output.is_empty() && !self.ended {
            let start = self.input.len();
            self.input.resize(start + CHUNK_BYTES, 0);
            let read = self.source.read(&mut self.input[start..]);
            self.input.truncate(start + *read.as_ref().unwrap_or(&0));
            let last = read? == 0;
            self.output.reserve(self.decoder.max_utf8_buffer_length(self.input.len()).unwrap_or(0) + 16);
            let (result, taken, _) = self.decoder.decode_to_string(&self.input, &mut self.output, last);
            self.input.drain(..taken);
            self.ended = last && result == CoderResult::InputEmpty;
        }
        Ok(())
    }
}

impl<R: Read> Read for Transcoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.output.len() {
            self.fill()?;
        }
        let left = &self.output.as_bytes()[self.given..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.given += count;
        Ok(count)
    }
}

/// Fails once with what was found before, then ends.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_other_encodings_are_read_as_utf_8() {
        let utf_16: Vec<u8> =
            "\u{feff}caf\u{e9} \u{1f600}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (content_type, bytes, text) in [
            (Some("text/html; charset=ISO-8859-1"), b"caf\xe9".to_vec(), "caf\u{e9}"),
            (
                Some("text/plain; Charset=\"shift_jis\""),
                b"\x83e\x83X\x83g".to_vec(),
                "\u{30c6}\u{30b9}\u{30c8}",
            ),
            (Some("text/plain"), utf_16, "caf\u{e9} \u{1f600}"),
            (Some("application/json; charset=utf-8"), "caf\u{e9}".into(), "caf\u{e9}"),
            (Some("text/plain; charset=klingon"), b"x\xff"[..1].to_vec(), "x"),
            (None, Vec::new(), ""),
        ] {
            let mut read = String::new();
            to_utf8(Box::new(io::Cursor::new(bytes)), content_type).read_to_string(&mut read).unwrap();
            assert_eq!(read, text);
        }
        assert!(names_foreign(Some("a/b;charset=latin1")) && !names_foreign(Some("a/b; charset=UTF-8")));
        assert!(!names_foreign(Some("a/b")) && !names_foreign(None));
    }
}
