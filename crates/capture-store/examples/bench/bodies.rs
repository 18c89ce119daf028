//! What recording bodies of one size costs: of text and of noise, each its own or all the same.

use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use capture_store::{IndexPolicy, Recorder, RecorderConfig, SessionSpec, Store, StoreConfig};
use proxy_core::{ClientFacts, EventKind, Observer as _, ResponseHead, ResponseSource};

use crate::{
    Outcomes,
    ingest::stored_bytes,
    table::{Table, Wanted, processor_time, thread_time},
    traffic::{Noise, client, ended, request, tell, text},
};

/// How a proxy hands bodies on: a record of TLS each.
const PIECE_BYTES: usize = 16 * 1024;
/// What a store keeps: less than comes, as it is with all that record for long.
const KEPT_BYTES: u64 = 256 * 1024 * 1024;
/// Exchanges of each kind.
const EXCHANGES: u64 = 8_000;
/// Exchanges told at once, before a pause where they are paced.
const AT_ONCE: u64 = 8;
/// Where a body has its number, which makes it unlike all others.
const ID: std::ops::Range<usize> = 13..21;

/// Records bodies of each kind, as fast as they are taken and at a thousand a second.
pub(crate) fn run(table: &mut Table, directory: &Path, bytes: usize) -> Outcomes {
    let mut noise = Noise(7);
    let noise: Vec<u8> = (0..bytes).map(|_| noise.next(256).to_le_bytes()[0]).collect();
    // Nothing is removed before the end: a file system may give numbers of files that went a moment ago only after a
    // long search. Bodies that are each their own come first, for the same reason.
    for (unique, which) in [(true, "each its own"), (false, "the same")] {
        for (body, name) in [(&text(bytes), "text"), (&noise, "noise")] {
            for (paced, pace) in [(false, "at once"), (true, "1,000 a second")] {
                let place = directory.join(format!("{name}-{unique}-{paced}"));
                let what = format!("{bytes} bytes of {name}, {which}, {pace}");
                record(table, &place, &what, (body, unique, paced))?;
            }
        }
    }
    Ok(())
}

fn record(
    table: &mut Table,
    directory: &Path,
    what: &str,
    (body, unique, paced): (&[u8], bool, bool),
) -> Outcomes {
    let store = Store::open(directory, StoreConfig::default())?;
    let session = SessionSpec::Scratch { max_bytes: Some(KEPT_BYTES) };
    let mut config = RecorderConfig::default();
    config.index = IndexPolicy::Never;
    let recorder = Recorder::start(&store, session, config)?;
    let client = client();
    let mut noise = Noise(11);
    let exchanges = if paced { EXCHANGES / 4 } else { EXCHANGES };
    // Copied before, so that the recorder is measured and not this.
    let pieces: Vec<Bytes> = body.chunks(PIECE_BYTES).map(Bytes::copy_from_slice).collect();
    let threads = ["capture-store", "capture-log", "capture-packing"];
    let worked = || threads.map(thread_time);
    let (began, before, all) = (Instant::now(), worked(), processor_time());
    for number in 0..exchanges {
        tell_one(&recorder, number, &client, (&pieces, unique), &mut noise);
        while recorder.ready().is_some() {
            thread::sleep(Duration::from_micros(200));
        }
        if paced && number % AT_ONCE == AT_ONCE - 1 {
            thread::sleep(Duration::from_millis(AT_ONCE).saturating_sub(Duration::from_micros(100)));
        }
    }
    recorder.flush()?;
    let elapsed = began.elapsed();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / exchanges as f64;
    table.tell(what, exchanges as f64 / elapsed.as_secs_f64(), "/s", Wanted::Nothing);
    let after = worked();
    for (name, (before, after)) in threads.iter().zip(before.into_iter().zip(after)) {
        table.tell(
            &format!("  processor time of each in {name}"),
            each(after - before),
            "us",
            Wanted::Nothing,
        );
    }
    table.tell(
        "  of the whole process, making it included",
        each(processor_time() - all),
        "us",
        Wanted::Nothing,
    );
    recorder.close()?;
    table.tell("  database", stored_bytes(directory)? / 1e6, "MB", Wanted::Nothing);
    Ok(())
}

/// Tells a recorder an exchange whose response's body comes in these pieces, the first with its number in it where it is to be
/// unlike all others.
fn tell_one(
    recorder: &Recorder,
    number: u64,
    client: &Arc<ClientFacts>,
    (pieces, unique): (&[Bytes], bool),
    noise: &mut Noise,
) {
    let tell = |kind| tell(recorder, number, kind);
    let head = Arc::new(request(number, noise));
    tell(EventKind::Request { client: client.clone(), head, started_at: SystemTime::now() });
    tell(EventKind::RequestEnd);
    let mut head = ResponseHead::new(http::StatusCode::OK);
    head.headers.push("Content-Type", "application/json");
    head.headers.push("Content-Length", pieces.iter().map(Bytes::len).sum::<usize>().to_string());
    tell(EventKind::Response { head: Arc::new(head), source: ResponseSource::Upstream });
    let mut first = pieces[0].to_vec();
    if unique {
        first[ID].copy_from_slice(format!("{:08}", number % 100_000_000).as_bytes());
    }
    tell(EventKind::ResponseBody(first.into()));
    for piece in &pieces[1..] {
        tell(EventKind::ResponseBody(piece.clone()));
    }
    tell(ended());
}
