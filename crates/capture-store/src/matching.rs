//! Looking for a text in one exchange: URL, fields, decoded bodies, messages.

use std::{
    borrow::Cow,
    io::{self, Read},
    ops::Range,
};

use proxy_core::Headers;

use crate::{
    charset,
    db::Content,
    detail::Detail,
    error::Error,
    needle::Needle,
    record::{Body, BodySide, ExchangeSummary},
    retrieve::open_body,
    search::Place,
    store::Store,
};

/// Places told of one exchange's head, and of each of its bodies.
const MAX_PLACES: usize = 3;
/// Decoded bytes of one body that are looked through; a body that is longer counts as skipped.
const MAX_BODY_BYTES: u64 = 256 * 1024 * 1024;
/// What is read of a body at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// What is read of it first.
const FIRST_CHUNK_BYTES: usize = 4 * 1024;
/// Messages read at once; each may have some MiB.
const MESSAGES_AT_ONCE: usize = 8;
/// Characters of context where no number is named.
const DEFAULT_CONTEXT: usize = 60;
/// Characters of context at most.
const MAX_CONTEXT: usize = 1_000;
/// Bytes of the longest UTF-8 character.
const MAX_CHAR_BYTES: usize = 4;

/// What is looked for, and how much is told of it.
pub(crate) struct Matcher {
    needle: Needle,
    bodies: bool,
    max_places: usize,
    context: usize,
}

/// What was found in one exchange.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    pub(crate) places: Vec<Place>,
    /// Bodies that were not looked through to their end although more might be there.
    pub(crate) skipped_bodies: u64,
}

impl Examined {
    pub(crate) fn found(&self) -> bool {
        !self.places.is_empty()
    }
}

impl Matcher {
    pub(crate) fn new(text: &str, case_sensitive: bool) -> Self {
        Self {
            needle: Needle::new(text, case_sensitive),
            bodies: true,
            max_places: MAX_PLACES,
            context: DEFAULT_CONTEXT,
        }
    }

    /// Looks no further once it found the text.
    pub(crate) fn first_place_only(mut self) -> Self {
        self.max_places = 1;
        self.context = 0;
        self
    }

    /// Leaves bodies and messages aside.
    pub(crate) fn without_bodies(mut self) -> Self {
        self.bodies = false;
        self
    }

    /// Tells this many characters around a place; 0 means the default.
    pub(crate) fn context(mut self, chars: usize) -> Self {
        self.context = if chars == 0 { DEFAULT_CONTEXT } else { chars.min(MAX_CONTEXT) };
        self
    }

    /// Whether bodies are looked through.
    pub(crate) fn wants_bodies(&self) -> bool {
        self.bodies
    }

    /// Looks through an exchange.
    pub(crate) fn examine(
        &self,
        store: &Store,
        summary: &ExchangeSummary,
        content: Content,
    ) -> Result<Examined, Error> {
        let mut examined = Examined::default();
        if self.needle.is_empty() {
            return Ok(examined);
        }
        self.examine_bytes("url", summary.url.as_bytes(), 1, &mut examined.places);
        let detail = Detail::decode(content.detail)?;
        self.examine_head(&detail, &mut examined.places);
        if self.bodies {
            for (side, row) in
                [(BodySide::Request, content.request_body), (BodySide::Response, content.response_body)]
            {
                if !self.is_enough(&examined) {
                    let body = open_body(store.files(), summary, &detail, side, row);
                    match body {
                        Ok(Some(body)) => self.examine_body(side, body, &mut examined),
                        Ok(None) => {}
                        // Its file is damaged, or went with the exchange a moment ago.
                        Err(_) => examined.skipped_bodies += 1,
                    }
                }
            }
            self.examine_messages(store, summary, &mut examined)?;
        }
        Ok(examined)
    }

    /// Whether the caller only asked whether there is a place at all, and there is.
    fn is_enough(&self, examined: &Examined) -> bool {
        self.max_places == 1 && examined.found()
    }

    fn examine_head(&self, detail: &Detail, places: &mut Vec<Place>) {
        let room = places.len() + self.max_places;
        let response = detail.response.as_ref().map(|head| &head.headers);
        for (field, headers) in [
            ("request.header", Some(&detail.request.headers)),
            ("response.header", response),
            ("request.trailer", Some(&detail.request_trailers)),
            ("response.trailer", Some(&detail.response_trailers)),
        ] {
            if let Some(headers) = headers {
                self.examine_headers(field, headers, room, places);
            }
        }
    }

    /// Each field is looked through as the line it was: its name, a colon and a space, its value.
    fn examine_headers(&self, field: &str, headers: &Headers, room: usize, places: &mut Vec<Place>) {
        let mut line = Vec::new();
        for header in headers {
            if places.len() >= room {
                return;
            }
            line.clear();
            for part in [&header.name[..], b": ", &header.value[..]] {
                line.extend_from_slice(part);
            }
            let before = places.len();
            self.examine_bytes(field, &line, 1, places);
            for place in &mut places[before..] {
                place.field = format!("{field}.{}", header.name_text().to_ascii_lowercase());
            }
        }
    }

    /// Looks through bytes in memory.
    fn examine_bytes(&self, field: &str, bytes: &[u8], max: usize, places: &mut Vec<Place>) {
        let folded: Cow<'_, [u8]> =
            if self.needle.folds() { bytes.to_ascii_lowercase().into() } else { Cow::Borrowed(bytes) };
        let mut from = 0;
        for _ in 0..max {
            let Some(found) = self.needle.find(&folded[from..]) else { return };
            let found = from + found.start..from + found.end;
            from = found.end;
            places.push(self.place(bytes, found, 0).named(field));
        }
    }

    /// Looks through a body.
    pub(crate) fn examine_body(&self, side: BodySide, body: Body, examined: &mut Examined) {
        let field = match side {
            BodySide::Request => "request.body",
            BodySide::Response => "response.body",
        };
        let recorded = body.recorded();
        let cut = !recorded.identity && recorded.stored_bytes < recorded.wire_bytes;
        let mut found = Vec::new();
        let whole = self.examine_decoded(body, &mut found);
        examined.skipped_bodies += u64::from(cut || !whole);
        examined.places.extend(found.into_iter().map(|place| place.named(field)));
    }

    /// Looks through a decoded body; says whether it could be read to where the looking stopped.
    fn examine_decoded(&self, body: Body, found: &mut Vec<Found>) -> bool {
        let content_type = body.content_type().map(str::to_owned);
        let text = charset::to_utf8(body.into_decoded_reader(), content_type.as_deref());
        let mut reader = text.take(MAX_BODY_BYTES);
        let read = self.examine_reader(&mut reader, self.max_places, found);
        read.is_ok() && reader.limit() > 0
    }

    fn examine_messages(
        &self,
        store: &Store,
        summary: &ExchangeSummary,
        examined: &mut Examined,
    ) -> Result<(), Error> {
        let mut from = 0;
        let room = examined.places.len() + self.max_places;
        while from < summary.messages && examined.places.len() < room && !self.is_enough(examined) {
            let messages = store.read(|tx| tx.messages(summary.seq, from, MESSAGES_AT_ONCE))?;
            let Some(last) = messages.last() else { break };
            from = last.index + 1;
            for message in messages {
                examined.skipped_bodies += u64::from(message.truncated);
                self.examine_bytes(
                    &format!("message.{}", message.index),
                    &message.data,
                    1,
                    &mut examined.places,
                );
            }
        }
        Ok(())
    }

    /// Finds the text in what a reader gives, up to `max` times. Holds a chunk and the context of a place in memory.
    fn examine_reader(&self, reader: &mut dyn Read, max: usize, places: &mut Vec<Found>) -> io::Result<()> {
        let around = self.context * MAX_CHAR_BYTES;
        let mut window = Window::default();
        let mut ended = false;
        while !ended {
            ended = window.fill(reader, self.needle.folds())? == 0;
            loop {
                let Some(found) = self.needle.find(&window.folded[window.searched..]) else {
                    let last_start = (window.raw.len() + 1).saturating_sub(self.needle.longest());
                    window.searched = window.searched.max(last_start);
                    break;
                };
                let told = window.searched + found.end;
                window.searched += found.start;
                if !ended && told + around > window.raw.len() {
                    // The place is told once what follows it is there.
                    break;
                }
                places.push(self.place(&window.raw, window.searched..told, window.base));
                if places.len() == max {
                    return Ok(());
                }
                window.searched = told;
            }
            window.forget(around);
        }
        Ok(())
    }

    /// Tells a place in bytes that begin at `base` of their field.
    fn place(&self, bytes: &[u8], found: Range<usize>, base: u64) -> Found {
        let Range { start: at, end } = found;
        let around = self.context * MAX_CHAR_BYTES;
        let before = String::from_utf8_lossy(&bytes[at.saturating_sub(around)..at]);
        let after = String::from_utf8_lossy(&bytes[end..bytes.len().min(end + around)]);
        let skipped = before.chars().count().saturating_sub(self.context);
        let mut snippet: String = before.chars().skip(skipped).collect();
        snippet.push_str(&String::from_utf8_lossy(&bytes[at..end]));
        snippet.extend(after.chars().take(self.context));
        Found { position: base + at as u64, snippet }
    }
}

/// A place without its field.
struct Found {
    position: u64,
    snippet: String,
}

impl Found {
    fn named(self, field: &str) -> Place {
        Place { field: field.to_owned(), position: self.position, snippet: self.snippet }
    }
}

/// The part of a body that is being looked through.
#[derive(Default)]
struct Window {
    /// Where `raw` begins in the body.
    base: u64,
    raw: Vec<u8>,
    /// `raw`, in lower case where case does not matter.
    folded: Vec<u8>,
    /// No place begins before this, except for those already told.
    searched: usize,
    /// What was last asked for at once.
    chunk: usize,
}

impl Window {
    /// Reads a chunk more and says how long it was; 0 at the end.
    fn fill(&mut self, reader: &mut dyn Read, fold: bool) -> io::Result<usize> {
        let length = self.raw.len();
        // Most bodies are small; the window grows with those that are not.
        self.chunk = (self.chunk * 2).clamp(FIRST_CHUNK_BYTES, CHUNK_BYTES);
        self.raw.resize(length + self.chunk, 0);
        let count = loop {
            match reader.read(&mut self.raw[length..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.raw.truncate(length + *count.as_ref().unwrap_or(&0));
        self.folded.extend_from_slice(&self.raw[length..]);
        if fold {
            self.folded[length..].make_ascii_lowercase();
        }
        count
    }

    /// Forgets what no place to come can need.
    fn forget(&mut self, around: usize) {
        let gone = self.searched.saturating_sub(around);
        self.raw.drain(..gone);
        self.folded.drain(..gone);
        self.base += gone as u64;
        self.searched -= gone;
    }
}
