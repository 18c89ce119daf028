//! Whatever is added, changed, deleted and imported: what postings answer is what the rows say.

use std::time::SystemTime;

use proptest::prelude::*;
use proxy_core::{Failure, FailureKind};

use super::super::{Connection, Count, Excess, ExchangeRow, Filter, Mode, NewSession, SessionDelta, Spans};
use crate::{
    Query, SessionKind, SessionState,
    filter::parse,
    id::{Seq, SessionId},
    plan::Plan,
    query::Order,
    record::{ExchangeState, ExchangeSummary},
};

const HOSTS: [&str; 6] = ["a.test", "api.a.test", "b.test", "cdn.b.test", "rare.test", "x"];
const METHODS: [&str; 3] = ["GET", "POST", "DELETE"];
const STATUSES: [Option<u16>; 7] = [Some(200), Some(200), Some(204), Some(404), Some(500), Some(503), None];
const TYPES: [Option<&str>; 4] = [Some("text/html"), Some("application/json"), Some("image/png"), None];
const SESSIONS: u64 = 3;

type Holds = fn(&ExchangeSummary) -> bool;

/// Filters, and for what they hold.
const FILTERS: [(&str, Holds); 16] = [
    ("", |_| true),
    ("host:a.test", |row| row.host == "a.test"),
    ("host:*.test", |row| row.host.ends_with(".test")),
    ("host:rare.test", |row| row.host == "rare.test"),
    ("host:nowhere.test", |_| false),
    ("method:GET", |row| row.method == "GET"),
    ("status:503", |row| row.status == Some(503)),
    ("status:>=400", |row| row.status >= Some(400)),
    ("-status:200", |row| row.status != Some(200)),
    ("type:json", |row| row.response_content_type.as_deref() == Some("application/json")),
    ("is:failed", is_failed),
    ("is:error", |row| is_failed(row) || row.status >= Some(400)),
    ("status:404 method:POST", |row| row.status == Some(404) && row.method == "POST"),
    ("host:b.test or status:500", |row| row.host == "b.test" || row.status == Some(500)),
    ("host:a.test path:/7", |row| row.host == "a.test" && row.target.contains("/7")),
    ("host:a.test,b.test is:failed", |row| matches!(&row.host[..], "a.test" | "b.test") && is_failed(row)),
];

fn is_failed(row: &ExchangeSummary) -> bool {
    matches!(row.state, ExchangeState::Failed(_))
}

/// Something that happens to a store. Numbers pick what it happens to.
#[derive(Clone, Debug)]
enum Step {
    /// Exchanges are recorded, with so many seqs from each to the next.
    Record {
        session: u64,
        exchanges: u64,
        apart: u64,
        seed: u64,
    },
    /// Some of the older ones end.
    Update {
        seed: u64,
        exchanges: u64,
    },
    /// Seqs are reserved, and exchanges written into them after more were recorded.
    Import {
        session: u64,
        seed: u64,
    },
    Evict {
        session: u64,
        exchanges: u64,
    },
    Clear {
        session: u64,
        exchanges: usize,
    },
    /// A session is hidden, and a part of it removed.
    Retire {
        session: u64,
        exchanges: usize,
    },
    Show {
        session: u64,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let session = 1..=SESSIONS;
    let record = (session.clone(), 1_u64..500, 1_u64..40, any::<u64>())
        .prop_map(|(session, exchanges, apart, seed)| Step::Record { session, exchanges, apart, seed });
    prop_oneof![
        6 => record,
        2 => (any::<u64>(), 1_u64..60).prop_map(|(seed, exchanges)| Step::Update { seed, exchanges }),
        2 => (session.clone(), any::<u64>()).prop_map(|(session, seed)| Step::Import { session, seed }),
        2 => (session.clone(), 1_u64..300).prop_map(|(session, exchanges)| Step::Evict { session, exchanges }),
        1 => (session.clone(), 1_usize..300).prop_map(|(session, exchanges)| Step::Clear { session, exchanges }),
        1 => (session.clone(), 0_usize..300).prop_map(|(session, exchanges)| Step::Retire { session, exchanges }),
        1 => session.prop_map(|session| Step::Show { session }),
        1 => Just(Step::Reopen),
    ]
}

/// Numbers that look random, and are the same again.
struct Picks(u64);

impl Picks {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

/// A store, and what should be in it.
struct Model {
    _directory: tempfile::TempDir,
    db: Connection,
    rows: Vec<ExchangeSummary>,
    hidden: Vec<u64>,
    newest: u64,
}

fn made(seq: u64, session: u64, picks: &mut Picks) -> ExchangeSummary {
    let mut row = ExchangeSummary::empty();
    (row.seq, row.session, row.started_at) = (Seq(seq), SessionId(session), SystemTime::now());
    let host = picks.next(40);
    row.host = HOSTS[if host == 0 { 4 } else { host % 4 }].to_owned();
    row.method = METHODS[picks.next(METHODS.len())].to_owned();
    row.target = format!("/{}", picks.next(100));
    row.url = format!("https://{}{}", row.host, row.target);
    ended(&mut row, picks);
    row
}

fn ended(row: &mut ExchangeSummary, picks: &mut Picks) {
    row.status = STATUSES[picks.next(STATUSES.len())];
    row.response_content_type = TYPES[picks.next(TYPES.len())].map(str::to_owned);
    row.state = match row.status {
        Some(_) => ExchangeState::Response,
        None if picks.next(2) == 0 => ExchangeState::Open,
        None => ExchangeState::Failed(Failure::new(FailureKind::Dns, "no such host")),
    };
}

impl Model {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut db = Connection::open(&directory.path().join("store.db"), Mode::Write).unwrap();
        db.migrate().unwrap();
        let tx = db.begin().unwrap();
        for _ in 0..SESSIONS {
            let new = NewSession {
                name: None,
                kind: SessionKind::Scratch,
                state: SessionState::Active,
                hidden: false,
                max_bytes: None,
                max_exchanges: None,
                max_age: None,
                window_ms: 0,
            };
            tx.create_session(&new).unwrap();
        }
        tx.commit().unwrap();
        Self { _directory: directory, db, rows: Vec::new(), hidden: Vec::new(), newest: 0 }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Record { session, exchanges, apart, seed } => {
                let mut picks = Picks(seed);
                let seqs = (1..=exchanges).map(|at| self.newest + at * apart);
                let rows: Vec<_> = seqs.map(|seq| made(seq, session, &mut picks)).collect();
                self.insert(rows);
            }
            Step::Update { seed, exchanges } => self.update(&mut Picks(seed), exchanges),
            Step::Import { session, seed } => {
                let mut picks = Picks(seed);
                let (first, beside) = (self.newest + 1, session % SESSIONS + 1);
                self.newest += 500;
                let late: Vec<_> =
                    (0..500).step_by(3).map(|at| made(first + at, session, &mut picks)).collect();
                let rows = (1..=200).map(|at| made(self.newest + at * 20, beside, &mut picks)).collect();
                self.insert(rows);
                self.insert(late);
            }
            Step::Evict { session, exchanges } => {
                let most = usize::try_from(exchanges).unwrap();
                self.remove(session, most, true, |tx| {
                    tx.evict(SessionId(session), Excess::Exchanges(exchanges), 1_000).unwrap();
                });
            }
            Step::Clear { session, exchanges } => self.remove(session, exchanges, true, |tx| {
                tx.clear(SessionId(session), Seq(0), exchanges).unwrap();
            }),
            Step::Retire { session, exchanges } => {
                self.hidden.push(session);
                self.remove(session, exchanges, false, |tx| {
                    tx.set_session_hidden(SessionId(session), true).unwrap();
                    tx.remove_hidden(SessionId(session), exchanges).unwrap();
                });
            }
            Step::Show { session } => {
                self.hidden.retain(|hidden| *hidden != session);
                let tx = self.db.begin().unwrap();
                tx.set_session_hidden(SessionId(session), false).unwrap();
                tx.commit().unwrap();
            }
            Step::Reopen => {
                let tx = self.db.begin().unwrap();
                tx.file_left(3).unwrap();
                tx.commit().unwrap();
            }
        }
    }

    fn insert(&mut self, rows: Vec<ExchangeSummary>) {
        let tx = self.db.begin().unwrap();
        let mut spans = Spans::default();
        for summary in &rows {
            tx.insert_exchange(&ExchangeRow { columns: summary.into(), detail: b"", facts: None, bytes: 10 })
                .unwrap();
            spans.note(summary.seq, summary.session, summary.started_at);
            let delta = SessionDelta { exchanges: 1, ..SessionDelta::default() };
            tx.add_to_session(summary.session, &delta).unwrap();
        }
        self.newest = rows.iter().map(|row| row.seq.0).max().unwrap().max(self.newest);
        spans.write(&tx).unwrap();
        tx.set_newest_seq(Seq(self.newest)).unwrap();
        tx.commit().unwrap();
        self.rows.extend(rows);
        self.rows.sort_by_key(|row| row.seq);
    }

    fn update(&mut self, picks: &mut Picks, exchanges: u64) {
        if self.rows.is_empty() {
            return;
        }
        let tx = self.db.begin().unwrap();
        for _ in 0..exchanges {
            let at = picks.next(self.rows.len());
            let row = &mut self.rows[at];
            ended(row, picks);
            assert!(
                tx.update_exchange(&ExchangeRow {
                    columns: (&*row).into(),
                    detail: b"",
                    facts: None,
                    bytes: 10
                })
                .unwrap()
            );
        }
        tx.commit().unwrap();
    }

    /// Removes the first exchanges of a session, those that ended or all.
    fn remove(
        &mut self,
        session: u64,
        exchanges: usize,
        ended: bool,
        work: impl FnOnce(&super::super::Tx<'_>),
    ) {
        let tx = self.db.begin().unwrap();
        work(&tx);
        tx.commit().unwrap();
        let mut left = exchanges;
        self.rows.retain(|row| {
            let goes =
                left > 0 && row.session == SessionId(session) && !(ended && row.state == ExchangeState::Open);
            left -= usize::from(goes);
            !goes
        });
    }

    /// Compares every answer with the rows.
    fn check(&self, session: Option<u64>) {
        let tx = self.db.snapshot().unwrap();
        assert_eq!(tx.dangling(10).unwrap(), Vec::<String>::new());
        for (text, holds) in FILTERS {
            let visible = |row: &&ExchangeSummary| {
                !self.hidden.contains(&row.session.0) && session.is_none_or(|id| row.session.0 == id)
            };
            let wanted: Vec<u64> =
                self.rows.iter().filter(visible).filter(|row| holds(row)).map(|row| row.seq.0).collect();
            let query = Query {
                condition: Some(parse(text).unwrap()),
                session: session.map(SessionId),
                ..Query::default()
            };
            let plan = Plan::new(&query);
            assert!(plan.rest.is_none(), "{text}");
            let ask = |filter: &Filter, order, offset, limit| -> Vec<u64> {
                let found = tx.summaries(filter, order, offset, limit).unwrap();
                found.into_iter().map(|row| row.seq.0).collect()
            };
            let told = format!("{text} of {session:?}");
            assert_eq!(ask(&plan.filter, Order::Ascending, 0, 100_000), wanted, "{told}");
            assert_eq!(tx.count(&plan.filter).unwrap(), wanted.len() as u64, "{told}");
            match tx.count_briefly(&plan.filter).unwrap() {
                Count::All(count) => assert_eq!(count, wanted.len() as u64, "{told}"),
                Count::AtLeast(count) => assert!(count <= wanted.len() as u64, "{told}"),
            }
            let newest: Vec<u64> = wanted.iter().rev().skip(3).take(20).copied().collect();
            assert_eq!(ask(&plan.filter, Order::Descending, 3, 20), newest, "{told}");
            let (after, before) = (self.newest / 3, self.newest / 3 * 2);
            let part = plan.filter.clone().between(Some(Seq(after)), Some(Seq(before)));
            let wanted: Vec<u64> =
                wanted.into_iter().filter(|seq| (after + 1..before).contains(seq)).collect();
            assert_eq!(ask(&part, Order::Ascending, 0, 100_000), wanted, "{told}, in part");
            assert_eq!(tx.count(&part).unwrap(), wanted.len() as u64, "{told}, in part");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn postings_answer_what_the_rows_say_whatever_happens(
        steps in proptest::collection::vec(step(), 4..24),
        session in 1..=SESSIONS,
    ) {
        let mut model = Model::new();
        for (at, step) in steps.iter().enumerate() {
            model.take(step);
            if at % 6 == 5 {
                model.check(None);
            }
        }
        model.check(None);
        // One that is hidden is not asked.
        if !model.hidden.contains(&session) {
            model.check(Some(session));
        }
    }
}

#[test]
fn a_block_is_filed_when_it_is_full_and_what_wanes_when_the_store_is_opened() {
    let mut model = Model::new();
    let record = |exchanges, seed| Step::Record { session: 1, exchanges, apart: 8, seed };
    let unfiled = |model: &Model| -> Vec<(i64, bool)> {
        let mut statement = model.db.sql.prepare("SELECT block, wanes FROM unfiled ORDER BY block").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    model.take(&record(400, 1));
    assert_eq!(unfiled(&model), [(0, false)]);
    model.take(&record(700, 2));
    assert_eq!(unfiled(&model), [(2, false)], "two became full");
    let evict = |exchanges| Step::Evict { session: 1, exchanges };
    model.take(&evict(50));
    model.take(&record(1, 3));
    assert_eq!(unfiled(&model), [(0, true), (2, false)], "not filed while it is evicted");
    model.take(&Step::Reopen);
    assert_eq!(unfiled(&model), [(2, false)]);
    model.take(&Step::Clear { session: 1, exchanges: 600 });
    assert_eq!(unfiled(&model), [(1, false), (2, false)], "what is left of the first is filed again");
    model.take(&record(1, 4));
    assert_eq!(unfiled(&model), [(2, false)]);
    model.check(None);
}

#[test]
fn postings_that_are_not_what_the_rows_say_are_told_of() {
    let mut model = Model::new();
    model.take(&Step::Record { session: 1, exchanges: 600, apart: 8, seed: 1 });
    for damage in [
        "UPDATE exchanges SET status = 418 WHERE seq = 8",
        "UPDATE postings SET count = count + 1 WHERE field = 1",
        "DELETE FROM postings WHERE field = 0",
        "UPDATE terms SET blocks = 7 WHERE field = 3",
        "INSERT INTO unfiled (block) VALUES (0)",
    ] {
        let tx = model.db.begin().unwrap();
        assert_eq!(tx.postings_problems(10).unwrap(), Vec::<String>::new());
        tx.sql.execute_batch(damage).unwrap();
        assert_ne!(tx.postings_problems(10).unwrap(), Vec::<String>::new(), "{damage}");
    }
}
