//! The project's own commands: `cargo xtask <command>`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what these commands find is told on the terminal"
)]

mod api;
mod bench;
mod ci;
mod client;
mod codegen;
mod conformance;
mod crash;
mod e2e;
mod fuzz;
mod package;
mod process;
mod questions;
mod repo;
mod service;
mod soak;
mod steps;
mod tidy;
mod tokens;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build and check commands of the wirescope workspace.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs everything CI runs, in CI's order; the tests come last.
    Ci,
    /// Checks the house rules no compiler knows: crate graph, file sizes, links, what text must not contain.
    Tidy,
    /// Writes docs/cli.md and docs/tools.md from the built binaries.
    Codegen {
        /// Writes nothing; fails when a file is not what would be written.
        #[arg(long)]
        check: bool,
    },
    /// Writes docs/api/proxy-core.txt, the public interface of proxy-core.
    Api {
        /// Writes nothing; fails when the text is not what would be written.
        #[arg(long)]
        check: bool,
    },
    /// Asks ten questions about a generated session, and writes what the answers cost into docs/token-budget.md.
    Questions {
        /// Writes nothing; fails when the page is not what would be written.
        #[arg(long)]
        check: bool,
    },
    /// Packs the libraries as they would be published, and checks that they build from that.
    Package,
    /// Sends real clients (curl, Chromium) through the built binaries and validates the HAR they leave.
    E2e(e2e::Arguments),
    /// Runs the protocol's conformance suite, inspector and TypeScript client against the built MCP server (needs Node and
    /// npm).
    Conformance(conformance::Arguments),
    /// Writes what tools and their answers cost into docs/token-budget.md.
    Tokens {
        /// Writes nothing; fails when the page is not what would be written, or something costs more than it may.
        #[arg(long)]
        check: bool,
    },
    /// Fuzzes the parsers with coverage guidance (needs a nightly compiler and cargo-fuzz).
    Fuzz(fuzz::Arguments),
    /// Mixes every kind of client with random faults, and balances the books at the end.
    Soak(soak::Arguments),
    /// Kills recorders at random moments, or fills up a disk, and looks whether everything committed is there.
    Crash(crash::Arguments),
    /// Measures requests per second and CPU seconds per 1,000 requests through the proxy, against going direct.
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let outcome = repo::Repo::find().and_then(|repo| match Arguments::parse().command {
        Command::Ci => ci::run(&repo),
        Command::Tidy => tidy::run(&repo),
        Command::Codegen { check } => codegen::run(&repo, check),
        Command::Api { check } => api::run(&repo, check),
        Command::Questions { check } => questions::run(&repo, check),
        Command::Package => package::run(&repo),
        Command::E2e(arguments) => e2e::run(&repo, &arguments),
        Command::Conformance(arguments) => conformance::run(&repo, &arguments),
        Command::Tokens { check } => tokens::run(&repo, check),
        Command::Fuzz(arguments) => fuzz::run(&repo, &arguments),
        Command::Soak(arguments) => soak::run(&repo, &arguments),
        Command::Crash(arguments) => crash::run(&repo, &arguments),
        Command::Bench(arguments) => bench::run(&repo, &arguments),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<process::Missing>() { 2 } else { 1 })
        }
    }
}
