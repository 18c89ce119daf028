//! What a condition means, asked of one exchange. What the exchange does not need read is not read.

use std::{
    borrow::Cow,
    cell::{Cell, OnceCell},
    io::Read,
};

use proxy_core::{Headers, ListenerKind};

use super::{Condition, NumberField, Pattern, PeerSide, StateFilter, TextField};
use crate::{
    detail::{Detail, StoredPeer},
    error::{Error, ErrorKind},
    matching::Matcher,
    needle::Needle,
    record::{Body, BodySide, ExchangeState, ExchangeSummary, Peer},
    retrieve::open_body,
    store::Store,
};

/// Decoded bytes of a body that an expression is asked of.
const MAX_COMPARED_BYTES: u64 = 16 * 1024 * 1024;
/// Messages read at once; each may have some MiB.
const MESSAGES_AT_ONCE: usize = 8;

/// An exchange that is asked about; its parts are read when they are first needed.
pub(crate) struct Subject<'a> {
    store: &'a Store,
    summary: &'a ExchangeSummary,
    detail: OnceCell<Detail>,
    skipped_bodies: Cell<u64>,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(store: &'a Store, summary: &'a ExchangeSummary) -> Self {
        Self { store, summary, detail: OnceCell::new(), skipped_bodies: Cell::new(0) }
    }

    /// Bodies that could not be looked through to their end although that mattered.
    pub(crate) fn skipped_bodies(&self) -> u64 {
        self.skipped_bodies.get()
    }

    fn detail(&self) -> Result<&Detail, Error> {
        if let Some(detail) = self.detail.get() {
            return Ok(detail);
        }
        let blob = self.store.read(|tx| tx.detail(self.summary.seq))?;
        let blob = blob.ok_or_else(|| Error::new(ErrorKind::UnknownExchange(self.summary.seq)))?;
        let detail = Detail::decode(blob)?;
        Ok(self.detail.get_or_init(|| detail))
    }

    fn body(&self, side: BodySide) -> Result<Option<Body>, Error> {
        let row = self.store.read(|tx| tx.body(self.summary.seq, side))?;
        let opened = open_body(self.store.files(), self.summary, self.detail()?, side, row);
        Ok(opened.unwrap_or_else(|_| {
            // Its file is damaged, or went with the exchange a moment ago.
            self.skipped_bodies.set(self.skipped_bodies.get() + 1);
            None
        }))
    }
}

/// Whether a condition holds for an exchange.
pub(crate) fn holds(condition: &Condition, subject: &Subject<'_>) -> Result<bool, Error> {
    let summary = subject.summary;
    Ok(match condition {
        Condition::All(parts) => {
            for part in parts {
                if !holds(part, subject)? {
                    return Ok(false);
                }
            }
            true
        }
        Condition::Any(parts) => {
            for part in parts {
                if holds(part, subject)? {
                    return Ok(true);
                }
            }
            false
        }
        Condition::Not(part) => !holds(part, subject)?,
        Condition::Session(session) => summary.session == *session,
        Condition::Text(field, pattern) => text(*field, pattern, subject)?,
        Condition::Number(field, from, to) => {
            number(*field, subject)?.is_some_and(|number| (*from..=*to).contains(&number))
        }
        Condition::Began(from, to) => {
            from.is_none_or(|from| summary.started_at >= from) && to.is_none_or(|to| summary.started_at <= to)
        }
        Condition::State(state) => StateFilter::of(&summary.state) == *state,
        Condition::Kind(kind) => summary.kind == *kind,
        Condition::Peer(side, network) => {
            let peer = peer(subject.detail()?, *side);
            peer.and_then(|peer| peer.peer.address).is_some_and(|address| network.contains(address.ip()))
        }
        Condition::Parameter { name, value } => parameters(&summary.url).any(|(key, given)| {
            key.eq_ignore_ascii_case(name)
                && value.as_ref().is_none_or(|value| value.matches(given.as_bytes()))
        }),
        Condition::Header { side, name, value } => header(*side, name, value.as_ref(), subject.detail()?),
        Condition::Cookie { name, value } => cookie(name, value.as_ref(), subject.detail()?),
        Condition::Body { side, pattern } => body(*side, pattern, subject)?,
        Condition::Message { from_client, pattern } => message(*from_client, pattern, subject)?,
        Condition::Anywhere(pattern) => anywhere(pattern, subject)?,
    })
}

fn text(field: TextField, pattern: &Pattern, subject: &Subject<'_>) -> Result<bool, Error> {
    let summary = subject.summary;
    let is = |text: &str| pattern.matches(text.as_bytes());
    let is_some = |text: Option<&str>| text.is_some_and(is);
    let failure = match &summary.state {
        ExchangeState::Failed(failure) => Some(failure),
        _ => None,
    };
    let tls = |side| -> Result<Option<&proxy_core::TlsFacts>, Error> {
        Ok(peer(subject.detail()?, side).and_then(|peer| peer.peer.tls.as_ref()))
    };
    Ok(match field {
        TextField::Method => is(&summary.method),
        TextField::Scheme => is(&summary.scheme),
        TextField::Host => is(&summary.host),
        TextField::Url => is(&summary.url),
        TextField::Path => is(path(&summary.target)),
        TextField::HttpVersion => is(&summary.http_version),
        TextField::RequestType => is_some(summary.request_content_type.as_deref()),
        TextField::ResponseType => is_some(summary.response_content_type.as_deref()),
        TextField::Failure => is_some(failure.map(|failure| failure.kind.code())),
        TextField::FailureDetail => is_some(failure.map(|failure| failure.detail.as_str())),
        TextField::Tunnel => is_some(subject.detail()?.tunnel.as_deref()),
        TextField::Comment => is_some(subject.detail()?.comment.as_deref()),
        TextField::Address(side) => peer(subject.detail()?, side)
            .and_then(|peer| peer.peer.address)
            .is_some_and(|address| is(&address.to_string()) || is(&address.ip().to_string())),
        TextField::TlsVersion(side) => tls(side)?.is_some_and(|tls| is(&tls.version)),
        TextField::Cipher(side) => tls(side)?.is_some_and(|tls| is(&tls.cipher)),
        TextField::Alpn(side) => is_some(tls(side)?.and_then(|tls| tls.alpn.as_deref())),
        TextField::ServerName(side) => is_some(tls(side)?.and_then(|tls| tls.sni.as_deref())),
        TextField::Ja3(side) => tls(side)?
            .and_then(|tls| tls.fingerprint.as_ref())
            .is_some_and(|print| is(&print.ja3_hash) || is(&print.ja3)),
        TextField::Http2Fingerprint => {
            client(subject.detail()?).is_some_and(|peer| peer.http2_fingerprint.as_deref().is_some_and(is))
        }
        TextField::Listener => client(subject.detail()?)
            .and_then(|peer| peer.listener)
            .is_some_and(|kind| is(listener_name(kind))),
        TextField::Origin => is_some(client(subject.detail()?).and_then(|peer| peer.origin.as_deref())),
        TextField::Process => client(subject.detail()?)
            .and_then(|peer| peer.process.as_ref())
            .is_some_and(|process| is(&process.name) || is(&process.pid.to_string())),
        TextField::User => is_some(client(subject.detail()?).and_then(|peer| peer.user.as_deref())),
        TextField::Parent => {
            let upstream = subject.detail()?.upstream.as_ref();
            is_some(upstream.and_then(|upstream| upstream.peer.parent.as_deref()))
        }
        TextField::Rule => subject.detail()?.rules.iter().any(|hit| is(&hit.rule)),
        TextField::Ja4(side) => {
            tls(side)?.and_then(|tls| tls.fingerprint.as_ref()).is_some_and(|print| is(&print.ja4))
        }
    })
}

fn number(field: NumberField, subject: &Subject<'_>) -> Result<Option<u64>, Error> {
    let summary = subject.summary;
    let nanos = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Ok(match field {
        NumberField::Seq => Some(summary.seq.0),
        NumberField::Port => Some(summary.port.into()),
        NumberField::Status => summary.status.map(u64::from),
        NumberField::RequestBytes => Some(summary.request_body_bytes),
        NumberField::ResponseBytes => Some(summary.response_body_bytes),
        NumberField::Messages => Some(summary.messages),
        NumberField::Duration => summary.duration.map(nanos),
        NumberField::Wait => {
            let has_response = summary.status.is_some();
            let wait = subject.detail()?.timings.wait;
            has_response.then(|| nanos(wait))
        }
    })
}

/// The client's side.
fn client(detail: &Detail) -> Option<&Peer> {
    detail.client.as_ref().map(|stored| &stored.peer)
}

/// What a kind of listener is called.
pub(crate) fn listener_name(kind: ListenerKind) -> &'static str {
    match kind {
        ListenerKind::Socks => "socks",
        ListenerKind::Transparent => "transparent",
        ListenerKind::Reverse => "reverse",
        ListenerKind::Own => "own",
        _ => "explicit",
    }
}

fn peer(detail: &Detail, side: PeerSide) -> Option<&StoredPeer> {
    match side {
        PeerSide::Client => detail.client.as_ref(),
        PeerSide::Upstream => detail.upstream.as_ref(),
    }
}

/// A target up to its query.
pub(crate) fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

/// The parameters of a URL's query, decoded.
fn parameters(url: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decoded(name), percent_decoded(value))
    })
}

fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match (byte, digit(at), digit(at + 1)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(*byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// The fields of a side's message, trailers included.
fn fields(detail: &Detail, side: BodySide) -> [Option<&Headers>; 2] {
    match side {
        BodySide::Request => [Some(&detail.request.headers), Some(&detail.request_trailers)],
        BodySide::Response => {
            [detail.response.as_ref().map(|head| &head.headers), Some(&detail.response_trailers)]
        }
    }
}

fn sides(side: Option<BodySide>) -> impl Iterator<Item = BodySide> {
    [BodySide::Request, BodySide::Response]
        .into_iter()
        .filter(move |one| side.is_none_or(|side| side == *one))
}

fn header(side: Option<BodySide>, name: &str, value: Option<&Pattern>, detail: &Detail) -> bool {
    sides(side)
        .flat_map(|side| fields(detail, side))
        .flatten()
        .any(|headers| headers.get_all(name).any(|given| value.is_none_or(|value| value.matches(given))))
}

fn cookie(name: &str, value: Option<&Pattern>, detail: &Detail) -> bool {
    let is = |pair: &[u8]| {
        let at = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let given = pair.get(at + 1..).unwrap_or_default();
        pair[..at].trim_ascii().eq_ignore_ascii_case(name.as_bytes())
            && value.is_none_or(|value| value.matches(given.trim_ascii()))
    };
    let sent = detail.request.headers.get_all("cookie").any(|line| line.split(|byte| *byte == b';').any(is));
    let set = detail.response.as_ref().is_some_and(|head| {
        let lines = head.headers.get_all("set-cookie");
        lines.filter_map(|line| line.split(|byte| *byte == b';').next()).any(is)
    });
    sent || set
}

fn body(side: Option<BodySide>, pattern: &Pattern, subject: &Subject<'_>) -> Result<bool, Error> {
    for side in sides(side) {
        let Some(body) = subject.body(side)? else { continue };
        let recorded = body.recorded();
        let cut = !recorded.identity && recorded.stored_bytes < recorded.wire_bytes;
        let (found, whole) = body_matches(body, pattern);
        if found {
            return Ok(true);
        }
        subject.skipped_bodies.set(subject.skipped_bodies.get() + u64::from(cut || !whole));
    }
    Ok(false)
}

/// Whether a body matches, and whether all of it that mattered could be read.
fn body_matches(body: Body, pattern: &Pattern) -> (bool, bool) {
    if let Some(needle) = pattern.needle() {
        let mut examined = crate::matching::Examined::default();
        Matcher::new(needle, false).first_place_only().examine_body(BodySide::Response, body, &mut examined);
        return (examined.found(), examined.skipped_bodies == 0);
    }
    let content_type = body.content_type().map(str::to_owned);
    let mut text = Vec::new();
    let reader = crate::charset::to_utf8(body.into_decoded_reader(), content_type.as_deref());
    let read = reader.take(MAX_COMPARED_BYTES).read_to_end(&mut text);
    let whole = read.is_ok() && (text.len() as u64) < MAX_COMPARED_BYTES;
    (pattern.matches(&text), whole)
}

fn message(from_client: Option<bool>, pattern: &Pattern, subject: &Subject<'_>) -> Result<bool, Error> {
    let needle = pattern.needle().map(|text| Needle::new(text, false));
    let mut scratch = Vec::new();
    let mut is = |data: &[u8]| match &needle {
        Some(needle) => needle.is_in(data, &mut scratch),
        None => pattern.matches(data),
    };
    let mut from = 0;
    while from < subject.summary.messages {
        let messages = subject.store.read(|tx| tx.messages(subject.summary.seq, from, MESSAGES_AT_ONCE))?;
        let Some(last) = messages.last() else { break };
        from = last.index + 1;
        let found = messages
            .iter()
            .any(|message| from_client.is_none_or(|side| side == message.from_client) && is(&message.data));
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

fn anywhere(pattern: &Pattern, subject: &Subject<'_>) -> Result<bool, Error> {
    if pattern.matches(subject.summary.url.as_bytes()) {
        return Ok(true);
    }
    let detail = subject.detail()?;
    let mut line = Vec::new();
    for headers in sides(None).flat_map(|side| fields(detail, side)).flatten() {
        for header in headers {
            line.clear();
            for part in [&header.name[..], b": ", &header.value[..]] {
                line.extend_from_slice(part);
            }
            if pattern.matches(&line) {
                return Ok(true);
            }
        }
    }
    Ok(body(None, pattern, subject)? || message(None, pattern, subject)?)
}
