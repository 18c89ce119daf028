//! The rows of an imported exchange.

use std::io::{self, BufReader, Read};

use crate::{
    assemble::{INLINE_BYTES, content_hash, disk_bytes},
    contents::{Contents, SmallBody},
    db::{BodyContent, DbError, ExchangeRow, Tx},
    decode,
    detail::{BodyState, DetailRef, PeerRef},
    error::Error,
    files::{BodyFiles, BodyWriter},
    id::Seq,
    import::ImportedExchange,
    import_body::{ImportBody, ImportMessages, SpooledMessages},
    record::{BodySide, Exchange, Peer, Recorded},
};

/// Bytes of bodies and messages of an exchange.
pub(crate) fn content_bytes(imported: &ImportedExchange) -> u64 {
    let bodies = [&imported.request_body, &imported.response_body].into_iter().flatten().map(ImportBody::len);
    bodies.sum::<u64>() + imported.messages.bytes()
}

/// Where bodies go.
pub(crate) struct Sink<'s> {
    pub(crate) files: &'s mut BodyWriter,
    /// Files whose content was there already.
    pub(crate) unused: &'s mut Vec<u64>,
    /// Files that were loose and belong to an exchange now.
    pub(crate) claimed: &'s mut Vec<u64>,
    pub(crate) contents: &'s mut Contents,
}

/// Writes an exchange with its bodies and says what it takes on disk.
pub(crate) fn write_exchange(
    tx: &Tx<'_>,
    seq: Seq,
    imported: &ImportedExchange,
    sink: &mut Sink<'_>,
) -> Result<u64, Error> {
    let exchange = &imported.exchange;
    let mut detail = Vec::new();
    let client = certificates(tx, exchange.client.as_ref())?;
    let upstream = certificates(tx, exchange.upstream.as_ref())?;
    detail_of(exchange, &client, &upstream).encode(&mut detail);
    let (url, host) = (exchange.summary.url.as_bytes(), exchange.summary.host.as_bytes());
    let bytes = disk_bytes(url, host, &detail) + content_bytes(imported);
    tx.insert_exchange(&ExchangeRow {
        columns: (&exchange.summary).into(),
        detail: &detail,
        facts: None,
        bytes,
    })?;
    for (side, body) in
        [(BodySide::Request, &imported.request_body), (BodySide::Response, &imported.response_body)]
    {
        match body.as_ref().filter(|body| !body.is_empty()) {
            None => {}
            Some(body) => match body.held() {
                Some(held) if held.len() <= INLINE_BYTES => {
                    let (plain, hash) = (is_plain(exchange, side, held), content_hash(held));
                    sink.contents.put(tx, SmallBody { seq, side, data: held, plain, hash: &hash })?;
                }
                _ => write_file(tx, (seq, side), body, sink)?,
            },
        }
    }
    Ok(bytes)
}

/// Writes the row of a body that is too large for the database, and its file where it is not written yet.
fn write_file(
    tx: &Tx<'_>,
    (seq, side): (Seq, BodySide),
    body: &ImportBody,
    sink: &mut Sink<'_>,
) -> Result<(), Error> {
    let held = body.held().unwrap_or_default();
    let (own, hash) = match (body.file(), body.file_hash()) {
        (Some(file), Some(hash)) => {
            sink.claimed.push(file);
            (file, hash)
        }
        _ => {
            let file = tx.reserve_files(1)?;
            sink.files.write(file, 0, held)?;
            (file, content_hash(held))
        }
    };
    let length = body.len();
    sink.files.close(own);
    tx.put_file(own, length, Some(&hash))?;
    let shared = tx.share_file(own, length, &hash)?;
    sink.unused.extend(shared.map(|_| own));
    let content = BodyContent::File { file: shared.unwrap_or(own), length };
    Ok(tx.put_body(seq, side, content, Some(&hash))?)
}

/// Writes the messages of an exchange.
pub(crate) fn write_messages(
    tx: &Tx<'_>,
    seq: Seq,
    messages: &mut ImportMessages,
    files: &BodyFiles,
) -> Result<(), Error> {
    match messages {
        ImportMessages::List(list) => {
            for message in list {
                tx.insert_message(seq, message)?;
            }
        }
        ImportMessages::Spooled(SpooledMessages { body, next, .. }) => {
            let mut reader: BufReader<Box<dyn Read>> = BufReader::new(match body.file() {
                Some(file) => Box::new(files.open(file)?),
                None => Box::new(io::Cursor::new(body.held().unwrap_or_default().to_vec())),
            });
            while let Some(message) = next(&mut reader)? {
                tx.insert_message(seq, &message)?;
            }
        }
    }
    Ok(())
}

/// Whether a body is stored as the text it is.
fn is_plain(exchange: &Exchange, side: BodySide, body: &[u8]) -> bool {
    let (headers, recorded) = match side {
        BodySide::Request => (Some(&exchange.request.headers), exchange.request_body),
        BodySide::Response => (exchange.response.as_ref().map(|head| &head.headers), exchange.response_body),
    };
    // Decoded when it was imported, it has no coding; of its character encoding nobody knows.
    !recorded.identity && headers.is_none_or(|headers| decode::is_plain(headers, body))
}

fn certificates(tx: &Tx<'_>, peer: Option<&Peer>) -> Result<Vec<u64>, DbError> {
    let tls = peer.and_then(|peer| peer.tls.as_ref());
    tls.map_or(&[][..], |tls| &tls.certificates)
        .iter()
        .map(|der| tx.certificate(&content_hash(der), der))
        .collect()
}

fn body_state(recorded: Recorded) -> BodyState {
    BodyState { complete: recorded.complete, identity: recorded.identity }
}

fn detail_of<'a>(exchange: &'a Exchange, client: &'a [u64], upstream: &'a [u64]) -> DetailRef<'a> {
    DetailRef {
        request: &exchange.request,
        request_trailers: &exchange.request_trailers,
        request_body: body_state(exchange.request_body),
        informational: exchange.informational.iter().collect(),
        response: exchange.response.as_ref(),
        response_source: exchange.response_source,
        response_trailers: &exchange.response_trailers,
        response_body: body_state(exchange.response_body),
        client: exchange.client.as_ref().map(|side| PeerRef::of(side, client)),
        upstream: exchange.upstream.as_ref().map(|side| PeerRef::of(side, upstream)),
        tunnel: exchange.tunnel.as_deref(),
        timings: exchange.timings,
        sizes: exchange.sizes,
        tunnel_bytes: exchange.tunnel_bytes,
        comment: exchange.comment.as_deref(),
        rules: &exchange.rules,
        foreign: exchange.foreign.as_deref(),
    }
}
