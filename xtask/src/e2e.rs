//! Real clients through the built binaries: curl, Chromium, and the judges of the HAR they leave.

mod again;
mod browser;
mod curl;
mod exec;
mod large;
mod needs;
mod record;
mod stage;

use anyhow::Result;

use crate::{process, repo::Repo};
use needs::Needs;
use stage::Stage;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The browser; else CHROMIUM, else the first of `chromium`, `chromium-browser` and `google-chrome` on the path.
    #[arg(long, env = "CHROMIUM", value_name = "FILE")]
    chromium: Option<std::path::PathBuf>,
    /// Use release binaries.
    #[arg(long)]
    release: bool,
    /// Also pass 1 GiB each way and measure the proxy's memory; takes a while, and some disk.
    #[arg(long)]
    large: bool,
}

/// Runs every client, then judges the recordings. Installs nothing but the pinned judges, below the target directory.
pub(crate) fn run(repo: &Repo, arguments: &Arguments) -> Result<()> {
    let needs = Needs::find(arguments.chromium.as_deref())?;
    let mut build = repo.cargo();
    build.args(["build", "--locked", "-p", "wirescope", "-p", "testkit"]);
    let profile = if arguments.release { "release" } else { "debug" };
    process::run(if arguments.release { build.arg("--release") } else { &mut build })?;
    let binaries = repo.target()?.join(profile);
    let judges = needs.judges(&repo.root().join("xtask/e2e"), &repo.target()?.join("e2e"))?;

    let stage = Stage::set(&binaries)?;
    curl::run(&stage)?;
    again::run(&stage)?;
    exec::run(&stage)?;
    browser::browse(&stage, &needs, &judges)?;
    if arguments.large {
        large::run(&Stage::set(&binaries)?)?;
    }
    let recording = stage.strike()?;
    record::check(&recording.har, &recording.origin)?;
    judges.validate(&recording.har)?;
    println!("ok: curl and Chromium were captured and decrypted");

    let demo = stage::demo(&binaries)?;
    judges.validate(&demo.har)?;
    judges.replay(&needs.chromium, &demo.har)?;
    println!("ok: the demo's HAR is valid and replays");
    Ok(())
}
