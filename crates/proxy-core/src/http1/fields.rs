//! Field lines (RFC 9112 section 5): one name, one value, nothing guessed.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr2_iter, memchr3};

use super::{
    error::HeadError,
    lines::{LineEnds, lines},
};
use crate::head::{Header, Headers};

/// What to make of field lines that a sender must not send: lines that continue the one before them (obs-fold,
/// RFC 9112 section 5.2), and whitespace before the colon (section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blemishes {
    /// They are errors. For requests and trailers.
    Refuse,
    /// A fold becomes one space, and the whitespace goes, as a proxy must see to. For heads of responses.
    Mend,
}

/// Parses the field lines of `section` from `at` to its empty line. Names and values share its memory.
pub(super) fn fields(
    section: &Bytes,
    at: usize,
    ends: LineEnds,
    blemishes: Blemishes,
    capacity: usize,
) -> Result<Headers, HeadError> {
    let mut fields: Vec<Header> = Vec::with_capacity(capacity);
    check_section(section, at)?;
    for line in lines(section, at, ends) {
        let line = line?;
        if matches!(section[line.start], b' ' | b'\t') {
            match (blemishes, fields.last_mut()) {
                (Blemishes::Mend, Some(field)) => field.value = joined(&field.value, &section[line]),
                (Blemishes::Refuse, Some(_)) => {
                    return Err(HeadError::malformed("field value goes on in the next line (obs-fold)"));
                }
                (_, None) => return Err(HeadError::malformed("first field line begins with whitespace")),
            }
        } else {
            fields.push(field(section, line, blemishes)?);
        }
    }
    Ok(fields.into_iter().collect())
}

/// Checks that no CR stands by itself in a section, and no NUL: once for all lines, which is what most heads come to.
fn check_section(section: &[u8], at: usize) -> Result<(), HeadError> {
    let section = section.get(at..).unwrap_or_default();
    let is_line_end = |at: usize| section[at] == b'\r' && section.get(at + 1) == Some(&b'\n');
    match memchr2_iter(b'\r', 0, section).all(is_line_end) {
        true => Ok(()),
        false => Err(HeadError::malformed("field line holds a bare CR or a NUL")),
    }
}

fn field(section: &Bytes, line: Range<usize>, blemishes: Blemishes) -> Result<Header, HeadError> {
    let Some(colon) = memchr(b':', &section[line.clone()]) else {
        return Err(HeadError::malformed("field line has no colon"));
    };
    let value_at = line.start + colon + 1;
    let mut name = line.start..line.start + colon;
    if blemishes == Blemishes::Mend {
        name.end = name.start + trim_ows(&section[name.clone()]).len();
    }
    if !is_token(&section[name.clone()]) {
        let text = match section[name.clone()].last() {
            None => "field name is empty",
            Some(b' ' | b'\t') => "whitespace between field name and colon",
            Some(_) => "field name is not a token",
        };
        return Err(HeadError::malformed(text));
    }
    let value = section[value_at..line.end].as_ref();
    let start = value_at + leading_ows(value);
    let end = start + trim_ows(value).len();
    Ok(Header::new(section.slice(name), section.slice(start..end)))
}

fn joined(value: &[u8], continuation: &[u8]) -> Bytes {
    let continuation = trim_ows(continuation);
    let mut joined = BytesMut::with_capacity(value.len() + 1 + continuation.len());
    joined.extend_from_slice(value);
    if !continuation.is_empty() {
        joined.extend_from_slice(b" ");
        joined.extend_from_slice(continuation);
    }
    joined.freeze()
}

/// Tells whether this is a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| TOKEN[usize::from(*byte)])
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

/// Takes optional whitespace, SP and HTAB and nothing else, off both ends (RFC 9110 section 5.6.3).
pub(super) fn trim_ows(value: &[u8]) -> &[u8] {
    let value = &value[leading_ows(value)..];
    let end = value.iter().rposition(|byte| !is_ows(*byte)).map_or(0, |last| last + 1);
    &value[..end]
}

fn leading_ows(value: &[u8]) -> usize {
    value.iter().position(|byte| !is_ows(*byte)).unwrap_or(value.len())
}

fn is_ows(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Tells whether a value may stand in a field line (RFC 9110 section 5.5): no CR, LF or NUL.
pub(super) fn is_field_value(value: &[u8]) -> bool {
    memchr3(b'\r', b'\n', 0, value).is_none()
}
