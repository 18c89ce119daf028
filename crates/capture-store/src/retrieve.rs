//! One exchange out of the store: its row, its blob and its bodies put together again.

use std::io;

use bytes::Bytes;
use proxy_core::Headers;

use crate::{
    db::{BodyRow, BodySource},
    detail::{BodyState, Detail, StoredPeer},
    error::{Error, ErrorKind},
    files::{BodyFiles, Whole},
    id::Seq,
    packing::unpacked,
    record::{Body, BodySide, Exchange, ExchangeSummary, Peer, Recorded},
    store::Store,
};

/// Reads an exchange.
pub(crate) fn exchange(store: &Store, seq: Seq) -> Result<Exchange, Error> {
    let read = store.read(|tx| {
        let Some(summary) = tx.summary(seq)? else { return Ok(None) };
        let stored = [tx.body_length(seq, BodySide::Request)?, tx.body_length(seq, BodySide::Response)?];
        let detail = Detail::decode(tx.detail(seq)?.unwrap_or_default());
        let mut certificates = Vec::new();
        if let Ok(Detail { upstream: Some(upstream), .. }) = &detail {
            for id in &upstream.certificates {
                certificates.extend(tx.certificate_der(*id)?);
            }
        }
        Ok(Some((summary, detail, stored, certificates)))
    })?;
    let (summary, detail, stored, certificates) =
        read.ok_or_else(|| Error::new(ErrorKind::UnknownExchange(seq)))?;
    Ok(whole(summary, detail?, stored, certificates))
}

/// Opens a body; `None` where the message has none.
pub(crate) fn body(store: &Store, seq: Seq, side: BodySide) -> Result<Option<Body>, Error> {
    let read = store.read(|tx| {
        let Some(summary) = tx.summary(seq)? else { return Ok(None) };
        Ok(Some((summary, tx.detail(seq)?.unwrap_or_default(), tx.body(seq, side)?)))
    })?;
    let (summary, blob, row) = read.ok_or_else(|| Error::new(ErrorKind::UnknownExchange(seq)))?;
    let detail = Detail::decode(blob)?;
    match open_body(store.files(), &summary, &detail, side, row) {
        Ok(body) => Ok(body),
        // Its file became a frame, or the exchange went, since its row was read; or it is damaged.
        Err(_) => {
            let again = store.read(|tx| Ok((tx.summary(seq)?, tx.body(seq, side)?)))?;
            let (Some(summary), row) = again else {
                return Err(Error::new(ErrorKind::UnknownExchange(seq)));
            };
            open_body(store.files(), &summary, &detail, side, row)
                .map_err(|error| Error::with_source(ErrorKind::Body(seq), error))
        }
    }
}

/// Opens a body whose row was read.
pub(crate) fn open_body(
    files: &BodyFiles,
    summary: &ExchangeSummary,
    detail: &Detail,
    side: BodySide,
    row: Option<BodyRow>,
) -> io::Result<Option<Body>> {
    let (wire_bytes, state, headers) = match side {
        BodySide::Request => (summary.request_body_bytes, detail.request_body, Some(&detail.request.headers)),
        BodySide::Response => {
            let headers = detail.response.as_ref().map(|head| &head.headers);
            (summary.response_body_bytes, detail.response_body, headers)
        }
    };
    if wire_bytes == 0 && row.is_none() {
        return Ok(None);
    }
    let stored_bytes = row.as_ref().map_or(0, |row| row.length);
    let reader = match row {
        None => Box::new(io::empty()),
        Some(row) => reader(files, row)?,
    };
    let text = |name| headers.and_then(|headers| joined(headers, name));
    Ok(Some(Body {
        recorded: recorded(wire_bytes, stored_bytes, state),
        content_encoding: if state.identity { None } else { text("content-encoding") },
        content_type: text("content-type"),
        reader,
    }))
}

/// Opens a body whose bytes are at hand.
pub(crate) fn body_of(exchange: &Exchange, side: BodySide, bytes: Bytes) -> Body {
    let (recorded, headers) = match side {
        BodySide::Request => (exchange.request_body, Some(&exchange.request.headers)),
        BodySide::Response => (exchange.response_body, exchange.response.as_ref().map(|head| &head.headers)),
    };
    let text = |name| headers.and_then(|headers| joined(headers, name));
    Body {
        recorded,
        content_encoding: if recorded.identity { None } else { text("content-encoding") },
        content_type: text("content-type"),
        reader: Box::new(io::Cursor::new(bytes)),
    }
}

/// Reads a stored body as it was on the wire. One that ends before its length is an error, not an end.
pub(crate) fn reader(files: &BodyFiles, row: BodyRow) -> io::Result<Box<dyn io::Read + Send>> {
    let length = row.length;
    Ok(match row.source {
        BodySource::Inline(data) => Box::new(Whole::new(io::Cursor::new(data), length)),
        BodySource::Frame(frame) => Box::new(Whole::new(unpacked(io::Cursor::new(frame))?, length)),
        BodySource::File { file, is_frame: false } => Box::new(Whole::new(files.open(file)?, length)),
        BodySource::File { file, is_frame: true } => {
            Box::new(Whole::new(unpacked(files.open_frame(file)?)?, length))
        }
    })
}

pub(crate) fn whole(
    summary: ExchangeSummary,
    detail: Detail,
    stored: [u64; 2],
    certificates: Vec<Bytes>,
) -> Exchange {
    Exchange {
        request_body: recorded(summary.request_body_bytes, stored[0], detail.request_body),
        response_body: recorded(summary.response_body_bytes, stored[1], detail.response_body),
        summary,
        request: detail.request,
        request_trailers: detail.request_trailers,
        informational: detail.informational,
        response: detail.response,
        response_source: detail.response_source,
        response_trailers: detail.response_trailers,
        client: detail.client.map(|stored| peer(stored, Vec::new())),
        upstream: detail.upstream.map(|stored| peer(stored, certificates)),
        tunnel: detail.tunnel,
        timings: detail.timings,
        sizes: detail.sizes,
        tunnel_bytes: detail.tunnel_bytes,
        comment: detail.comment,
        rules: detail.rules,
        foreign: detail.foreign,
    }
}

fn recorded(wire_bytes: u64, stored_bytes: u64, state: BodyState) -> Recorded {
    Recorded { wire_bytes, stored_bytes, complete: state.complete, identity: state.identity }
}

fn peer(stored: StoredPeer, certificates: Vec<Bytes>) -> Peer {
    let mut peer = stored.peer;
    if let Some(tls) = &mut peer.tls {
        tls.certificates = certificates;
    }
    peer
}

/// All values of a list field, joined as RFC 9110 section 5.3 has it.
fn joined(headers: &Headers, name: &str) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).map(|value| String::from_utf8_lossy(value)).collect();
    Some(values.join(", ")).filter(|value| !value.is_empty())
}
