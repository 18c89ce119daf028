//! Many exchanges sent again.

use std::{pin::pin, sync::Arc};

use capture_store::{Error, Recorder, Seq, Store};
use proxy_core::Sender;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};

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
        let mut summary = Summary { selected: seqs.len() as u64, ..Summary::default() };
        let room = self.settings.concurrency.clamp(1, MAX_CONCURRENCY);
        let mut compared = Options { ..self.settings.compare.clone() };
        compared.ignore.extend(REQUEST.map(str::to_owned));
        let index = blocking({
            let recorded = self.recorded.clone();
            move || SentIndex::new(&recorded)
        })
        .await?;
        let mut desk = Some(Desk {
            origins: self.origins.clone(),
            recorder: self.recorder,
            recorded: self.recorded,
            options: compared,
            index,
        });
        let post = Post {
            sender: self.sender,
            store: self.origins,
            changes: Arc::new(self.changes),
            pace: Arc::new(Pace::new(self.settings.per_second)),
            settings: Arc::new(self.settings),
        };
        let mut waiting = seqs.into_iter();
        let mut under_way: JoinSet<Result<Posted, Error>> = JoinSet::new();
        let mut ended: Vec<Posted> = Vec::new();
        let mut comparing: Option<Comparing> = None;
        let mut stop = pin!(stop);
        let mut stopped = false;
        loop {
            while !stopped && under_way.len() < room && ended.len() < MAX_BATCH {
                let Some(seq) = waiting.next() else { break };
                under_way.spawn(post.clone().post(seq));
            }
            if comparing.is_none()
                && !ended.is_empty()
                && let Some(desk) = desk.take()
            {
                let batch = std::mem::take(&mut ended);
                comparing = Some(spawn_blocking(move || desk.compare(batch)));
            }
            if under_way.is_empty() && comparing.is_none() {
                return Ok(summary);
            }
            tokio::select! {
                () = &mut stop, if !stopped => {
                    stopped = true;
                    summary.broken_off = under_way.len() as u64;
                    summary.not_sent = waiting.len() as u64;
                    under_way.abort_all();
                }
                Some(joined) = under_way.join_next() => match joined {
                    Ok(posted) => {
                        summary.broken_off -= u64::from(stopped);
                        ended.push(posted?);
                    }
                    Err(error) if error.is_cancelled() => {}
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                },
                outcomes = told(&mut comparing), if comparing.is_some() => {
                    let (back, outcomes) = outcomes?;
                    (desk, comparing) = (Some(back), None);
                    for outcome in outcomes {
                        summary.count(&outcome);
                        report(outcome);
                    }
                }
            }
        }
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
