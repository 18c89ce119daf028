//! HTTP messages as RFC 9112 writes them.

use std::io::{Read, Write};

use capture_store::{BodySide, Exchange, ExchangeKind, Store};
use http::Version;
use proxy_core::{Headers, ResponseHead};

use super::form::{Note, RenderError, open, read_full};

/// Bytes of a body written at once, and in one chunk.
const PIECE_BYTES: usize = 64 * 1024;

/// Writes the request and its responses, interim ones included, one after the other: start line, fields in their order and
/// case, body as it was on the wire with its content coding. Says what is left out.
///
/// Messages of HTTP/2 are written in the form of HTTP/1 with `HTTP/2` as their version, and `host` for `:authority`. Where
/// `Transfer-Encoding: chunked` says so, the body is in chunks; where they were on the wire is not recorded.
///
/// # Errors
/// When a body cannot be read.
pub fn raw(store: &Store, exchange: &Exchange, out: &mut dyn Write) -> Result<Vec<Note>, RenderError> {
    let mut notes = Vec::new();
    let head = &exchange.request;
    let mut text = format!("{} {} {:?}\r\n", head.method, head.target, Shown(head.version)).into_bytes();
    if head.version == Version::HTTP_2 && !head.headers.contains("host") {
        text.extend_from_slice(format!("host: {}\r\n", head.authority).as_bytes());
    }
    let message = Message {
        exchange,
        side: BodySide::Request,
        headers: &head.headers,
        trailers: &exchange.request_trailers,
        version: head.version,
    };
    message.write(store, text, (&mut *out, &mut notes))?;
    for interim in &exchange.informational {
        let mut text = start_line(interim);
        add_fields(&mut text, &interim.headers);
        out.write_all(&text).map_err(RenderError::Write)?;
    }
    if let Some(response) = &exchange.response {
        let message = Message {
            exchange,
            side: BodySide::Response,
            headers: &response.headers,
            trailers: &exchange.response_trailers,
            version: response.version,
        };
        message.write(store, start_line(response), (&mut *out, &mut notes))?;
    }
    if exchange.summary.kind != ExchangeKind::Http {
        notes.push(Note::Stream);
    }
    Ok(notes)
}

/// A version as start lines show it.
struct Shown(Version);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Version::HTTP_09 => "HTTP/0.9",
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2",
            Version::HTTP_3 => "HTTP/3",
            _ => "HTTP/1.1",
        })
    }
}

fn start_line(head: &ResponseHead) -> Vec<u8> {
    let mut line = format!("{:?} {} ", Shown(head.version), head.status.as_str()).into_bytes();
    line.extend_from_slice(head.reason.as_deref().unwrap_or_default());
    line.extend_from_slice(b"\r\n");
    line
}

/// Adds fields and the empty line after them.
fn add_fields(text: &mut Vec<u8>, headers: &Headers) {
    for header in headers.iter() {
        text.extend_from_slice(&header.name);
        text.extend_from_slice(b": ");
        text.extend_from_slice(&header.value);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
}

/// One of the two messages that may have a body.
struct Message<'e> {
    exchange: &'e Exchange,
    side: BodySide,
    headers: &'e Headers,
    trailers: &'e Headers,
    version: Version,
}

impl Message<'_> {
    fn write(
        &self,
        store: &Store,
        mut text: Vec<u8>,
        (out, notes): (&mut dyn Write, &mut Vec<Note>),
    ) -> Result<(), RenderError> {
        add_fields(&mut text, self.headers);
        out.write_all(&text).map_err(RenderError::Write)?;
        let chunked =
            self.version != Version::HTTP_2 && self.headers.has_token("transfer-encoding", "chunked");
        if !self.trailers.is_empty() && !chunked {
            notes.push(Note::Trailers(self.side));
        }
        let body = open(store, self.exchange, self.side, notes)?;
        // The response to HEAD, 204 and 304 have no body, whatever their fields say.
        let has_body = body.is_some();
        let mut reader: Box<dyn Read + Send> = match body {
            Some(body) => body.into_reader(),
            None => Box::new(std::io::empty()),
        };
        let seq = self.exchange.summary.seq;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = read_full(seq, &mut reader, &mut piece)?;
            if read == 0 {
                break;
            }
            let written = if chunked {
                write!(out, "{read:x}\r\n")
                    .and_then(|()| out.write_all(&piece[..read]))
                    .and_then(|()| out.write_all(b"\r\n"))
            } else {
                out.write_all(&piece[..read])
            };
            written.map_err(RenderError::Write)?;
        }
        if chunked && (has_body || !self.is_bodiless()) {
            let mut end = b"0\r\n".to_vec();
            add_fields(&mut end, self.trailers);
            out.write_all(&end).map_err(RenderError::Write)?;
        }
        Ok(())
    }

    /// Whether there is no body by what the messages are (RFC 9110 section 6.4.1).
    fn is_bodiless(&self) -> bool {
        let status = self.exchange.response.as_ref().map(|response| response.status.as_u16());
        self.side == BodySide::Response
            && (self.exchange.request.method == http::Method::HEAD
                || matches!(status, Some(100..=199 | 204 | 304)))
    }
}
