//! A walk over the exchanges that pass a filter, in windows: each is looked through by two threads, and no transaction
//! stays open longer than one of them takes to read.

use std::thread;

use crate::{
    db::{Filter, Light},
    error::{Error, ErrorKind},
    id::Seq,
    plan::{Plan, Probe},
    query::{Order, Query},
    record::ExchangeSummary,
    store::Store,
};

/// Exchanges in the first window, so that a hit near the beginning is told at once.
const FIRST_WINDOW: usize = 64;
/// Exchanges in a window at most.
const LARGEST_WINDOW: usize = 4096;
/// A window with fewer is not worth a second thread.
const WORTH_SHARING: usize = 256;

/// Whether a scan goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    GoOn,
    Stop,
}

/// What is walked over.
pub(crate) struct Scan<'q> {
    pub(crate) store: &'q Store,
    pub(crate) filter: &'q Filter,
    /// A text that is looked for in stored bytes first: exchanges without it are not looked at.
    pub(crate) probe: Option<&'q Probe>,
    pub(crate) order: Order,
    pub(crate) after: Option<Seq>,
    pub(crate) before: Option<Seq>,
}

/// An exchange of a window, with what looking at it found; `None` where it cannot be what is looked for.
type Looked<T> = Vec<(Seq, Option<T>)>;

impl<'q> Scan<'q> {
    /// Walks over what a plan's filter passes.
    pub(crate) fn of_plan(store: &'q Store, query: &Query, plan: &'q Plan) -> Self {
        Self {
            store,
            filter: &plan.filter,
            probe: plan.probe.as_ref().filter(|_| plan.reads_content()),
            order: query.order,
            after: query.after,
            before: query.before,
        }
    }

    /// Looks at each exchange, on either of two threads, and hands what was found to `visit` in order, until that stops.
    /// Says whether all were seen.
    pub(crate) fn run<T: Send>(
        &self,
        look: &(dyn Fn(ExchangeSummary) -> Result<T, Error> + Sync),
        mut visit: impl FnMut(Seq, Option<T>) -> Result<Next, Error>,
    ) -> Result<Next, Error> {
        let (mut after, mut before) = (self.after, self.before);
        let mut size = FIRST_WINDOW;
        loop {
            let filter = self.filter.clone().between(after, before);
            let window = self.store.read(|tx| tx.lights(&filter, self.order, size, self.probe))?;
            let last = window.len() < size;
            match self.order {
                Order::Ascending => after = window.last().map(|light| light.seq).or(after),
                Order::Descending => before = window.last().map(|light| light.seq).or(before),
            }
            for (seq, found) in self.look_through(window, look)? {
                if visit(seq, found)? == Next::Stop {
                    return Ok(Next::Stop);
                }
            }
            if last {
                return Ok(Next::GoOn);
            }
            size = (size * 2).min(LARGEST_WINDOW);
        }
    }

    /// Looks at a window's exchanges, the second half of a large one beside the first.
    fn look_through<T: Send>(
        &self,
        mut window: Vec<Light>,
        look: &(dyn Fn(ExchangeSummary) -> Result<T, Error> + Sync),
    ) -> Result<Looked<T>, Error> {
        if window.len() < WORTH_SHARING {
            return self.look_at(window, look);
        }
        let second = window.split_off(window.len() / 2);
        let (first, second) = thread::scope(|scope| {
            let beside = scope.spawn(|| self.look_at(second, look));
            let first = self.look_at(window, look);
            (first, beside.join())
        });
        let mut looked = first?;
        looked.extend(second.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        Ok(looked)
    }

    fn look_at<T>(
        &self,
        mut lights: Vec<Light>,
        look: &(dyn Fn(ExchangeSummary) -> Result<T, Error> + Sync),
    ) -> Result<Looked<T>, Error> {
        let summaries = self.store.read(|tx| {
            match self.probe {
                Some(probe) => tx.probe(&mut lights, probe)?,
                None => lights.iter_mut().for_each(|light| light.likely = true),
            }
            lights
                .iter()
                .map(|light| if light.likely { tx.summary(light.seq) } else { Ok(None) })
                .collect::<Result<Vec<_>, _>>()
        })?;
        let mut looked = Vec::with_capacity(lights.len());
        for (light, summary) in lights.into_iter().zip(summaries) {
            let found = match summary.map(look) {
                None => None,
                Some(Ok(found)) => Some(found),
                // It went a moment ago.
                Some(Err(error)) if matches!(error.kind(), ErrorKind::UnknownExchange(_)) => None,
                Some(Err(error)) => return Err(error),
            };
            looked.push((light.seq, found));
        }
        Ok(looked)
    }
}
