//! `demo`: the whole of it on this machine alone, with real traffic.

mod scene;
mod stage;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use capture_store::{ExchangeSummary, Query, SessionInfo, Store};
use clap::Args;
use har_export::{ExportOptions, ExportSummary};

use self::{scene::Scene, stage::Stage};
use crate::{
    output::Out,
    place::Place,
    progress::Bar,
    recording::{Recording, Wanted},
    row::Row,
    signals::Stop,
    table::{Column, Table},
    text,
};

/// The file that is written.
const HAR: &str = "wirescope-demo.har";

/// Bytes of each body that are recorded, so that the file stays small; the large body shows how that is told.
const MAX_BODY_BYTES: u64 = 1024 * 1024;

/// How long the last connections may take to end.
const DRAIN: Duration = Duration::from_secs(2);

/// Before each exchange, below what it shows.
const INDENT: &str = "  ";

/// Exchanges asked of the store; the demo makes far fewer.
const MAX_LISTED: usize = 1_000;

/// Shows what wirescope does, with real traffic and no network.
///
/// Starts an HTTPS origin and a proxy on loopback, sends requests of many kinds through it, lists what was captured and
/// writes it as `wirescope-demo.har`. The CA and the recording are temporary: nothing else is left behind.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Where to write the HAR file [default: the current folder].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let directory = arguments.dir.as_deref().unwrap_or(Path::new("."));
    let named = || format!("write into --dir {}", text::harmless(&directory.display().to_string()));
    tempfile::tempfile_in(directory).with_context(named)?;
    let har = directory.join(HAR);

    let temporary =
        tempfile::Builder::new().prefix("wirescope-demo-").tempdir().context("make a directory")?;
    let place = Place::below(temporary.path());
    let wanted = Wanted {
        name: Some("demo".to_owned()),
        max_bytes: None,
        max_body_bytes: Some(MAX_BODY_BYTES),
        ..Wanted::default()
    };
    let recording = Recording::start(&place, wanted)?;
    let began = Instant::now();
    play(&place, &recording)?;
    let session = recording.close()?;
    let taken = began.elapsed();
    let store = recording.store();
    let exchanges = exchanges(store, &session)?;
    let exported = export(store, &session, &har)?;

    let mut out = Out::new();
    out.line(format_args!(
        "wirescope captured {} between clients and an origin on this machine in {}:\n",
        text::count(session.exchanges, "exchange"),
        text::duration(taken)
    ))?;
    for line in listing(&exchanges, out.width()) {
        out.line(line)?;
    }
    for line in closing(&exported, &har) {
        out.line(line)?;
    }
    out.flush()
}

/// Sets up origins and proxy, plays every scene through it, and takes all down.
fn play(place: &Place, recording: &Recording) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start the proxy's threads")?;
    let ca = place.ca()?;
    let bar = Bar::spinner("starting an origin and the proxy");
    runtime.block_on(async {
        let mut stop = Stop::listen()?;
        let stage = Stage::set(ca, recording.observer()).await.context("set up the origin and the proxy")?;
        let played = async {
            for scene in Scene::ALL {
                bar.says(scene.shows());
                scene.play(&stage, &bar).await.with_context(|| format!("send {}", scene.shows()))?;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            played = played => played?,
            () = stop.next() => bail!("finish the demo: it was interrupted"),
        }
        bar.says("taking all down");
        stage.strike(DRAIN).await;
        Ok(())
    })
}

fn exchanges(store: &Store, session: &SessionInfo) -> Result<Vec<ExchangeSummary>> {
    let mut query = Query::default();
    query.session = Some(session.id);
    query.limit = MAX_LISTED;
    Ok(store.query(&query)?.items)
}

fn export(store: &Store, session: &SessionInfo, har: &Path) -> Result<ExportSummary> {
    let mut query = Query::default();
    query.session = Some(session.id);
    let bar = Bar::counting("exporting");
    let exported = har_export::export(store, &query, har, &ExportOptions::default(), |progress| {
        bar.at(progress.entries, progress.total_entries);
    });
    Ok(exported?)
}

/// The exchanges as a table, those of each scene under what they show.
fn listing(exchanges: &[ExchangeSummary], width: Option<usize>) -> Vec<String> {
    let mut table = Table::new([
        Column::Left("id"),
        Column::Left("version"),
        Column::Left("method"),
        Column::Left("status"),
        Column::Wide("path"),
        Column::Wide("type"),
        Column::Right("size"),
    ]);
    for exchange in exchanges {
        let row = Row::new(exchange);
        let version = text::harmless(&exchange.http_version).into_owned();
        table.add([row.id, version, row.method, row.status, row.path, row.kind, row.size]);
    }
    let mut rows = table.lines(width.map(|width| width.saturating_sub(INDENT.len()))).into_iter();
    let mut lines: Vec<String> = rows.next().map(|titles| format!("{INDENT}{titles}")).into_iter().collect();
    let mut last = None;
    for (exchange, row) in exchanges.iter().zip(rows) {
        let scene = Scene::of(exchange);
        if scene != last {
            lines.push(scene.map_or("others", Scene::shows).to_owned());
            last = scene;
        }
        lines.push(format!("{INDENT}{row}"));
    }
    lines
}

/// What was written, and what to do next.
fn closing(exported: &ExportSummary, har: &Path) -> Vec<String> {
    let program = program();
    let mut lines = vec![
        String::new(),
        format!(
            "All of it is in {} ({} entries, {}): drop it on the Network tab of a browser's developer tools.",
            text::harmless(&har.display().to_string()),
            exported.entries,
            text::size(exported.bytes)
        ),
        format!("Of each body the demo keeps the first {}.", text::size(MAX_BODY_BYTES)),
    ];
    if let Some(peak) = peak_memory_bytes() {
        lines
            .push(format!("Origin, clients and proxy together took at most {} of memory.", text::size(peak)));
    }
    lines.extend([
        String::new(),
        "Next:".to_owned(),
        format!("  {program} exec --har out.har -- curl -s https://example.com/"),
        "      captures one command; there is nothing to set up".to_owned(),
        format!("  {program} run"),
        "      is the proxy for browsers, devices and all the rest, with a live table".to_owned(),
        format!("  {program} ca trust"),
        "      tells how to make those trust it".to_owned(),
        format!("  {program} --help"),
    ]);
    lines
}

/// How the reader can call this program: it may not be on the path yet.
fn program() -> String {
    let name = "wirescope".to_owned();
    let (Ok(exe), Ok(here)) = (std::env::current_exe(), std::env::current_dir()) else { return name };
    match exe.strip_prefix(&here) {
        Ok(relative) => text::harmless(&Path::new(".").join(relative).display().to_string()).into_owned(),
        Err(_) => name,
    }
}

/// The most memory this process had resident, where the system says so (proc(5), `VmHWM`).
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}
