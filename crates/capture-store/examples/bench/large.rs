//! How fast the recorder takes large bodies, beside plain writing.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use capture_store::{Recorder, RecorderConfig, SessionSpec, Store, StoreConfig};
use proxy_core::{EventKind, Observer as _, ResponseHead, ResponseSource};

use crate::{
    Outcomes,
    table::{Table, Wanted},
    traffic::{Noise, client, ended, request, tell},
};

/// Bytes of one body, and how many there are.
const LARGE_BYTES: usize = 256 * 1024 * 1024;
const LARGE: usize = 4;
/// How a proxy hands bodies on.
const PIECE_BYTES: usize = 64 * 1024;

/// Writes files, then records bodies.
pub(crate) fn run(table: &mut Table, directory: &Path) -> Outcomes {
    let mut noise = Noise(7);
    // Nothing that could be packed.
    let piece: Bytes = (0..PIECE_BYTES).map(|_| noise.next(256).to_le_bytes()[0]).collect();
    let plain = plainly(directory, &piece)?;
    let store = Store::open(directory.join("store"), StoreConfig::default())?;
    let session = SessionSpec::Named { name: "large".to_owned(), max_bytes: None };
    let recorder = Recorder::start(&store, session, RecorderConfig::default())?;
    let client = client();
    let began = Instant::now();
    for number in 0..LARGE as u64 {
        let tell = |kind| tell(&recorder, number, kind);
        tell(EventKind::Request {
            client: client.clone(),
            head: Arc::new(request(number, &mut noise)),
            started_at: SystemTime::now(),
        });
        tell(EventKind::Response {
            head: Arc::new(ResponseHead::new(http::StatusCode::OK)),
            source: ResponseSource::Upstream,
        });
        for _ in 0..LARGE_BYTES / PIECE_BYTES {
            tell(EventKind::ResponseBody(piece.clone()));
            while recorder.ready().is_some() {
                thread::sleep(Duration::from_micros(200));
            }
        }
        tell(ended());
    }
    recorder.flush()?;
    let rate = (LARGE * LARGE_BYTES) as f64 / 1e6 / began.elapsed().as_secs_f64();
    table.tell("large bodies", rate, "MB/s", Wanted::AtLeast((plain * 0.7).min(1_000.0)));
    table.tell("  plain writing", plain, "MB/s", Wanted::Nothing);
    table.tell_memory("recording large bodies");
    Ok(())
}

/// Writes the same as files, and says how many megabytes a second that were. They are removed.
fn plainly(directory: &Path, piece: &[u8]) -> Result<f64, Box<dyn std::error::Error>> {
    fs::create_dir_all(directory)?;
    let began = Instant::now();
    for number in 0..LARGE {
        let mut file = File::create(directory.join(format!("plain-{number}")))?;
        for _ in 0..LARGE_BYTES / PIECE_BYTES {
            file.write_all(piece)?;
        }
    }
    let rate = (LARGE * LARGE_BYTES) as f64 / 1e6 / began.elapsed().as_secs_f64();
    for number in 0..LARGE {
        fs::remove_file(directory.join(format!("plain-{number}")))?;
    }
    Ok(rate)
}
