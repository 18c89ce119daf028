//! What packing a body costs and saves, at several levels of zstd and for bodies of several sizes.

use std::{hint::black_box, time::Instant};

use crate::{
    Outcomes,
    table::{Table, Wanted},
    traffic,
};

/// How often each is done; the fastest counts, which a busy machine disturbs least.
const ROUNDS: usize = 50;

/// Packs and unpacks JSON.
pub(crate) fn run(table: &mut Table) -> Outcomes {
    for bytes in [traffic::BODY_BYTES, 16 * 1024, 1024 * 1024] {
        let text = traffic::text(bytes);
        for level in [1, 3, 9] {
            let mut zstd = zstd::bulk::Compressor::new(level)?;
            let frame = zstd.compress(&text)?;
            let pack = fastest(|| Ok(black_box(zstd.compress(&text)?).len()))?;
            let mut unzstd = zstd::bulk::Decompressor::new()?;
            let unpack = fastest(|| Ok(black_box(unzstd.decompress(&frame, bytes)?).len()))?;
            let what = format!("packing JSON of {bytes} bytes at level {level}");
            table.tell(&what, pack * 1e6, "us", Wanted::Nothing);
            table.tell("  what is left of it", frame.len() as f64 / bytes as f64, "", Wanted::Nothing);
            table.tell("  unpacking", bytes as f64 / 1e6 / unpack, "MB/s", Wanted::Nothing);
        }
    }
    Ok(())
}

/// The shortest of some rounds, in seconds.
fn fastest(mut work: impl FnMut() -> std::io::Result<usize>) -> std::io::Result<f64> {
    let mut fastest = f64::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        black_box(work()?);
        fastest = fastest.min(began.elapsed().as_secs_f64());
    }
    Ok(fastest)
}
