//! `exec`: one command with its traffic captured.

mod child;
mod summary;

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use client_setup::ClientSetup;
use har_export::ExportOptions;
use proxy_core::Proxy;
use proxy_flags::{ProcessFlags, ThreadFlags, UpstreamFlags};

use self::{child::Ended, summary::Summary};
use crate::{
    engine::bind,
    failure,
    output::note,
    place::Place,
    recording::{Recording, Wanted},
    text,
};

/// How long what is under way may go on once the command has ended: its own connections end with it.
const DRAIN: Duration = Duration::from_secs(2);

/// Variables that exempt hosts from the proxy.
const EXEMPTIONS: [&str; 4] = ["NO_PROXY", "no_proxy", "npm_config_noproxy", "GLOBAL_AGENT_NO_PROXY"];

/// Runs one command with its traffic captured.
///
/// Starts a proxy on a free port and the command with the variables that lead clients to it and to its CA (curl,
/// OpenSSL, Python, Node, Deno, Git, Cargo, AWS, Perl, Ruby, Java, npm and others). Nothing is installed and nothing
/// else is captured. Then stderr has a summary, and the exit code is the command's: 128 and the signal's number when a
/// signal ended it, 127 when it was not found, 126 when it cannot be run.
///
/// One wirescope records into a store at a time. While another does, the command is recorded apart and only --har keeps
/// what was captured, unless --store or --session says where it is to be.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Write what was captured into this HAR file.
    #[arg(long, value_name = "FILE")]
    har: Option<PathBuf>,
    /// Record into a session of this name, which is kept; without it the session is evicted oldest first.
    #[arg(long, value_name = "NAME")]
    session: Option<String>,
    /// Leave NO_PROXY and its like as they are; they are emptied otherwise, so that localhost is captured too.
    #[arg(long)]
    keep_no_proxy: bool,
    /// Print no summary.
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    threads: ThreadFlags,
    #[command(flatten)]
    processes: ProcessFlags,
    #[command(flatten)]
    upstream: UpstreamFlags,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, place: Place) -> Result<ExitCode> {
    if let Some(har) = &arguments.har {
        check_writable(har)?;
    }
    let mut temporary = None;
    let recording = match start(arguments, &place) {
        Err(error) if Recording::is_taken(&error) && may_go_elsewhere(arguments, &place) => {
            let directory =
                tempfile::Builder::new().prefix("wirescope-").tempdir().context("make a directory")?;
            note(format_args!(
                "wirescope: another wirescope records into {}; this command is recorded apart and only until it ends \
                 (--har keeps it)",
                place.store_path().display()
            ));
            let elsewhere = place.clone().with_store(directory.path().join("store"));
            temporary = Some(directory);
            start(arguments, &elsewhere)?
        }
        started => started?,
    };
    let ended = match capture(arguments, &place, &recording) {
        Ok(ended) => ended,
        Err(error) => {
            recording.discard();
            return Err(error);
        }
    };
    if let Ended::NotStarted(code, error) = ended {
        recording.discard();
        note(failure::one_line(&error));
        return Ok(ExitCode::from(code));
    }
    let told = conclude(arguments, &recording, temporary.is_some());
    if let Err(error) = told {
        failure::report(&error);
        return Ok(if ended.code() == 0 { ExitCode::FAILURE } else { ExitCode::from(ended.code()) });
    }
    Ok(ExitCode::from(ended.code()))
}

fn start(arguments: &Arguments, place: &Place) -> Result<Recording> {
    Recording::start(place, Wanted { name: arguments.session.clone(), ..Wanted::default() })
}

/// Whoever named a store or a session wants it there and nowhere else.
fn may_go_elsewhere(arguments: &Arguments, place: &Place) -> bool {
    arguments.session.is_none() && !place.store_is_named
}

/// Finds out before the command runs whether the file could be written after it.
fn check_writable(har: &Path) -> Result<()> {
    let refused = || format!("write --har {}", text::harmless(&har.display().to_string()));
    if har.is_dir() {
        return Err(std::io::Error::from(std::io::ErrorKind::IsADirectory)).with_context(refused);
    }
    let directory = har.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::tempfile_in(directory).map(drop).with_context(refused)
}

/// Runs the proxy and, within it, the command.
fn capture(arguments: &Arguments, place: &Place, recording: &Recording) -> Result<Ended> {
    let ca = place.ca()?;
    let pem = ca.certificate_pem().to_owned();
    let builder = arguments.upstream.apply(Proxy::builder(ca))?.observer(recording.observer());
    let builder = arguments.processes.apply(arguments.threads.apply(builder));
    let runtime = tokio::runtime::Runtime::new().context("start the proxy's threads")?;
    runtime.block_on(async {
        let proxy = bind(builder, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?.spawn();
        let clients = ClientSetup::new(&pem, proxy.local_addr(), place.clients())?;
        let mut env = clients.env_over(|name| std::env::var(name).ok());
        if arguments.keep_no_proxy {
            env.retain(|(name, _)| !EXEMPTIONS.contains(&name.as_str()));
        }
        let ended = child::run(&arguments.command, env).await?;
        proxy.shutdown(DRAIN).await;
        Ok(ended)
    })
}

/// Ends the recording, sums it up and writes the HAR.
fn conclude(arguments: &Arguments, recording: &Recording, temporary: bool) -> Result<()> {
    let session = recording.close()?;
    if !arguments.quiet {
        let summary = Summary::of(recording.store(), &session)?;
        let name = (!temporary).then_some(session.id);
        for line in summary.lines(name) {
            note(line);
        }
    }
    let Some(har) = &arguments.har else { return Ok(()) };
    let mut query = capture_store::Query::default();
    query.session = Some(session.id);
    let exported = har_export::export(recording.store(), &query, har, &ExportOptions::default(), |_| {})
        .context("write --har")?;
    if !arguments.quiet {
        note(format_args!(
            "wirescope: wrote {} ({}, {})",
            text::harmless(&har.display().to_string()),
            if exported.entries == 1 {
                "1 entry".to_owned()
            } else {
                format!("{} entries", exported.entries)
            },
            text::size(exported.bytes)
        ));
    }
    Ok(())
}
