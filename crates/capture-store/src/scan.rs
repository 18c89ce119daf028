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

/// What the index left over of a segment.
enum LeftOver<T> {
    /// Little, and what was found of it.
    Looked(Looked<T>),
    /// Much, in the walk's order: who has a page full looks at the first of it only.
    Much(Vec<Seq>),
    /// The segment was taken away a moment ago.
    Gone,
}

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

    /// Asks the index about some segments, and looks at what it leaves over where that is little; the second half of them
    /// beside the first.
    fn look_through_segments<T: Send>(
        &self,
        filter: &Filter,
        window: &[Segment],
        look: &Look<'_, T>,
    ) -> Result<Vec<(Segment, LeftOver<T>)>, Error> {
        let all = |segments: &[Segment]| {
            let left_over = segments.iter().map(|segment| {
                let left_over = match self.candidates(segment)? {
                    None => LeftOver::Gone,
                    Some(seqs) if seqs.len() > FIRST_WINDOW => LeftOver::Much(seqs),
                    Some(seqs) => LeftOver::Looked(self.look_at(self.lights_of(filter, &seqs)?, look)?),
                };
                Ok((*segment, left_over))
            });
            left_over.collect::<Result<Vec<_>, _>>()
        };
        let (first, second) = window.split_at(window.len() / 2);
        if first.is_empty() { all(second) } else { beside(|| all(first), || all(second)) }
    }

    /// What the index leaves over of a segment, in the walk's order; `None` where the segment is none any more.
    fn candidates(&self, segment: &Segment) -> Result<Option<Vec<Seq>>, Error> {
        let Some(narrow) = self.narrow else { return Ok(None) };
        let mut seqs = self.store.read(|tx| narrow.candidates(tx, segment))?;
        if self.order == Order::Descending {
            seqs.iter_mut().for_each(|seqs| seqs.reverse());
        }
        Ok(seqs)
    }

    /// Those of some exchanges that pass the filter.
    fn lights_of(&self, filter: &Filter, seqs: &[Seq]) -> Result<Vec<Light>, Error> {
        if seqs.is_empty() {
            return Ok(Vec::new());
        }
        self.store.read(|tx| tx.lights_of(filter, seqs, self.probe))
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
        for (segment, left_over) in self.scan.look_through_segments(&self.filter, window, self.look)? {
            match left_over {
                LeftOver::Looked(looked) => self.segment(segment, looked)?,
                LeftOver::Much(seqs) => self.much(segment, &seqs)?,
                LeftOver::Gone => self.rows(segment.first, segment.last)?,
            }
            if self.walked.next == Next::Stop {
                break;
            }
        }
        Ok(())
    }

    /// Hands on what is found in a segment of which the index left much over, window by window.
    fn much(&mut self, segment: Segment, mut seqs: &[Seq]) -> Result<(), Error> {
        let (scan, mut size, mut seen) = (self.scan, FIRST_WINDOW, None);
        while !seqs.is_empty() {
            let (window, rest) = seqs.split_at(size.min(seqs.len()));
            let lights = scan.lights_of(&self.filter, window)?;
            for (seq, found) in scan.look_through(lights, self.look)? {
                if self.visit(seq, found)? == Next::Stop {
                    self.answered(segment, seen);
                    return Ok(());
                }
                self.walked.left_over += 1;
                seen = Some(seq);
            }
            (seqs, size) = (rest, size * 2);
        }
        self.answered_all(segment);
        Ok(())
    }

    /// Hands on what was found in a segment.
    fn segment(&mut self, segment: Segment, looked: Looked<T>) -> Result<(), Error> {
        let mut seen = None;
        for (seq, found) in looked {
            if self.visit(seq, found)? == Next::Stop {
                self.answered(segment, seen);
                return Ok(());
            }
            self.walked.left_over += 1;
            seen = Some(seq);
        }
        self.answered_all(segment);
        Ok(())
    }

    /// Notes that the index answered for a segment as far as what was visited last: there the walk goes on.
    fn answered(&mut self, segment: Segment, seen: Option<Seq>) {
        let (first, last) = self.bounds(segment);
        self.walked.by_index.extend(seen.map(|Seq(seen)| match self.scan.order {
            Order::Ascending => first..=seen,
            Order::Descending => seen..=last,
        }));
    }

    /// Notes that the index answered for a segment.
    fn answered_all(&mut self, segment: Segment) {
        let (first, last) = self.bounds(segment);
        self.walked.by_index.push(first..=last);
        self.walked.reached = Some(Seq(match self.scan.order {
            Order::Ascending => last,
            Order::Descending => first,
        }));
    }

    /// What of a segment lies between the cursors.
    fn bounds(&self, segment: Segment) -> (u64, u64) {
        let (first, last) = self.filter.seqs();
        (first.max(segment.first), last.min(segment.last))
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
