//! Figures of many exchanges.

use std::time::Duration;

use capture_store::{ExchangeSummary, Seq};

use crate::field::is_error;

/// Figures of many exchanges: how many, how many of them errors, their bytes, and how their durations lie. Takes four bytes
/// for each exchange: percentiles are exact.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Exchanges.
    pub count: u64,
    /// Those that failed, or have a status of 400 and above.
    pub errors: u64,
    /// Bytes of both bodies as on the wire.
    pub bytes: u64,
    /// The first exchange.
    pub first: Option<Seq>,
    /// Microseconds of each that has ended; sorted when they are asked for.
    micros: Vec<u32>,
    sorted: bool,
}

impl Figures {
    /// Adds an exchange.
    pub fn add(&mut self, summary: &ExchangeSummary) {
        self.count += 1;
        self.errors += u64::from(is_error(summary));
        self.bytes += summary.request_body_bytes + summary.response_body_bytes;
        self.first = Some(self.first.map_or(summary.seq, |first| first.min(summary.seq)));
        if let Some(duration) = summary.duration {
            self.micros.push(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX));
            self.sorted = false;
        }
    }

    /// Adds those of another group.
    pub fn absorb(&mut self, other: Self) {
        self.count += other.count;
        self.errors += other.errors;
        self.bytes += other.bytes;
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.micros.extend(other.micros);
        self.sorted = false;
    }

    /// The duration that `percent` of those that ended are not longer than (the nearest rank); `None` where none has ended.
    /// Durations above 71 minutes count as that.
    pub fn percentile(&mut self, percent: u32) -> Option<Duration> {
        if !self.sorted {
            self.micros.sort_unstable();
            self.sorted = true;
        }
        let rank = (self.micros.len() * percent.min(100) as usize).div_ceil(100).max(1);
        self.micros.get(rank - 1).map(|micros| Duration::from_micros(u64::from(*micros)))
    }

    /// Errors per exchange, from 0 to 1.
    #[must_use]
    pub fn error_rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate; counts are below 2^52")]
        let rate = self.errors as f64 / self.count.max(1) as f64;
        rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut figures = Figures::default();
        assert_eq!(figures.percentile(50), None);
        figures.absorb(Figures { micros: (1..=200).rev().collect(), ..Figures::default() });
        let micros = |duration: Option<Duration>| duration.unwrap().as_micros();
        let told: Vec<_> = [0, 1, 50, 95, 99, 100].map(|p| micros(figures.percentile(p))).into();
        assert_eq!(told, [1, 2, 100, 190, 198, 200]);
        let mut one = Figures { micros: vec![7], ..Figures::default() };
        one.absorb(figures);
        assert_eq!(micros(one.percentile(1)), 3);
    }
}
