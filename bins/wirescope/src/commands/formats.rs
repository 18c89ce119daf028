//! `export --format`: exchanges as curl commands, HTTP messages or lines of JSON.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use anyhow::{Context as _, Result};
use capture_store::{Exchange, Query, Store};
use clap::ValueEnum;
use traffic_analysis::render::{self, Note, RenderError};

use crate::{
    failure::Usage,
    output::{Out, ReaderLeft, note},
    progress::Bar,
    text,
};

/// Exchanges read at a time.
const PAGE: usize = 500;

/// What an exchange is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// HAR 1.2.
    #[default]
    Har,
    /// Commands for a POSIX shell, each with the same request, byte for byte.
    Curl,
    /// HTTP messages with their bodies, one after the other.
    Raw,
    /// JSON, one exchange to the line.
    Jsonl,
}

/// Writes what a query finds, oldest first.
pub(crate) fn export(
    store: &Store,
    query: &Query,
    (format, bodies): (Format, bool),
    out: &Path,
) -> Result<()> {
    let mut written = Written::default();
    if out == Path::new("-") {
        let mut stdout = Out::new();
        write(store, query, (format, bodies), &mut stdout, &mut written)?;
        stdout.flush()?;
    } else {
        if out.as_os_str().is_empty() {
            return Err(Usage::error("write --out: name a file, or - for stdout"));
        }
        let bar = Bar::spinner("exporting");
        let mut file = BufWriter::new(private(out).context("write --out")?);
        write(store, query, (format, bodies), &mut file, &mut written)?;
        file.flush().context("write --out")?;
        drop(bar);
    }
    let target = if out == Path::new("-") { "stdout".into() } else { out.display().to_string() };
    note(format_args!(
        "wirescope: wrote {} to {}",
        text::count(written.exchanges, "exchange"),
        text::harmless(&target)
    ));
    if written.skipped > 0 {
        note(format_args!("  {} that were no requests left out", written.skipped));
    }
    Ok(())
}

#[derive(Default)]
struct Written {
    exchanges: u64,
    /// Tunnels, which a form cannot say.
    skipped: u64,
}

/// A file only its owner can read: it holds what was captured.
fn private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn write(
    store: &Store,
    query: &Query,
    (format, bodies): (Format, bool),
    out: &mut dyn Write,
    written: &mut Written,
) -> Result<()> {
    let limit = query.limit;
    let mut query = query.clone();
    loop {
        let left = (limit as u64).saturating_sub(written.exchanges);
        query.limit = if limit == 0 { PAGE } else { usize::try_from(left).unwrap_or(PAGE).min(PAGE) };
        let page = store.query(&query)?;
        for item in &page.items {
            let exchange = match store.exchange(item.seq) {
                Ok(exchange) => exchange,
                // Evicted since it was listed.
                Err(error) if matches!(error.kind(), capture_store::ErrorKind::UnknownExchange(_)) => {
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match one(store, &exchange, (format, bodies), out) {
                Ok(notes) => {
                    written.exchanges += 1;
                    tell(&exchange, &notes);
                }
                Err(RenderError::NoSuchForm { .. }) => written.skipped += 1,
                Err(RenderError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Err(anyhow::Error::new(ReaderLeft));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let enough = limit > 0 && written.exchanges >= limit as u64;
        let Some(last) = page.items.last().filter(|_| page.more && !enough) else { return Ok(()) };
        query.after = Some(last.seq);
    }
}

fn one(
    store: &Store,
    exchange: &Exchange,
    (format, bodies): (Format, bool),
    out: &mut dyn Write,
) -> Result<Vec<Note>, RenderError> {
    match format {
        Format::Curl => render::curl(store, exchange, out),
        Format::Raw => render::raw(store, exchange, out),
        Format::Jsonl | Format::Har => render::json_line(store, exchange, bodies, out),
    }
}

fn tell(exchange: &Exchange, notes: &[Note]) {
    for what in notes {
        note(format_args!("  {}: {what}", exchange.summary.seq));
    }
}
