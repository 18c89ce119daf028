//! `export`: a session as a HAR file, or exchanges in other forms.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use capture_store::{Query, Seq, Store};
use clap::Args;
use har_export::ExportSummary;

use super::formats::{self, Format};
use crate::{
    failure::Usage,
    filter::FilterArguments,
    har_arguments::HarArguments,
    ids::Target,
    output::{Out, ReaderLeft, note},
    place::Place,
    progress::Bar,
    text,
};

/// Writes a session as HAR 1.2, or an exchange or a session as curl commands, HTTP messages or lines of JSON.
///
/// The file is written beside its target and renamed when it is whole; only you can read it, because it holds what was
/// captured: cookies, tokens and bodies. --redact hides the credentials it knows.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The session, like s3, or `last`; in other formats than har also an exchange, like e412.
    #[arg(value_name = "ID")]
    target: Target,
    /// The file to write; `-` for stdout [default: - for other formats than har].
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What to write (docs/export.md).
    #[arg(long, value_name = "FORMAT", default_value = "har")]
    format: Format,
    /// At most this many exchanges, 0 all.
    #[arg(long, value_name = "N", default_value_t = 0)]
    limit: usize,
    #[command(flatten)]
    har: HarArguments,
    #[command(flatten)]
    filter: FilterArguments,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<()> {
    let store = place.store_to_read()?;
    let out = match &arguments.out {
        Some(out) => out.as_path(),
        None if arguments.format == Format::Har => {
            return Err(Usage::error("write the HAR file: name it with --out, or give --out - for stdout"));
        }
        None => Path::new("-"),
    };
    let session = match arguments.target {
        Target::Session(name) => name.resolve(&store)?,
        Target::Exchange(_) if arguments.format == Format::Har => {
            return Err(Usage::error(
                "export an exchange as HAR; name its session, with --after and --before, or give --format curl, raw or jsonl",
            ));
        }
        Target::Exchange(seq) => {
            let session = store.exchange(seq)?.summary.session;
            let mut query = arguments.filter.query(session);
            (query.after, query.before) = (Some(Seq(seq.0.saturating_sub(1))), Some(Seq(seq.0 + 1)));
            return formats::export(&store, &query, (arguments.format, arguments.har.plain()?), out);
        }
    };
    // A session that is not there is an error, not an empty file.
    store.session(session)?;
    let mut query = arguments.filter.query(session);
    query.limit = arguments.limit;
    if arguments.format != Format::Har {
        return formats::export(&store, &query, (arguments.format, arguments.har.plain()?), out);
    }
    har(arguments, &store, &query, out)
}

fn har(arguments: &Arguments, store: &Store, query: &Query, out: &Path) -> Result<()> {
    let options = arguments.har.options(out)?;
    if out == Path::new("-") {
        let mut out = Out::new();
        let written = har_export::write(store, query, &mut out, &options);
        let summary = written.map_err(|error| match is_broken_pipe(&error) {
            true => anyhow::Error::new(ReaderLeft),
            false => error.into(),
        })?;
        out.flush()?;
        tell(&summary, "stdout");
        arguments.har.tell(&summary);
        return Ok(());
    }
    if out.as_os_str().is_empty() {
        return Err(Usage::error("write --out: name a file, or - for stdout"));
    }
    let bar = Bar::counting("exporting");
    let summary = har_export::export(store, query, out, &options, |progress| {
        bar.at(progress.entries, progress.total_entries);
    })
    .context("write --out")?;
    drop(bar);
    let told = match summary.files.as_slice() {
        [first, .., last] => {
            format!("{} files, {} to {}", summary.files.len(), first.display(), last.display())
        }
        _ => out.display().to_string(),
    };
    tell(&summary, &text::harmless(&told));
    arguments.har.tell(&summary);
    Ok(())
}

fn is_broken_pipe(error: &har_export::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if kind == Some(std::io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn tell(summary: &ExportSummary, target: &str) {
    let entries =
        if summary.entries == 1 { "1 entry".to_owned() } else { format!("{} entries", summary.entries) };
    note(format_args!("wirescope: wrote {entries} ({}) to {target}", text::size(summary.file_bytes)));
}
