//! Exchanges put together from events, in memory, until they are written.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use proxy_core::{
    ClientFacts, Direction, Ending, EventKind, Headers, RequestHead, ResponseHead, ResponseSource, RuleHit,
    UpstreamFacts, WebSocketMessage,
};
use ring::digest;

use crate::{
    decode,
    held::{Held, Waiting},
    id::{Seq, SessionId},
    record::{BodySide, ExchangeSummary, StoredMessage},
    told::{MAX_RULES, Told},
};

/// Bodies up to this size stand in the database, larger ones in files. SQLite reads and writes blobs of this size
/// faster than the file system does with a file each (<https://sqlite.org/intern-v-extern-blob.html>; measured in
/// docs/design/007).
pub(crate) const INLINE_BYTES: usize = 128 * 1024;
/// What each body may take in memory, whatever others do; beyond it bodies share what there is for all of them.
pub(crate) const FIRST_BYTES: usize = 32 * 1024;
/// What an exchange is taken to need in the database beside its blobs and texts: row heads, index entries.
pub(crate) const ROW_BYTES: u64 = 160;

/// What a message is taken to need beside its payload, in memory and in the database.
const MESSAGE_BYTES: usize = 64;

/// An exchange on its way into the store.
pub(crate) struct Assembly {
    pub(crate) session: SessionId,
    /// When the writer heard of it.
    pub(crate) begun: Instant,
    pub(crate) started_at: SystemTime,
    client: Arc<ClientFacts>,
    request: Arc<RequestHead>,
    request_trailers: Headers,
    request_ended: bool,
    upstream: Option<Arc<UpstreamFacts>>,
    informational: Vec<Arc<ResponseHead>>,
    response: Option<(Arc<ResponseHead>, ResponseSource)>,
    response_trailers: Headers,
    pub(crate) bodies: Bodies,
    messages: u64,
    /// Messages that are not written yet.
    pub(crate) pending: Vec<StoredMessage>,
    /// What they take.
    pub(crate) pending_bytes: usize,
    message_bytes: u64,
    tunnel_bytes: (u64, u64),
    rules: Vec<RuleHit>,
    ending: Option<(Box<Ending>, Duration)>,
    /// When its end was told.
    pub(crate) ended_at: Option<Instant>,
    /// What is in the database of it.
    pub(crate) row: Option<Row>,
    /// Whether something came since it was written.
    pub(crate) dirty: bool,
}

/// What is in the database of an exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) seq: Seq,
    /// What it was counted for.
    pub(crate) bytes: u64,
    /// Bytes of bodies and messages among them.
    pub(crate) content_bytes: u64,
    pub(crate) written_at: Instant,
}

/// Both bodies.
pub(crate) struct Bodies {
    pub(crate) request: BodyBuffer,
    pub(crate) response: BodyBuffer,
}

/// One body as far as it came: its bytes while it is small, else the number of its file.
pub(crate) struct BodyBuffer {
    /// Bytes that passed.
    pub(crate) wire_bytes: u64,
    /// Bytes of them that are kept.
    pub(crate) stored_bytes: u64,
    /// Bytes that may be kept.
    pub(crate) limit: u64,
    pub(crate) inline: Held,
    pub(crate) file: Option<u64>,
    /// Bytes of it that its row names, where it has one.
    pub(crate) written: Option<u64>,
    /// Over what is in the file; what stays in memory is hashed at once when it is whole.
    hash: Option<Box<digest::Context>>,
}

impl Assembly {
    pub(crate) fn new(
        session: SessionId,
        client: Arc<ClientFacts>,
        request: Arc<RequestHead>,
        started_at: SystemTime,
        body_limit: u64,
    ) -> Self {
        Self {
            session,
            begun: Instant::now(),
            started_at,
            client,
            request,
            request_trailers: Headers::new(),
            request_ended: false,
            upstream: None,
            informational: Vec::new(),
            response: None,
            response_trailers: Headers::new(),
            bodies: Bodies { request: BodyBuffer::new(body_limit), response: BodyBuffer::new(body_limit) },
            messages: 0,
            pending: Vec::new(),
            pending_bytes: 0,
            message_bytes: 0,
            tunnel_bytes: (0, 0),
            rules: Vec::new(),
            ending: None,
            ended_at: None,
            row: None,
            dirty: true,
        }
    }

    /// Takes in an event, except for body pieces, which the writer stores.
    pub(crate) fn apply(&mut self, at: Duration, kind: EventKind) {
        self.dirty = true;
        match kind {
            EventKind::RequestTrailers(trailers) => self.request_trailers = trailers,
            EventKind::RequestEnd => self.request_ended = true,
            EventKind::Upstream { upstream, .. } => self.upstream = Some(upstream),
            EventKind::Informational(head) => self.informational.push(head),
            EventKind::Response { head, source } => self.response = Some((head, source)),
            EventKind::ResponseTrailers(trailers) => self.response_trailers = trailers,
            EventKind::Message(message) => self.add_message(at, message),
            EventKind::TunnelBytes { direction: Direction::ToUpstream, bytes } => {
                self.tunnel_bytes.0 += bytes
            }
            EventKind::TunnelBytes { direction: Direction::ToClient, bytes } => self.tunnel_bytes.1 += bytes,
            EventKind::Rule(hit) if self.rules.len() < MAX_RULES => self.rules.push(hit),
            EventKind::Ended(ending) => self.end(ending, at),
            // Bodies are the writer's; a second request head or an event of a later engine changes nothing here.
            _ => {}
        }
    }

    /// Ends the exchange.
    pub(crate) fn end(&mut self, ending: Box<Ending>, at: Duration) {
        self.dirty = true;
        self.ending = Some((ending, at));
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ending.is_some()
    }

    fn add_message(&mut self, at: Duration, message: WebSocketMessage) {
        self.pending_bytes += message.data.len() + MESSAGE_BYTES;
        self.message_bytes += (message.data.len() + MESSAGE_BYTES) as u64;
        self.pending.push(StoredMessage {
            index: self.messages,
            at: self.started_at + at,
            from_client: message.direction == Direction::ToUpstream,
            kind: message.kind,
            // A short message may be a slice of a long read buffer, which waiting here would keep alive.
            data: Bytes::copy_from_slice(&message.data),
            length: message.length,
            truncated: message.truncated,
            compressed: message.compressed,
        });
        self.messages += 1;
    }

    /// Whether a message of this length may be kept; the limit of a body holds for all messages together.
    pub(crate) fn admits_message(&self, length: usize) -> bool {
        self.message_bytes + length as u64 <= self.bodies.response.limit
    }

    /// Counts a message that is not kept.
    pub(crate) fn skip_message(&mut self) {
        self.messages += 1;
        self.dirty = true;
    }

    /// The messages that wait are written.
    pub(crate) fn messages_written(&mut self) {
        self.pending = Vec::new();
        self.pending_bytes = 0;
    }

    /// The messages that wait are not kept; their number stays.
    pub(crate) fn drop_messages(&mut self) {
        self.message_bytes -= self.message_bytes.min(self.pending_bytes as u64);
        self.messages_written();
    }

    /// The upstream connection.
    pub(crate) fn upstream(&self) -> Option<&Arc<UpstreamFacts>> {
        self.upstream.as_ref()
    }

    /// Whether a body that is kept in memory is the text itself, with nothing to be taken off. One that was cut may end
    /// within a character.
    pub(crate) fn is_plain(&self, side: BodySide) -> bool {
        let body = match side {
            BodySide::Request => &self.bodies.request,
            BodySide::Response => &self.bodies.response,
        };
        let is_text = |headers| decode::is_plain(headers, &body.inline);
        body.stored_bytes == body.wire_bytes && self.headers(side).is_none_or(is_text)
    }

    /// The fields of a head, where it came.
    pub(crate) fn headers(&self, side: BodySide) -> Option<&Headers> {
        match side {
            BodySide::Request => Some(&self.request.headers),
            BodySide::Response => self.response.as_ref().map(|(head, _)| &head.headers),
        }
    }

    /// How long a body may be in memory once so many bytes more came. One that is known to become longer, and one that is
    /// in the store as open and would be written again and again, goes to its file early.
    pub(crate) fn most_inline(&self, side: BodySide, more: usize) -> usize {
        let body = match side {
            BodySide::Request => &self.bodies.request,
            BodySide::Response => &self.bodies.response,
        };
        if body.inline.len() + more <= FIRST_BYTES || self.row.is_some() {
            return FIRST_BYTES;
        }
        let announced = self.headers(side).and_then(|headers| headers.get("content-length"));
        let announced = announced.and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
        if announced.is_some_and(|length: u64| length > INLINE_BYTES as u64) {
            FIRST_BYTES
        } else {
            INLINE_BYTES
        }
    }

    /// What was told of it so far.
    pub(crate) fn told(&self) -> Told<'_> {
        Told {
            started_at: self.started_at,
            client: &self.client,
            request: &self.request,
            request_trailers: Some(&self.request_trailers),
            request_ended: self.request_ended,
            upstream: self.upstream.as_ref(),
            informational: self.informational.iter().map(|head| &**head).collect(),
            response: self.response.as_ref().map(|(head, source)| (&**head, *source)),
            response_trailers: Some(&self.response_trailers),
            request_bytes: self.bodies.request.wire_bytes,
            messages: self.messages,
            tunnel_bytes: self.tunnel_bytes,
            rules: Cow::Borrowed(&self.rules),
            ending: self.ending.as_ref().map(|(ending, at)| (&**ending, *at)),
        }
    }

    /// What lists show of it, in the place of what was said of another.
    pub(crate) fn summary(&self, seq: Seq, summary: &mut ExchangeSummary) {
        let told = self.told();
        summary.set_request(&self.request, self.started_at);
        summary.seq = seq;
        summary.session = self.session;
        if let Some((head, _)) = &self.response {
            summary.set_response(head);
        }
        summary.kind = told.kind();
        summary.request_body_bytes = self.bodies.request.wire_bytes;
        summary.response_body_bytes = self.bodies.response.wire_bytes;
        summary.messages = self.messages;
        summary.duration = told.duration();
        summary.state = told.state();
    }

    /// Encodes the rest of it.
    pub(crate) fn encode_detail(&self, upstream_certificates: &[u64], out: &mut Vec<u8>) {
        self.told().with_detail(upstream_certificates, |detail| detail.encode(out));
    }

    /// What it takes on disk.
    pub(crate) fn disk_bytes(&self, summary: &ExchangeSummary, detail: &[u8]) -> u64 {
        disk_bytes(summary.url.as_bytes(), summary.host.as_bytes(), detail) + self.content_bytes()
    }

    /// Bytes of bodies and messages that are kept.
    pub(crate) fn content_bytes(&self) -> u64 {
        self.bodies.request.stored_bytes + self.bodies.response.stored_bytes + self.message_bytes
    }
}

/// What an exchange takes on disk without bodies and messages.
pub(crate) fn disk_bytes(url: &[u8], host: &[u8], detail: &[u8]) -> u64 {
    ROW_BYTES + (url.len() + host.len() + detail.len()) as u64
}

/// The hash that tells one content from another.
pub(crate) fn content_hash(bytes: &[u8]) -> [u8; 32] {
    to_array(&digest::digest(&digest::SHA256, bytes))
}

fn to_array(digest: &digest::Digest) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}

impl Bodies {
    pub(crate) fn side(&mut self, side: BodySide) -> &mut BodyBuffer {
        match side {
            BodySide::Request => &mut self.request,
            BodySide::Response => &mut self.response,
        }
    }

    /// What there is of them is in the database.
    pub(crate) fn written(&mut self) {
        for body in [&mut self.request, &mut self.response] {
            body.written = Some(body.stored_bytes);
        }
    }

    pub(crate) fn each(&self) -> [(BodySide, &BodyBuffer); 2] {
        [(BodySide::Request, &self.request), (BodySide::Response, &self.response)]
    }
}

impl BodyBuffer {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            wire_bytes: 0,
            stored_bytes: 0,
            limit,
            inline: Held::default(),
            file: None,
            written: None,
            hash: None,
        }
    }

    /// The part of a piece that may be kept.
    pub(crate) fn admit<'a>(&self, piece: &'a [u8]) -> &'a [u8] {
        let room = usize::try_from(self.limit.saturating_sub(self.stored_bytes)).unwrap_or(usize::MAX);
        &piece[..piece.len().min(room)]
    }

    /// Whether a piece can be kept in memory, where the body may have `most` bytes there.
    pub(crate) fn fits_inline(&self, piece: &[u8], most: usize, waiting: &Waiting) -> bool {
        let length = self.inline.len() + piece.len();
        let fits = length <= FIRST_BYTES || (length <= most && waiting.has_room(piece.len()));
        self.file.is_none() && fits
    }

    /// Keeps a piece in memory, in what `buffer` gives where it is the first.
    pub(crate) fn keep(&mut self, piece: &[u8], waiting: &Waiting, buffer: impl FnOnce() -> Vec<u8>) {
        self.inline.keep(piece, waiting, buffer);
        self.stored_bytes += piece.len() as u64;
    }

    /// Notes a piece that is in a file, as is what was kept in memory before it.
    pub(crate) fn in_file(&mut self, file: u64, piece: &[u8]) {
        let hash = self.hash.get_or_insert_with(|| Box::new(digest::Context::new(&digest::SHA256)));
        hash.update(&self.inline);
        hash.update(piece);
        self.inline.take();
        self.file = Some(file);
        self.stored_bytes += piece.len() as u64;
    }

    /// Keeps nothing more.
    pub(crate) fn cut(&mut self) {
        self.limit = self.stored_bytes;
    }

    /// The content's hash, of what is kept.
    pub(crate) fn hash(&self) -> [u8; 32] {
        match &self.hash {
            Some(hash) => to_array(&digest::Context::clone(hash).finish()),
            None => content_hash(&self.inline),
        }
    }
}
