//! How fast the recorder takes exchanges.

use std::{fs, path::Path, thread, time::Duration, time::Instant};

use capture_store::{IndexPolicy, Recorder, RecorderConfig, SessionSpec, Store, StoreConfig};
use proxy_core::Observer as _;

use crate::{
    Outcomes,
    table::{Table, Wanted, processor_time, thread_time},
    traffic::{Traffic, client},
};

/// Fills a store.
pub(crate) fn run(table: &mut Table, directory: &Path, exchanges: u64) -> Outcomes {
    let store = Store::open(directory, StoreConfig::default())?;
    let session = SessionSpec::Named { name: "bench".to_owned(), max_bytes: None };
    let mut config = RecorderConfig::default();
    // It is built and measured by itself.
    config.index = IndexPolicy::Never;
    let recorder = Recorder::start(&store, session, config)?;
    let mut traffic = Traffic::new(client());
    let (began, worked) = (Instant::now(), processor_time());
    for number in 0..exchanges {
        traffic.tell(&recorder, number);
        while recorder.ready().is_some() {
            thread::sleep(Duration::from_millis(1));
        }
    }
    recorder.flush()?;
    let (elapsed, worked) = (began.elapsed(), processor_time() - worked);
    let rate = exchanges as f64 / elapsed.as_secs_f64();
    table.tell("recording exchanges of 2 KB", rate, "/s", Wanted::AtLeast(40_000.0));
    let each = worked.as_secs_f64() * 1e6 / exchanges as f64;
    table.tell("  processor time of each, making it included", each, "us", Wanted::Nothing);
    let each = thread_time("capture-store").as_secs_f64() * 1e6 / exchanges as f64;
    table.tell("  of that in the recorder's one thread", each, "us", Wanted::AtMost(25.0));
    table.tell_memory("recording");
    let dropped = recorder.status()?.dropped;
    recorder.close()?;
    table.tell("  not recorded", dropped as f64, "", Wanted::AtMost(0.0));
    table.tell("  database", stored_bytes(directory)? / 1e6, "MB", Wanted::Nothing);
    Ok(())
}

/// Bytes of the files in a directory.
pub(crate) fn stored_bytes(directory: &Path) -> std::io::Result<f64> {
    let entries = fs::read_dir(directory)?.flatten();
    let bytes: u64 = entries.filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum();
    Ok(bytes as f64)
}
