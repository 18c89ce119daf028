//! Writing a session from somewhere else than the wire.

use std::{fmt, mem};

use bytes::Bytes;

use crate::{
    assemble::{INLINE_BYTES, ROW_BYTES, content_hash, disk_bytes},
    contents::{Contents, Packing, SmallBody},
    db::{BodyContent, Connection, DbError, ExchangeRow, NewSession, SessionDelta, Spans, Tx},
    decode,
    detail::{BodyState, DetailRef, PeerRef},
    error::{Error, ErrorKind},
    files::{BodyFiles, BodyWriter},
    id::{Seq, SessionId},
    lock::Lock,
    record::{BodySide, Exchange, ExchangeState, Peer, Recorded, StoredMessage},
    recovery,
    session::{SessionInfo, SessionKind, SessionState},
};

/// Exchanges written in one transaction at most, so that a recorder waits little for the next.
const CHUNK_EXCHANGES: usize = 500;
/// Bytes of bodies and messages held before they are written.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// A session being imported. Nothing of it is visible until [`finish`](Self::finish); dropping it leaves no trace, and
/// what a crash leaves of it is removed when the store is next opened.
///
/// Exchanges are held until some hundred, or some megabytes of bodies, are together, and written as one. Should the
/// session's limit be reached, what comes after is not imported, and counted in
/// [`SessionInfo::not_recorded`].
pub struct ImportSession {
    /// `None` once it is finished.
    parts: Option<Parts>,
}

struct Parts {
    db: Connection,
    body_files: BodyFiles,
    files: BodyWriter,
    contents: Contents,
    session: SessionId,
    max_bytes: Option<u64>,
    bytes: u64,
    not_recorded: u64,
    /// Numbers reserved for the exchanges that wait.
    next: Seq,
    reserved: u64,
    waiting: Vec<(Seq, ImportedExchange)>,
    waiting_bytes: usize,
    _bodies: Lock,
}

/// One exchange to import. `exchange.summary.seq` and `.session` are given anew. A body whose
/// [`Recorded::identity`](crate::Recorded) is set is stored as already decoded.
pub struct ImportedExchange {
    /// The exchange.
    pub exchange: Exchange,
    /// The request's body as on the wire, or decoded where `exchange.request_body.identity` says so.
    pub request_body: Option<Bytes>,
    /// The response's body as on the wire, or decoded where `exchange.response_body.identity` says so.
    pub response_body: Option<Bytes>,
    /// WebSocket messages.
    pub messages: Vec<StoredMessage>,
}

impl ImportSession {
    pub(crate) fn begin(
        db: Connection,
        body_files: BodyFiles,
        bodies: Lock,
        name: &str,
        max_bytes: Option<u64>,
    ) -> Result<Self, Error> {
        let tx = db.begin()?;
        let session = tx.create_session(&NewSession {
            name: Some(name),
            kind: SessionKind::Imported,
            state: SessionState::Stopped,
            hidden: true,
            max_bytes,
            max_exchanges: None,
            max_age: None,
            window_ms: 0,
        })?;
        tx.commit()?;
        let parts = Parts {
            db,
            files: BodyWriter::new(body_files.clone()),
            body_files,
            contents: Contents::new(),
            session,
            max_bytes,
            bytes: 0,
            not_recorded: 0,
            next: Seq(0),
            reserved: 0,
            waiting: Vec::new(),
            waiting_bytes: 0,
            _bodies: bodies,
        };
        Ok(Self { parts: Some(parts) })
    }

    /// Adds one exchange and returns the seq it has once the import is finished. Of its summary, `kind`, `state` and
    /// `started_at` are kept, and the rest is derived from the other fields.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn add(&mut self, exchange: ImportedExchange) -> Result<Seq, Error> {
        self.parts()?.add(exchange)
    }

    /// Makes the session visible, stopped.
    ///
    /// # Errors
    /// When the store cannot be written; nothing is left behind then.
    pub fn finish(mut self) -> Result<SessionInfo, Error> {
        let info = self.parts()?.finish()?;
        self.parts = None;
        Ok(info)
    }

    fn parts(&mut self) -> Result<&mut Parts, Error> {
        self.parts.as_mut().ok_or_else(|| Error::new(ErrorKind::Database))
    }
}

impl Drop for ImportSession {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        // What cannot be removed now is removed when the store is next opened.
        if let Err(error) = recovery::delete_hidden(&parts.db, &parts.body_files, parts.session) {
            tracing::warn!(%error, "removing an unfinished import failed");
        }
    }
}

impl fmt::Debug for ImportSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportSession").finish_non_exhaustive()
    }
}

impl Parts {
    fn add(&mut self, mut imported: ImportedExchange) -> Result<Seq, Error> {
        if self.reserved == 0 {
            self.reserve()?;
        }
        let seq = self.next;
        derive(&mut imported, self.session, seq);
        let weight = weight(&imported);
        if self.max_bytes.is_some_and(|max| self.bytes + self.waiting_bytes as u64 + weight as u64 > max) {
            self.not_recorded += 1;
            return Ok(seq);
        }
        self.next = Seq(seq.0 + 1);
        self.reserved -= 1;
        self.waiting_bytes += weight;
        self.waiting.push((seq, imported));
        if self.reserved == 0 || self.waiting_bytes >= CHUNK_BYTES {
            self.write()?;
        }
        Ok(seq)
    }

    /// Reserves seqs for a chunk. What is not used of them stays a gap.
    fn reserve(&mut self) -> Result<(), Error> {
        let tx = self.db.begin()?;
        let newest = tx.newest_seq()?;
        tx.set_newest_seq(Seq(newest.0 + CHUNK_EXCHANGES as u64))?;
        tx.commit()?;
        self.next = Seq(newest.0 + 1);
        self.reserved = CHUNK_EXCHANGES as u64;
        Ok(())
    }

    fn write(&mut self) -> Result<(), Error> {
        let waiting = mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let tx = self.db.begin()?;
        let mut delta = SessionDelta { exchanges: signed(waiting.len() as u64), ..SessionDelta::default() };
        let mut unused = Vec::new();
        let mut spans = Spans::default();
        for (seq, imported) in &waiting {
            let sink = Sink { files: &mut self.files, unused: &mut unused, contents: &mut self.contents };
            let bytes = write_exchange(&tx, *seq, imported, sink)?;
            delta.bytes += signed(bytes);
            self.bytes += bytes;
            spans.note(*seq, self.session, imported.exchange.summary.started_at);
        }
        spans.write(&tx)?;
        tx.add_to_session(self.session, &delta)?;
        tx.commit()?;
        for file in unused {
            self.files.discard(file);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<SessionInfo, Error> {
        self.write()?;
        let tx = self.db.begin()?;
        let delta = SessionDelta { not_recorded: self.not_recorded, ..SessionDelta::default() };
        tx.add_to_session(self.session, &delta)?;
        tx.set_session_state(self.session, SessionState::Stopped)?;
        tx.set_session_hidden(self.session, false)?;
        let info = tx.session(self.session)?;
        tx.commit()?;
        info.ok_or_else(|| Error::new(ErrorKind::UnknownSession(self.session)))
    }
}

/// Brings the summary in line with the rest.
fn derive(imported: &mut ImportedExchange, session: SessionId, seq: Seq) {
    let exchange = &mut imported.exchange;
    exchange.derive_summary();
    exchange.summary.seq = seq;
    exchange.summary.session = session;
    exchange.summary.messages = exchange.summary.messages.max(imported.messages.len() as u64);
    let total = exchange.timings.total;
    exchange.summary.duration =
        (exchange.summary.state != ExchangeState::Open || !total.is_zero()).then_some(total);
}

/// What an exchange will take, by estimate: certificates and facts aside.
fn weight(imported: &ImportedExchange) -> usize {
    let exchange = &imported.exchange;
    let heads = [Some(&exchange.request.headers), exchange.response.as_ref().map(|head| &head.headers)];
    let fields: usize = heads
        .into_iter()
        .flatten()
        .flat_map(|headers| headers.iter())
        .map(|header| header.name.len() + header.value.len() + 2)
        .sum();
    let texts = exchange.summary.url.len() * 2 + exchange.comment.as_ref().map_or(0, String::len);
    content_bytes(imported) + fields + texts + usize::try_from(ROW_BYTES).unwrap_or(0)
}

fn content_bytes(imported: &ImportedExchange) -> usize {
    let bodies = [&imported.request_body, &imported.response_body].into_iter().flatten().map(Bytes::len);
    bodies.sum::<usize>() + imported.messages.iter().map(|message| message.data.len()).sum::<usize>()
}

/// Where bodies go.
struct Sink<'s> {
    files: &'s mut BodyWriter,
    /// Files whose content was there already.
    unused: &'s mut Vec<u64>,
    contents: &'s mut Contents,
}

fn write_exchange(
    tx: &Tx<'_>,
    seq: Seq,
    imported: &ImportedExchange,
    Sink { files, unused, contents }: Sink<'_>,
) -> Result<u64, Error> {
    let exchange = &imported.exchange;
    let mut detail = Vec::new();
    let client = certificates(tx, exchange.client.as_ref())?;
    let upstream = certificates(tx, exchange.upstream.as_ref())?;
    detail_of(exchange, &client, &upstream).encode(&mut detail);
    let bytes = disk_bytes(&exchange.summary, &detail) + content_bytes(imported) as u64;
    tx.insert_exchange(&ExchangeRow { summary: &exchange.summary, detail: &detail, bytes })?;
    for (side, body) in
        [(BodySide::Request, &imported.request_body), (BodySide::Response, &imported.response_body)]
    {
        if let Some(body) = body.as_ref().filter(|body| !body.is_empty()) {
            let plain = is_plain(exchange, side, body);
            write_body(tx, (seq, side), body, plain, Sink { files, unused, contents })?;
        }
    }
    for message in &imported.messages {
        tx.insert_message(seq, message)?;
    }
    Ok(bytes)
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

fn write_body(
    tx: &Tx<'_>,
    (seq, side): (Seq, BodySide),
    body: &[u8],
    plain: bool,
    Sink { files, unused, contents }: Sink<'_>,
) -> Result<(), Error> {
    let hash = content_hash(body);
    if body.len() <= INLINE_BYTES {
        let small = SmallBody { seq, side, data: body, plain, hash: &hash };
        return Ok(contents.put(tx, small, Packing::No)?);
    }
    let length = body.len() as u64;
    let own = tx.reserve_files(1)?;
    files.write(own, 0, body)?;
    files.close(own);
    tx.put_file(own, length, Some(&hash))?;
    let shared = tx.share_file(own, length, &hash)?;
    unused.extend(shared.map(|_| own));
    let content = BodyContent::File { file: shared.unwrap_or(own), length };
    Ok(tx.put_body(seq, side, content, Some(&hash))?)
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
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
