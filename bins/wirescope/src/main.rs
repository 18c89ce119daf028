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
mod har_arguments;
mod ids;
mod json;
mod listen;
mod output;
mod place;
mod progress;
mod recording;
mod row;
mod signals;
mod table;
mod text;

use std::{env, process::ExitCode};

use proxy_flags::Refused;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().collect();
    let parsed = match proxy_flags::parse::<cli::Cli>(&arguments) {
        Ok(parsed) => parsed,
        Err(Refused::Arguments(error)) => return failure::of_arguments(&error),
        Err(Refused::File(error)) => return failure::report(&error.into()),
        Err(_) => return ExitCode::FAILURE,
    };
    match commands::run(parsed) {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}
