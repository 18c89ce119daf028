//! The origin and the load generator as processes of their own, so that each one's CPU time can be told apart.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output is what the process is for")]

mod load;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Plays an origin, or a crowd of clients, for `cargo xtask bench` and `cargo xtask e2e`.
#[derive(Parser)]
#[command(name = "testkit-peer")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the testkit's routes and prints the URL.
    Serve(serve::Arguments),
    /// Sends requests as fast as answers come and prints what it counted as JSON.
    Load(load::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(arguments).await,
        Command::Load(arguments) => load::run(arguments).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
