//! `wirescope-mcp`: the MCP server of wirescope over standard input and output, with the proxy engine inside.
//!
//! Standard output belongs to the protocol; logs go to standard error. The server ends when its client closes
//! standard input, or on SIGTERM or SIGINT, and takes its proxy and child processes with it.

mod at_end;
mod cli;
mod keeping;
mod logging;
mod serving;

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Parser as _;
use mcp_tools::Server;
use rmcp::ServiceExt as _;

use crate::{
    at_end::AtEnd,
    cli::{Cli, Command},
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(cli.verbose);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    if let Some(Command::ToolsMarkdown) = cli.command {
        let text = mcp_tools::tools_markdown();
        return std::io::stdout().write_all(text.as_bytes()).context("failed to write to standard output");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(cli));
    // A read of standard input may be blocked on a thread that nothing can end.
    runtime.shutdown_background();
    served
}

/// Serves one client until it goes or a signal comes.
async fn serve(cli: Cli) -> anyhow::Result<()> {
    let server = Server::new(cli.into_config()?);
    if std::io::stdin().is_terminal() {
        tracing::warn!(
            "waiting for an MCP client on standard input; --help tells how to use this, Ctrl-C ends it"
        );
    }
    let mut ended = std::pin::pin!(signal());
    let serving = async {
        let (input, output) = rmcp::transport::io::stdio_pipes();
        let hurried = server.clone();
        let input = AtEnd::new(input, move || hurried.hurry());
        let running = server.clone().serve((input, output)).await.context("failed to greet the client")?;
        running.waiting().await.context("failed to serve the client")?;
        Ok(())
    };
    let served = tokio::select! {
        served = serving => served,
        () = &mut ended => Ok(()),
    };
    server.shutdown().await;
    served
}

/// Waits for SIGTERM or SIGINT (Ctrl-C elsewhere than on Unix).
async fn signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut terminate), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
    #[cfg(not(unix))]
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
