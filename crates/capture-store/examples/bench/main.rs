//! Measures a store: `cargo run --release -p capture-store --example bench -- [--exchanges N] [--keep DIR] [--no-large]`, or
//! `--packing`, `--bodies BYTES`, or `--rest`.
//! `cargo xtask bench store` runs it. What is wanted stands beside each figure, and whether it was met; the exit code
//! says nothing about that, for figures of a busy machine say little.
#![expect(clippy::print_stdout, reason = "its result is a table")]

mod bodies;
mod ingest;
mod large;
mod packing;
mod questions;
mod rest;
mod table;
mod traffic;

use std::{error::Error, path::PathBuf};

use capture_store::{SessionState, Store, StoreConfig};

use table::Table;

type Outcomes = Result<(), Box<dyn Error>>;

/// What is asked for.
struct Arguments {
    exchanges: u64,
    /// Where the store is made, and used again when it is there.
    keep: Option<PathBuf>,
    large: bool,
    /// Packing alone.
    packing: bool,
    /// Bodies of this size alone.
    bodies: Option<usize>,
    /// What a recorder holds at rest alone.
    rest: bool,
}

fn main() -> Outcomes {
    let arguments = Arguments::read()?;
    if arguments.packing {
        return packing::run(&mut Table::default());
    }
    let temporary = tempfile::tempdir()?;
    if arguments.rest {
        return rest::run(&mut Table::default(), temporary.path());
    }
    if let Some(bytes) = arguments.bodies {
        return bodies::run(&mut Table::default(), temporary.path(), bytes);
    }
    let directory = arguments.keep.clone().unwrap_or_else(|| temporary.path().join("store"));
    let exchanges = arguments.exchanges;
    println!(
        "{exchanges} exchanges with bodies of {} bytes, in {}",
        traffic::BODY_BYTES,
        directory.display()
    );
    let mut table = Table::default();
    if is_there(&directory, exchanges) {
        println!("the store is there and is used again");
    } else {
        ingest::run(&mut table, &directory, exchanges)?;
    }
    questions::run(&mut table, &directory, exchanges)?;
    if arguments.large {
        large::run(&mut table, &temporary.path().join("large"))?;
    }
    table.close();
    Ok(())
}

/// Whether a store was filled with so many exchanges, to the end.
fn is_there(directory: &std::path::Path, exchanges: u64) -> bool {
    let sessions = Store::open(directory, StoreConfig::read_only()).and_then(|store| store.sessions());
    sessions.is_ok_and(|sessions| {
        sessions
            .iter()
            .any(|session| session.state == SessionState::Stopped && session.exchanges == exchanges)
    })
}

impl Arguments {
    fn read() -> Result<Self, Box<dyn Error>> {
        let mut read =
            Self { exchanges: 1_000_000, keep: None, large: true, packing: false, bodies: None, rest: false };
        let mut given = std::env::args().skip(1);
        while let Some(argument) = given.next() {
            let mut value = || given.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--exchanges" => read.exchanges = value()?.parse()?,
                "--keep" => read.keep = Some(value()?.into()),
                "--no-large" => read.large = false,
                "--packing" => read.packing = true,
                "--rest" => read.rest = true,
                "--bodies" => read.bodies = Some(value()?.parse()?),
                other => return Err(format!("unknown argument {other}").into()),
            }
        }
        Ok(read)
    }
}
