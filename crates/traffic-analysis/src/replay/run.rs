//! Many exchanges sent again.

use std::{pin::pin, sync::Arc};

use capture_store::{Error, Recorder, Seq, Store};
use proxy_core::Sender;
use tokio::task::{JoinError, JoinHandle, JoinSet, spawn_blocking};

use super::{
    changes::Changes,
    outcome::{Became, Outcome, Summary},
    send::{Pace, Post, Posted, Settings},
    sent::SentIndex,
};
use crate::{
    diff::{self, Options},
    subject::Subject,
};

/// Requests under way at once at most, whatever is asked for.
const MAX_CONCURRENCY: usize = 256;
/// Ended ones that are looked up and compared together.
const MAX_BATCH: usize = 64;
/// What of a comparison says nothing: it is what was changed, or follows from it.
const REQUEST: [&str; 7] = ["req.*", "method", "scheme", "host", "port", "path", "param.*"];

/// Sends recorded exchanges again, compares what comes, and tells of each.
pub struct Replay {
    /// Through which they are sent.
    pub sender: Sender,
    /// The store of the exchanges that are replayed.
    pub origins: Store,
    /// Records what the sender sends.
    pub recorder: Recorder,
    /// The store it records into.
    pub recorded: Store,
    /// What is changed in each request.
    pub changes: Changes,
    /// How they are sent.
    pub settings: Settings,
}

impl Replay {
    /// Sends these again, and gives each outcome to `report` when it is known, in whatever order, until all are done or
    /// `stop` resolves. What is under way then is broken off; what is done is recorded, compared and told.
    ///
    /// Dropping the future breaks off what is under way.
    ///
    /// # Errors
    /// When a store cannot be read.
    pub async fn run(
        self,
        seqs: Vec<Seq>,
        stop: impl Future<Output = ()>,
        mut report: impl FnMut(Outcome),
    ) -> Result<Summary, Error> {
        let mut going = self.begin(seqs).await?;
        let mut stop = pin!(stop);
        loop {
            going.go_on();
            if going.is_over() {
                return Ok(going.summary);
            }
            tokio::select! {
                () = &mut stop, if !going.is_stopped => going.stop(),
                Some(joined) = going.under_way.join_next() => going.joined(joined)?,
                outcomes = told(&mut going.comparing), if going.comparing.is_some() => {
                    for outcome in going.compared(outcomes?) {
                        report(outcome);
                    }
                }
            }
        }
    }

    async fn begin(self, seqs: Vec<Seq>) -> Result<Going, Error> {
        let mut options = self.settings.compare.clone();
        options.ignore.extend(REQUEST.map(str::to_owned));
        let recorded = self.recorded.clone();
        let index = blocking(move || SentIndex::new(&recorded)).await?;
        let desk = Desk {
            origins: self.origins.clone(),
            recorder: self.recorder,
            recorded: self.recorded,
            options,
            index,
        };
        Ok(Going {
            summary: Summary { selected: seqs.len() as u64, ..Summary::default() },
            room: self.settings.concurrency.clamp(1, MAX_CONCURRENCY),
            waiting: seqs.into_iter(),
            under_way: JoinSet::new(),
            ended: Vec::new(),
            desk: Some(desk),
            comparing: None,
            is_stopped: false,
            post: Post {
                sender: self.sender,
                store: self.origins,
                changes: Arc::new(self.changes),
                pace: Arc::new(Pace::new(self.settings.per_second)),
                settings: Arc::new(self.settings),
            },
        })
    }
}

/// A replay that goes on. Dropping it breaks off what is under way.
struct Going {
    summary: Summary,
    room: usize,
    waiting: std::vec::IntoIter<Seq>,
    under_way: JoinSet<Result<Posted, Error>>,
    /// Not compared yet; while these are many, nothing more is sent.
    ended: Vec<Posted>,
    /// Away while it compares.
    desk: Option<Desk>,
    comparing: Option<Comparing>,
    is_stopped: bool,
    post: Post,
}

impl Going {
    /// Sends as many as there is room for, and has those compared that have ended.
    fn go_on(&mut self) {
        while !self.is_stopped && self.under_way.len() < self.room && self.ended.len() < MAX_BATCH {
            let Some(seq) = self.waiting.next() else { break };
            self.under_way.spawn(self.post.clone().post(seq));
        }
        if !self.ended.is_empty()
            && let Some(desk) = self.desk.take()
        {
            let batch = std::mem::take(&mut self.ended);
            self.comparing = Some(spawn_blocking(move || desk.compare(batch)));
        }
    }

    fn is_over(&self) -> bool {
        self.under_way.is_empty() && self.comparing.is_none()
    }

    fn stop(&mut self) {
        self.is_stopped = true;
        self.summary.broken_off = self.under_way.len() as u64;
        self.summary.not_sent = self.waiting.len() as u64;
        self.under_way.abort_all();
    }

    fn joined(&mut self, joined: Result<Result<Posted, Error>, JoinError>) -> Result<(), Error> {
        match joined {
            Ok(posted) => {
                // It ended before it could be broken off.
                self.summary.broken_off -= u64::from(self.is_stopped);
                self.ended.push(posted?);
                Ok(())
            }
            Err(error) if error.is_cancelled() => Ok(()),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    fn compared(&mut self, (desk, outcomes): (Desk, Vec<Outcome>)) -> Vec<Outcome> {
        (self.desk, self.comparing) = (Some(desk), None);
        outcomes.iter().for_each(|outcome| self.summary.count(outcome));
        outcomes
    }
}

type Comparing = JoinHandle<Result<(Desk, Vec<Outcome>), Error>>;

async fn told(comparing: &mut Option<Comparing>) -> Result<(Desk, Vec<Outcome>), Error> {
    match comparing {
        Some(comparing) => match comparing.await {
            Ok(outcomes) => outcomes,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        },
        None => std::future::pending().await,
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// Where ended exchanges are looked up and compared.
struct Desk {
    origins: Store,
    recorder: Recorder,
    recorded: Store,
    options: Options,
    index: SentIndex,
}

impl Desk {
    fn compare(mut self, batch: Vec<Posted>) -> Result<(Self, Vec<Outcome>), Error> {
        if batch.iter().any(|posted| posted.connection.is_some())
            && let Err(error) = self.recorder.flush()
        {
            // It says so itself; what is not there is counted.
            tracing::warn!(%error, "comparing without what could not be recorded");
        }
        let outcomes = batch.into_iter().map(|posted| self.outcome(posted)).collect::<Result<_, _>>()?;
        Ok((self, outcomes))
    }

    fn outcome(&mut self, posted: Posted) -> Result<Outcome, Error> {
        let Posted { origin, method, url, attempts, connection, became, note } = posted;
        let seq = match connection {
            Some(connection) => self.index.find(&self.recorded, connection)?,
            None => None,
        };
        let mut outcome = Outcome { origin, method, url, was: None, attempts, seq, became, diff: None, note };
        let Ok(exchange) = self.origins.exchange(origin) else { return Ok(outcome) };
        outcome.was = exchange.summary.status;
        if outcome.method.is_empty() {
            (outcome.method, outcome.url) = (exchange.summary.method.clone(), exchange.summary.url.clone());
        }
        let is_answered = matches!(outcome.became, Became::Answered(_)) && outcome.was.is_some();
        if let Some(seq) = seq.filter(|_| is_answered)
            && let Ok(again) = self.recorded.exchange(seq)
        {
            let left = Subject::new(&self.origins, exchange.summary);
            let right = Subject::new(&self.recorded, again.summary);
            outcome.diff = Some(diff::exchanges(&left, &right, &self.options)?);
        }
        Ok(outcome)
    }
}
