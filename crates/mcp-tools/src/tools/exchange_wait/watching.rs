//! Traffic watched for what matches: each exchange is asked about once it is as far as was wanted.

use std::collections::BTreeSet;

use capture_store::{
    Condition, ExchangeState, ExchangeSummary, NumberField, Order, Query, Seq, SessionId, StateFilter, Store,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    brief::Brief,
    error::ToolError,
    live::{self, LiveSession},
    toolbox::blocking,
};

/// Exchanges under way that are kept in mind; beyond it the oldest are forgotten.
const MAX_OPEN: usize = 1_000;
/// Matches kept of each filter; further ones are counted.
const MAX_KEPT: usize = 1_000;
/// Exchanges read at once.
const PAGE: usize = 1_000;
/// Exchanges that are shown of those that do not match.
const MAX_INSTEAD: usize = 3;

/// How far an exchange is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// It is recorded, which is a second after it began unless it ended before.
    Request,
    /// Its response's head is there.
    Response,
    /// It is over.
    #[default]
    Ended,
}

impl Phase {
    fn reached(self, summary: &ExchangeSummary) -> bool {
        let ended = summary.state != ExchangeState::Open;
        match self {
            Self::Request => true,
            Self::Response => ended || summary.status.is_some(),
            Self::Ended => ended,
        }
    }
}

/// What a filter matched so far.
#[derive(Default)]
struct Matches {
    count: usize,
    kept: Vec<Seq>,
}

/// What was seen so far.
pub(super) struct Watching {
    store: Store,
    /// The filters; `None` matches everything.
    conditions: Vec<Option<Condition>>,
    phase: Phase,
    cursor: Seq,
    since: Seq,
    open: BTreeSet<Seq>,
    matches: Vec<Matches>,
    /// Those that reached the phase.
    seen: u64,
    sessions: Vec<SessionId>,
}

impl Watching {
    pub(super) fn new(store: Store, conditions: Vec<Option<Condition>>, phase: Phase, since: Seq) -> Self {
        let matches = conditions.iter().map(|_| Matches::default()).collect();
        Self {
            store,
            conditions,
            phase,
            cursor: since,
            since,
            open: BTreeSet::new(),
            matches,
            seen: 0,
            sessions: Vec::new(),
        }
    }

    /// Matches of a filter.
    pub(super) fn matched(&self, filter: usize) -> usize {
        self.matches[filter].count
    }

    /// The first matches of a filter, in the order they were seen.
    pub(super) fn kept(&self, filter: usize) -> &[Seq] {
        &self.matches[filter].kept
    }

    /// Exchanges that do not match the first filter.
    pub(super) fn others(&self) -> u64 {
        self.seen.saturating_sub(self.matches[0].count as u64)
    }

    pub(super) fn cursor(&self) -> Seq {
        self.cursor
    }

    /// Waits for what began before and is under way, too.
    pub(super) async fn with_those_under_way(
        mut self,
        sessions: Vec<LiveSession>,
    ) -> Result<Self, ToolError> {
        blocking(move || {
            let mut query = Query::default();
            query.condition = Some(Condition::All(vec![
                Condition::Number(NumberField::Seq, 0, self.since.0),
                Condition::Any(sessions.iter().map(|session| Condition::Session(session.id)).collect()),
                Condition::State(StateFilter::Open),
            ]));
            (query.order, query.limit) = (Order::Descending, MAX_OPEN);
            let open = self.store.query(&query)?.items;
            let waiting = open.iter().filter(|item| !self.phase.reached(item));
            self.open.extend(waiting.map(|item| item.seq));
            Ok(self)
        })
        .await
    }

    /// Takes note of what came since.
    pub(super) async fn look(mut self, sessions: Vec<LiveSession>) -> Result<Self, ToolError> {
        blocking(move || {
            self.sessions = sessions.iter().map(|session| session.id).collect();
            self.look_again()?;
            loop {
                let tail = live::tail(&self.store, &sessions, self.cursor, &Query::default(), PAGE)?;
                let (reached, open): (Vec<_>, Vec<_>) =
                    tail.items.iter().partition(|item| self.phase.reached(item));
                self.open.extend(open.iter().map(|item| item.seq));
                while self.open.len() > MAX_OPEN {
                    self.open.pop_first();
                }
                self.ask(&reached.iter().map(|item| item.seq).collect())?;
                self.cursor = tail.next;
                if tail.total <= tail.items.len() as u64 || tail.items.is_empty() {
                    break;
                }
            }
            Ok(self)
        })
        .await
    }

    /// Looks at those under way again.
    fn look_again(&mut self) -> Result<(), ToolError> {
        let (Some(first), Some(last)) = (self.open.first(), self.open.last()) else { return Ok(()) };
        let mut query = Query::default();
        query.condition = Some(Condition::All(vec![
            Condition::Number(NumberField::Seq, first.0, last.0),
            Condition::State(StateFilter::Open),
        ]));
        query.limit = 10_000;
        let still = self.store.query(&query)?.items;
        let waiting: BTreeSet<Seq> =
            still.iter().filter(|item| !self.phase.reached(item)).map(|item| item.seq).collect();
        let reached = self.open.iter().filter(|seq| !waiting.contains(seq)).copied().collect();
        self.open.retain(|seq| waiting.contains(seq));
        self.ask(&reached)
    }

    /// Asks the filters about exchanges that reached the phase.
    fn ask(&mut self, reached: &BTreeSet<Seq>) -> Result<(), ToolError> {
        let (Some(first), Some(last)) = (reached.first(), reached.last()) else { return Ok(()) };
        self.seen += reached.len() as u64;
        for (condition, matches) in self.conditions.iter().zip(&mut self.matches) {
            let found: Vec<Seq> = match condition {
                None => reached.iter().copied().collect(),
                Some(condition) => {
                    let mut query = Query::default();
                    query.condition = Some(Condition::All(vec![
                        Condition::Number(NumberField::Seq, first.0, last.0),
                        condition.clone(),
                    ]));
                    query.limit = 10_000;
                    let items = self.store.query(&query)?.items;
                    items.iter().map(|item| item.seq).filter(|seq| reached.contains(seq)).collect()
                }
            };
            matches.count += found.len();
            let room = MAX_KEPT.saturating_sub(matches.kept.len());
            matches.kept.extend(found.into_iter().take(room));
        }
        Ok(())
    }

    /// The first matches of a filter, in short.
    pub(super) fn briefs(&self, filter: usize, most: usize) -> Result<Vec<Brief>, ToolError> {
        self.read(self.kept(filter).iter().copied().take(most))
    }

    /// Exchanges in short; those evicted meanwhile are left out.
    pub(super) fn read(&self, seqs: impl Iterator<Item = Seq>) -> Result<Vec<Brief>, ToolError> {
        Ok(self.summaries(seqs)?.iter().map(Brief::new).collect())
    }

    /// Exchanges by their seqs; those evicted meanwhile are left out.
    pub(super) fn summaries(
        &self,
        seqs: impl Iterator<Item = Seq>,
    ) -> Result<Vec<ExchangeSummary>, ToolError> {
        let mut found = Vec::new();
        for seq in seqs {
            match self.store.exchange(seq) {
                Ok(exchange) => found.push(exchange.summary),
                Err(error) if matches!(error.kind(), capture_store::ErrorKind::UnknownExchange(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    /// The newest exchanges that do not match the first filter.
    pub(super) fn instead(&self) -> Result<Vec<Brief>, ToolError> {
        let mut parts = vec![Condition::Any(self.sessions.iter().copied().map(Condition::Session).collect())];
        parts.extend(self.conditions[0].clone().map(|condition| Condition::Not(Box::new(condition))));
        let mut query = Query::default();
        query.condition = Some(Condition::All(parts));
        query.after = (self.since > Seq(0)).then_some(self.since);
        (query.order, query.limit) = (Order::Descending, MAX_INSTEAD);
        if self.conditions[0].is_none() {
            return Ok(Vec::new());
        }
        Ok(self.store.query(&query)?.items.iter().map(Brief::new).collect())
    }
}
