//! Tells from its first bytes what a connection speaks (docs/design/004-detection.md).
//!
//! A pure function over bytes that were peeked at, not consumed; [`peek`](crate::peek) is the thin part that
//! reads them.

use crate::client_hello::{self, ClientHelloSummary, Parsed};

/// Bytes looked at before a connection counts as one nobody here speaks. Four times the ClientHello of a
/// browser with post-quantum key shares, resumption tickets and ECH.
pub(crate) const MAX_PEEKED_BYTES: usize = 64 * 1024;

/// What opens an HTTP/2 connection with prior knowledge (RFC 9113 section 3.4).
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The longest method taken for one; the registered ones have at most 17 letters.
const MAX_METHOD_BYTES: usize = 64;

/// The longest request line that has to be seen whole: one whose target alone does not tell.
const MAX_REQUEST_LINE_BYTES: usize = 8 * 1024;

/// Empty lines before a request line that a server should ignore (RFC 9112 section 2.2), in bytes.
const MAX_LEADING_NEWLINES: usize = 4;

/// Schemes of a request target in absolute form that only HTTP's clients send.
const SCHEMES: [&[u8]; 4] = [b"http://", b"https://", b"ws://", b"wss://"];

/// What a connection speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Detection {
    /// TLS, from its ClientHello.
    Tls(ClientHelloSummary),
    /// HTTP/1.x, from its request line.
    Http1,
    /// HTTP/2 with prior knowledge, from its preface.
    Http2,
    /// Something else.
    Unknown,
    /// Nothing so far, so its server speaks first. Only [`peek`](crate::peek::peek) can tell.
    Silent,
}

/// What [`detect`] can say yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Detected {
    /// The answer, which no further byte changes.
    Yes(Detection),
    /// More bytes have to come.
    NeedMore,
}

/// Tells what a connection speaks whose first bytes are `bytes`; with `eof` no more will come, and the answer is
/// always a [`Detected::Yes`].
///
/// An answer given without `eof` stays the same whatever follows, so it does not matter in what pieces the bytes
/// came.
pub(crate) fn detect(bytes: &[u8], eof: bool) -> Detected {
    let detected = match bytes.first() {
        None => None,
        Some(&client_hello::HANDSHAKE_RECORD) => match client_hello::parse(bytes) {
            Parsed::Yes(hello) => Some(Detection::Tls(hello)),
            Parsed::No => Some(Detection::Unknown),
            Parsed::NeedMore => None,
        },
        Some(_) if bytes.starts_with(HTTP2_PREFACE) => Some(Detection::Http2),
        Some(_) if HTTP2_PREFACE.starts_with(bytes) => None,
        Some(_) => http1(bytes).map(|yes| if yes { Detection::Http1 } else { Detection::Unknown }),
    };
    match detected {
        Some(detection) => Detected::Yes(detection),
        None if eof || bytes.len() >= MAX_PEEKED_BYTES => Detected::Yes(Detection::Unknown),
        None => Detected::NeedMore,
    }
}

/// Whether `bytes` begin an HTTP/1 request (RFC 9112 section 3); `None` while that is open.
///
/// A method and a space alone do not tell: `SSH-2.0-OpenSSH_9.6 Debian-1`, `NICK guest` and `get key` look the
/// same. A target that is a path or has a scheme of HTTP does; for any other (`*`, or the authority of a CONNECT)
/// the version at the line's end has to be seen.
fn http1(bytes: &[u8]) -> Option<bool> {
    let newlines = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    if newlines > MAX_LEADING_NEWLINES {
        return Some(false);
    }
    let line = &bytes[newlines..];
    let method = line.iter().take_while(|byte| is_token_char(**byte)).count();
    if method > MAX_METHOD_BYTES {
        return Some(false);
    }
    let (space, target) = line[method..].split_first()?;
    if method == 0 || *space != b' ' {
        return Some(false);
    }
    let scheme = |scheme: &&[u8]| target.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme));
    if *target.first()? == b'/' || SCHEMES.iter().any(scheme) {
        return Some(true);
    }
    let text = line.iter().take(MAX_REQUEST_LINE_BYTES).take_while(|byte| is_line_char(**byte)).count();
    match &line[text..] {
        [] => None,
        [b'\n', ..] => Some(ends_in_version(&line[..text])),
        [b'\r'] => None,
        [b'\r', b'\n', ..] => Some(ends_in_version(&line[..text])),
        _ => Some(false),
    }
}

/// Whether a line ends in a space and a version 1.x (RFC 9112 section 2.3), with a target before it.
fn ends_in_version(line: &[u8]) -> bool {
    let mut words = line.rsplitn(2, |byte| *byte == b' ');
    let version = words.next().unwrap_or_default();
    let target = words.next().and_then(|rest| rest.split(|byte| *byte == b' ').nth(1)).unwrap_or_default();
    matches!(version, [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9']) && !target.is_empty()
}

/// A character of a token (RFC 9110 section 5.6.2).
fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A character of a request line: no control, and bytes beyond ASCII as some clients send them.
fn is_line_char(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f
}
