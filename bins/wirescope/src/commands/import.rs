//! `import`: a HAR file, or a session of Charles, as a session.

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Args;
use har_export::ImportOptions;

use crate::{
    output::{Out, note},
    place::Place,
    progress::Bar,
    text,
};

/// Warnings told one by one.
const MAX_TOLD: usize = 10;

/// Reads a HAR file of whatever tool, or a session that Charles exported (.chlsj, XML), into a new session; prints the
/// session's id.
///
/// Entries that are not in order are imported as far as they are understood, or skipped, with a warning. Nothing is
/// left behind when it fails.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The file to read; `-` for stdin.
    file: PathBuf,
    /// The session's name [default: the file's name].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Fail at the first entry that is not in order.
    #[arg(long)]
    strict: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<()> {
    let stdin = arguments.file == Path::new("-");
    if !stdin {
        // Before the store is opened: a wrong name is not to make one.
        let named = || format!("read {}", text::harmless(&arguments.file.display().to_string()));
        std::fs::File::open(&arguments.file).with_context(named)?;
    }
    let store = place.store()?;
    let mut options = ImportOptions::default();
    options.name.clone_from(&arguments.name);
    options.strict = arguments.strict;
    let bar = Bar::bytes("importing");
    let imported = if stdin {
        har_export::read(&store, io::stdin().lock(), &options)
    } else {
        har_export::import(&store, &arguments.file, &options, |progress| {
            bar.at(progress.bytes, progress.total_bytes);
        })
    };
    drop(bar);
    let named = || format!("import {}", text::harmless(&arguments.file.display().to_string()));
    let summary = imported.with_context(named)?;
    for warning in summary.warnings.iter().take(MAX_TOLD) {
        note(format_args!("warning: {}", text::one_line(&warning.to_string())));
    }
    let untold = summary.warning_count.saturating_sub(u64::try_from(MAX_TOLD).unwrap_or(u64::MAX));
    if untold > 0 {
        note(format_args!("warning: and {untold} more like these"));
    }
    let mut out = Out::new();
    out.line_now(summary.session.id)?;
    note(format_args!(
        "wirescope: imported {} of {} entries into session {}; {} skipped",
        summary.imported, summary.total_entries, summary.session.id, summary.skipped
    ));
    Ok(())
}
