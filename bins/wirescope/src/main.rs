//! The `wirescope` command: the proxy, and what was recorded with it.
//!
//! stdout has the result, stderr everything else. Exit codes: 0 done, 1 failed, 2 used wrongly; `exec` returns the
//! code of the command it ran.

mod cli;
mod commands;
mod engine;
mod failure;
mod filter;
mod follow;
mod ids;
mod json;
mod keeping;
mod listen;
mod output;
mod place;
mod progress;
mod recording;
mod roads;
mod row;
mod rules_file;
mod signals;
mod table;
mod text;
mod tls;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let parsed = match cli::Cli::try_parse() {
        Ok(parsed) => parsed,
        Err(error) => return failure::of_arguments(&error),
    };
    match commands::run(parsed) {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}
