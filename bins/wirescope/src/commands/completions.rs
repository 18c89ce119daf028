//! `completions`: what a shell needs to complete this command line.

use anyhow::Result;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::{cli::Cli, output::Out};

/// Prints a completion script for a shell.
///
/// As in: wirescope completions bash > ~/.local/share/bash-completion/completions/wirescope
#[derive(Args)]
pub(crate) struct Arguments {
    /// The shell.
    shell: Shell,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "wirescope", &mut script);
    Out::new().text(&String::from_utf8_lossy(&script))
}
