//! `replay`: recorded requests sent again.

mod changes;
mod print;

use std::{collections::BTreeSet, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use capture_store::{Query, Seq, Store};
use clap::{Args, ValueEnum};
use proxy_core::{Proxy, SendVersion, Sender};
use proxy_flags::{RulesFlags, UpstreamFlags};
use tokio::sync::Notify;
use traffic_analysis::replay::{Replay, Settings, Summary, prepare};

pub(crate) use self::print::{difference_line, difference_object};
use self::{
    changes::{ChangeArguments, HostAndPort},
    print::Printer,
};
use crate::{
    failure::Usage,
    filter::FilterArguments,
    ids::Target,
    output::{Out, note},
    place::Place,
    recording::{Recording, Wanted},
    signals::Stop,
};

/// Sends recorded requests again, and compares what comes with what was recorded.
///
/// Fields keep their order and case, bodies their bytes and content coding. Requests go through an engine with the rules,
/// parent proxies and TLS options named here; each is recorded as an exchange of its own, linked to the one it replays
/// (filter `replay-of:e412`). Responses are compared by meaning: dates, ids and tokens that differ do not count
/// (`wirescope diff`). Tunnels, WebSockets and requests that were not recorded whole are skipped. Ctrl-C stops: what is
/// done is kept, what is under way is broken off, the rest is not sent.
///
/// The exit code is 1 when a request failed or was not sent any more.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Exchanges like e412, or a session like s3 or `last`, of which the filters choose.
    #[arg(required = true, value_name = "ID")]
    what: Vec<Target>,
    /// At most this many exchanges, 0 all.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
    /// Show what would be sent, and send nothing.
    #[arg(long)]
    dry_run: bool,
    /// Requests under way at once.
    #[arg(long, short = 'c', value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// Requests begun in a second at most.
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// Further attempts for a request that fails without a response.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=20))]
    retries: u32,
    /// Seconds that a whole response may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    max_time: u64,
    /// What is spoken with upstream; without it, what was recorded.
    #[arg(long, value_name = "VERSION")]
    http: Option<HttpVersion>,
    /// Connect here whatever host the URL names, which is asked for all the same.
    #[arg(long, value_name = "HOST:PORT")]
    connect_to: Option<HostAndPort>,
    #[command(flatten)]
    changes: ChangeArguments,
    /// Do not compare this place, like resp.header.x-build or resp.json./items/*/price; may be repeated.
    #[arg(long, value_name = "PLACE")]
    ignore: Vec<String>,
    /// Record into a session of this name, which is kept; without it the session is evicted oldest first.
    #[arg(long, value_name = "NAME")]
    into: Option<String>,
    /// Print one JSON object to the line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: FilterArguments,
    #[command(flatten)]
    upstream: UpstreamFlags,
    #[command(flatten)]
    rules: RulesFlags,
}

/// A version of HTTP, as the command line has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum HttpVersion {
    /// What upstream chooses.
    Auto,
    /// HTTP/1.1.
    #[value(name = "1.1")]
    Http1,
    /// HTTP/2.
    #[value(name = "2")]
    Http2,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && (0.001..=100_000.0).contains(rate));
    rate.ok_or_else(|| "not a rate; write requests a second from 0.001 to 100000".to_owned())
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<ExitCode> {
    let changes = arguments.changes.changes()?;
    let origins = place.store_to_read()?;
    let seqs = selected(arguments, &origins)?;
    if arguments.dry_run {
        return plan(arguments, &origins, &seqs);
    }
    let (recording, temporary) = start(arguments, place)?;
    let rules = arguments.rules.load()?;
    let mut builder = arguments.upstream.apply(Proxy::builder(place.ca()?))?.observer(recording.observer());
    if let Some(file) = &rules {
        builder = builder.rules(file.rules());
    }
    let sender = builder.sender()?;
    let replay = Replay {
        sender: Sender::clone(&sender),
        origins,
        recorder: recording.observer(),
        recorded: recording.store().clone(),
        changes,
        settings: settings(arguments),
    };
    let mut printer = Printer::new(arguments.json, seqs.len(), temporary.is_none());
    let summary = sent(replay, seqs, &mut printer)?;
    drop(sender);
    let session = recording.close()?;
    printer.end(&summary, temporary.is_none().then_some(session.id))?;
    let whole = summary.failed + summary.broken_off + summary.not_sent == 0;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sends all, until a signal comes.
fn sent(replay: Replay, seqs: Vec<Seq>, printer: &mut Printer) -> Result<Summary> {
    let runtime = tokio::runtime::Runtime::new().context("start the engine's threads")?;
    runtime.block_on(async {
        let mut stop = Stop::listen()?;
        let gone = Arc::new(Notify::new());
        let stopped = async {
            tokio::select! {
                () = stop.next() => {}
                () = gone.notified() => {}
            }
        };
        let mut lost = None;
        let summary = replay
            .run(seqs, stopped, |outcome| {
                if lost.is_none()
                    && let Err(error) = printer.outcome(&outcome)
                {
                    lost = Some(error);
                    gone.notify_one();
                }
            })
            .await?;
        match lost {
            Some(error) => Err(error),
            None => Ok(summary),
        }
    })
}

fn settings(arguments: &Arguments) -> Settings {
    let mut settings = Settings::default();
    settings.concurrency = arguments.concurrency.into();
    settings.per_second = arguments.rate;
    settings.retries = arguments.retries;
    settings.patience = Duration::from_secs(arguments.max_time);
    settings.version = arguments.http.map(|version| match version {
        HttpVersion::Auto => SendVersion::Auto,
        HttpVersion::Http1 => SendVersion::Http1,
        HttpVersion::Http2 => SendVersion::Http2,
    });
    settings.connect_to = arguments.connect_to.clone().map(|HostAndPort(host, port)| (host, port));
    settings.compare.ignore.clone_from(&arguments.ignore);
    settings
}

/// Begins the recording. While another process records into the store, what comes is recorded apart and compared only.
fn start(arguments: &Arguments, place: &Place) -> Result<(Recording, Option<tempfile::TempDir>)> {
    let wanted = || Wanted { name: arguments.into.clone(), ..Wanted::default() };
    match Recording::start(place, wanted()) {
        Err(error) if Recording::is_taken(&error) && arguments.into.is_none() => {
            let directory =
                tempfile::Builder::new().prefix("wirescope-").tempdir().context("make a directory")?;
            note(format_args!(
                "wirescope: another wirescope records into {}; responses are compared and not kept",
                place.store_path().display()
            ));
            let elsewhere = place.clone().with_store(directory.path().join("store"));
            Ok((Recording::start(&elsewhere, wanted())?, Some(directory)))
        }
        started => Ok((started?, None)),
    }
}

/// The exchanges that are meant, in the order they were named, each once.
fn selected(arguments: &Arguments, store: &Store) -> Result<Vec<Seq>> {
    let most = if arguments.limit == 0 { usize::MAX } else { arguments.limit };
    let mut seen = BTreeSet::new();
    let mut seqs = Vec::new();
    let mut left_out = 0;
    let mut take = |seq: Seq, seqs: &mut Vec<Seq>| {
        if seen.insert(seq) {
            match seqs.len() < most {
                true => seqs.push(seq),
                false => left_out += 1,
            }
        }
    };
    for target in &arguments.what {
        match target {
            Target::Exchange(seq) => take(store.exchange(*seq)?.summary.seq, &mut seqs),
            Target::Session(name) => {
                let session = store.session(name.resolve(store)?)?.id;
                let mut query = arguments.filter.query(session);
                pages(store, &mut query, |seq| take(seq, &mut seqs))?;
            }
        }
    }
    if left_out > 0 {
        note(format_args!("wirescope: {left_out} more are left out; raise --limit, or 0 for all"));
    }
    if seqs.is_empty() {
        return Err(Usage::error("find something to replay: nothing in the session is as the filters ask"));
    }
    Ok(seqs)
}

fn pages(store: &Store, query: &mut Query, mut take: impl FnMut(Seq)) -> Result<()> {
    query.limit = 1_000;
    loop {
        let page = store.query(query)?;
        let last = page.items.last().map(|item| item.seq);
        page.items.iter().for_each(|item| take(item.seq));
        match last.filter(|_| page.more) {
            Some(last) => query.after = Some(last),
            None => return Ok(()),
        }
    }
}

fn plan(arguments: &Arguments, store: &Store, seqs: &[Seq]) -> Result<ExitCode> {
    let changes = arguments.changes.changes()?;
    let mut out = Out::new();
    let mut skipped = 0;
    for seq in seqs {
        let prepared = prepare(store, *seq, &changes)?;
        skipped += usize::from(prepared.is_err());
        out.line(print::planned(*seq, &prepared, arguments.json))?;
    }
    out.flush()?;
    note(format_args!("{} would be sent, {skipped} skipped", seqs.len() - skipped));
    Ok(ExitCode::SUCCESS)
}
