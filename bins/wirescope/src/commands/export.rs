//! `export`: a session as a HAR file.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use har_export::ExportSummary;

use crate::{
    failure::Usage,
    filter::FilterArguments,
    har_arguments::HarArguments,
    ids::SessionName,
    output::{Out, ReaderLeft, note},
    place::Place,
    progress::Bar,
    text,
};

/// Writes a session as HAR 1.2.
///
/// The file is written beside its target and renamed when it is whole; only you can read it, because it holds what was
/// captured: cookies, tokens and bodies. --redact hides the credentials it knows.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The session, like s3, or `last`.
    #[arg(value_name = "SESSION")]
    session: SessionName,
    /// The file to write; `-` for stdout.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
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
    let session = arguments.session.resolve(&store)?;
    // A session that is not there is an error, not an empty file.
    store.session(session)?;
    let mut query = arguments.filter.query(session);
    query.limit = arguments.limit;
    let options = arguments.har.options(&arguments.out)?;
    if arguments.out == Path::new("-") {
        let mut out = Out::new();
        let written = har_export::write(&store, &query, &mut out, &options);
        let summary = written.map_err(|error| match is_broken_pipe(&error) {
            true => anyhow::Error::new(ReaderLeft),
            false => error.into(),
        })?;
        out.flush()?;
        tell(&summary, "stdout");
        arguments.har.tell(&summary);
        return Ok(());
    }
    if arguments.out.as_os_str().is_empty() {
        return Err(Usage::error("write --out: name a file, or - for stdout"));
    }
    let bar = Bar::counting("exporting");
    let summary = har_export::export(&store, &query, &arguments.out, &options, |progress| {
        bar.at(progress.entries, progress.total_entries);
    })
    .context("write --out")?;
    drop(bar);
    let out = match summary.files.as_slice() {
        [first, .., last] => {
            format!("{} files, {} to {}", summary.files.len(), first.display(), last.display())
        }
        _ => arguments.out.display().to_string(),
    };
    tell(&summary, &text::harmless(&out));
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
