//! What each path answers.

use std::{
    convert::Infallible,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};

use super::{
    Seen, State,
    abandon::watched,
    page,
    socket::{Coding, upgrade},
};
use crate::body::{Body, Checksum, full, pattern};

/// What `/gzip`, `/deflate` and `/json` say.
const GREETING: &str = r#"{"greeting":"hello","from":"the origin"}"#;

/// "hello" in brotli: one stored block (RFC 7932 section 9.2).
const BROTLI_HELLO: &[u8] = b"\x0b\x02\x80hello\x03";

/// "hello" in zstd: one raw block in a single segment (RFC 8878 section 3.1.1).
const ZSTD_HELLO: &[u8] = b"\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00hello";

/// Notes the request and answers it.
pub(super) async fn answer(
    request: Request<Incoming>,
    connection: u64,
    state: Arc<State>,
) -> Result<Response<Body>, Infallible> {
    note(&request, connection, &state);
    let answered = route(request, &state).await;
    Ok(answered.unwrap_or_else(|error| {
        state.count(|counts| counts.abandoned += 1);
        with_status(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string())
    }))
}

fn note(request: &Request<Incoming>, connection: u64, state: &State) {
    let mut seen = state.lock_seen();
    if seen.len() < super::MAX_SEEN {
        seen.push(Seen {
            connection,
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: request.headers().clone(),
        });
    }
    drop(seen);
    state.count(|counts| counts.requests += 1);
}

async fn route(request: Request<Incoming>, state: &Arc<State>) -> io::Result<Response<Body>> {
    let path = request.uri().path().to_owned();
    let mut parts = path.trim_matches('/').splitn(2, '/');
    let (name, argument) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    Ok(match name {
        "" => text("hello from the origin\n"),
        "json" => typed("application/json", GREETING),
        "headers" => typed("application/json", describe(&request).to_string()),
        "echo" => echo(request, state),
        "upload" => upload(request).await?,
        "status" => with_status(number(argument)?, "text/plain", format!("status {argument}\n")),
        "gzip" | "deflate" | "br" | "zstd" => encoded(name)?,
        "bytes" => sized(&request, number(argument)?, state),
        "chunked" => streamed("application/octet-stream", watched(pattern(number(argument)?), state.clone())),
        "sse" => events(&request, state)?,
        "trailers" => trailers(),
        "slow-headers" => {
            state.wait().await?;
            text("at last\n")
        }
        "slow-body" => slow_body(state),
        "cookies" => cookies(),
        "redirect" => {
            with_header(with_status(StatusCode::FOUND, "text/plain", "over there\n"), header::LOCATION, "/")
        }
        "html" => html(argument),
        "ws" => upgrade(request, Coding::Plain, state),
        "ws-deflate" => upgrade(request, Coding::Deflate, state),
        "ws-refuse" => with_status(StatusCode::FORBIDDEN, "text/plain", "no WebSocket for you\n"),
        _ => with_status(StatusCode::NOT_FOUND, "text/plain", "no such route\n"),
    })
}

fn describe(request: &Request<Incoming>) -> Value {
    let headers: Vec<Value> = request
        .headers()
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "version": format!("{:?}", request.version()),
        "headers": headers,
    })
}

/// Sends the body back piece by piece, with its trailers.
fn echo(request: Request<Incoming>, state: &Arc<State>) -> Response<Body> {
    let kind = request.headers().get(header::CONTENT_TYPE).cloned();
    let method = HeaderValue::from_str(request.method().as_str()).ok();
    let mut response =
        Response::new(watched(request.into_body().map_err(io::Error::other).boxed(), state.clone()));
    let headers = response.headers_mut();
    headers.extend(kind.map(|kind| (header::CONTENT_TYPE, kind)));
    headers.extend(method.map(|method| (header::HeaderName::from_static("x-echo-method"), method)));
    response
}

/// Counts and sums the body without holding it.
async fn upload(request: Request<Incoming>) -> io::Result<Response<Body>> {
    let mut body = request.into_body();
    let mut sum = Checksum::default();
    let mut trailers = 0;
    while let Some(frame) = body.frame().await {
        match frame.map_err(io::Error::other)?.into_data() {
            Ok(piece) => sum.update(&piece),
            Err(frame) => trailers += frame.trailers_ref().map_or(0, HeaderMap::len),
        }
    }
    let summary = json!({ "bytes": sum.bytes(), "crc32": sum.crc32(), "trailers": trailers });
    Ok(typed("application/json", summary.to_string()))
}

fn encoded(coding: &str) -> io::Result<Response<Body>> {
    let (kind, bytes) = match coding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(GREETING.as_bytes())?;
            ("application/json", encoder.finish()?)
        }
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(GREETING.as_bytes())?;
            ("application/json", encoder.finish()?)
        }
        "br" => ("text/plain", BROTLI_HELLO.to_vec()),
        _ => ("text/plain", ZSTD_HELLO.to_vec()),
    };
    Ok(with_header(typed(kind, bytes), header::CONTENT_ENCODING, coding))
}

/// The pattern with its length declared; no body to HEAD, but the same head.
fn sized(request: &Request<Incoming>, length: u64, state: &Arc<State>) -> Response<Body> {
    let body = if request.method() == http::Method::HEAD {
        full("")
    } else {
        watched(pattern(length), state.clone())
    };
    let response = streamed("application/octet-stream", body);
    with_header(response, header::CONTENT_LENGTH, &length.to_string())
}

/// Server-sent events, each let go by hand or by a timer.
fn events(request: &Request<Incoming>, state: &Arc<State>) -> io::Result<Response<Body>> {
    let query = request.uri().query().unwrap_or_default();
    let count: u64 = parameter(query, "events").map_or(Ok(3), number)?;
    let every = match parameter(query, "ms") {
        Some(ms) => Some(Duration::from_millis(number(ms)?)),
        None => None,
    };
    let waiting = state.clone();
    let pieces = stream::unfold(1, move |index| {
        let state = waiting.clone();
        async move {
            if index > count {
                return None;
            }
            let waited = match every {
                Some(interval) => {
                    tokio::time::sleep(interval).await;
                    Ok(())
                }
                None => state.wait().await,
            };
            let event = Bytes::from(format!("id: {index}\nevent: tick\ndata: {{\"tick\":{index}}}\n\n"));
            Some((waited.map(|()| Frame::data(event)), index + 1))
        }
    });
    let response = streamed(
        "text/event-stream",
        watched(BodyExt::boxed(StreamBody::new(Box::pin(pieces))), state.clone()),
    );
    Ok(with_header(response, header::CACHE_CONTROL, "no-store"))
}

/// Half a body, and the other half after a release.
fn slow_body(state: &Arc<State>) -> Response<Body> {
    let waiting = state.clone();
    let pieces = stream::unfold(0, move |index| {
        let state = waiting.clone();
        async move {
            match index {
                0 => Some((Ok(Frame::data(Bytes::from("first half, "))), 1)),
                1 => Some((state.wait().await.map(|()| Frame::data(Bytes::from("second half\n"))), 2)),
                _ => None,
            }
        }
    });
    streamed("text/plain", watched(BodyExt::boxed(StreamBody::new(Box::pin(pieces))), state.clone()))
}

/// A body with a trailer section; HTTP/1.1 sends it to those that say `TE: trailers`.
fn trailers() -> Response<Body> {
    let mut fields = HeaderMap::new();
    fields.insert("x-checksum", HeaderValue::from_static("abc123"));
    let frames = [Ok(Frame::data(Bytes::from("a body with trailers\n"))), Ok(Frame::trailers(fields))];
    let response = streamed("text/plain", BodyExt::boxed(StreamBody::new(stream::iter(frames))));
    with_header(response, header::TRAILER, "x-checksum")
}

fn cookies() -> Response<Body> {
    let mut response = text("two cookies\n");
    for cookie in ["first=1; Path=/; HttpOnly", "second=2; Path=/; Secure; SameSite=Lax"] {
        response.headers_mut().append(header::SET_COOKIE, HeaderValue::from_static(cookie));
    }
    response
}

fn html(file: &str) -> Response<Body> {
    match file {
        "" | "index.html" => typed("text/html; charset=utf-8", page::INDEX),
        "style.css" => typed("text/css", page::STYLE),
        "script.js" => typed("text/javascript", page::SCRIPT),
        "dot.png" => typed("image/png", page::DOT),
        _ => with_status(StatusCode::NOT_FOUND, "text/plain", "no such file\n"),
    }
}

fn text(body: &'static str) -> Response<Body> {
    typed("text/plain; charset=utf-8", body)
}

fn typed(kind: &str, body: impl Into<Bytes>) -> Response<Body> {
    with_header(Response::new(full(body)), header::CONTENT_TYPE, kind)
}

fn streamed(kind: &str, body: Body) -> Response<Body> {
    with_header(Response::new(body), header::CONTENT_TYPE, kind)
}

fn with_status(status: StatusCode, kind: &str, body: impl Into<Bytes>) -> Response<Body> {
    let bodiless = status.is_informational() || matches!(status.as_u16(), 204 | 205 | 304);
    let mut response = if bodiless { Response::new(full("")) } else { typed(kind, body) };
    *response.status_mut() = status;
    response
}

fn with_header(mut response: Response<Body>, name: header::HeaderName, value: &str) -> Response<Body> {
    response.headers_mut().extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
    response
}

fn number<N: std::str::FromStr>(text: &str) -> io::Result<N> {
    text.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("not a number: {text:?}")))
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
        .map(|(_, value)| value)
}
