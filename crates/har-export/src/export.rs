//! HAR out of a store: entry by entry, bodies streamed, into one file or several.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use capture_store::{Query, Store, secrets::Secrets};

use crate::{
    error::{Error, ErrorKind},
    facts,
    feed::{self, Pages},
    log_writer::{LogWriter, Scribe},
    progress::Progress,
    redact::Redacted,
    target::{Output, Target},
};

/// What goes into the file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExportOptions {
    /// Which bodies. Default all.
    pub bodies: BodyLevel,
    /// WebSocket messages. Default on.
    pub messages: bool,
    /// Tunnels that were not decrypted, as `CONNECT` entries. Default on.
    pub tunnels: bool,
    /// A comment on the whole log. Default none.
    pub comment: Option<String>,
    /// Hides credentials that this list knows. Default off.
    pub redact: Option<Secrets>,
    /// Packs the output with gzip. Default off.
    pub gzip: bool,
    /// Begins a new file where one would become longer than this, in bytes of the file; an entry longer than it has a
    /// file of its own. Each file is a whole HAR. Counts for [`export`] only. Default one file.
    pub split_bytes: Option<u64>,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self {
            bodies: BodyLevel::All,
            messages: true,
            tunnels: true,
            comment: None,
            redact: None,
            gzip: false,
            split_bytes: None,
        }
    }
}

/// Which bodies a file has. What is left out is said in a comment, and keeps its size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyLevel {
    /// All.
    #[default]
    All,
    /// Those that are text.
    Text,
    /// Those of at most so many bytes, decoded.
    UpTo(u64),
    /// None.
    None,
}

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportSummary {
    /// Entries written.
    pub entries: u64,
    /// Bytes of JSON written.
    pub bytes: u64,
    /// Bytes of the files; fewer than of JSON where they are packed.
    pub file_bytes: u64,
    /// The files, by [`export`].
    pub files: Vec<PathBuf>,
    /// Entries of exchanges that were still going on, written as they stood.
    pub open: u64,
    /// Tunnels left out because the options say so.
    pub tunnels_left_out: u64,
    /// Bodies left out because the options say so.
    pub bodies_left_out: u64,
    /// Exchanges that were evicted or deleted between being listed and being read.
    pub vanished: u64,
    /// Bodies written with their content coding, because it could not be taken off.
    pub undecodable: u64,
    /// What was hidden, most first.
    pub redacted: Vec<Redacted>,
    /// Bodies that are no text, and so were not looked through for credentials.
    pub not_redacted: u64,
    /// Bodies left out because they are too long to be looked through for credentials.
    pub too_long_to_redact: u64,
}

/// Writes the exchanges a query names into a HAR file.
///
/// The file is written beside its target and renamed when it is whole; its mode is 0600. Memory stays flat: of a
/// body no more than a mebibyte is held, or 16 where credentials are hidden. `query.limit` and `query.offset` count over the
/// whole export; a limit of 0 exports all there are. Exchanges that go on are written as they stand. Blocks on the disk.
///
/// # Errors
/// When the store cannot be read or a file cannot be written; the target is as it was before then.
pub fn export(
    store: &Store,
    query: &Query,
    out: &Path,
    options: &ExportOptions,
    progress: impl FnMut(Progress),
) -> Result<ExportSummary, Error> {
    let mut target = Target::new(out)?;
    let renamed = |error: Error| match error.kind() {
        ErrorKind::Output => error.renamed(ErrorKind::WriteFile(out.to_owned())),
        _ => error,
    };
    let summary = run(store, query, &mut target, options, progress).map_err(renamed)?;
    let files = target.finish()?;
    Ok(ExportSummary { files, ..summary })
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
    let options = ExportOptions { split_bytes: None, ..options.clone() };
    run(store, query, &mut Only(Some(out)), &options, |_| {})
}

/// Where a file, or one after the other, is written.
pub(crate) trait Outputs {
    /// What is written to.
    type To: Write;

    /// Begins one.
    fn begin(&mut self, gzip: bool) -> Result<Output<Self::To>, Error>;

    /// Takes one that is whole.
    fn take(&mut self, whole: Self::To) -> Result<(), Error>;
}

impl Outputs for Target {
    type To = io::BufWriter<tempfile::NamedTempFile>;

    fn begin(&mut self, gzip: bool) -> Result<Output<Self::To>, Error> {
        Self::begin(self, gzip)
    }

    fn take(&mut self, whole: Self::To) -> Result<(), Error> {
        Self::take(self, whole)
    }
}

/// The one writer of a caller.
struct Only<'a, W>(Option<&'a mut W>);

impl<'a, W: Write> Outputs for Only<'a, W> {
    type To = &'a mut W;

    fn begin(&mut self, gzip: bool) -> Result<Output<Self::To>, Error> {
        let to = self.0.take().ok_or_else(|| Error::new(ErrorKind::Output))?;
        Ok(Output::new(to, gzip))
    }

    fn take(&mut self, _: Self::To) -> Result<(), Error> {
        Ok(())
    }
}

fn run<O: Outputs>(
    store: &Store,
    query: &Query,
    to: &mut O,
    options: &ExportOptions,
    mut progress: impl FnMut(Progress),
) -> Result<ExportSummary, Error> {
    let pages = Pages::new(store, query)?;
    let total = total(store, query)?;
    let beside = facts::gather(store, query.session)?;
    let scribe = Scribe::new(options, beside);
    let mut log = LogWriter::begin(to, &scribe)?;
    feed::run(pages, |batch| {
        log.vanished(batch.vanished);
        for recalled in &batch.exchanges {
            log.add(recalled)?;
        }
        progress(log.progress(total));
        Ok(())
    })?;
    let summary = log.finish()?;
    progress(Progress {
        entries: summary.entries,
        total_entries: total,
        bytes: summary.bytes,
        total_bytes: Some(summary.bytes),
    });
    Ok(summary)
}

/// How many there are, where the store knows it without looking at very many.
fn total(store: &Store, query: &Query) -> Result<Option<u64>, Error> {
    let mut first = query.clone();
    first.limit = 1;
    let page = store.query(&first)?;
    let total = page.total.map(|total| total.saturating_sub(query.offset));
    Ok(total.map(|total| if query.limit == 0 { total } else { total.min(query.limit as u64) }))
}
