//! HAR into a store: entry by entry, into a session that is there as a whole or not at all.

use std::{cell::Cell, collections::HashMap, fmt, fs::File, io, path::Path, time::SystemTime};

use bytes::Bytes;
use capture_store::{ImportSession, SessionInfo, Store};

use crate::{
    error::{Error, ErrorKind},
    lenient::Gauge,
    log::{self, RawEntry},
    parse::{Parsed, parse},
    progress::Progress,
};

/// Warnings kept with their words; the rest are counted.
const MAX_WARNINGS: usize = 100;

/// Entries between two tellings of progress.
const TELL_EVERY: u64 = 100;

/// Bytes of certificate chains kept for later entries that refer to them; beyond it these have no chain.
const MAX_CHAIN_BYTES: usize = 16 * 1024 * 1024;

/// How to import.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportOptions {
    /// The session's name. Default the file's name without its ending.
    pub name: Option<String>,
    /// Whether an entry that cannot be imported just as it is ends the import. Default off: such an entry is
    /// skipped, or imported without what is not understood, with a warning.
    pub strict: bool,
    /// The limit of the session on disk. Default none.
    pub max_bytes: Option<u64>,
    /// The longest text, such as a body in base64, that is read; a longer one is cut, with a warning. Bounds
    /// memory: one entry takes a few times as much at most. Default 256 MiB.
    pub max_text_bytes: u64,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { name: None, strict: false, max_bytes: None, max_text_bytes: 256 * 1024 * 1024 }
    }
}

/// Something about an entry that its reader should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// The entry's place in `log.entries`, from 0.
    pub entry: u64,
    /// What is wrong with it.
    pub reason: String,
    /// Whether it was skipped.
    pub skipped: bool,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = if self.skipped { " was skipped" } else { "" };
        write!(f, "entry {}{skipped}: {}", self.entry, self.reason)
    }
}

/// What was imported.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportSummary {
    /// The new session.
    pub session: SessionInfo,
    /// Entries in the file.
    pub total_entries: u64,
    /// Entries imported.
    pub imported: u64,
    /// Entries skipped: those with such a warning, and `session.not_recorded` beyond the session's limit.
    pub skipped: u64,
    /// The first 100 warnings.
    pub warnings: Vec<Warning>,
    /// All warnings there were.
    pub warning_count: u64,
    /// When the earliest imported exchange began.
    pub first_timestamp: Option<SystemTime>,
    /// When the latest imported exchange began.
    pub last_timestamp: Option<SystemTime>,
}

/// Reads a HAR file of whatever tool into a new session of the store, which is stopped then.
///
/// Takes what tools write beside the letter of HAR 1.2: a byte order mark, numbers as text and text as numbers,
/// sizes of -1, missing fields, lone surrogates. Memory stays flat but for one entry at a time. Blocks on the disk.
///
/// # Errors
/// When the file cannot be read, is no JSON or no HAR (the error names the place), the store cannot be written, or
/// `strict` is set and an entry is not in order. Nothing is left behind then.
pub fn import(
    store: &Store,
    path: &Path,
    options: &ImportOptions,
    progress: impl FnMut(Progress),
) -> Result<ImportSummary, Error> {
    let unreadable = |error: io::Error| Error::with_source(ErrorKind::ReadFile(path.to_owned()), error);
    let file = File::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if meta.is_dir() {
        return Err(unreadable(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    let stem = path.file_stem().map_or_else(|| "import".into(), |stem| stem.to_string_lossy());
    let name = options.name.clone().unwrap_or_else(|| stem.into_owned());
    let session = store.import(&name, options.max_bytes)?;
    let total_bytes = meta.is_file().then_some(meta.len());
    run(session, file, options, total_bytes, progress).map_err(|error| match error.kind() {
        ErrorKind::Input => error.renamed(ErrorKind::ReadFile(path.to_owned())),
        _ => error,
    })
}

/// Reads HAR from any reader. Otherwise as [`import`]; without a name in the options the session is called
/// `import`.
///
/// # Errors
/// As for [`import`].
pub fn read(store: &Store, input: impl io::Read, options: &ImportOptions) -> Result<ImportSummary, Error> {
    let session = store.import(options.name.as_deref().unwrap_or("import"), options.max_bytes)?;
    run(session, input, options, None, |_| {})
}

fn run(
    session: ImportSession,
    input: impl io::Read,
    options: &ImportOptions,
    total_bytes: Option<u64>,
    mut progress: impl FnMut(Progress),
) -> Result<ImportSummary, Error> {
    let gauge = Gauge::default();
    let mut import = Import::new(session, options.strict);
    log::read(input, options.max_text_bytes, &gauge, &mut |entry| {
        import.add(entry)?;
        if import.total.is_multiple_of(TELL_EVERY) {
            progress(import.progress(&gauge.bytes, total_bytes));
        }
        Ok(())
    })?;
    progress(import.progress(&gauge.bytes, total_bytes));
    import.finish()
}

/// An import under way.
struct Import {
    session: ImportSession,
    strict: bool,
    total: u64,
    imported: u64,
    warnings: Vec<Warning>,
    warning_count: u64,
    first: Option<SystemTime>,
    last: Option<SystemTime>,
    /// When the entry before began, for one that does not say.
    before: SystemTime,
    chains: HashMap<u64, Vec<Bytes>>,
    chain_bytes: usize,
}

impl Import {
    fn new(session: ImportSession, strict: bool) -> Self {
        Self {
            session,
            strict,
            total: 0,
            imported: 0,
            warnings: Vec::new(),
            warning_count: 0,
            first: None,
            last: None,
            before: SystemTime::now(),
            chains: HashMap::new(),
            chain_bytes: 0,
        }
    }

    fn add(&mut self, entry: RawEntry) -> Result<(), Error> {
        self.total += 1;
        for note in entry.notes {
            self.warn(entry.index, note, false)?;
        }
        let mut parsed = match parse(entry.value, self.before) {
            Ok(parsed) => parsed,
            Err(reason) => return self.warn(entry.index, reason, true),
        };
        self.share_certificates(&mut parsed);
        for note in std::mem::take(&mut parsed.notes) {
            self.warn(entry.index, note, false)?;
        }
        let began = parsed.exchange.exchange.summary.started_at;
        self.session.add(parsed.exchange)?;
        self.before = began;
        self.first = Some(self.first.map_or(began, |first| first.min(began)));
        self.last = Some(self.last.map_or(began, |last| last.max(began)));
        self.imported += 1;
        Ok(())
    }

    fn warn(&mut self, index: u64, reason: String, skipped: bool) -> Result<(), Error> {
        if self.strict {
            return Err(Error::new(ErrorKind::BadEntry { index, reason }));
        }
        self.warning_count += 1;
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(Warning { entry: index, reason, skipped });
        }
        Ok(())
    }

    /// Gives an entry the chain of the earlier one it refers to, and remembers its own for later ones.
    fn share_certificates(&mut self, parsed: &mut Parsed) {
        let upstream = parsed.exchange.exchange.upstream.as_mut();
        let Some(tls) = upstream.and_then(|peer| peer.tls.as_mut()) else { return };
        if let Some(first) = parsed.certificates_of {
            match self.chains.get(&first) {
                Some(chain) => tls.certificates.clone_from(chain),
                None => parsed.notes.push(format!("entry e{first}, which has its certificates, is missing")),
            }
        } else if let Some(seq) = parsed.seq {
            let bytes: usize = tls.certificates.iter().map(Bytes::len).sum();
            if bytes > 0 && self.chain_bytes + bytes <= MAX_CHAIN_BYTES {
                self.chain_bytes += bytes;
                self.chains.insert(seq, tls.certificates.clone());
            }
        }
    }

    fn progress(&self, bytes: &Cell<u64>, total_bytes: Option<u64>) -> Progress {
        Progress { entries: self.total, total_entries: None, bytes: bytes.get(), total_bytes }
    }

    fn finish(self) -> Result<ImportSummary, Error> {
        let session = self.session.finish()?;
        let imported = self.imported.saturating_sub(session.not_recorded);
        Ok(ImportSummary {
            session,
            total_entries: self.total,
            imported,
            skipped: self.total - imported,
            warnings: self.warnings,
            warning_count: self.warning_count,
            first_timestamp: self.first,
            last_timestamp: self.last,
        })
    }
}
