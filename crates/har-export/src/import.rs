//! HAR into a store: entry by entry, into a session that is there as a whole or not at all.

use std::{
    collections::HashMap,
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
    time::SystemTime,
};

use bytes::Bytes;
use capture_store::{ImportBody, ImportSession, SessionInfo, Store};

use crate::{
    charles::{self, Format},
    compared,
    error::{Error, ErrorKind},
    facts,
    input::Gauge,
    log::{self, Depot, Facts, RawEntry, Receiver},
    parse::{Parsed, Refusal, parse},
    progress::Progress,
};

/// Warnings kept with their words; the rest are counted.
const MAX_WARNINGS: usize = 100;

/// Entries between two tellings of progress.
const TELL_EVERY: u64 = 100;

/// Bytes of certificate chains kept for later entries that refer to them; beyond it these have no chain.
const MAX_CHAIN_BYTES: usize = 16 * 1024 * 1024;

/// How to import.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ImportOptions {
    /// The session's name. Default the file's name without its ending.
    pub name: Option<String>,
    /// Whether an entry that cannot be imported just as it is ends the import. Default off: such an entry is
    /// skipped, or imported without what is not understood, with a warning.
    pub strict: bool,
    /// The limit of the session on disk. Default none.
    pub max_bytes: Option<u64>,
}

/// Something about an entry, or about the file, that its reader should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// The entry's place in `log.entries`, from 0; `None` where it is about the file.
    pub entry: Option<u64>,
    /// What is wrong with it.
    pub reason: String,
    /// Whether it was skipped.
    pub skipped: bool,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = if self.skipped { " was skipped" } else { "" };
        match self.entry {
            Some(entry) => write!(f, "entry {entry}{skipped}: {}", self.reason),
            None => write!(f, "the file: {}", self.reason),
        }
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

/// Reads a HAR file of whatever tool, or a session that Charles exported as JSON or XML (told by the content), into a new
/// session of the store, which is stopped then.
///
/// Takes what tools write beside the letter of HAR 1.2: a byte order mark, numbers as text and text as numbers,
/// sizes of -1, missing fields, lone surrogates, base64 that does not say so; also a file packed with gzip. Memory stays
/// flat whatever the size of the file, its bodies and its lists of messages. Blocks on the disk.
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
    let name = options.name.clone().unwrap_or_else(|| name_of(path));
    let session = store.import(&name, options.max_bytes)?;
    let total_bytes = meta.is_file().then_some(meta.len());
    run(session, file, options, total_bytes, progress).map_err(|error| match error.kind() {
        ErrorKind::Input => error.renamed(ErrorKind::ReadFile(path.to_owned())),
        _ => error,
    })
}

/// The file's name without `.har`, `.json` or `.har.gz`.
fn name_of(path: &Path) -> String {
    let name = path.file_name().map_or_else(|| "import".into(), |name| name.to_string_lossy());
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    Path::new(name).file_stem().map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// Reads HAR from any reader. Otherwise as [`import`]; without a name in the options the session is called
/// `import`.
///
/// # Errors
/// As for [`import`].
pub fn read(store: &Store, input: impl Read, options: &ImportOptions) -> Result<ImportSummary, Error> {
    let session = store.import(options.name.as_deref().unwrap_or("import"), options.max_bytes)?;
    run(session, input, options, None, |_| {})
}

fn run(
    session: ImportSession,
    input: impl Read,
    options: &ImportOptions,
    total_bytes: Option<u64>,
    mut progress: impl FnMut(Progress),
) -> Result<ImportSummary, Error> {
    let gauge = Gauge::default();
    let mut import = Import::new(session, options.strict);
    let facts = {
        let mut telling =
            Telling { import: &mut import, gauge: &gauge, total_bytes, progress: &mut progress };
        let unreadable = |error| Error::with_source(ErrorKind::Input, error);
        let (format, input) = charles::detect(input).map_err(unreadable)?;
        match format {
            Format::Har => log::read(input, &gauge, &mut telling)?,
            Format::CharlesJson => charles::read_json(input, &gauge, &mut telling)?,
            Format::CharlesXml => charles::read_xml(input, &gauge, &mut telling)?,
        }
    };
    progress(import.progress(&gauge, total_bytes));
    import.finish(facts)
}

/// Takes entries into an import, and tells how far it has come.
struct Telling<'a> {
    import: &'a mut Import,
    gauge: &'a Gauge,
    total_bytes: Option<u64>,
    progress: &'a mut dyn FnMut(Progress),
}

impl Receiver for Telling<'_> {
    fn depot(&mut self) -> &mut dyn Depot {
        &mut self.import.session
    }

    fn entry(&mut self, entry: RawEntry) -> Result<(), Error> {
        self.import.add(entry)?;
        if self.import.total.is_multiple_of(TELL_EVERY) {
            (self.progress)(self.import.progress(self.gauge, self.total_bytes));
        }
        Ok(())
    }
}

impl Depot for ImportSession {
    fn append(&mut self, body: &mut ImportBody, piece: &[u8]) -> Result<(), Error> {
        Ok(Self::append(self, body, piece)?)
    }

    fn open(&self, body: &ImportBody) -> Result<Box<dyn Read + Send>, Error> {
        Ok(Self::open(self, body)?)
    }

    fn discard(&mut self, body: ImportBody) {
        // Refused only once the import is finished; then it is gone already.
        let _ = Self::discard(self, body);
    }
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

    fn add(&mut self, mut entry: RawEntry) -> Result<(), Error> {
        self.total += 1;
        let index = Some(entry.index);
        for note in std::mem::take(&mut entry.notes) {
            self.warn(index, note, false)?;
        }
        let mut parsed = match parse(&mut entry, self.before, &mut self.session) {
            Ok(parsed) => parsed,
            Err(Refusal::Failed(error)) => return Err(error),
            Err(Refusal::Entry(reason)) => {
                for body in [entry.request_text.take(), entry.response_text.take()].into_iter().flatten() {
                    Depot::discard(&mut self.session, body);
                }
                entry.messages.discard(&mut self.session);
                return self.warn(index, reason, true);
            }
        };
        self.share_certificates(&mut parsed);
        compared::keep_foreign(&mut parsed, &entry.value, &self.session)?;
        for note in std::mem::take(&mut parsed.notes) {
            self.warn(index, note, false)?;
        }
        let began = parsed.exchange.exchange.summary.started_at;
        self.session.add(parsed.exchange)?;
        self.before = began;
        self.first = Some(self.first.map_or(began, |first| first.min(began)));
        self.last = Some(self.last.map_or(began, |last| last.max(began)));
        self.imported += 1;
        Ok(())
    }

    fn warn(&mut self, entry: Option<u64>, reason: String, skipped: bool) -> Result<(), Error> {
        if self.strict {
            return Err(Error::new(match entry {
                Some(index) => ErrorKind::BadEntry { index, reason },
                None => ErrorKind::BadLog { reason },
            }));
        }
        self.warning_count += 1;
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(Warning { entry, reason, skipped });
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

    fn progress(&self, gauge: &Gauge, total_bytes: Option<u64>) -> Progress {
        Progress { entries: self.total, total_entries: None, bytes: gauge.bytes.get(), total_bytes }
    }

    fn finish(mut self, facts: Facts) -> Result<ImportSummary, Error> {
        let mut notes = facts.notes;
        if let Some(kept) = facts::kept(facts.log, &mut notes) {
            self.session.set_foreign_facts(&kept)?;
        }
        for note in notes {
            self.warn(None, note, false)?;
        }
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
