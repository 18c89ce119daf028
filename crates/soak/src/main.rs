//! Mixes every kind of client with random faults against one proxy that records, and balances the books at the end.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output is what it is for")]

mod account;
mod clients;
mod dice;
mod gauge;
mod origins;
mod run;

use std::process::ExitCode;

use clap::Parser;

/// How long and with what to soak.
#[derive(Parser)]
#[command(name = "soak")]
struct Arguments {
    /// Minutes to go on; a part of one will do.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// What the faults are drawn from. The order in which they meet is the scheduler's.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Clients at once.
    #[arg(long, default_value_t = 32)]
    clients: usize,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match run::run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
