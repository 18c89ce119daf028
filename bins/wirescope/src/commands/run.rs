//! `run`: the proxy, until it is told to stop.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use proxy_core::{Drained, Listener, Proxy, ProxyHandle};
use proxy_flags::{KeepingFlags, ProcessFlags, Reloaded, RulesFile, RulesFlags, ThreadFlags, UpstreamFlags};

use crate::{
    engine::bind_all,
    failure::one_line,
    follow::Follower,
    listen::{ListenArguments, usage},
    output::{Out, note},
    place::Place,
    recording::{Recording, Wanted},
    signals::Stop,
    text,
};

/// How long exchanges under way may go on after the first signal.
const DRAIN: Duration = Duration::from_secs(5);

/// Said while they do.
const STOPPING: &str = "stopping: exchanges under way have 5 seconds to end; Ctrl-C again cuts them";

/// Runs the proxy and records what passes.
///
/// On a terminal the latest exchanges are shown in a table; otherwise stdout has the line `listening on
/// http://ADDRESS` (with `, ` between several listeners) once clients can connect, and then one line for each exchange that ended: time, id, method, status,
/// host, path, type, size and duration. Ctrl-C or SIGTERM stops it: exchanges under way have five seconds to end, a
/// second signal cuts them.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    listen: ListenArguments,
    /// Record into a session of this name, which is kept; without it the session is evicted oldest first.
    #[arg(long, value_name = "NAME", conflicts_with = "no_capture")]
    session: Option<String>,
    /// The session's limit on disk in MB: an unnamed one then evicts its oldest [default: 1024], a named one records
    /// no more [default: none].
    #[arg(long, value_name = "MB", conflicts_with = "no_capture")]
    max_disk_mb: Option<u64>,
    /// Relay only: record nothing and list nothing.
    #[arg(long)]
    no_capture: bool,
    /// Record, and list nothing: for loads whose every exchange nobody reads as a line.
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    keeping: KeepingFlags,
    #[command(flatten)]
    threads: ThreadFlags,
    #[command(flatten)]
    processes: ProcessFlags,
    #[command(flatten)]
    upstream: UpstreamFlags,
    #[command(flatten)]
    rules: RulesFlags,
}

/// What is told of the exchanges that pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    /// A line for each, or its place in the table.
    Each,
    Nothing,
}

impl Arguments {
    fn listing(&self) -> Listing {
        if self.quiet { Listing::Nothing } else { Listing::Each }
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<()> {
    let rules = arguments.rules.load()?;
    let ca = place.ca()?;
    let mut builder = arguments.listen.apply(arguments.upstream.apply(Proxy::builder(ca))?)?;
    builder = arguments.processes.apply(arguments.threads.apply(builder));
    if let Some(file) = &rules {
        builder = builder.rules(file.rules());
    }
    let recording = if arguments.no_capture {
        None
    } else {
        let max_bytes = arguments.max_disk_mb.map(|megabytes| megabytes.saturating_mul(1_000_000));
        let wanted = Wanted {
            name: arguments.session.clone(),
            max_bytes,
            keeping: arguments.keeping.clone(),
            ..Wanted::default()
        };
        let recording = Recording::start(place, wanted)?;
        builder = builder.observer(recording.observer());
        Some(recording)
    };
    let runtime = tokio::runtime::Runtime::new().context("start the proxy's threads")?;
    let served = runtime.block_on(async {
        let mut stop = Stop::listen()?;
        let proxy = bind_all(builder).await?.spawn();
        let follower = announce(&proxy, recording.as_ref(), arguments.listing())?;
        until_stopped(&mut stop, rules).await;
        if let Some(follower) = &follower {
            follower.say(STOPPING);
        }
        let drained = drain(proxy, &mut stop).await;
        Ok((drained, follower))
    });
    match (served, recording) {
        (Ok((drained, follower)), Some(recording)) => end(drained, follower, &recording),
        (Ok((drained, _)), None) => {
            tell_cut(drained);
            Ok(())
        }
        (Err(error), recording) => {
            if let Some(recording) = recording {
                recording.discard();
            }
            Err(error)
        }
    }
}

/// Waits for the first signal, and takes changed rules in meanwhile.
async fn until_stopped(stop: &mut Stop, rules: Option<RulesFile>) {
    let Some(rules) = rules else { return stop.next().await };
    tokio::select! {
        () = stop.next() => {}
        never = rules.watch(|reloaded| note(told(reloaded))) => match never {},
    }
}

/// How reading the changed rules went.
fn told(reloaded: Reloaded<'_>) -> String {
    match reloaded.outcome {
        Ok(count) => {
            let count = text::count(u64::try_from(count).unwrap_or(u64::MAX), "rule");
            format!("wirescope: {count} loaded from {}", reloaded.path.display())
        }
        Err(error) => format!("{}; the old rules stay", one_line(&error.into())),
    }
}

/// Says that clients can connect, and begins to show what passes.
fn announce(
    proxy: &ProxyHandle,
    recording: Option<&Recording>,
    listing: Listing,
) -> Result<Option<Follower>> {
    let listeners = proxy.listeners();
    let mut out = Out::new();
    let header = header(listeners, recording);
    let followed = recording.filter(|_| listing == Listing::Each);
    match followed {
        Some(recording) if out.is_terminal() => return Follower::start(recording, header).map(Some),
        None if out.is_terminal() => return out.text(&(header.join("\n") + "\n")).map(|()| None),
        _ => {}
    }
    let told = out.line_now(format_args!("listening on {}", listed(listeners)));
    // Whoever wanted the address has it, and may leave: the proxy goes on.
    if let Err(error) = told
        && !error.is::<crate::output::ReaderLeft>()
    {
        return Err(error);
    }
    followed.map(|recording| Follower::start(recording, header)).transpose()
}

/// What a person needs to know to use it.
fn header(listeners: &[Listener], recording: Option<&Recording>) -> Vec<String> {
    let recorded = recording.map_or_else(
        || "recording nothing".to_owned(),
        |recording| {
            format!("recording session {} in {}", recording.session(), recording.directory().display())
        },
    );
    let mut lines = vec![format!("wirescope listening on {}, {recorded}", listed(listeners))];
    lines.extend(usage(listeners));
    lines.extend([
        "  trust it    open http://wirescope.test/ through the proxy, or see: wirescope ca trust".to_owned(),
        "  or neither  wirescope exec -- curl https://example.com/ captures one command".to_owned(),
        "  stop        Ctrl-C".to_owned(),
    ]);
    lines
}

/// All listeners in one line.
fn listed(listeners: &[Listener]) -> String {
    listeners.iter().map(Listener::to_string).collect::<Vec<_>>().join(", ")
}

/// Lets exchanges under way end; the next signal cuts them.
async fn drain(proxy: ProxyHandle, stop: &mut Stop) -> Option<Drained> {
    tokio::select! {
        drained = proxy.shutdown(DRAIN) => Some(drained),
        () = stop.next() => None,
    }
}

fn end(drained: Option<Drained>, follower: Option<Follower>, recording: &Recording) -> Result<()> {
    let closed = recording.close();
    // What a disk that refuses made the wire wait for is given up at the end, and counted.
    let dropped = recording.dropped();
    if let Some(follower) = follower {
        follower.finish();
    }
    tell_cut(drained);
    if dropped > 0 {
        note(format_args!(
            "wirescope: {} passed unrecorded: the session was full or the disk failed",
            text::count(dropped, "exchange")
        ));
    }
    let session = closed?;
    note(format_args!(
        "wirescope: {} recorded in session {} in {}; see `wirescope show {}`",
        text::count(session.exchanges, "exchange"),
        session.id,
        recording.directory().display(),
        session.id
    ));
    Ok(())
}

fn tell_cut(drained: Option<Drained>) {
    match drained {
        None => note("wirescope: cut what was under way"),
        Some(drained) if drained.cut_connections > 0 => {
            let cut = u64::try_from(drained.cut_connections).unwrap_or(u64::MAX);
            note(format_args!("wirescope: cut {} that had not ended", text::count(cut, "connection")));
        }
        Some(_) => {}
    }
}
