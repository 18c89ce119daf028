//! Many exchanges at once: rows, blobs and small bodies of a page read in one go, certificates once for all of it.

use std::{
    collections::HashMap,
    fmt,
    io::{self, Read},
};

use bytes::Bytes;

use crate::{
    answer,
    assemble::INLINE_BYTES,
    db::{BodyRow, BodySource, DbError, Tx},
    detail::{Damaged, Detail},
    error::Error,
    id::Seq,
    packing::unpacked,
    query::Query,
    record::{Body, BodySide, Exchange, ExchangeSummary},
    retrieve,
    store::Store,
};

/// Bytes of details and bodies read at a time; a page that has more ends there.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// A page of whole exchanges.
#[derive(Debug)]
#[non_exhaustive]
pub struct Batch {
    /// The exchanges, in the order asked for.
    pub exchanges: Vec<Recalled>,
    /// Whether there are more.
    pub more: bool,
    /// The last that was looked at, from where to go on; `None` where there was none.
    pub last: Option<Seq>,
    /// Exchanges that were evicted or deleted while the page was read.
    pub vanished: u64,
}

/// An exchange with its bodies: small ones are in memory, large ones are opened when they are asked for.
#[non_exhaustive]
pub struct Recalled {
    /// The exchange.
    pub exchange: Exchange,
    bodies: [Held; 2],
    store: Store,
}

/// Where a body is.
enum Held {
    None,
    Small(Bytes),
    /// In a file, or damaged: opening it says which.
    Elsewhere,
}

impl Recalled {
    /// Opens a body; `None` where the message has none.
    ///
    /// # Errors
    /// As for [`Store::body`].
    pub fn body(&self, side: BodySide) -> Result<Option<Body>, Error> {
        match &self.bodies[index(side)] {
            Held::None => Ok(None),
            Held::Small(bytes) => Ok(Some(retrieve::body_of(&self.exchange, side, bytes.clone()))),
            Held::Elsewhere => self.store.body(self.exchange.summary.seq, side),
        }
    }

    /// The store it is of.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether all its bodies are in memory.
    #[must_use]
    pub fn is_small(&self) -> bool {
        !self.bodies.iter().any(|body| matches!(body, Held::Elsewhere))
    }

    /// The bytes of bodies it holds in memory.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bodies.iter().map(|body| if let Held::Small(bytes) = body { bytes.len() } else { 0 }).sum()
    }
}

impl fmt::Debug for Recalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recalled").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

fn index(side: BodySide) -> usize {
    usize::from(side == BodySide::Response)
}

/// Answers [`Store::batch`].
pub(crate) fn batch(store: &Store, query: &Query) -> Result<Batch, Error> {
    let (summaries, mut more) = answer::uncounted(store, query)?;
    let (mut last, mut vanished) = (None, 0);
    let rows = store.read(|tx| {
        let mut certificates = HashMap::new();
        let mut rows = Vec::with_capacity(summaries.len());
        let mut bytes = 0;
        for summary in summaries {
            if bytes > PAGE_BYTES {
                more = true;
                break;
            }
            last = Some(summary.seq);
            match row(tx, summary, &mut certificates)? {
                Some((row, size)) => {
                    bytes += size;
                    rows.push(row);
                }
                None => vanished += 1,
            }
        }
        Ok(rows)
    })?;
    let exchanges = rows.into_iter().map(|row| whole(store, row)).collect::<Result<_, _>>()?;
    Ok(Batch { exchanges, more, last, vanished })
}

/// What is read of an exchange while the transaction lasts.
struct Row {
    summary: ExchangeSummary,
    detail: Result<Detail, Damaged>,
    bodies: [Option<BodyRow>; 2],
    certificates: Vec<Bytes>,
}

/// Reads an exchange and says how many bytes that took; `None` where it went since its page was read.
fn row(
    tx: &Tx<'_>,
    summary: ExchangeSummary,
    known: &mut HashMap<u64, Bytes>,
) -> Result<Option<(Row, usize)>, DbError> {
    let seq = summary.seq;
    let Some(detail) = tx.detail(seq)? else { return Ok(None) };
    let detail_bytes = detail.len();
    let detail = Detail::decode(detail);
    let bodies = [tx.body(seq, BodySide::Request)?, tx.body(seq, BodySide::Response)?];
    let mut certificates = Vec::new();
    if let Ok(Detail { upstream: Some(upstream), .. }) = &detail {
        for id in &upstream.certificates {
            if !known.contains_key(id)
                && let Some(der) = tx.certificate_der(*id)?
            {
                known.insert(*id, der);
            }
            certificates.extend(known.get(id).cloned());
        }
    }
    let held = |body: &Option<BodyRow>| match body {
        Some(BodyRow { source: BodySource::File { .. }, .. }) | None => 0,
        Some(row) => row.length,
    };
    let body_bytes = usize::try_from(held(&bodies[0]) + held(&bodies[1])).unwrap_or(usize::MAX);
    Ok(Some((Row { summary, detail, bodies, certificates }, detail_bytes + body_bytes)))
}

fn whole(store: &Store, row: Row) -> Result<Recalled, Error> {
    let stored = [0, 1].map(|side: usize| row.bodies[side].as_ref().map_or(0, |body| body.length));
    let exchange = retrieve::whole(row.summary, row.detail?, stored, row.certificates);
    let held = |body: Option<BodyRow>, wire_bytes: u64| match body {
        None if wire_bytes == 0 => Held::None,
        None => Held::Small(Bytes::new()),
        Some(body) => held(body),
    };
    let [request, response] = row.bodies;
    let bodies =
        [held(request, exchange.request_body.wire_bytes), held(response, exchange.response_body.wire_bytes)];
    Ok(Recalled { exchange, bodies, store: store.clone() })
}

/// A body's bytes, where they came with its row. One that does not unpack says why when it is opened.
fn held(row: BodyRow) -> Held {
    let length = row.length;
    let bytes = match row.source {
        BodySource::Inline(data) => data,
        BodySource::Frame(frame) => {
            let mut data = Vec::with_capacity(usize::try_from(length).unwrap_or(0).min(INLINE_BYTES));
            let unpacked = unpacked(io::Cursor::new(frame));
            match unpacked.and_then(|reader| reader.take(length).read_to_end(&mut data)) {
                Ok(_) => data,
                Err(_) => return Held::Elsewhere,
            }
        }
        BodySource::File { .. } => return Held::Elsewhere,
    };
    if bytes.len() as u64 == length { Held::Small(bytes.into()) } else { Held::Elsewhere }
}
