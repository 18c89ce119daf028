//! Waiting with a bound, again and again, at next to no cost: a deadline that is moved often and hardly ever comes.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Beyond what a clock can count to, about thirty years count as never.
pub(crate) const NEVER: Duration = Duration::from_secs(86_400 * 365 * 30);

/// One timer for the many waits of a connection, each with a deadline of its own.
///
/// Taking a timer in and out of the runtime's wheel costs a lock both times. So the timer stays in the wheel from one wait
/// to the next as long as it rings no later than the next needs: when it rings too early it is set again.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

/// The patience was over first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

impl Alarm {
    /// Waits for `future`, for as long as the patience lasts from when it was found not ready. Cancel safe where the
    /// future is.
    ///
    /// # Errors
    /// [`Elapsed`] when it lasted no longer.
    pub(crate) async fn within<F: Future>(
        &mut self,
        patience: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        let mut deadline = None;
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            let deadline = *deadline.get_or_insert_with(|| from_now(patience));
            self.poll(deadline, cx).map(|()| Err(Elapsed))
        })
        .await
    }

    /// Ready once the deadline has come.
    fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

/// When a patience that begins now is over. One that no clock can count to lasts about thirty years.
pub(crate) fn from_now(patience: Duration) -> Instant {
    after(Instant::now(), patience)
}

/// As [`from_now`], of a patience that began at `since`.
pub(crate) fn after(since: Instant, patience: Duration) -> Instant {
    since.checked_add(patience).unwrap_or_else(|| since + NEVER)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_wait_has_its_own_deadline() {
        let mut alarm = Alarm::default();
        for patience in [5, 1, 3, 3, 10, 2] {
            let began = Instant::now();
            assert_eq!(alarm.within(patience * SECOND, pending::<()>()).await, Err(Elapsed));
            assert_eq!(began.elapsed(), patience * SECOND);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_that_end_in_time_leave_nothing_behind_for_the_next() {
        let mut alarm = Alarm::default();
        for _ in 0..20 {
            // The timer of the first wait rings in the middle of a later one.
            assert_eq!(alarm.within(2 * SECOND, sleep(SECOND)).await, Ok(()));
            assert_eq!(alarm.within(60 * SECOND, sleep(SECOND)).await, Ok(()));
        }
        let began = Instant::now();
        assert_eq!(alarm.within(SECOND, pending::<()>()).await, Err(Elapsed));
        assert_eq!(began.elapsed(), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_ready_costs_no_timer_and_patience_may_be_without_end() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.within(Duration::ZERO, ready(1)).await, Ok(1));
        assert!(alarm.sleep.is_none());
        assert_eq!(alarm.within(Duration::MAX, sleep(SECOND)).await, Ok(()));
    }
}
