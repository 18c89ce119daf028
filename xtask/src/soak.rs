//! The soak test: a program of its own, built and run.

use anyhow::Result;

use crate::{process, repo::Repo};

/// How long and with what to soak.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Minutes to go on; a part of one will do.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// What the faults are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Clients at once.
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// Use a release build.
    #[arg(long)]
    release: bool,
}

/// Runs it. It fails when the books do not balance.
pub(crate) fn run(repo: &Repo, arguments: &Arguments) -> Result<()> {
    let Arguments { minutes, seed, clients, release } = arguments;
    let mut soak = repo.cargo();
    soak.args(["run", "--locked", "--quiet", "-p", "soak"]);
    if *release {
        soak.arg("--release");
    }
    soak.args(["--", "--minutes", &minutes.to_string(), "--seed", &seed.to_string()]);
    process::run(soak.args(["--clients", &clients.to_string()]))
}
