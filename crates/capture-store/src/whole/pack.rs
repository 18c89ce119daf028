//! Packs exchanges that have ended into batches of whole ones, straight from their events.

use std::time::Instant;

use proxy_core::{Event, EventKind, Headers, RequestHead};

use super::{Batch, PARTS, WholeBody, WholeHead};
use crate::{
    assemble::content_hash,
    decode,
    record::BodySide,
    summary::{lossy, version_text},
    told::{MAX_RULES, Told},
};

impl Batch {
    /// Adds an exchange, made of its events: the first its request, the last its ending, and no message among
    /// them, which was told at that time. Says false, and adds nothing, where the first is none.
    pub(crate) fn pack(&mut self, events: &[Event], ended_at: Instant) -> bool {
        let Some(told) = told(events) else { return false };
        let head = told.request;
        let response = told.response.map(|(head, _)| head);
        let request_fields = Some(&head.headers);
        let response_fields = response.map(|head| &head.headers);

        let start = self.block.len();
        let mut parts = Parts { block: &mut self.block, ends: [0; PARTS], done: 0 };
        parts.put_request(head);
        let has_request_type = parts.put_content_type(request_fields);
        let has_response_type = parts.put_content_type(response_fields);
        told.encode_apart(parts.block);
        parts.end();
        let request = parts.put_body(events, BodySide::Request, request_fields);
        let response_body = parts.put_body(events, BodySide::Response, response_fields);
        let ends = parts.ends;

        self.heads.push(WholeHead {
            started_at: told.started_at,
            ended_at,
            client: told.client.clone(),
            upstream: told.upstream.cloned(),
            request,
            response: response_body,
            duration: told.duration(),
            kind: told.kind(),
            state: told.state(),
            scheme: head.scheme.as_str(),
            http_version: version_text(head.version),
            port: head.port(),
            status: response.map(|head| head.status.as_u16()),
            has_request_type,
            has_response_type,
            start,
            ends,
        });
        true
    }
}

/// What events tell; as `Assembly::apply` takes them in.
fn told(events: &[Event]) -> Option<Told<'_>> {
    let (first, rest) = events.split_first()?;
    let EventKind::Request { client, head, started_at } = &first.kind else { return None };
    let mut told = Told::new(client, head, *started_at);
    for Event { at, kind, .. } in rest {
        match kind {
            EventKind::RequestBody(piece) => told.request_bytes += piece.len() as u64,
            EventKind::RequestTrailers(trailers) => told.request_trailers = Some(trailers),
            EventKind::RequestEnd => told.request_ended = true,
            EventKind::Upstream { upstream, .. } => told.upstream = Some(upstream),
            EventKind::Informational(head) => told.informational.push(head),
            EventKind::Response { head, source } => told.response = Some((head, *source)),
            EventKind::ResponseTrailers(trailers) => told.response_trailers = Some(trailers),
            EventKind::Rule(hit) if told.rules.len() < MAX_RULES => told.rules.to_mut().push(hit.clone()),
            EventKind::Ended(ending) => told.ending = Some((ending, *at)),
            _ => {}
        }
    }
    Some(told)
}

/// The parts of an exchange, put into a block in their order.
struct Parts<'b> {
    block: &'b mut Vec<u8>,
    ends: [usize; PARTS],
    done: usize,
}

impl Parts<'_> {
    /// Ends a part.
    fn end(&mut self) {
        if let Some(end) = self.ends.get_mut(self.done) {
            *end = self.block.len();
        }
        self.done += 1;
    }

    /// Method, host, target and URL.
    fn put_request(&mut self, head: &RequestHead) {
        self.block.extend_from_slice(head.method.as_str().as_bytes());
        self.end();
        let at = self.block.len();
        self.block.extend_from_slice(head.host().as_bytes());
        self.block[at..].make_ascii_lowercase();
        self.end();
        self.block.extend_from_slice(head.target.as_bytes());
        self.end();
        head.url_parts().iter().for_each(|part| self.block.extend_from_slice(part.as_bytes()));
        self.end();
    }

    /// The content type, and whether there is one.
    fn put_content_type(&mut self, fields: Option<&Headers>) -> bool {
        let value = fields.and_then(|fields| fields.get("content-type"));
        if let Some(value) = value {
            self.block.extend_from_slice(lossy(value).as_bytes());
        }
        self.end();
        value.is_some()
    }

    /// A body, which came under these fields.
    fn put_body(&mut self, events: &[Event], side: BodySide, fields: Option<&Headers>) -> WholeBody {
        let at = self.block.len();
        for event in events {
            match (&event.kind, side) {
                (EventKind::RequestBody(piece), BodySide::Request)
                | (EventKind::ResponseBody(piece), BodySide::Response) => self.block.extend_from_slice(piece),
                _ => {}
            }
        }
        self.end();
        let body = &self.block[at..];
        if body.is_empty() {
            return WholeBody::default();
        }
        WholeBody {
            wire_bytes: body.len() as u64,
            plain: fields.is_none_or(|fields| decode::is_plain(fields, body)),
            hash: content_hash(body),
        }
    }
}

#[cfg(test)]
mod tests;
