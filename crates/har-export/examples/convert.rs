//! Reads a HAR file of whatever tool, says what is odd about it, and writes it anew.
//!
//! `cargo run -p har-export --example convert -- theirs.har ours.har`
#![expect(clippy::print_stderr, reason = "it is a program for a terminal")]

use std::path::PathBuf;

use capture_store::{Query, Store, StoreConfig};
use har_export::{ExportOptions, ImportOptions, export, import};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(theirs), Some(ours)) = (arguments.next(), arguments.next()) else {
        return Err("name two files: the one to read and the one to write".into());
    };
    let directory = tempfile::tempdir()?;
    let store = Store::open(directory.path(), StoreConfig::default())?;
    let imported = import(&store, &theirs, &ImportOptions::default(), |_| {})?;
    for warning in &imported.warnings {
        eprintln!("{warning}");
    }
    let exported = export(&store, &Query::default(), &ours, &ExportOptions::default(), |_| {})?;
    eprintln!("{} of {} entries, {} bytes", exported.entries, imported.total_entries, exported.bytes);
    Ok(())
}
