//! A slow line: bytes leave no faster than it carries them.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

/// How often in a second the clock is looked at.
const SLICES_PER_SECOND: u64 = 20;
/// A slice is no smaller, so that slow lines do not cost a timer and a packet for a few bytes.
const MIN_SLICE_BYTES: u64 = 256;
/// And no larger, so that a fast line does not hold up what is behind.
const MAX_SLICE_BYTES: u64 = 64 * 1024;
/// Waits shorter than this are put off until they add up: timers are no finer than a millisecond.
const MIN_WAIT: Duration = Duration::from_millis(4);
/// What a late timer is made up for; an idle line saves up no more than this.
const MAX_CREDIT: Duration = Duration::from_millis(10);

/// One direction of a slow line.
#[derive(Debug)]
pub(crate) struct Line {
    bytes_per_second: u64,
    /// When the line has carried all that was given to it.
    free_at: Option<Instant>,
}

impl Line {
    /// Makes a line that carries so many bytes a second, at least one.
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), free_at: None }
    }

    fn slice_bytes(&self) -> usize {
        let bytes = self.bytes_per_second / SLICES_PER_SECOND;
        usize::try_from(bytes.clamp(MIN_SLICE_BYTES, MAX_SLICE_BYTES)).unwrap_or(usize::MAX)
    }

    /// Gives bytes to the line; says when it has carried them.
    fn give(&mut self, bytes: usize, now: Instant) -> Instant {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let earliest = now.checked_sub(MAX_CREDIT).unwrap_or(now);
        let carried = self.free_at.map_or(now, |free_at| free_at.max(earliest)) + takes;
        self.free_at = Some(carried);
        carried
    }
}

/// How one message travels.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Every line it has to take.
    lines: Vec<Line>,
}

impl Pace {
    /// Has it take one more line.
    pub(crate) fn slow(&mut self, bytes_per_second: Option<u64>) {
        self.lines.extend(bytes_per_second.map(Line::new));
    }

    /// Takes off `data` what may leave at once.
    pub(crate) fn slice(&self, data: &mut Bytes) -> Bytes {
        let most = self.lines.iter().map(Line::slice_bytes).min().unwrap_or(usize::MAX);
        data.split_to(most.min(data.len()))
    }

    /// Waits until the lines have carried so many bytes. Dropped, they count as carried.
    pub(crate) async fn carry(&mut self, bytes: usize) {
        if self.lines.is_empty() {
            return;
        }
        let now = Instant::now();
        let carried = self.lines.iter_mut().map(|line| line.give(bytes, now)).max();
        let wait = carried.map_or(Duration::ZERO, |carried| carried.saturating_duration_since(now));
        if wait >= MIN_WAIT {
            sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn send(pace: &mut Pace, bytes: usize) {
        let mut data = Bytes::from(vec![0; bytes]);
        while !data.is_empty() {
            let slice = pace.slice(&mut data);
            pace.carry(slice.len()).await;
        }
    }

    fn pace(bytes_per_second: u64) -> Pace {
        let mut pace = Pace::default();
        pace.slow(Some(bytes_per_second));
        pace
    }

    fn about(elapsed: Duration, expected: Duration) {
        let off = elapsed.abs_diff(expected);
        assert!(off <= Duration::from_millis(20), "{elapsed:?} is not {expected:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_take_as_long_as_the_line_is_slow() {
        for (rate, bytes, ms) in [(1_000, 3_000, 3_000), (100, 50, 500), (100_000_000, 200_000_000, 2_000)] {
            let begun = Instant::now();
            send(&mut pace(rate), bytes).await;
            about(begun.elapsed(), Duration::from_millis(ms));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_slowest_line_counts_and_an_idle_one_saves_nothing_up() {
        let mut pace = pace(1_000);
        pace.slow(Some(10_000));
        send(&mut pace, 1_000).await;
        tokio::time::advance(Duration::from_secs(60)).await;
        let begun = Instant::now();
        send(&mut pace, 2_000).await;
        about(begun.elapsed(), Duration::from_secs(2));
    }
}
