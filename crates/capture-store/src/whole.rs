//! Exchanges that came to their end before anybody asked for them: encoded by the thread that saw the end, one after the
//! other into one block of memory, which is all the writer has to read, and to give back.

mod pack;

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use proxy_core::{ClientFacts, UpstreamFacts};

use crate::{
    assemble::{content_hash, disk_bytes},
    db::{Columns, Text},
    id::{Seq, SessionId},
    record::{BodySide, ExchangeKind, ExchangeState},
};

/// The parts of an exchange in the block, in their order.
#[derive(Clone, Copy)]
enum Part {
    Method,
    Host,
    Target,
    Url,
    RequestType,
    ResponseType,
    Detail,
    RequestBody,
    ResponseBody,
}

const PARTS: usize = Part::ResponseBody as usize + 1;

/// What a block is made for: some dozens of exchanges of the usual size.
const BATCH_BYTES: usize = 64 * 1024;
/// What it is made for where there are few.
const LEAST_BATCH_BYTES: usize = 4 * 1024;
/// Exchanges in one at most.
const BATCH_EXCHANGES: usize = 64;

/// Whole exchanges, one after the other.
#[derive(Default)]
pub(crate) struct Batch {
    heads: Vec<WholeHead>,
    block: Vec<u8>,
    /// What the queue counts for the events they are made of.
    pub(crate) queued_bytes: usize,
}

/// A whole exchange with small bodies, but for what stands in the block of its batch.
struct WholeHead {
    started_at: SystemTime,
    /// When its end was told.
    ended_at: Instant,
    /// The connections, for what exchanges share of them.
    client: Arc<ClientFacts>,
    upstream: Option<Arc<UpstreamFacts>>,
    request: WholeBody,
    response: WholeBody,
    duration: Option<Duration>,
    kind: ExchangeKind,
    state: ExchangeState,
    scheme: &'static str,
    http_version: &'static str,
    port: u16,
    status: Option<u16>,
    has_request_type: bool,
    has_response_type: bool,
    /// Where its parts begin.
    start: usize,
    /// Where each of them ends.
    ends: [usize; PARTS],
}

/// A body, but for its bytes.
#[derive(Clone, Copy, Debug, Default)]
struct WholeBody {
    wire_bytes: u64,
    /// Whether all of it is the text itself, with nothing to be taken off.
    plain: bool,
    /// Of all of it.
    hash: [u8; 32],
}

impl Batch {
    /// How many exchanges are in it.
    pub(crate) fn len(&self) -> usize {
        self.heads.len()
    }

    /// Has room for about what came last, so that it does not grow step by step: while little comes, little is taken.
    pub(crate) fn reserve_like(&mut self, last: &Self) {
        let about = last.block.len().saturating_mul(2).next_power_of_two();
        self.block.reserve_exact(about.clamp(LEAST_BATCH_BYTES, BATCH_BYTES));
    }

    /// Whether another exchange that takes so much is to go elsewhere.
    pub(crate) fn is_full_for(&self, bytes: usize) -> bool {
        !self.heads.is_empty()
            && (self.heads.len() >= BATCH_EXCHANGES || self.block.len() + bytes > BATCH_BYTES)
    }

    /// What it takes in memory, as far as it is used.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.heads.len() * size_of::<WholeHead>() + self.block.len()
    }

    /// Empties it to be used again; one that is long is given back.
    pub(crate) fn emptied(mut self) -> Option<Self> {
        self.heads.clear();
        self.block.clear();
        self.queued_bytes = 0;
        (self.block.capacity() <= BATCH_BYTES).then_some(self)
    }

    /// The exchanges in it, each to be written to a session.
    pub(crate) fn exchanges(self, session: SessionId) -> impl Iterator<Item = Whole> {
        let batch = Arc::new(self);
        (0..batch.heads.len()).map(move |index| {
            let (request, response) = {
                let head = &batch.heads[index];
                (Kept::all(head.request), Kept::all(head.response))
            };
            Whole { session, request, response, batch: batch.clone(), index }
        })
    }
}

/// A whole exchange with small bodies, without its number.
pub(crate) struct Whole {
    /// The session it is written to.
    pub(crate) session: SessionId,
    pub(crate) request: Kept,
    pub(crate) response: Kept,
    batch: Arc<Batch>,
    index: usize,
}

/// How much of a body there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    /// How much of it is to be stored.
    pub(crate) kept: usize,
}

impl Kept {
    fn all(body: WholeBody) -> Self {
        Self { kept: usize::try_from(body.wire_bytes).unwrap_or(usize::MAX) }
    }
}

impl Whole {
    fn head(&self) -> &WholeHead {
        &self.batch.heads[self.index]
    }

    pub(crate) fn started_at(&self) -> SystemTime {
        self.head().started_at
    }

    /// When its end was told.
    pub(crate) fn ended_at(&self) -> Instant {
        self.head().ended_at
    }

    /// Its connections, for what exchanges share of them.
    pub(crate) fn connections(&self) -> (&Arc<ClientFacts>, Option<&Arc<UpstreamFacts>>) {
        let head = self.head();
        (&head.client, head.upstream.as_ref())
    }

    /// The bytes of a body that are to be stored.
    pub(crate) fn body(&self, side: BodySide) -> &[u8] {
        let (part, body, _) = self.side(side);
        let bytes = self.part(part);
        &bytes[..body.kept.min(bytes.len())]
    }

    /// The hash of what is to be stored of a body.
    pub(crate) fn body_hash(&self, side: BodySide) -> [u8; 32] {
        let (_, kept, body) = self.side(side);
        if kept.kept as u64 == body.wire_bytes { body.hash } else { content_hash(self.body(side)) }
    }

    /// Whether what is to be stored of a body is the text itself. A text that was cut may end within a character.
    pub(crate) fn is_plain(&self, side: BodySide) -> bool {
        let (_, kept, body) = self.side(side);
        body.plain && kept.kept as u64 == body.wire_bytes
    }

    /// Bytes of bodies that are to be stored.
    pub(crate) fn content_bytes(&self) -> u64 {
        (self.request.kept + self.response.kept) as u64
    }

    /// Gives the memory of its batch back, if it is the last of it that is left.
    pub(crate) fn into_batch(self) -> Option<Batch> {
        Arc::into_inner(self.batch)
    }

    /// What it takes in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        let head = self.head();
        size_of::<WholeHead>() + head.ends[PARTS - 1] - head.start
    }

    /// What it takes on disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        disk_bytes(self.part(Part::Url), self.part(Part::Host), self.detail()) + self.content_bytes()
    }

    /// What lists show of it.
    pub(crate) fn columns(&self, seq: Seq) -> Columns<'_> {
        let head = self.head();
        Columns {
            seq,
            session: self.session,
            kind: head.kind,
            state: &head.state,
            started_at: head.started_at,
            duration: head.duration,
            method: Text(self.part(Part::Method)),
            scheme: head.scheme,
            host: Text(self.part(Part::Host)),
            port: head.port,
            target: Text(self.part(Part::Target)),
            url: Text(self.part(Part::Url)),
            http_version: head.http_version,
            status: head.status,
            request_content_type: head.has_request_type.then(|| Text(self.part(Part::RequestType))),
            response_content_type: head.has_response_type.then(|| Text(self.part(Part::ResponseType))),
            request_body_bytes: head.request.wire_bytes,
            response_body_bytes: head.response.wire_bytes,
            messages: 0,
        }
    }

    /// The encoded rest of it, without what it shares with others of its connections.
    pub(crate) fn detail(&self) -> &[u8] {
        self.part(Part::Detail)
    }

    fn side(&self, side: BodySide) -> (Part, Kept, &WholeBody) {
        match side {
            BodySide::Request => (Part::RequestBody, self.request, &self.head().request),
            BodySide::Response => (Part::ResponseBody, self.response, &self.head().response),
        }
    }

    fn part(&self, part: Part) -> &[u8] {
        self.batch.block.get(self.range(part)).unwrap_or_default()
    }

    fn range(&self, part: Part) -> Range<usize> {
        let head = self.head();
        let part = part as usize;
        let start = if part == 0 { head.start } else { head.ends[part - 1] };
        start..head.ends[part]
    }
}
