//! How many refusals are recorded: a flood of them must not become a flood of recordings.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Refusals recorded at once.
const BURST: u32 = 100;
/// After them, one for each of these.
const REFILL: Duration = Duration::from_millis(100);

/// Says which refusals are recorded: 100 at once and ten a second after them. Those between are counted, and the count
/// stands in the next one that is.
#[derive(Debug)]
pub(crate) struct Meter(Mutex<State>);

#[derive(Debug)]
struct State {
    tokens: u32,
    filled_at: Instant,
    untold: u64,
}

impl Meter {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(State { tokens: BURST, filled_at: now, untold: 0 }))
    }

    /// Takes note of one refusal. If it is to be recorded, gives how many before it were not.
    pub(crate) fn count(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(state.filled_at);
        let fresh = u32::try_from(since.as_nanos() / REFILL.as_nanos()).unwrap_or(u32::MAX);
        if fresh > 0 {
            state.tokens = state.tokens.saturating_add(fresh).min(BURST);
            state.filled_at = now;
        }
        match state.tokens.checked_sub(1) {
            Some(left) => {
                state.tokens = left;
                Some(std::mem::take(&mut state.untold))
            }
            None => {
                state.untold += 1;
                None
            }
        }
    }

    /// How many refusals no record tells of yet.
    pub(crate) fn untold(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).untold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_recorded_in_part_and_the_rest_counted() {
        let start = Instant::now();
        let meter = Meter::new(start);
        let recorded = (0..1_000).filter(|_| meter.count(start).is_some()).count();
        assert_eq!((recorded, meter.untold()), (100, 900));
        assert_eq!(meter.count(start + REFILL), Some(900));
        assert_eq!(meter.count(start + REFILL), None);
        assert_eq!(meter.untold(), 1);
    }

    #[test]
    fn quiet_times_fill_it_up_again_and_no_further() {
        let start = Instant::now();
        let meter = Meter::new(start);
        let later = start + Duration::from_secs(86_400);
        assert_eq!((0..1_000).filter(|_| meter.count(later).is_some()).count(), 100);
    }
}
