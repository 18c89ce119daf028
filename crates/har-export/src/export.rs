//! HAR out of a store: page by page, entry by entry, bodies streamed.

use std::{
    fs, io,
    io::{BufWriter, Read, Write},
    path::Path,
};

use capture_store::{Body, BodySide, ExchangeKind, ExchangeState, Order, Query, Seq, Store, StoredMessage};
use serde::Serialize;

use crate::{
    body::{ErrorSlot, Form, Parts},
    compose::Composer,
    error::{Error, ErrorKind},
    progress::Progress,
};

/// Exchanges asked of the store at a time.
const PAGE: usize = 500;

/// Bytes of JSON gathered before they are written.
const BUFFER_BYTES: usize = 64 * 1024;

/// What goes into the file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExportOptions {
    /// Bodies; without them the file keeps their sizes and says that they were left out. Default on.
    pub bodies: bool,
    /// WebSocket messages. Default on.
    pub messages: bool,
    /// Tunnels that were not decrypted, as `CONNECT` entries. Default on.
    pub tunnels: bool,
    /// A comment on the whole log. Default none.
    pub comment: Option<String>,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self { bodies: true, messages: true, tunnels: true, comment: None }
    }
}

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportSummary {
    /// Entries written.
    pub entries: u64,
    /// Bytes of JSON written.
    pub bytes: u64,
    /// Entries of exchanges that were still going on, written as they stood.
    pub open: u64,
    /// Tunnels left out because the options say so.
    pub tunnels_left_out: u64,
    /// Exchanges that were evicted or deleted between being listed and being read.
    pub vanished: u64,
    /// Bodies written with their content coding, because it could not be taken off.
    pub undecodable: u64,
}

/// Writes the exchanges a query names into a HAR file.
///
/// The file is written beside its target and renamed when it is whole; its mode is 0600. Memory stays flat: of a
/// body no more than a mebibyte is held. `query.limit` and `query.offset` count over the whole export; a limit of
/// 0 exports all there are. Exchanges that go on are written as they stand. Blocks on the disk.
///
/// # Errors
/// When the store cannot be read or the file cannot be written; the target is as it was before then.
pub fn export(
    store: &Store,
    query: &Query,
    out: &Path,
    options: &ExportOptions,
    progress: impl FnMut(Progress),
) -> Result<ExportSummary, Error> {
    let failed = |error: io::Error| Error::with_source(ErrorKind::WriteFile(out.to_owned()), error);
    if out.is_dir() {
        return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    let directory = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".wirescope-")
        .suffix(".har.part")
        .tempfile_in(directory)
        .map_err(failed)?;
    let mut buffered = BufWriter::with_capacity(BUFFER_BYTES, file.as_file_mut());
    let summary =
        run(store, query, &mut buffered, options, progress).map_err(|error| match error.kind() {
            ErrorKind::Output => error.renamed(ErrorKind::WriteFile(out.to_owned())),
            _ => error,
        })?;
    buffered.flush().map_err(failed)?;
    drop(buffered);
    file.as_file().sync_all().map_err(failed)?;
    file.persist(out).map_err(|error| failed(error.error))?;
    sync_directory(directory);
    Ok(summary)
}

/// Makes the rename last through a power cut, where the platform lets a directory be synced.
fn sync_directory(directory: &Path) {
    if let Ok(directory) = fs::File::open(directory) {
        // A file system that cannot sync a directory has renamed all the same.
        let _ = directory.sync_all();
    }
}

/// Writes the exchanges a query names as HAR into any writer, which should be buffered. Otherwise as [`export`].
///
/// # Errors
/// When the store cannot be read or the writer refuses; the writer then has an incomplete log.
pub fn write(
    store: &Store,
    query: &Query,
    out: &mut impl Write,
    options: &ExportOptions,
) -> Result<ExportSummary, Error> {
    run(store, query, out, options, |_| {})
}

fn run(
    store: &Store,
    query: &Query,
    out: &mut impl Write,
    options: &ExportOptions,
    mut progress: impl FnMut(Progress),
) -> Result<ExportSummary, Error> {
    let slot = ErrorSlot::default();
    let mut pages = Pages::new(store, query)?;
    let mut log = LogWriter::begin(out, options, &slot)?;
    while let Some(page) = pages.next()? {
        for seq in page {
            log.add_stored(store, seq)?;
        }
        progress(log.progress(pages.total));
    }
    let total = pages.total;
    let summary = log.finish()?;
    progress(Progress {
        entries: summary.entries,
        total_entries: total,
        bytes: summary.bytes,
        total_bytes: Some(summary.bytes),
    });
    Ok(summary)
}

/// Walks all the pages of a query by its cursor.
struct Pages<'a> {
    store: &'a Store,
    query: Query,
    /// How many more may come; `None` for all.
    left: Option<usize>,
    total: Option<u64>,
    done: bool,
}

impl<'a> Pages<'a> {
    /// Begins with what is there now: what is recorded meanwhile is left to the next export, else one of a busy
    /// session would not end.
    fn new(store: &'a Store, query: &Query) -> Result<Self, Error> {
        let end = Seq(store.newest()?.0.saturating_add(1));
        let mut query = query.clone();
        query.before = Some(query.before.map_or(end, |before| before.min(end)));
        let left = (query.limit > 0).then_some(query.limit);
        Ok(Self { store, query, left, total: None, done: false })
    }

    fn next(&mut self) -> Result<Option<Vec<Seq>>, Error> {
        if self.done || self.left == Some(0) {
            return Ok(None);
        }
        self.query.limit = self.left.map_or(PAGE, |left| left.min(PAGE));
        let page = self.store.query(&self.query)?;
        self.total = self.total.or(page.total);
        self.done = !page.more;
        let Some(last) = page.items.last().map(|item| item.seq) else { return Ok(None) };
        self.query.offset = 0;
        match self.query.order {
            Order::Ascending => self.query.after = Some(last),
            Order::Descending => self.query.before = Some(last),
        }
        self.left = self.left.map(|left| left.saturating_sub(page.items.len()));
        Ok(Some(page.items.into_iter().map(|item| item.seq).collect()))
    }
}

/// Bodies and messages out of a store.
struct Stored<'a> {
    store: &'a Store,
    seq: Seq,
}

impl Parts for Stored<'_> {
    fn open(&self, side: BodySide, form: Form) -> Result<Option<Box<dyn Read + Send>>, Error> {
        let read = match form {
            Form::Raw => Body::into_reader,
            Form::Decoded => Body::into_decoded_reader,
        };
        Ok(self.store.body(self.seq, side)?.map(read))
    }

    fn messages(&self, from: u64, limit: usize) -> Result<Vec<StoredMessage>, Error> {
        Ok(self.store.messages(self.seq, from, limit)?)
    }
}

/// Writes a log: its beginning, entries one by one, its end.
struct LogWriter<'a, W: Write> {
    out: Counted<'a, W>,
    composer: Composer<'a>,
    summary: ExportSummary,
    /// Whether what is written ends between two entries.
    whole: bool,
}

#[derive(Serialize)]
struct Creator {
    name: &'static str,
    version: &'static str,
}

const CREATOR: Creator = Creator { name: "wirescope", version: env!("CARGO_PKG_VERSION") };

impl<'a, W: Write> LogWriter<'a, W> {
    fn begin(out: &'a mut W, options: &'a ExportOptions, slot: &'a ErrorSlot) -> Result<Self, Error> {
        let composer = Composer::new(options, slot);
        let mut log =
            Self { out: Counted { out, bytes: 0 }, composer, summary: ExportSummary::default(), whole: true };
        log.raw("{\"log\":{\"version\":\"1.2\",\"creator\":")?;
        log.json(&CREATOR)?;
        log.raw(",\"pages\":[],\"entries\":[")?;
        Ok(log)
    }

    fn add_stored(&mut self, store: &Store, seq: Seq) -> Result<(), Error> {
        let parts = Stored { store, seq };
        let result = match store.exchange(seq) {
            Ok(exchange) => self.add(&exchange, &parts),
            Err(error) => Err(error.into()),
        };
        match result {
            Err(error) if error.is_vanished() && self.whole => {
                self.summary.vanished += 1;
                Ok(())
            }
            result => result,
        }
    }

    fn add(&mut self, exchange: &capture_store::Exchange, parts: &dyn Parts) -> Result<(), Error> {
        if exchange.summary.kind == ExchangeKind::Tunnel && !self.composer.options.tunnels {
            self.summary.tunnels_left_out += 1;
            return Ok(());
        }
        let slot = self.composer.slot;
        let composed = self.composer.compose(exchange, parts)?;
        self.whole = false;
        self.raw(if self.summary.entries == 0 { "\n" } else { ",\n" })?;
        self.json(&composed.entry)?;
        if let Some(error) = slot.take() {
            return Err(error);
        }
        self.whole = true;
        self.summary.entries += 1;
        self.summary.undecodable += composed.undecodable;
        self.summary.open += u64::from(exchange.summary.state == ExchangeState::Open);
        Ok(())
    }

    fn finish(mut self) -> Result<ExportSummary, Error> {
        self.raw("\n]")?;
        if let Some(comment) = &self.composer.options.comment {
            self.raw(",\"comment\":")?;
            self.json(comment)?;
        }
        self.raw("}}\n")?;
        self.out.flush().map_err(output)?;
        self.summary.bytes = self.out.bytes;
        Ok(self.summary)
    }

    fn progress(&self, total_entries: Option<u64>) -> Progress {
        Progress { entries: self.summary.entries, total_entries, bytes: self.out.bytes, total_bytes: None }
    }

    fn raw(&mut self, text: &str) -> Result<(), Error> {
        self.out.write_all(text.as_bytes()).map_err(output)
    }

    fn json(&mut self, value: &impl Serialize) -> Result<(), Error> {
        serde_json::to_writer(&mut self.out, value).map_err(|error| output(error.into()))
    }
}

fn output(error: io::Error) -> Error {
    Error::with_source(ErrorKind::Output, error)
}

/// Counts what is written.
struct Counted<'a, W> {
    out: &'a mut W,
    bytes: u64,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.out.write(buffer)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
