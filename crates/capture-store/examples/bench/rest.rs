//! What a recorder holds at rest.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use capture_store::{Recorder, RecorderConfig, SessionSpec, Store, StoreConfig};

use crate::{
    Outcomes,
    table::{Table, Wanted},
    traffic::{Traffic, client},
};

/// Exchanges that are recorded, in so many bursts.
const EXCHANGES: u64 = 1_000;
const BURSTS: u64 = 20;
/// How long nothing comes.
const LULL: Duration = Duration::from_secs(5);

/// Records some exchanges and says what is left in memory of that.
pub(crate) fn run(table: &mut Table, directory: &Path) -> Outcomes {
    // What it takes to make traffic is there before.
    let mut traffic = Traffic::new(client());
    let before = memory();
    let store = Store::open(directory, StoreConfig::default())?;
    let recorder =
        Recorder::start(&store, SessionSpec::Scratch { max_bytes: None }, RecorderConfig::default())?;
    thread::sleep(LULL);
    table.tell("memory of a recorder that began", memory() - before, "KiB", Wanted::Nothing);
    for number in 0..EXCHANGES {
        traffic.tell(&recorder, number);
        if number % (EXCHANGES / BURSTS) == 0 {
            thread::sleep(Duration::from_millis(20));
        }
    }
    recorder.flush()?;
    table.tell("  and recorded 1,000 exchanges", memory() - before, "KiB", Wanted::Nothing);
    thread::sleep(LULL);
    table.tell("  and had nothing to do for seconds", memory() - before, "KiB", Wanted::Nothing);
    let (began, worked) = (Instant::now(), wakes());
    thread::sleep(LULL);
    let each = (wakes() - worked) / began.elapsed().as_secs_f64();
    table.tell("  times the writer wakes a second then", each, "", Wanted::AtMost(0.0));
    Ok(())
}

/// Memory of its own that the process has, in KiB.
fn memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0.0)
}

/// How often the writer's thread gave its processor back by itself.
fn wakes() -> f64 {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let ours = tasks.filter(|task| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == "capture-store")
    });
    let waits = ours.filter_map(|task| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<f64>().ok()
    });
    waits.sum()
}
