//! An exchange as an entry.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use bytes::Bytes;
use capture_store::{BodySide, Exchange, ExchangeKind, ExchangeState, Recorded};
use http::Version;
use proxy_core::{Headers, ResponseHead};

use crate::{
    body::{ErrorSlot, Parts, Prepared, prepare},
    clock,
    cookie::{self, Cookie},
    entry::{Cache, Content, Entry, PostData, Request, Response, Timings},
    error::Error,
    export::{BodyLevel, ExportOptions},
    extra::{BodyExtra, Extra, InterimExtra, PeerExtra, ReasonExtra, RuleExtra, SizesExtra, TargetExtra},
    form,
    message::Messages,
    redact::Redactor,
    resource::resource_type,
    text::{latin1, readable, to_fields},
    url::{self, Target},
    version, words,
};

/// Certificate chains remembered to be written once; beyond it they are written again with each entry.
const MAX_CHAINS: usize = 1_024;

/// Chrome's word for a body whose type is not known.
const UNKNOWN_TYPE: &str = "x-unknown";

/// Turns exchanges into entries.
pub(crate) struct Composer<'a> {
    pub(crate) options: &'a ExportOptions,
    pub(crate) slot: &'a ErrorSlot,
    redactor: Option<&'a RefCell<Redactor>>,
    /// The first exchange that showed each chain.
    chains: RefCell<HashMap<Vec<Bytes>, u64>>,
}

/// An entry, and what its bodies gave to say.
pub(crate) struct Composed<'a> {
    pub(crate) entry: Entry<'a>,
    pub(crate) counts: BodyCounts,
}

/// What became of the bodies of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BodyCounts {
    /// Those whose content coding could not be taken off.
    pub(crate) undecodable: u64,
    /// Those that the options leave out.
    pub(crate) left_out: u64,
}

impl<'a> Composer<'a> {
    pub(crate) fn new(
        options: &'a ExportOptions,
        slot: &'a ErrorSlot,
        redactor: Option<&'a RefCell<Redactor>>,
    ) -> Self {
        Self { options, slot, redactor, chains: RefCell::default() }
    }

    /// Shows all chains anew: a file of its own has begun.
    pub(crate) fn forget_chains(&self) {
        self.chains.borrow_mut().clear();
    }

    /// Makes the entry of an exchange. Small bodies are read now, large ones when the entry is serialized.
    pub(crate) fn compose<'b>(
        &self,
        exchange: &'b Exchange,
        parts: &'b dyn Parts,
    ) -> Result<Composed<'b>, Error>
    where
        'a: 'b,
    {
        let request_body = self.body(exchange, parts, BodySide::Request)?;
        let response_body = self.body(exchange, parts, BodySide::Response)?;
        let mut counts = BodyCounts::default();
        for (recorded, body) in
            [(exchange.request_body, &request_body), (exchange.response_body, &response_body)]
        {
            let left_out = self.is_left_out(recorded, body.as_ref());
            counts.left_out += u64::from(left_out);
            let undecodable = body.as_ref().is_some_and(|body| body.undecodable.is_some());
            counts.undecodable += u64::from(undecodable && !left_out);
        }
        let mut extra = self.extra(exchange);
        extra.request_body = Some(self.body_extra(exchange.request_body, request_body.as_ref()));
        extra.response_body = Some(self.body_extra(exchange.response_body, response_body.as_ref()));
        let upgraded = exchange.summary.kind == ExchangeKind::WebSocket || exchange.summary.messages > 0;
        let entry = Entry {
            started_date_time: clock::iso(exchange.summary.started_at),
            time: total(exchange),
            request: request(exchange, request_body, self),
            response: response(exchange, response_body, self),
            cache: Cache {},
            timings: timings(exchange),
            server_ip_address: exchange
                .upstream
                .as_ref()
                .and_then(|peer| peer.address)
                .map(|address| address.ip().to_string()),
            connection: exchange
                .upstream
                .as_ref()
                .or(exchange.client.as_ref())
                .map(|peer| peer.connection.to_string()),
            comment: exchange.comment.as_deref(),
            resource_type: resource_type(exchange),
            messages: (upgraded && self.options.messages).then_some(Messages {
                parts,
                slot: self.slot,
                redactor: self.redactor,
            }),
            extra,
        };
        Ok(Composed { entry, counts })
    }

    fn body<'b>(
        &self,
        exchange: &Exchange,
        parts: &'b dyn Parts,
        side: BodySide,
    ) -> Result<Option<Prepared<'b>>, Error>
    where
        'a: 'b,
    {
        let recorded = match side {
            BodySide::Request => exchange.request_body,
            BodySide::Response => exchange.response_body,
        };
        if self.options.bodies == BodyLevel::None || recorded.stored_bytes == 0 {
            return Ok(None);
        }
        let mut prepared = prepare(parts, side, self.slot)?;
        if let Some(body) = &mut prepared {
            let is_wanted = match self.options.bodies {
                BodyLevel::All => true,
                BodyLevel::Text => body.encoding.is_none(),
                BodyLevel::UpTo(most) => body.bytes <= most,
                BodyLevel::None => false,
            };
            if !is_wanted {
                body.omit();
            }
        }
        Ok(prepared)
    }

    /// Whether a body that there is is left out of the file.
    fn is_left_out(&self, recorded: Recorded, body: Option<&Prepared<'_>>) -> bool {
        match body {
            Some(body) => body.omitted,
            None => self.options.bodies == BodyLevel::None && recorded.stored_bytes > 0,
        }
    }

    fn body_extra(&self, recorded: Recorded, body: Option<&Prepared<'_>>) -> BodyExtra {
        BodyExtra {
            coded: body.is_some_and(|body| body.undecodable.is_some() && !body.omitted),
            omitted: self.is_left_out(recorded, body),
            ..BodyExtra::new(recorded)
        }
    }

    /// What a reader must know about a body that is not simply there.
    fn body_comment(&self, recorded: Recorded, body: Option<&Prepared<'_>>) -> Option<String> {
        let mut notes = Vec::new();
        if self.is_left_out(recorded, body) {
            notes.push("the body was left out of this file".to_owned());
        } else if !recorded.identity && recorded.stored_bytes < recorded.wire_bytes {
            let (stored, wire) = (recorded.stored_bytes, recorded.wire_bytes);
            notes.push(format!("only {stored} of {wire} bytes were recorded"));
        }
        if let Some(problem) = body.filter(|body| !body.omitted).and_then(|body| body.undecodable.as_deref())
        {
            notes.push(format!(
                "the body is as it was on the wire, its content coding could not be taken off: {problem}"
            ));
        }
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    fn extra(&self, exchange: &Exchange) -> Extra {
        let seq = exchange.summary.seq.0;
        let (state, failure) = words::state_words(&exchange.summary.state);
        let head = &exchange.request;
        let said = url::read(&head.method, &url::write(head)).ok();
        let target = Target::of(head);
        let reason = exchange
            .response
            .as_ref()
            .filter(|head| reason_of(head.version, &reason_text(head)) != head.reason);
        let mut upstream = exchange.upstream.as_ref().map(PeerExtra::new);
        if let Some(tls) = upstream.as_mut().and_then(|peer| peer.tls.as_mut())
            && let Some(first) = exchange
                .upstream
                .as_ref()
                .and_then(|peer| peer.tls.as_ref())
                .and_then(|facts| self.chain_shown_before(&facts.certificates, seq))
        {
            tls.certificates.clear();
            tls.certificates_of = Some(first);
        }
        Extra {
            seq: Some(seq),
            kind: Some(words::kind_word(exchange.summary.kind).to_owned()),
            state: Some(state.to_owned()),
            failure,
            source: exchange.response_source.map(|source| words::source_word(source).to_owned()),
            target: (said.as_ref() != Some(&target)).then(|| TargetExtra {
                scheme: target.scheme.as_str().to_owned(),
                authority: target.authority,
                target: target.target,
            }),
            reason: reason.map(|head| ReasonExtra { latin1: head.reason.as_deref().map(latin1) }),
            tunnel: exchange.tunnel.clone(),
            tunnel_bytes: (exchange.tunnel_bytes != (0, 0)).then_some(exchange.tunnel_bytes),
            client: exchange.client.as_ref().map(PeerExtra::new),
            upstream,
            request_trailers: to_fields(&exchange.request_trailers),
            response_trailers: to_fields(&exchange.response_trailers),
            informational: exchange.informational.iter().map(InterimExtra::new).collect(),
            request_body: None,
            response_body: None,
            total: Some(clock::millis(exchange.timings.total)),
            sizes: Some(SizesExtra::from(exchange.sizes)),
            rules: exchange.rules.iter().map(RuleExtra::new).collect(),
            foreign: None,
        }
    }

    /// The earlier exchange that showed this chain. A chain not seen before is remembered as this exchange's.
    fn chain_shown_before(&self, chain: &[Bytes], seq: u64) -> Option<u64> {
        let mut chains = self.chains.borrow_mut();
        if chain.is_empty() {
            return None;
        }
        let known = chains.get(chain).copied();
        if known.is_none() && chains.len() < MAX_CHAINS {
            chains.insert(chain.to_vec(), seq);
        }
        known
    }
}

fn request<'a>(exchange: &'a Exchange, body: Option<Prepared<'a>>, composer: &Composer<'_>) -> Request<'a> {
    let head = &exchange.request;
    let recorded = exchange.request_body;
    let cookies = head.headers.get_all("cookie").flat_map(|value| {
        let value = readable(value);
        cookie::sent(&value).collect::<Vec<_>>()
    });
    let content_type = content_type(&head.headers);
    let post_data = (body.is_some() || recorded.wire_bytes > 0).then(|| {
        let comment = composer.body_comment(recorded, body.as_ref());
        let held = body.as_ref().filter(|body| body.undecodable.is_none()).and_then(Prepared::held);
        let params = content_type.as_deref().zip(held).and_then(|(mime, held)| form::params(mime, held));
        let encoding = body.as_ref().and_then(|body| body.encoding);
        let mime_type = content_type.unwrap_or_else(|| UNKNOWN_TYPE.to_owned());
        PostData { mime_type, text: body.and_then(|body| body.text), encoding, params, comment }
    });
    Request {
        method: head.method.as_str(),
        url: url::write(head),
        http_version: version::write(head.version),
        cookies: cookies.collect(),
        headers: to_fields(&head.headers),
        query_string: form::query(&head.target),
        post_data,
        headers_size: size_or_unknown(exchange.sizes.request_head),
        body_size: signed(recorded.wire_bytes),
    }
}

fn response<'a>(exchange: &'a Exchange, body: Option<Prepared<'a>>, composer: &Composer<'_>) -> Response<'a> {
    let error = match &exchange.summary.state {
        ExchangeState::Failed(failure) => Some(failure.to_string()),
        _ => None,
    };
    let recorded = exchange.response_body;
    let content = content(exchange, body, composer);
    let Some(head) = &exchange.response else {
        return Response {
            status: 0,
            status_text: String::new(),
            http_version: version::write(exchange.request.version),
            cookies: Vec::new(),
            headers: Vec::new(),
            content,
            redirect_url: String::new(),
            headers_size: -1,
            body_size: -1,
            error,
        };
    };
    let cookies: Vec<Cookie> =
        head.headers.get_all("set-cookie").map(|value| cookie::set(&readable(value))).collect();
    Response {
        status: head.status.as_u16(),
        status_text: reason_text(head),
        http_version: version::write(head.version),
        cookies,
        headers: to_fields(&head.headers),
        content,
        redirect_url: head.headers.get("location").map_or_else(String::new, |to| readable(to).into_owned()),
        headers_size: size_or_unknown(exchange.sizes.response_head),
        body_size: signed(recorded.wire_bytes),
        error,
    }
}

fn content<'a>(exchange: &Exchange, body: Option<Prepared<'a>>, composer: &Composer<'_>) -> Content<'a> {
    let recorded = exchange.response_body;
    let comment = composer.body_comment(recorded, body.as_ref());
    let size = body.as_ref().map_or(recorded.wire_bytes, |body| body.bytes);
    // What decoding added. Without a coding, or where only a part is stored, nothing can be said.
    let saved = signed(size) - signed(recorded.wire_bytes);
    let coded = exchange.response.as_ref().is_some_and(|head| head.headers.contains("content-encoding"));
    let decoded = body.as_ref().is_some_and(|body| body.undecodable.is_none());
    let mime_type = exchange.response.as_ref().and_then(|head| content_type(&head.headers));
    Content {
        size: signed(size),
        compression: (coded && decoded && saved > 0).then_some(saved),
        mime_type: mime_type.unwrap_or_else(|| UNKNOWN_TYPE.to_owned()),
        encoding: body.as_ref().and_then(|body| body.encoding),
        text: body.and_then(|body| body.text),
        comment,
    }
}

fn content_type(headers: &Headers) -> Option<String> {
    headers.get("content-type").map(|value| readable(value).into_owned())
}

/// The reason phrase as HAR's `statusText`.
fn reason_text(head: &ResponseHead) -> String {
    head.reason.as_deref().map_or_else(String::new, |reason| readable(reason).into_owned())
}

/// The reason phrase that a `statusText` says: HTTP/2 and later have none.
pub(crate) fn reason_of(version: Version, text: &str) -> Option<Bytes> {
    (version < Version::HTTP_2 || !text.is_empty()).then(|| Bytes::copy_from_slice(text.as_bytes()))
}

fn timings(exchange: &Exchange) -> Timings {
    let timings = exchange.timings;
    let part = |span: Option<Duration>| span.map_or(-1.0, clock::millis);
    Timings {
        blocked: part(timings.blocked),
        dns: part(timings.dns),
        connect: part(timings.connect),
        ssl: part(timings.ssl),
        send: clock::millis(timings.send),
        wait: clock::millis(timings.wait),
        receive: clock::millis(timings.receive),
    }
}

/// HAR's `time`: the sum of the parts that took place. `ssl` is within `connect`.
fn total(exchange: &Exchange) -> f64 {
    let timings = exchange.timings;
    let before = [timings.blocked, timings.dns, timings.connect].into_iter().flatten();
    clock::millis(before.chain([timings.send, timings.wait, timings.receive]).sum())
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A head's size; HAR has -1 for what is not known, and no head is empty.
fn size_or_unknown(bytes: u64) -> i64 {
    if bytes == 0 { -1 } else { signed(bytes) }
}
