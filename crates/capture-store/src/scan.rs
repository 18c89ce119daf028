//! A walk over the exchanges that pass a filter, in windows: each is looked through by two threads, and no transaction
//! stays open longer than one of them takes to read. Where there are segments of the index, a window is some of those.

use std::{ops::RangeInclusive, thread};

use crate::{
    db::{Filter, Light},
    error::{Error, ErrorKind},
    id::Seq,
    index::{Narrow, Segment},
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
/// Segments of the index in a window at most.
const MOST_SEGMENTS: usize = 32;

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
    /// What the index is asked, where there is one: exchanges that it leaves out are not even read.
    pub(crate) narrow: Option<&'q Narrow>,
    pub(crate) order: Order,
    pub(crate) after: Option<Seq>,
    pub(crate) before: Option<Seq>,
}

/// What a walk came to.
#[derive(Debug)]
pub(crate) struct Walked {
    pub(crate) next: Next,
    /// Runs of seqs that the index answered for.
    pub(crate) by_index: Vec<RangeInclusive<u64>>,
    /// Exchanges in those that it left over, and that were visited.
    pub(crate) left_over: u64,
    /// All up to this was visited or answered for.
    pub(crate) reached: Option<Seq>,
}

/// An exchange of a window, with what looking at it found; `None` where it cannot be what is looked for.
type Looked<T> = Vec<(Seq, Option<T>)>;

/// A segment with what was found of what the index left over; `None` where it is none any more.
type LookedSegment<T> = (Segment, Option<Looked<T>>);

/// What each exchange is asked.
type Look<'l, T> = dyn Fn(ExchangeSummary) -> Result<T, Error> + Sync + 'l;

/// A part of the way, in its order.
#[derive(Debug, PartialEq, Eq)]
enum Stretch {
    /// Seqs, both included, without a segment.
    Rows(u64, u64),
    Indexed(Segment),
}

impl<'q> Scan<'q> {
    /// Walks over what a plan's filter passes.
    pub(crate) fn of_plan(store: &'q Store, query: &Query, plan: &'q Plan) -> Self {
        Self {
            store,
            filter: &plan.filter,
            probe: plan.probe.as_ref().filter(|_| plan.reads_content()),
            narrow: plan.narrow.as_ref(),
            order: query.order,
            after: query.after,
            before: query.before,
        }
    }

    /// Looks at each exchange, on either of two threads, and hands what was found to `visit` in order, until that stops.
    pub(crate) fn run<T: Send>(
        &self,
        look: &Look<'_, T>,
        visit: impl FnMut(Seq, Option<T>) -> Result<Next, Error>,
    ) -> Result<Walked, Error> {
        let filter = self.filter.clone().between(self.after, self.before);
        let walked = Walked { next: Next::GoOn, by_index: Vec::new(), left_over: 0, reached: None };
        let stretches = self.stretches(&filter)?;
        let mut walk = Walk { scan: self, filter, look, visit, walked };
        let (mut at, mut size) = (0, 1);
        while let (Next::GoOn, Some(stretch)) = (walk.walked.next, stretches.get(at)) {
            if let Stretch::Rows(first, last) = *stretch {
                walk.rows(first, last)?;
                at += 1;
                continue;
            }
            let segments = stretches[at..].iter().take(size).map_while(Stretch::segment);
            let window: Vec<Segment> = segments.collect();
            at += window.len();
            size = (size * 2).min(MOST_SEGMENTS);
            walk.segments(&window)?;
        }
        Ok(walk.walked)
    }

    /// The parts of the way.
    fn stretches(&self, filter: &Filter) -> Result<Vec<Stretch>, Error> {
        if self.narrow.is_none() {
            return Ok(vec![Stretch::Rows(0, u64::MAX)]);
        }
        let segments = self.store.read(|tx| {
            let Some(range) = tx.range(filter)? else { return Ok(None) };
            tx.segments(*range.start(), *range.end(), Order::Ascending).map(Some)
        })?;
        let Some(segments) = segments else { return Ok(Vec::new()) };
        let mut stretches = Vec::with_capacity(segments.len() * 2 + 1);
        let mut from = 0;
        for segment in segments {
            if from < segment.first {
                stretches.push(Stretch::Rows(from, segment.first - 1));
            }
            stretches.push(Stretch::Indexed(segment));
            from = segment.last + 1;
        }
        stretches.push(Stretch::Rows(from, u64::MAX));
        if self.order == Order::Descending {
            stretches.reverse();
        }
        Ok(stretches)
    }

    /// Looks at a window's exchanges, the second half of a large one beside the first.
    fn look_through<T: Send>(&self, mut window: Vec<Light>, look: &Look<'_, T>) -> Result<Looked<T>, Error> {
        if window.len() < WORTH_SHARING {
            return self.look_at(window, look);
        }
        let second = window.split_off(window.len() / 2);
        beside(|| self.look_at(window, look), || self.look_at(second, look))
    }

    /// Looks at what the index leaves over of some segments, the second half of them beside the first.
    fn look_through_segments<T: Send>(
        &self,
        filter: &Filter,
        window: &[Segment],
        look: &Look<'_, T>,
    ) -> Result<Vec<LookedSegment<T>>, Error> {
        let all = |segments: &[Segment]| {
            let looked = segments.iter().map(|segment| {
                let candidates = self.candidates(filter, segment)?;
                let looked = candidates.map(|lights| self.look_at(lights, look)).transpose()?;
                Ok((*segment, looked))
            });
            looked.collect::<Result<Vec<_>, _>>()
        };
        let (first, second) = window.split_at(window.len() / 2);
        if first.is_empty() { all(second) } else { beside(|| all(first), || all(second)) }
    }

    /// What the index leaves over of a segment, in the walk's order; `None` where the segment is none any more.
    fn candidates(&self, filter: &Filter, segment: &Segment) -> Result<Option<Vec<Light>>, Error> {
        let Some(narrow) = self.narrow else { return Ok(None) };
        self.store.read(|tx| {
            let Some(mut seqs) = narrow.candidates(tx, segment)? else { return Ok(None) };
            if self.order == Order::Descending {
                seqs.reverse();
            }
            tx.lights_of(filter, &seqs, self.probe).map(Some)
        })
    }

    fn look_at<T>(&self, mut lights: Vec<Light>, look: &Look<'_, T>) -> Result<Looked<T>, Error> {
        if lights.is_empty() {
            return Ok(Vec::new());
        }
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

/// A walk under way.
struct Walk<'w, T, V> {
    scan: &'w Scan<'w>,
    /// The filter, bounded by the cursors.
    filter: Filter,
    look: &'w Look<'w, T>,
    visit: V,
    walked: Walked,
}

impl<T: Send, V: FnMut(Seq, Option<T>) -> Result<Next, Error>> Walk<'_, T, V> {
    /// Walks over rows, window by window.
    fn rows(&mut self, first: u64, last: u64) -> Result<(), Error> {
        let scan = self.scan;
        let (mut after, mut before) = (first.checked_sub(1).map(Seq), last.checked_add(1).map(Seq));
        let mut size = FIRST_WINDOW;
        loop {
            let filter = self.filter.clone().between(after, before);
            let window = scan.store.read(|tx| tx.lights(&filter, scan.order, size, scan.probe))?;
            let last = window.len() < size;
            match scan.order {
                Order::Ascending => after = window.last().map(|light| light.seq).or(after),
                Order::Descending => before = window.last().map(|light| light.seq).or(before),
            }
            for (seq, found) in scan.look_through(window, self.look)? {
                if self.visit(seq, found)? == Next::Stop {
                    return Ok(());
                }
            }
            if last {
                return Ok(());
            }
            size = (size * 2).min(LARGEST_WINDOW);
        }
    }

    /// Walks over segments of the index.
    fn segments(&mut self, window: &[Segment]) -> Result<(), Error> {
        for (segment, looked) in self.scan.look_through_segments(&self.filter, window, self.look)? {
            match looked {
                Some(looked) => self.segment(segment, looked)?,
                // It was taken away a moment ago.
                None => self.rows(segment.first, segment.last)?,
            }
            if self.walked.next == Next::Stop {
                break;
            }
        }
        Ok(())
    }

    /// Hands on what was found in a segment, and notes how far the index answered.
    fn segment(&mut self, segment: Segment, looked: Looked<T>) -> Result<(), Error> {
        let (first, last) = self.filter.seqs();
        let (first, last) = (first.max(segment.first), last.min(segment.last));
        let ascending = self.scan.order == Order::Ascending;
        let mut seen = None;
        for (seq, found) in looked {
            if self.visit(seq, found)? == Next::Stop {
                // The walk goes on behind what was visited last; what lies before that is answered for.
                let answered = seen.map(|Seq(seen)| if ascending { first..=seen } else { seen..=last });
                self.walked.by_index.extend(answered);
                return Ok(());
            }
            self.walked.left_over += 1;
            seen = Some(seq);
        }
        self.walked.by_index.push(first..=last);
        self.walked.reached = Some(Seq(if ascending { last } else { first }));
        Ok(())
    }

    fn visit(&mut self, seq: Seq, found: Option<T>) -> Result<Next, Error> {
        let next = (self.visit)(seq, found)?;
        self.walked.next = next;
        if next == Next::GoOn {
            self.walked.reached = Some(seq);
        }
        Ok(next)
    }
}

impl Stretch {
    fn segment(&self) -> Option<Segment> {
        match self {
            Self::Indexed(segment) => Some(*segment),
            Self::Rows(..) => None,
        }
    }
}

/// Does two things at once, and puts what they give together.
fn beside<R: Send>(
    one: impl FnOnce() -> Result<Vec<R>, Error>,
    other: impl FnOnce() -> Result<Vec<R>, Error> + Send,
) -> Result<Vec<R>, Error> {
    let (one, other) = thread::scope(|scope| {
        let other = scope.spawn(other);
        let one = one();
        (one, other.join())
    });
    let mut both = one?;
    both.extend(other.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
    Ok(both)
}
