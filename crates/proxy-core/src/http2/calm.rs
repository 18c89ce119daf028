//! How many frames that move nothing a peer may send.

use std::time::Duration;

use tokio::time::Instant;

/// An allowance: so many at once, so many more with each second, and some back for work that was done.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u32,
    burst: u32,
    per_second: u32,
    filled_at: Option<Instant>,
}

impl Allowance {
    pub(super) fn new(burst: u32, per_second: u32) -> Self {
        Self { left: burst, burst, per_second, filled_at: None }
    }

    /// Takes one; `false` when there is none left.
    pub(super) fn take(&mut self) -> bool {
        if self.left == 0 {
            self.refill(Instant::now());
        }
        let had = self.left > 0;
        self.left = self.left.saturating_sub(1);
        had
    }

    /// Gives some back, up to the burst.
    pub(super) fn give(&mut self, count: u32) {
        self.left = self.left.saturating_add(count).min(self.burst);
    }

    /// What the time since the last filling earned. The first filling is when the burst is used up for the first
    /// time, so it earns nothing.
    fn refill(&mut self, now: Instant) {
        let since = self.filled_at.map_or(Duration::ZERO, |at| now.duration_since(at));
        let earned = since.as_millis().saturating_mul(u128::from(self.per_second)) / 1_000;
        if earned > 0 || self.filled_at.is_none() {
            self.filled_at = Some(now);
        }
        self.give(u32::try_from(earned).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_allowance_is_a_burst_and_then_a_rate() {
        let mut allowance = Allowance::new(3, 2);
        assert_eq!((0..5).filter(|_| allowance.take()).count(), 3);
        tokio::time::advance(Duration::from_millis(999)).await;
        assert!(allowance.take() && !allowance.take());
        allowance.give(1);
        assert!(allowance.take() && !allowance.take());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!((0..5).filter(|_| allowance.take()).count(), 3);
    }
}
