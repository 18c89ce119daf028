//! One exchange, read as far as it is asked about.

use std::{
    cell::{OnceCell, RefCell},
    io::Read,
};

use capture_store::{BodySide, Error, ErrorKind, Exchange, ExchangeSummary, Store};
use proxy_core::Headers;
use serde_json::Value;

/// Decoded bytes of a body that are looked at.
const MAX_BODY_BYTES: u64 = 16 * 1024 * 1024;

/// One exchange, read as far as it is asked about: heads, decoded bodies as text, bodies as JSON, each once.
///
/// What cannot be read counts as absent; [`check`](Self::check) tells whether that was so because the store failed.
pub struct Subject<'s> {
    store: &'s Store,
    summary: ExchangeSummary,
    exchange: OnceCell<Option<Box<Exchange>>>,
    texts: [OnceCell<Option<Text>>; 2],
    jsons: [OnceCell<Option<Value>>; 2],
    failed: RefCell<Option<Error>>,
}

/// A decoded body as text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Text {
    /// It; bytes that are no UTF-8 are replaced.
    pub text: String,
    /// Whether all of it is there: it was recorded whole, could be decoded, and is at most 16 MiB.
    pub whole: bool,
}

impl<'s> Subject<'s> {
    /// Makes a subject of an exchange.
    #[must_use]
    pub fn new(store: &'s Store, summary: ExchangeSummary) -> Self {
        Self {
            store,
            summary,
            exchange: OnceCell::new(),
            texts: [OnceCell::new(), OnceCell::new()],
            jsons: [OnceCell::new(), OnceCell::new()],
            failed: RefCell::new(None),
        }
    }

    /// What lists show of it.
    #[must_use]
    pub fn summary(&self) -> &ExchangeSummary {
        &self.summary
    }

    /// Its store.
    #[must_use]
    pub fn store(&self) -> &'s Store {
        self.store
    }

    /// Its heads and facts; `None` where it went meanwhile.
    #[must_use]
    pub fn exchange(&self) -> Option<&Exchange> {
        let read = || self.noted(self.store.exchange(self.summary.seq)).map(Box::new);
        self.exchange.get_or_init(read).as_deref()
    }

    /// The fields of a message.
    #[must_use]
    pub fn headers(&self, side: BodySide) -> Option<&Headers> {
        let exchange = self.exchange()?;
        match side {
            BodySide::Request => Some(&exchange.request.headers),
            BodySide::Response => exchange.response.as_ref().map(|head| &head.headers),
        }
    }

    /// A body, decoded, as text; `None` where there is none.
    #[must_use]
    pub fn text(&self, side: BodySide) -> Option<&Text> {
        self.texts[side as usize].get_or_init(|| self.read_text(side)).as_ref()
    }

    /// A body as JSON; `None` where it is none.
    #[must_use]
    pub fn json(&self, side: BodySide) -> Option<&Value> {
        let read = || {
            let text = &self.text(side)?.text;
            let begins = text.trim_start().starts_with(['{', '[', '"']);
            begins.then(|| serde_json::from_str(text).ok()).flatten()
        };
        self.jsons[side as usize].get_or_init(read).as_ref()
    }

    /// Tells whether reading failed, rather than there being nothing.
    ///
    /// # Errors
    /// When the store could not be read.
    pub fn check(&self) -> Result<(), Error> {
        self.failed.borrow_mut().take().map_or(Ok(()), Err)
    }

    fn read_text(&self, side: BodySide) -> Option<Text> {
        let body = self.noted(self.store.body(self.summary.seq, side))??;
        let recorded = body.recorded();
        let mut bytes = Vec::new();
        let read = body.into_text_reader().take(MAX_BODY_BYTES + 1).read_to_end(&mut bytes);
        let fits = bytes.len() as u64 <= MAX_BODY_BYTES;
        bytes.truncate(usize::try_from(MAX_BODY_BYTES).unwrap_or(usize::MAX));
        let stored = recorded.identity || recorded.stored_bytes >= recorded.wire_bytes;
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        Some(Text { text, whole: read.is_ok() && fits && stored })
    }

    /// What was read, or nothing, with the failure noted; that an exchange or its body went is no failure.
    fn noted<T>(&self, read: Result<T, Error>) -> Option<T> {
        read.map_err(|error| {
            if !matches!(error.kind(), ErrorKind::UnknownExchange(_) | ErrorKind::Body(_)) {
                self.failed.borrow_mut().get_or_insert(error);
            }
        })
        .ok()
    }
}
