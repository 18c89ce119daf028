//! Coverage-guided fuzzing: every target of `fuzz/`, the time shared among them.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    process::{self, Missing},
    repo::Repo,
};

/// What to fuzz and for how long.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Seconds to fuzz in all, shared among the targets. Building them comes on top.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Fuzzes only these targets.
    targets: Vec<String>,
}

/// The longest input tried; every parser meets its limits well below it.
const MAX_INPUT_BYTES: usize = 8 * 1024;

/// How long one input may take, and how much memory a target may hold.
const LIMITS: [&str; 2] = ["-timeout=10", "-rss_limit_mb=2048"];

/// Runs each target from its seeds and what earlier runs have found.
pub(crate) fn run(repo: &Repo, arguments: &Arguments) -> Result<()> {
    find_tools()?;
    let directory = repo.root().join("fuzz");
    let known = targets(&directory.join("fuzz_targets"))?;
    let chosen = if arguments.targets.is_empty() { &known } else { &arguments.targets };
    if let Some(unknown) = chosen.iter().find(|name| !known.contains(name)) {
        bail!("there is no fuzz target {unknown}; there are {}", known.join(", "));
    }
    process::run(nightly(&directory).args(["run", "--quiet", "--bin", "seeds", "--", "corpus"]))
        .context("failed to write the seeds")?;
    let seconds = (arguments.seconds / chosen.len() as u64).max(1);
    for name in chosen {
        println!("==> {name}, {seconds} s");
        let time = format!("-max_total_time={seconds}");
        let length = format!("-max_len={MAX_INPUT_BYTES}");
        let mut fuzz = nightly(&directory);
        fuzz.args(["fuzz", "run", name, "--", &time, &length, "-print_final_stats=1"]).args(LIMITS);
        process::run(&mut fuzz)
            .with_context(|| format!("{name} found something; see fuzz/artifacts/{name}"))?;
    }
    println!("{} targets, nothing found", chosen.len());
    Ok(())
}

fn nightly(directory: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.arg("+nightly").current_dir(directory);
    command
}

fn find_tools() -> Result<()> {
    let mut missing = Vec::new();
    if process::output(Command::new("rustc").args(["+nightly", "--version"])).is_err() {
        missing.push("a nightly compiler (rustup toolchain install nightly)".to_owned());
    }
    if process::output(Command::new("cargo").args(["fuzz", "--version"])).is_err() {
        missing.push("cargo-fuzz (cargo install cargo-fuzz)".to_owned());
    }
    if missing.is_empty() { Ok(()) } else { Err(Missing(missing).into()) }
}

/// The names of the targets: those of their files.
fn targets(directory: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if let Some(name) = path.file_stem().filter(|_| path.extension().is_some_and(|is| is == "rs")) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
