//! Writes a log: its beginning, entries one by one, its end; and begins the next where one is long enough.

use std::{
    cell::RefCell,
    io::{self, Read, Write},
};

use capture_store::{Body, BodySide, ExchangeKind, ExchangeState, Recalled, Store, StoredMessage};
use serde::Serialize;
use serde_json::Value;

use crate::{
    body::{ErrorSlot, Form, Parts},
    compose::{Composed, Composer},
    error::{Error, ErrorKind},
    export::{ExportOptions, ExportSummary, Outputs},
    facts::{self, Beside},
    merged::{Merged, Text},
    progress::Progress,
    redact::{self, Redactor},
    target::Output,
};

/// What ends a log.
const END: &str = "\n]}}\n";

/// What all files of an export share.
pub(crate) struct Scribe<'a> {
    options: &'a ExportOptions,
    beside: Beside,
    slot: ErrorSlot,
    redactor: Option<RefCell<Redactor>>,
}

impl<'a> Scribe<'a> {
    pub(crate) fn new(options: &'a ExportOptions, mut beside: Beside) -> Self {
        let mut redactor = options.redact.clone().map(Redactor::new);
        if let Some(redactor) = &mut redactor {
            redactor.beside(&mut beside.members);
            redactor.commit();
        }
        if let Some(comment) = &options.comment {
            beside.members.insert("comment".to_owned(), comment.as_str().into());
        }
        Self { options, beside, slot: ErrorSlot::default(), redactor: redactor.map(RefCell::new) }
    }
}

/// Bodies and messages of an exchange that was read.
struct Stored<'a> {
    recalled: &'a Recalled,
}

impl Parts for Stored<'_> {
    fn open(&self, side: BodySide, form: Form) -> Result<Option<Box<dyn Read + Send>>, Error> {
        let read = match form {
            Form::Raw => Body::into_reader,
            Form::Decoded => Body::into_decoded_reader,
        };
        Ok(self.recalled.body(side)?.map(read))
    }

    fn messages(&self, from: u64, limit: usize) -> Result<Vec<StoredMessage>, Error> {
        let store: &Store = self.recalled.store();
        Ok(store.messages(self.recalled.exchange.summary.seq, from, limit)?)
    }
}

/// Writes one log after the other.
pub(crate) struct LogWriter<'a, O: Outputs> {
    to: &'a mut O,
    scribe: &'a Scribe<'a>,
    composer: Composer<'a>,
    out: Output<O::To>,
    /// Entries in this file.
    in_file: u64,
    /// Bytes of JSON and of files that are whole.
    before: (u64, u64),
    summary: ExportSummary,
    /// Whether what is written ends between two entries.
    whole: bool,
    /// An entry as JSON.
    scratch: Vec<u8>,
}

#[derive(Serialize)]
struct Creator {
    name: &'static str,
    version: &'static str,
}

const CREATOR: Creator = Creator { name: "wirescope", version: env!("CARGO_PKG_VERSION") };

impl<'a, O: Outputs> LogWriter<'a, O> {
    pub(crate) fn begin(to: &'a mut O, scribe: &'a Scribe<'a>) -> Result<Self, Error> {
        let out = to.begin(scribe.options.gzip)?;
        let mut log = Self {
            to,
            scribe,
            composer: Composer::new(scribe.options, &scribe.slot, scribe.redactor.as_ref()),
            out,
            in_file: 0,
            before: (0, 0),
            summary: ExportSummary::default(),
            whole: true,
            scratch: Vec::new(),
        };
        log.head()?;
        Ok(log)
    }

    fn head(&mut self) -> Result<(), Error> {
        self.raw("{\"log\":{\"version\":\"1.2\",\"creator\":")?;
        self.json(&CREATOR)?;
        let scribe = self.scribe;
        for (name, value) in &scribe.beside.members {
            self.raw(",")?;
            self.json(name)?;
            self.raw(":")?;
            self.json(value)?;
        }
        self.raw(",\"entries\":[")
    }

    /// Counts exchanges that went before they were read.
    pub(crate) fn vanished(&mut self, count: u64) {
        self.summary.vanished += count;
    }

    /// Adds an exchange.
    pub(crate) fn add(&mut self, recalled: &Recalled) -> Result<(), Error> {
        match self.try_add(recalled) {
            Err(error) if error.is_vanished() && self.whole => {
                self.summary.vanished += 1;
                Ok(())
            }
            result => result,
        }
    }

    fn try_add(&mut self, recalled: &Recalled) -> Result<(), Error> {
        let exchange = &recalled.exchange;
        if exchange.summary.kind == ExchangeKind::Tunnel && !self.scribe.options.tunnels {
            self.summary.tunnels_left_out += 1;
            return Ok(());
        }
        let parts = Stored { recalled };
        let is_small = recalled.is_small() && exchange.summary.messages == 0;
        let composed = self.composer.compose(exchange, &parts)?;
        let counts = composed.counts;
        if is_small {
            self.add_held(composed, recalled, &parts)?;
        } else {
            let stored = exchange.request_body.stored_bytes + exchange.response_body.stored_bytes;
            if self.is_full(stored) {
                self.next_file()?;
                // What an earlier file shows is to be shown again.
                let composed = self.composer.compose(exchange, &parts)?;
                self.add_streamed(composed, recalled)?;
            } else {
                self.add_streamed(composed, recalled)?;
            }
        }
        if let Some(redactor) = &self.scribe.redactor {
            redactor.borrow_mut().commit();
        }
        self.in_file += 1;
        self.summary.entries += 1;
        self.summary.undecodable += counts.undecodable;
        self.summary.bodies_left_out += counts.left_out;
        self.summary.open += u64::from(exchange.summary.state == ExchangeState::Open);
        Ok(())
    }

    /// Writes an entry whose length is known once it is JSON.
    fn add_held(
        &mut self,
        composed: Composed<'_>,
        recalled: &Recalled,
        parts: &Stored<'_>,
    ) -> Result<(), Error> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let before = (self.summary.not_redacted, self.summary.too_long_to_redact);
        self.write_entry(composed, recalled, &mut scratch)?;
        if self.is_full(scratch.len() as u64) {
            self.next_file()?;
            // What an earlier file shows is to be shown again.
            scratch.clear();
            (self.summary.not_redacted, self.summary.too_long_to_redact) = before;
            if let Some(redactor) = &self.scribe.redactor {
                redactor.borrow_mut().forget();
            }
            let composed = self.composer.compose(&recalled.exchange, parts)?;
            self.write_entry(composed, recalled, &mut scratch)?;
        }
        self.raw(if self.in_file == 0 { "\n" } else { ",\n" })?;
        let written = self.out.write_all(&scratch).map_err(output);
        self.scratch = scratch;
        written
    }

    /// Writes an entry that is read while it is written.
    fn add_streamed(&mut self, composed: Composed<'_>, recalled: &Recalled) -> Result<(), Error> {
        self.whole = false;
        self.raw(if self.in_file == 0 { "\n" } else { ",\n" })?;
        write_entry(self.scribe, &mut self.summary, composed, recalled, &mut self.out)?;
        self.whole = true;
        Ok(())
    }

    fn write_entry(
        &mut self,
        composed: Composed<'_>,
        recalled: &Recalled,
        to: &mut Vec<u8>,
    ) -> Result<(), Error> {
        write_entry(self.scribe, &mut self.summary, composed, recalled, to)
    }

    /// Whether so many bytes more would make this file too long.
    fn is_full(&self, more: u64) -> bool {
        let most = self.scribe.options.split_bytes;
        self.in_file > 0 && most.is_some_and(|most| self.out.written() + more + END.len() as u64 + 2 > most)
    }

    fn next_file(&mut self) -> Result<(), Error> {
        let next = self.to.begin(self.scribe.options.gzip)?;
        self.end(next)?;
        self.in_file = 0;
        self.composer.forget_chains();
        self.head()
    }

    /// Ends this file, and puts the next in its place.
    fn end(&mut self, next: Output<O::To>) -> Result<(), Error> {
        self.raw(END)?;
        let out = std::mem::replace(&mut self.out, next);
        let json = out.bytes;
        let (to, bytes) = out.finish().map_err(output)?;
        self.before = (self.before.0 + json, self.before.1 + bytes);
        self.to.take(to)
    }

    pub(crate) fn finish(mut self) -> Result<ExportSummary, Error> {
        self.raw(END)?;
        let Self { to, out, before, mut summary, scribe, .. } = self;
        summary.bytes = before.0 + out.bytes;
        let (whole, bytes) = out.finish().map_err(output)?;
        summary.file_bytes = before.1 + bytes;
        to.take(whole)?;
        if let Some(redactor) = &scribe.redactor {
            summary.redacted = redactor.borrow().report();
        }
        Ok(summary)
    }

    pub(crate) fn progress(&self, total_entries: Option<u64>) -> Progress {
        let bytes = self.before.0 + self.out.bytes;
        Progress { entries: self.summary.entries, total_entries, bytes, total_bytes: None }
    }

    fn raw(&mut self, text: &str) -> Result<(), Error> {
        self.out.write_all(text.as_bytes()).map_err(output)
    }

    fn json(&mut self, value: &impl Serialize) -> Result<(), Error> {
        serde_json::to_writer(&mut self.out, value).map_err(|error| output(error.into()))
    }
}

/// Writes an entry: ours as it is, or as a tree where something was kept of another's or is to be hidden.
fn write_entry(
    scribe: &Scribe<'_>,
    summary: &mut ExportSummary,
    composed: Composed<'_>,
    recalled: &Recalled,
    to: &mut impl Write,
) -> Result<(), Error> {
    let kept = recalled.exchange.foreign.as_deref();
    let written = if kept.is_none() && scribe.redactor.is_none() {
        serde_json::to_writer(to, &composed.entry)
    } else {
        let mut merged = Merged::new(composed.entry, kept)?;
        if scribe.beside.by_session
            && let Some(Value::String(page)) = merged.value.get_mut("pageref")
        {
            *page = facts::session_page(recalled.exchange.summary.session, page);
        }
        if let Some(redactor) = &scribe.redactor {
            hold_texts(&mut merged, summary)?;
            redactor.borrow_mut().entry(&mut merged);
        }
        serde_json::to_writer(to, &merged)
    };
    written.map_err(|error| output(error.into()))?;
    match scribe.slot.take() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Reads the bodies that are text, to be looked through.
fn hold_texts(merged: &mut Merged<'_>, summary: &mut ExportSummary) -> Result<(), Error> {
    for (message, part, text) in [
        ("request", "postData", &mut merged.request_text),
        ("response", "content", &mut merged.response_text),
    ] {
        let Some(Text::Streamed(streamed)) = text else { continue };
        if !streamed.is_text() {
            summary.not_redacted += 1;
        } else if streamed.bytes() > redact::MAX_BODY_BYTES {
            summary.too_long_to_redact += 1;
            *text = None;
            merged.value[message][part]["comment"] =
                "the body was left out of this file: it is too long to be looked through for credentials"
                    .into();
        } else {
            *text = Some(Text::Held(streamed.read()?));
        }
    }
    Ok(())
}

fn output(error: io::Error) -> Error {
    Error::with_source(ErrorKind::Output, error)
}
