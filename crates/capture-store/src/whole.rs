//! Exchanges that came to their end before anybody asked for them: put together and encoded by the thread that saw the
//! end, into one block of memory that is all the writer has to read, and to give back.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

use proxy_core::{ClientFacts, Event, EventKind, UpstreamFacts};

use crate::{
    assemble::{Assembly, BodyBuffer, disk_bytes},
    db::Columns,
    id::{Seq, SessionId},
    record::{BodySide, ExchangeKind, ExchangeState, ExchangeSummary},
    summary::version_text,
};

/// Blocks grow by this, so that one that was used fits most exchanges.
const BLOCK_STEP: usize = 1024;
/// Longer blocks are not used again.
const MAX_SPARE_BYTES: usize = 4096;

/// The parts of the block, in their order.
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

/// A whole exchange with small bodies, without its number and session.
pub(crate) struct Whole {
    /// The session it is written to.
    pub(crate) session: SessionId,
    pub(crate) started_at: SystemTime,
    /// The connections, for what exchanges share of them.
    pub(crate) client: Arc<ClientFacts>,
    pub(crate) upstream: Option<Arc<UpstreamFacts>>,
    /// What the queue counted for the events it is made of.
    pub(crate) queued_bytes: usize,
    pub(crate) request: WholeBody,
    pub(crate) response: WholeBody,
    duration: Option<Duration>,
    kind: ExchangeKind,
    state: ExchangeState,
    scheme: &'static str,
    http_version: &'static str,
    port: u16,
    status: Option<u16>,
    has_request_type: bool,
    has_response_type: bool,
    block: Vec<u8>,
    /// Where each part ends.
    ends: [usize; PARTS],
}

/// How much of a body there is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WholeBody {
    wire_bytes: u64,
    /// How much of it is to be stored.
    pub(crate) kept: usize,
    /// Whether all of it is the text itself, with nothing to be taken off.
    plain: bool,
}

impl Whole {
    /// The bytes of a body that are to be stored.
    pub(crate) fn body(&self, side: BodySide) -> &[u8] {
        let (part, body) = match side {
            BodySide::Request => (Part::RequestBody, self.request),
            BodySide::Response => (Part::ResponseBody, self.response),
        };
        let bytes = self.part(part);
        &bytes[..body.kept.min(bytes.len())]
    }

    /// Whether what is to be stored of a body is the text itself. A text that was cut may end within a character.
    pub(crate) fn is_plain(&self, side: BodySide) -> bool {
        let body = match side {
            BodySide::Request => self.request,
            BodySide::Response => self.response,
        };
        body.plain && body.kept as u64 == body.wire_bytes
    }

    /// Bytes of bodies that are to be stored.
    pub(crate) fn content_bytes(&self) -> u64 {
        (self.request.kept + self.response.kept) as u64
    }

    /// Gives its memory back.
    pub(crate) fn into_block(self) -> Vec<u8> {
        self.block
    }

    /// What it takes in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.block.capacity()
    }

    /// What it takes on disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        disk_bytes(self.text(Part::Url), self.text(Part::Host), self.detail()) + self.content_bytes()
    }

    /// What lists show of it.
    pub(crate) fn columns(&self, seq: Seq) -> Columns<'_> {
        Columns {
            seq,
            session: self.session,
            kind: self.kind,
            state: &self.state,
            started_at: self.started_at,
            duration: self.duration,
            method: self.text(Part::Method),
            scheme: self.scheme,
            host: self.text(Part::Host),
            port: self.port,
            target: self.text(Part::Target),
            url: self.text(Part::Url),
            http_version: self.http_version,
            status: self.status,
            request_content_type: self.has_request_type.then(|| self.text(Part::RequestType)),
            response_content_type: self.has_response_type.then(|| self.text(Part::ResponseType)),
            request_body_bytes: self.request.wire_bytes,
            response_body_bytes: self.response.wire_bytes,
            messages: 0,
        }
    }

    /// The encoded rest of it, without what it shares with others of its connections.
    pub(crate) fn detail(&self) -> &[u8] {
        self.part(Part::Detail)
    }

    fn part(&self, part: Part) -> &[u8] {
        self.block.get(self.range(part)).unwrap_or_default()
    }

    fn text(&self, part: Part) -> &str {
        // It was put in as text, so that none is ever missing.
        str::from_utf8(self.part(part)).unwrap_or_default()
    }

    fn range(&self, part: Part) -> Range<usize> {
        let part = part as usize;
        let start = if part == 0 { 0 } else { self.ends[part - 1] };
        start..self.ends[part]
    }
}

/// Empties a block to be used again; one that is long is given back.
pub(crate) fn emptied_block(mut block: Vec<u8>) -> Option<Vec<u8>> {
    block.clear();
    (block.capacity() <= MAX_SPARE_BYTES).then_some(block)
}

/// Packs exchanges, one after the other, with one working memory.
pub(crate) struct WholePacker {
    summary: ExchangeSummary,
    detail: Vec<u8>,
    bodies: [Vec<u8>; 2],
    /// Blocks to be used again.
    spare: Vec<Vec<u8>>,
}

impl WholePacker {
    pub(crate) fn new() -> Self {
        Self {
            summary: ExchangeSummary::empty(),
            detail: Vec::new(),
            bodies: [Vec::new(), Vec::new()],
            spare: Vec::new(),
        }
    }

    /// Where blocks to be used again are put.
    pub(crate) fn spare(&mut self) -> &mut Vec<Vec<u8>> {
        &mut self.spare
    }

    /// Makes an exchange of its events, which are taken out: the first its request, the last its ending, and no message
    /// among them. `None` where the first is none.
    pub(crate) fn pack(&mut self, events: &mut Vec<Event>, queued_bytes: usize) -> Option<Whole> {
        let mut assembly = self.assemble(events)?;
        let Self { summary, detail, spare, .. } = self;
        assembly.summary(Seq(0), summary);
        detail.clear();
        assembly.encode_apart(detail);
        let texts = [&summary.method, &summary.host, &summary.target, &summary.url].map(String::as_bytes);
        let types = [&summary.request_content_type, &summary.response_content_type];
        let types = types.map(|text| text.as_deref().unwrap_or_default().as_bytes());
        let bodies = [&assembly.bodies.request.inline[..], &assembly.bodies.response.inline[..]];
        let length = texts.iter().chain(&types).chain(&bodies).map(|part| part.len()).sum::<usize>();
        let mut block = spare.pop().unwrap_or_default();
        block.reserve_exact((length + detail.len()).next_multiple_of(BLOCK_STEP));
        let mut ends = [0; PARTS];
        let parts = texts.iter().chain(&types).copied().chain([&detail[..]]).chain(bodies);
        for (end, part) in ends.iter_mut().zip(parts) {
            block.extend_from_slice(part);
            *end = block.len();
        }
        let body = |side, body: &BodyBuffer| WholeBody {
            wire_bytes: body.wire_bytes,
            kept: body.inline.len(),
            plain: assembly.is_plain(side),
        };
        let whole = Whole {
            session: SessionId(0),
            started_at: assembly.started_at,
            client: assembly.client().clone(),
            upstream: assembly.upstream().cloned(),
            queued_bytes,
            request: body(BodySide::Request, &assembly.bodies.request),
            response: body(BodySide::Response, &assembly.bodies.response),
            duration: summary.duration,
            kind: summary.kind,
            state: summary.state.clone(),
            scheme: assembly.request().scheme.as_str(),
            http_version: version_text(assembly.request().version),
            port: summary.port,
            status: summary.status,
            has_request_type: summary.request_content_type.is_some(),
            has_response_type: summary.response_content_type.is_some(),
            block,
            ends,
        };
        self.bodies = [&mut assembly.bodies.request, &mut assembly.bodies.response].map(emptied);
        Some(whole)
    }

    fn assemble(&mut self, events: &mut Vec<Event>) -> Option<Assembly> {
        let mut events = events.drain(..);
        let EventKind::Request { client, head, started_at } = events.next()?.kind else { return None };
        let mut assembly = Assembly::new(SessionId(0), client, head, started_at, u64::MAX);
        let [request, response] = std::mem::take(&mut self.bodies);
        (assembly.bodies.request.inline, assembly.bodies.response.inline) = (request, response);
        for Event { at, kind, .. } in events {
            match kind {
                EventKind::RequestBody(piece) => assembly.bodies.request.pass(&piece),
                EventKind::ResponseBody(piece) => assembly.bodies.response.pass(&piece),
                kind => assembly.apply(at, kind),
            }
        }
        Some(assembly)
    }
}

fn emptied(body: &mut BodyBuffer) -> Vec<u8> {
    let mut buffer = std::mem::take(&mut body.inline);
    buffer.clear();
    buffer
}
