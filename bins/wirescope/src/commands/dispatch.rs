//! From what was asked to who does it.

use std::{io, process::ExitCode};

use anyhow::Result;
use tracing_subscriber::EnvFilter;

use super::{
    ca, completions, delete, demo, diff, exec, explain, export, import, infer, reference, replay, rules,
    run as relay, search, sessions, show, sql,
};
use crate::{
    cli::{Cli, Command},
    failure::Usage,
};

/// What is logged when nothing else is asked for. Recovered sessions are told in words of our own.
const DEFAULT_LOG: &str = "warn,capture_store::recovery=error";

/// Does what the command line asks.
pub(crate) fn run(cli: Cli) -> Result<ExitCode> {
    log(cli.global.log.as_deref())?;
    let global = cli.global;
    match cli.command {
        Command::Run(arguments) => relay::run(&arguments, &global.place()?),
        Command::Exec(arguments) => return exec::run(&arguments, global.place()?),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Sessions(arguments) => sessions::run(&arguments, &global.place()?),
        Command::Show(arguments) => show::run(&arguments, &global.place()?),
        Command::Sql(arguments) => sql::run(&arguments, &global.place()?),
        Command::Explain(arguments) => explain::run(&arguments, &global.place()?),
        Command::Infer(arguments) => return infer::run(&arguments, &global.place()?),
        Command::Search(arguments) => search::run(&arguments, &global.place()?),
        Command::Replay(arguments) => return replay::run(&arguments, &global.place()?),
        Command::Diff(arguments) => return diff::run(&arguments, &global.place()?),
        Command::Export(arguments) => export::run(&arguments, &global.place()?),
        Command::Import(arguments) => import::run(&arguments, &global.place()?),
        Command::Delete(arguments) => delete::run(&arguments, &global.place()?),
        Command::Rules(arguments) => rules::run(&arguments, &global.place()?),
        Command::Ca(arguments) => ca::run(&arguments, &global.place()?),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::HelpMarkdown => reference::run(),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Logs to stderr from here on.
fn log(filter: Option<&str>) -> Result<()> {
    let filter = EnvFilter::builder()
        .parse(filter.unwrap_or(DEFAULT_LOG))
        .map_err(|error| Usage::error(format!("read --log: {error}; write a level such as debug")))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(console::colors_enabled_stderr())
        .init();
    Ok(())
}
