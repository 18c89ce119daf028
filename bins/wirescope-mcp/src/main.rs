//! `wirescope-mcp`: the MCP server of wirescope over standard input and output, or over HTTP, with the proxy engine inside.
//!
//! Standard output belongs to the protocol; logs go to standard error. Over standard input and output the server ends when
//! its client closes the input; either way it ends on SIGTERM, SIGINT, or when a client calls `shutdown_server`. It
//! takes its proxy and child processes with it.

mod at_end;
mod cli;
mod logging;
mod serving;

use std::{
    ffi::OsString,
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use mcp_tools::{LogFeed, Server};
use proxy_flags::{Refused, Reloaded, RulesFile};
use rmcp::ServiceExt as _;

use crate::{
    at_end::AtEnd,
    cli::{Cli, Command, refused},
    serving::{ServingArguments, Transport},
};

/// From a client's wish for the server's end to the end, so that it gets its answer.
const LAST_WORD: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match proxy_flags::parse::<Cli>(&arguments) {
        Ok(cli) => cli,
        Err(Refused::Arguments(error)) => error.exit(),
        Err(Refused::File(error)) => return failed(&refused(error)),
        Err(other) => return failed(&anyhow!("failed to read the command line: {other:?}")),
    };
    let feed = LogFeed::default();
    logging::start(cli.verbose, feed.clone());
    match run(cli, feed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong before there are logs.
fn failed(error: &anyhow::Error) -> ExitCode {
    logging::start(0, LogFeed::default());
    tracing::error!("{error:#}");
    ExitCode::FAILURE
}

fn run(cli: Cli, feed: LogFeed) -> anyhow::Result<()> {
    if let Some(Command::ToolsMarkdown) = cli.command {
        let text = mcp_tools::tools_markdown();
        return std::io::stdout().write_all(text.as_bytes()).context("failed to write to standard output");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(cli, feed));
    // A read of standard input may be blocked on a thread that nothing can end.
    runtime.shutdown_background();
    served
}

/// Serves until the client goes, a signal comes, or a client asks for the end.
async fn serve(mut cli: Cli, feed: LogFeed) -> anyhow::Result<()> {
    cli.serving.check()?;
    let serving = std::mem::take(&mut cli.serving);
    let rules = cli.rules.load().map_err(refused)?;
    let mut config = cli.into_config()?;
    serving.apply(&mut config);
    config.log = feed;
    if let Some(rules) = &rules {
        config.rules = rules.rules();
    }
    let server = Server::new(config);
    let served = tokio::select! {
        served = over(&server, serving) => served,
        () = watch(rules) => Ok(()),
    };
    server.shutdown().await;
    served
}

async fn over(server: &Server, serving: ServingArguments) -> anyhow::Result<()> {
    let ended = async {
        tokio::select! {
            () = signal() => {}
            () = async { server.asked_to_end().await; tokio::time::sleep(LAST_WORD).await } => {}
        }
    };
    match serving.transport {
        Transport::Stdio => {
            tokio::select! {
                served = stdio(server) => served,
                () = ended => Ok(()),
            }
        }
        Transport::Http => {
            let listener = serving.listen().await?;
            // Whoever started the server with port 0 reads here where it is.
            writeln!(std::io::stdout(), "{}", listener.url())
                .context("failed to write to standard output")?;
            tracing::info!(url = listener.url(), "serving");
            let (clients, hurried) = (server.clone(), server.clone());
            let end = async move {
                ended.await;
                hurried.hurry();
            };
            listener.serve(move || clients.for_client(), end).await;
            Ok(())
        }
    }
}

/// Serves one client over standard input and output until it goes.
async fn stdio(server: &Server) -> anyhow::Result<()> {
    if std::io::stdin().is_terminal() {
        tracing::warn!(
            "waiting for an MCP client on standard input; --help tells how to use this, Ctrl-C ends it"
        );
    }
    let (input, output) = rmcp::transport::io::stdio_pipes();
    let hurried = server.clone();
    let input = AtEnd::new(input, move || hurried.hurry());
    let running = server.clone().serve((input, output)).await.context("failed to greet the client")?;
    running.waiting().await.context("failed to serve the client")?;
    Ok(())
}

/// Applies the file of rules again whenever it changes. Never ends by itself.
async fn watch(rules: Option<RulesFile>) {
    let Some(rules) = rules else { return std::future::pending().await };
    let told = |reloaded: Reloaded<'_>| {
        let path = reloaded.path.display();
        match reloaded.outcome {
            Ok(count) => tracing::info!(%path, count, "rules loaded again"),
            Err(error) => tracing::warn!("{:#}; the old rules stay", refused(error)),
        }
    };
    match rules.watch(told).await {}
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
