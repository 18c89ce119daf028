//! A curl command that sends a recorded request again, byte for byte as far as curl goes.

use std::io::{Read, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use capture_store::{Body, BodySide, Exchange, ExchangeKind, Seq, Store};
use http::{Method, Version};
use proxy_core::{RequestHead, Scheme};

use super::{
    form::{Note, RenderError, open, read_full},
    shell::{is_readable, quoted, word},
};

/// Bodies up to this size are given as an argument, where they are text.
const INLINE_BYTES: usize = 16 * 1024;
/// Bytes of a body in a line of base64.
const LINE_BYTES: usize = 57;
/// What ends a body that is given as base64; no line of base64 has an underscore.
const END: &str = "END_OF_BODY";

/// Fields that curl adds by itself, unless it is told not to.
const ADDED: [&str; 2] = ["User-Agent", "Accept"];

/// Writes a command for a POSIX shell, one option to the line, that sends the exchange's request to where it went, in the
/// same HTTP version, with the same fields in the same order and case, and the same body. Says what it could not take along.
///
/// Fields of the framing (`Content-Length`) are curl's to make. Fields for the proxy itself are left out: the command goes
/// to the origin. A body that is not readable text comes as base64 on curl's standard input.
///
/// # Errors
/// When the exchange is a tunnel, which curl cannot repeat, or its body cannot be read.
pub fn curl(store: &Store, exchange: &Exchange, out: &mut dyn Write) -> Result<Vec<Note>, RenderError> {
    let seq = exchange.summary.seq;
    let head = &exchange.request;
    if exchange.summary.kind == ExchangeKind::Tunnel || head.method == Method::CONNECT {
        return Err(RenderError::NoSuchForm { exchange: seq, form: "curl", what: "a tunnel" });
    }
    let mut notes = Vec::new();
    let body = given(open(store, exchange, BodySide::Request, &mut notes)?, head, seq)?;
    if !exchange.request_trailers.is_empty() {
        notes.push(Note::Trailers(BodySide::Request));
    }
    if matches!(exchange.summary.kind, ExchangeKind::WebSocket | ExchangeKind::Upgrade) {
        notes.push(Note::Stream);
    }
    let mut words = vec!["curl -g --path-as-is".to_owned()];
    words[0].push_str(version(head));
    words.extend(method(head, &body).map(|method| format!("-X {}", quoted(method))));
    if head.method == Method::HEAD {
        words.push("--head".to_owned());
    }
    fields(head, &body, &mut words, &mut notes);
    words.extend(data(&body));
    words.extend(target(head));
    words.push(word(format!("{}://{}{}", head.scheme.as_str(), head.authority, path(head)).as_bytes()));
    let command = words.join(" \\\n  ");
    write(seq, &command, body, out)?;
    Ok(notes)
}

/// A request's body as the command has it.
enum Given {
    None,
    /// No bytes, and a length that says so.
    Empty,
    Text(String),
    /// On standard input: what was read of it, and the rest.
    Input(Vec<u8>, Box<dyn Read + Send>),
}

fn given(body: Option<Body>, head: &RequestHead, seq: Seq) -> Result<Given, RenderError> {
    let nothing = if is_empty_by_length(head) { Given::Empty } else { Given::None };
    let Some(body) = body else { return Ok(nothing) };
    let mut reader = body.into_reader();
    let mut start = vec![0; INLINE_BYTES + 1];
    let read = read_full(seq, &mut reader, &mut start)?;
    start.truncate(read);
    if start.is_empty() {
        return Ok(nothing);
    }
    if start.len() > INLINE_BYTES {
        return Ok(Given::Input(start, reader));
    }
    match String::from_utf8(start) {
        Ok(text) if text.chars().all(|letter| letter == '\n' || is_readable(letter)) => Ok(Given::Text(text)),
        Ok(text) => Ok(Given::Input(text.into_bytes(), reader)),
        Err(error) => Ok(Given::Input(error.into_bytes(), reader)),
    }
}

fn version(head: &RequestHead) -> &'static str {
    match head.version {
        Version::HTTP_10 => " --http1.0",
        Version::HTTP_2 if head.scheme == Scheme::Http => " --http2-prior-knowledge",
        Version::HTTP_2 => " --http2",
        _ => " --http1.1",
    }
}

/// The method, where curl would not choose it by itself.
fn method<'h>(head: &'h RequestHead, body: &Given) -> Option<&'h str> {
    let chosen = match body {
        Given::None if head.method == Method::HEAD => Method::HEAD,
        Given::None => Method::GET,
        _ => Method::POST,
    };
    (head.method != chosen).then_some(head.method.as_str())
}

/// Whether the request says that it has a body of no bytes.
fn is_empty_by_length(head: &RequestHead) -> bool {
    head.headers.get("content-length").is_some_and(|length| &length[..] == b"0")
}

fn fields(head: &RequestHead, body: &Given, words: &mut Vec<String>, notes: &mut Vec<Note>) {
    let mut removed: Vec<&str> = ADDED.to_vec();
    if head.version != Version::HTTP_2 {
        removed.push("Host");
    }
    if !matches!(body, Given::None) {
        removed.extend(["Content-Type", "Expect"]);
    }
    let implied = implied_host(head);
    for header in head.headers.iter() {
        if header.is("proxy-authorization") || header.is("proxy-connection") {
            if !notes.contains(&Note::ProxyFields) {
                notes.push(Note::ProxyFields);
            }
            continue;
        }
        let is_implied = header.is("host") && Some(&header.value[..]) == implied.map(str::as_bytes);
        if header.is("content-length") || header.name.starts_with(b":") || is_implied {
            continue;
        }
        let mut line = header.name.to_vec();
        if header.value.is_empty() {
            line.push(b';');
        } else {
            line.extend_from_slice(b": ");
            line.extend_from_slice(&header.value);
        }
        words.push(format!("-H {}", word(&line)));
    }
    for name in removed.into_iter().filter(|name| !head.headers.contains(name)) {
        words.push(format!("-H '{name}:'"));
    }
}

/// The `Host` that curl makes of the URL, where that is sure.
fn implied_host(head: &RequestHead) -> Option<&str> {
    let plain = head.authority.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase());
    let suffix = format!(":{}", head.scheme.default_port());
    let host = head.authority.strip_suffix(&suffix).unwrap_or(&head.authority);
    plain.then_some(host)
}

fn data(body: &Given) -> Option<String> {
    match body {
        Given::None => None,
        Given::Empty => Some("--data-raw ''".to_owned()),
        Given::Text(text) => Some(format!("--data-raw {}", quoted(text))),
        Given::Input(..) => Some("--data-binary @-".to_owned()),
    }
}

/// Whether a URL can carry the target through curl as it is.
fn is_safe(target: &str) -> bool {
    target.starts_with('/')
        && target.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\'))
}

/// The path of the URL in the command.
fn path(head: &RequestHead) -> &str {
    if is_safe(&head.target) { &head.target } else { "/" }
}

/// The target, where a URL cannot say it.
fn target(head: &RequestHead) -> Option<String> {
    (!is_safe(&head.target)).then(|| format!("--request-target {}", word(head.target.as_bytes())))
}

fn write(seq: Seq, command: &str, body: Given, out: &mut dyn Write) -> Result<(), RenderError> {
    let mut line = |text: &str| writeln!(out, "{text}").map_err(RenderError::Write);
    let Given::Input(start, rest) = body else { return line(command) };
    line(&format!("base64 --decode <<'{END}' | {command}"))?;
    let mut bytes = std::io::Cursor::new(start).chain(rest);
    let mut piece = [0; LINE_BYTES];
    loop {
        let read = read_full(seq, &mut bytes, &mut piece)?;
        if read == 0 {
            return line(END);
        }
        line(&STANDARD.encode(&piece[..read]))?;
    }
}
