//! The command line: what can be asked, parsed into types.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    commands::{
        ca, completions, delete, demo, diff, exec, explain, export, import, infer, replay, rules, run,
        search, sessions, show, sql,
    },
    place::Place,
};

/// An HTTP(S) intercepting proxy that records every exchange to disk.
///
/// `wirescope demo` shows all of it without touching anything; `wirescope exec -- CMD` captures one command;
/// `wirescope run` is the proxy for everything else.
#[derive(Parser)]
#[command(
    name = "wirescope",
    version,
    max_term_width = 110,
    propagate_version = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The heading of flags that every command has.
const GLOBAL: &str = "Everywhere";

/// What holds for every command.
#[derive(Args)]
pub(crate) struct Global {
    /// Where the CA, the recordings and the files for clients are kept
    /// [default: the user's state directory, as ~/.local/state/wirescope].
    #[arg(long, global = true, value_name = "DIR", env = "WIRESCOPE_STATE_DIR", hide_env_values = true, help_heading = GLOBAL)]
    pub(crate) state_dir: Option<PathBuf>,
    /// Where the recordings are kept [default: `store` in the state directory].
    #[arg(long, global = true, value_name = "DIR", env = "WIRESCOPE_STORE", hide_env_values = true, help_heading = GLOBAL)]
    pub(crate) store: Option<PathBuf>,
    /// What to log on stderr: error, warn, info, debug, trace, or a filter like proxy_core=debug [default: warn].
    #[arg(long, global = true, value_name = "LEVEL", env = "WIRESCOPE_LOG", hide_env_values = true, help_heading = GLOBAL)]
    pub(crate) log: Option<String>,
    /// A TOML file of flags by name, for those that are neither given nor in the environment: `port = 8081`, or below
    /// `[run]` for one command alone.
    #[arg(long, global = true, value_name = "FILE", env = "WIRESCOPE_CONFIG", hide_env_values = true, help_heading = GLOBAL)]
    config: Option<PathBuf>,
}

impl Global {
    /// Where things are kept.
    pub(crate) fn place(&self) -> anyhow::Result<Place> {
        Place::resolve(self.state_dir.clone(), self.store.clone())
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Run(run::Arguments),
    Exec(exec::Arguments),
    Demo(demo::Arguments),
    Sessions(sessions::Arguments),
    Show(show::Arguments),
    Search(search::Arguments),
    Explain(explain::Arguments),
    Infer(infer::Arguments),
    Sql(sql::Arguments),
    Replay(Box<replay::Arguments>),
    Diff(diff::Arguments),
    Export(export::Arguments),
    Import(import::Arguments),
    Delete(delete::Arguments),
    Rules(rules::Arguments),
    Ca(ca::Arguments),
    Completions(completions::Arguments),
    /// Prints this command line's reference page.
    #[command(hide = true)]
    HelpMarkdown,
}
