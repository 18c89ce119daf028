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

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const TLS: &str = "tls";
    const HTTP1: &str = "http1";
    const HTTP2: &str = "http2";
    const UNKNOWN: &str = "unknown";
    const MORE: &str = "need more";

    fn name(detected: &Detected) -> &'static str {
        match detected {
            Detected::NeedMore => MORE,
            Detected::Yes(Detection::Tls(_)) => TLS,
            Detected::Yes(Detection::Http1) => HTTP1,
            Detected::Yes(Detection::Http2) => HTTP2,
            Detected::Yes(Detection::Unknown) => UNKNOWN,
            Detected::Yes(Detection::Silent) => "silent",
        }
    }

    #[track_caller]
    fn check(cases: &[(&[u8], &str)]) {
        for (bytes, expected) in cases {
            assert_eq!(name(&detect(bytes, false)), *expected, "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn requests_and_prefaces_are_told_as_soon_as_they_are_sure() {
        check(&[
            (b"", MORE),
            // HTTP/1.
            (b"G", MORE),
            (b"GET", MORE),
            (b"GET ", MORE),
            (b"GET /", HTTP1),
            (b"get /", HTTP1),
            (b"\r\nGET /", HTTP1),
            (b"\r\n\r\n", MORE),
            (b"\r\n\r\n\r\nGET /", UNKNOWN),
            (b"M-SEARCH /", HTTP1),
            (b"GET http:/", MORE),
            (b"GET http://", HTTP1),
            (b"GET HTTPS://", HTTP1),
            (b"GET wss://", HTTP1),
            (b"GET httpx HTTP/1.1\r\n", HTTP1),
            (b"GET ftp://example.com/ HTTP/1.1\r\n", HTTP1),
            (b"OPTIONS *", MORE),
            (b"OPTIONS * HTTP/1.1\r", MORE),
            (b"OPTIONS * HTTP/1.1\r\n", HTTP1),
            (b"OPTIONS * HTTP/1.1\n", HTTP1),
            (b"CONNECT example.com:443 HTTP/1.0\r\n", HTTP1),
            (b"CONNECT example.com:443", MORE),
            (b"GET a b HTTP/1.1\r\n", HTTP1),
            // HTTP/2.
            (b"P", MORE),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", MORE),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP2),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0", HTTP2),
            (b"PRI * HTTP/2.0\r\n\r\nSN", UNKNOWN),
            (b"PRI /", HTTP1),
            (b"PRI * HTTP/1.1\r\n", HTTP1),
        ]);
    }

    #[test]
    fn what_only_begins_alike_is_unknown() {
        check(&[
            // TLS and what only begins like it.
            (b"\x16", MORE),
            (b"\x16\x03\x01\x02\x00\x01", MORE),
            (b"\x16\x02", UNKNOWN),
            (b"\x16\x03\x04", UNKNOWN),
            (b"\x16\x03\x01\x40\x01", UNKNOWN),
            (b"\x16\x03\x01\x00\x00", UNKNOWN),
            (b"\x16\x03\x01\x00\x05\x02", UNKNOWN),
            (b"\x16\x03\x01\x00\x05\x01\xff\x00\x00", UNKNOWN),
            (b"\x15\x03\x01\x00\x02\x02\x28", UNKNOWN),
            // A ClientHello of SSL 2.
            (b"\x80\x2e\x01\x03\x01", UNKNOWN),
            // Others.
            (b"\0", UNKNOWN),
            (b" GET /", UNKNOWN),
            (b"GET\t/", UNKNOWN),
            (b"GET \0", UNKNOWN),
            (b"GET  HTTP/1.1\r\n", UNKNOWN),
            (b"GET HTTP/1.1\r\n", UNKNOWN),
            (b"GET\r\n", UNKNOWN),
            (b"OPTIONS * HTTP/1.1\rx", UNKNOWN),
            (b"SSH-2.0-OpenSSH_9.6 Debian-1\r\n", UNKNOWN),
            (b"SSH-2.0-Go\r\n", UNKNOWN),
            (b"NICK guest\r\n", UNKNOWN),
            (b"get key\r\n", UNKNOWN),
            (b"*1\r\n$4\r\nPING\r\n", UNKNOWN),
            (b"OPTIONS rtsp://example.com RTSP/1.0\r\n", UNKNOWN),
            (b"REGISTER sip:example.com SIP/2.0\r\n", UNKNOWN),
            (b"OPTIONS * HTTP/2.0\r\n", UNKNOWN),
            (b"OPTIONS * HTTP/1.x\r\n", UNKNOWN),
            (b"\x05\x01\x00", UNKNOWN),
            (b"\x13BitTorrent protocol", UNKNOWN),
        ]);
    }

    #[test]
    fn methods_and_lines_have_a_bound() {
        for (bytes, expected) in [
            ([&[b'A'; MAX_METHOD_BYTES][..], b" /"].concat(), HTTP1),
            ([&[b'A'; MAX_METHOD_BYTES + 1][..]].concat(), UNKNOWN),
            ([b"CONNECT ", &[b'a'; MAX_REQUEST_LINE_BYTES - 9][..]].concat(), MORE),
            ([b"CONNECT ", &[b'a'; MAX_REQUEST_LINE_BYTES][..]].concat(), UNKNOWN),
        ] {
            assert_eq!(name(&detect(&bytes, false)), expected, "{} bytes", bytes.len());
        }
    }

    #[test]
    fn the_end_of_the_bytes_settles_what_was_open() {
        for bytes in [&b""[..], b"GET", b"PRI * HTTP/2.0\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"] {
            assert_eq!(detect(bytes, true), Detected::Yes(Detection::Unknown));
        }
        assert_eq!(detect(b"GET /", true), Detected::Yes(Detection::Http1));
    }

    /// Bytes that come close to being something.
    fn likely() -> impl Strategy<Value = Vec<u8>> {
        let words: [&[u8]; 18] = [
            b"GET",
            b"CONNECT",
            b" ",
            b"/",
            b"*",
            b"http:",
            b"HTTP/1.1",
            b"\r",
            b"\n",
            b"\r\n",
            b"PRI * HTTP/2.0",
            b"SM",
            b"\x16\x03\x01\x00\x05",
            b"\x01\x00\x00",
            b"\x16",
            b"\0",
            b"a:443",
            b"\x80",
        ];
        vec(prop_oneof![3 => prop::sample::select(words.to_vec()).prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 1..4)], 0..8)
            .prop_map(|words| words.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() })]

        #[test]
        fn an_answer_stays_whatever_follows(bytes in likely()) {
            let mut answer = Detected::NeedMore;
            for len in 0..=bytes.len() {
                let now = detect(&bytes[..len], false);
                prop_assert!(answer == Detected::NeedMore || answer == now, "{answer:?}, then {now:?}");
                prop_assert_ne!(detect(&bytes[..len], true), Detected::NeedMore);
                answer = now;
            }
        }
    }
}
