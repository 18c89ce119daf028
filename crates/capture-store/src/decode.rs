//! Taking the content coding off a body (RFC 9110 section 8.4), lazily and in constant memory.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use proxy_core::Headers;

use crate::{charset, record::Decoded, summary::lossy};

type Reader = Box<dyn Read + Send>;

/// Codings applied one upon the other at most; real bodies have one or two.
const MAX_CODINGS: usize = 8;
/// The buffer each coding reads through.
const BUFFER_BYTES: usize = 16 * 1024;
/// A zstd frame may ask its reader for a window of 2^27 bytes (128 MiB) at most, the library's own default. RFC 9659
/// allows 8 MiB on the web; files that were stored compressed ask for more.
const MAX_ZSTD_WINDOW_LOG: u32 = 27;

/// Takes off the codings that `content_encoding` names, the last applied first. One that is not known, or data that
/// does not follow its coding, is an error of kind `InvalidData` when it is read.
pub(crate) fn decoded_reader(raw: Reader, content_encoding: Option<&str>) -> Reader {
    let codings: Vec<_> = codings(content_encoding).collect();
    if codings.len() > MAX_CODINGS {
        return fail(format!("more than {MAX_CODINGS} content codings"));
    }
    codings.iter().rev().fold(raw, |reader, coding| decoder(reader, coding))
}

/// Reads at most `max_bytes` of the decoded body.
pub(crate) fn decode(mut raw: Reader, content_encoding: Option<&str>, max_bytes: usize) -> Decoded {
    if codings(content_encoding).next().is_none() {
        let (bytes, truncated, problem) = read_bounded(raw, max_bytes);
        return Decoded { bytes, truncated, problem };
    }
    // The raw beginning is kept: where nothing decodes, it is the answer.
    let mut beginning = Vec::new();
    let read = raw.by_ref().take(max_bytes as u64).read_to_end(&mut beginning);
    if let Err(error) = read {
        return Decoded { bytes: beginning.into(), truncated: true, problem: Some(error.to_string()) };
    }
    let beginning = Bytes::from(beginning);
    let whole = Cursor::new(beginning.clone()).chain(raw);
    let (bytes, truncated, problem) =
        read_bounded(decoded_reader(Box::new(whole), content_encoding), max_bytes);
    if bytes.is_empty() && problem.is_some() {
        return Decoded { truncated: beginning.len() == max_bytes, bytes: beginning, problem };
    }
    Decoded { bytes, truncated, problem }
}

/// The codings that change bytes, in the order they were applied.
fn codings(content_encoding: Option<&str>) -> impl Iterator<Item = String> + '_ {
    content_encoding
        .unwrap_or("")
        .split(',')
        .map(|coding| coding.trim().to_ascii_lowercase())
        .filter(|coding| !coding.is_empty() && coding != "identity")
}

/// Whether a body that begins with `start`, under these fields, is UTF-8 or bytes as it is: nothing is to be taken off.
pub(crate) fn is_plain(headers: &Headers, start: &[u8]) -> bool {
    let coded =
        headers.get_all("content-encoding").any(|value| codings(Some(&lossy(value))).next().is_some());
    let content_type = headers.get("content-type").map(|value| lossy(value));
    !coded && !charset::names_foreign(content_type.as_deref()) && charset::foreign(None, start).is_none()
}

fn decoder(reader: Reader, coding: &str) -> Reader {
    let source = Some(BufReader::with_capacity(BUFFER_BYTES, reader));
    Box::new(Unopened { source, coding: coding.to_owned(), decoder: Box::new(io::empty()) })
}

/// A decoder that is made when the first byte is there: a body of no bytes decodes to none, whatever its coding.
struct Unopened {
    source: Option<BufReader<Reader>>,
    coding: String,
    decoder: Reader,
}

impl Read for Unopened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(source) = &mut self.source
            && !source.fill_buf()?.is_empty()
            && let Some(source) = self.source.take()
        {
            self.decoder = open(source, &self.coding);
        }
        self.decoder.read(buffer)
    }
}

fn open(buffered: BufReader<Reader>, coding: &str) -> Reader {
    match coding {
        "gzip" | "x-gzip" => {
            Box::new(Coded { inner: Gzip { member: Some(GzDecoder::new(buffered)) }, coding: "gzip" })
        }
        "deflate" => Box::new(Coded { inner: Deflate::Unknown(buffered), coding: "deflate" }),
        "br" => Box::new(Coded { inner: brotli::Decompressor::new(buffered, BUFFER_BYTES), coding: "br" }),
        "zstd" => zstd_decoder(buffered),
        other => fail(format!("unknown content coding {other:?}")),
    }
}

fn zstd_decoder(reader: BufReader<Reader>) -> Reader {
    let decoder = zstd::stream::read::Decoder::with_buffer(reader)
        .and_then(|mut decoder| decoder.window_log_max(MAX_ZSTD_WINDOW_LOG).map(|()| decoder));
    match decoder {
        Ok(inner) => Box::new(Coded { inner, coding: "zstd" }),
        Err(error) => fail(error.to_string()),
    }
}

fn fail(problem: String) -> Reader {
    Box::new(Failing { problem })
}

fn read_bounded(reader: Reader, max_bytes: usize) -> (Bytes, bool, Option<String>) {
    let mut bytes = Vec::new();
    let outcome = reader.take((max_bytes as u64).saturating_add(1)).read_to_end(&mut bytes);
    let truncated = bytes.len() > max_bytes;
    bytes.truncate(max_bytes);
    let problem = outcome.err().filter(|_| !truncated).map(|error| error.to_string());
    (bytes.into(), truncated, problem)
}

/// A decoder whose errors say which coding was broken. Errors of the disk below keep their kind.
struct Coded<R> {
    inner: R,
    coding: &'static str,
}

impl<R: Read> Read for Coded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            if error.raw_os_error().is_some() || error.kind() == io::ErrorKind::Interrupted {
                return error;
            }
            io::Error::new(io::ErrorKind::InvalidData, format!("broken {} data: {error}", self.coding))
        })
    }
}

/// One gzip member after the other (RFC 1952 section 2.2). What follows the last and is none is padding or a remainder,
/// which curl and the browsers pass over too.
struct Gzip<R> {
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(ended) = self.member.take() else { break };
            let mut rest = ended.into_inner();
            if matches!(rest.fill_buf()?, [0x1f] | [0x1f, 0x8b, ..]) {
                self.member = Some(GzDecoder::new(rest));
            }
        }
        Ok(0)
    }
}

/// `deflate` is zlib by the RFC and raw deflate by some origins; the first two bytes tell (RFC 1950 section 2.2).
enum Deflate<R: BufRead> {
    Unknown(R),
    Zlib(ZlibDecoder<R>),
    Raw(DeflateDecoder<R>),
    Taken,
}

impl<R: BufRead> Read for Deflate<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Self::Unknown(reader) = self {
            let start = reader.fill_buf()?;
            let zlib = start.first().is_some_and(|cmf| cmf & 0x0f == 8)
                && start.get(1).is_none_or(|flg| (u16::from(start[0]) << 8 | u16::from(*flg)) % 31 == 0);
            let Self::Unknown(reader) = std::mem::replace(self, Self::Taken) else { return Ok(0) };
            *self = if zlib {
                Self::Zlib(ZlibDecoder::new(reader))
            } else {
                Self::Raw(DeflateDecoder::new(reader))
            };
        }
        match self {
            Self::Zlib(decoder) => decoder.read(buffer),
            Self::Raw(decoder) => decoder.read(buffer),
            Self::Unknown(_) | Self::Taken => Ok(0),
        }
    }
}

/// A reader that only fails.
struct Failing {
    problem: String,
}

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::new(io::ErrorKind::InvalidData, self.problem.clone()))
    }
}
