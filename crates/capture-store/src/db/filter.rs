//! Conditions as a `WHERE` clause. Values are bound, never pasted; texts are compared by a function of ours
//! (`functions`), so that the database and `condition::holds` cannot mean different things.

use std::time::SystemTime;

use rusqlite::types::Value;

use super::{
    codes::{self, nanos, state},
    driver::Driver,
    int,
};
use crate::{
    condition::{Condition, NumberField, StateFilter, TextField},
    id::{Seq, SessionId},
};

/// Conditions that must all hold.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(super) session: Option<SessionId>,
    conditions: Vec<Clause>,
    pub(super) drivers: Vec<Driver>,
    /// Seqs, both included.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) from: Option<SystemTime>,
    pub(super) to: Option<SystemTime>,
    /// Whether something cannot be told by what drives.
    unindexed: bool,
    /// How many of the conditions are about a time.
    times: usize,
}

/// A part of a `WHERE` clause.
#[derive(Clone, Debug)]
struct Clause {
    sql: String,
    values: Vec<Value>,
    /// Whether it holds for what the condition holds for and nothing else; otherwise it holds for more.
    exact: bool,
}

impl Filter {
    /// Asks for all exchanges, of one session or of all that are visible.
    pub(crate) fn new(session: Option<SessionId>) -> Self {
        Self {
            session,
            conditions: Vec::new(),
            drivers: Vec::new(),
            first: 0,
            last: i64::MAX as u64,
            from: None,
            to: None,
            unindexed: false,
            times: 0,
        }
    }

    /// Adds a condition, as far as the database can tell it; says whether that is all of it.
    pub(crate) fn add(&mut self, condition: &Condition) -> bool {
        match condition {
            Condition::Number(NumberField::Seq, from, to) => {
                self.first = self.first.max(*from);
                self.last = self.last.min(*to);
                return true;
            }
            Condition::Began(from, to) => {
                self.from = self.from.max(*from);
                self.to = [self.to, *to].into_iter().flatten().min();
                self.times += usize::from(from.is_some() || to.is_some());
            }
            _ => {}
        }
        let driver = Driver::of(condition);
        self.unindexed |= driver.as_ref().is_none_or(|driver| !driver.exact);
        self.drivers.extend(driver);
        let clause = clause(condition);
        let exact = clause.exact;
        if !clause.says_nothing() {
            self.conditions.push(clause);
        }
        exact
    }

    /// Only what lies between two seqs, both excluded.
    #[must_use]
    pub(crate) fn between(mut self, after: Option<Seq>, before: Option<Seq>) -> Self {
        if let Some(after) = after {
            self.first = self.first.max(after.0.saturating_add(1));
        }
        if let Some(before) = before {
            match before.0.checked_sub(1) {
                Some(last) => self.last = self.last.min(last),
                None => (self.first, self.last) = (1, 0),
            }
        }
        self
    }

    /// The seqs it is bounded to, both included.
    pub(crate) fn seqs(&self) -> (u64, u64) {
        (self.first, self.last)
    }

    /// Whether nothing but the session is asked for.
    pub(crate) fn is_plain(&self) -> bool {
        self.conditions.is_empty() && self.first == 0 && self.last == i64::MAX as u64
    }

    /// Whether every exchange in its range passes.
    pub(super) fn asks_nothing(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Whether what its drivers lead to, all together, is just what passes, beside the session.
    pub(super) fn is_driven(&self) -> bool {
        !self.unindexed && !self.drivers.is_empty()
    }

    /// Whether a time is all it asks for.
    pub(super) fn asks_time_only(&self) -> bool {
        self.times > 0 && self.conditions.len() == self.times
    }

    /// The clause and its values, for seqs from the first to the last.
    pub(super) fn sql(&self, first: u64, last: u64) -> (String, Vec<Value>) {
        let mut sql = String::from("seq BETWEEN ? AND ? AND ");
        let mut values: Vec<Value> = vec![int(first).into(), int(last).into()];
        match self.session {
            // The plus keeps SQLite from an index of sessions: seqs bound the rows already.
            Some(session) => {
                sql.push_str("+session = ?");
                values.push(int(session.0).into());
            }
            None => sql.push_str("session NOT IN (SELECT id FROM sessions WHERE hidden <> 0)"),
        }
        for clause in &self.conditions {
            sql.push_str(" AND ");
            sql.push_str(&clause.sql);
            values.extend(clause.values.iter().cloned());
        }
        (sql, values)
    }
}

impl Clause {
    fn exact(sql: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Self {
        Self { sql: sql.into(), values: values.into_iter().collect(), exact: true }
    }

    /// Holds for every exchange.
    fn unknown() -> Self {
        Self { sql: "1".to_owned(), values: Vec::new(), exact: false }
    }

    fn says_nothing(&self) -> bool {
        self.sql == "1"
    }

    /// Several put together; a part that is not exact makes the whole so.
    fn joined(parts: &[Condition], word: &str, none: &str) -> Self {
        let mut joined = Self { sql: String::new(), values: Vec::new(), exact: true };
        for part in parts.iter().map(clause) {
            joined.sql.push_str(if joined.sql.is_empty() { "(" } else { word });
            joined.sql.push_str(&part.sql);
            joined.values.extend(part.values);
            joined.exact &= part.exact;
        }
        if parts.is_empty() {
            joined.sql.push_str(none);
        } else {
            joined.sql.push(')');
        }
        joined
    }
}

fn clause(condition: &Condition) -> Clause {
    match condition {
        Condition::All(parts) => Clause::joined(parts, " AND ", "1"),
        Condition::Any(parts) => Clause::joined(parts, " OR ", "0"),
        Condition::Not(part) => match clause(part) {
            // What is absent is NULL, and no match.
            part if part.exact => Clause { sql: format!("NOT ifnull({}, 0)", part.sql), ..part },
            _ => Clause::unknown(),
        },
        Condition::Session(session) => Clause::exact("+session = ?", [int(session.0).into()]),
        Condition::Text(field, pattern) => match text_column(*field) {
            Some(column) => Clause::exact(format!("wirescope_match(?, {column})"), [pattern.encode().into()]),
            None => Clause::unknown(),
        },
        Condition::Number(field, from, to) => match number_column(*field) {
            Some(column) => {
                Clause::exact(format!("+{column} BETWEEN ? AND ?"), [int(*from).into(), int(*to).into()])
            }
            None => Clause::unknown(),
        },
        Condition::Began(from, to) => {
            let mut parts = Vec::new();
            let mut values = Vec::new();
            for (sign, time) in [(">=", from), ("<=", to)] {
                if let Some(time) = time {
                    parts.push(format!("started_at {sign} ?"));
                    values.push(nanos(*time).into());
                }
            }
            let sql = if parts.is_empty() { "1".to_owned() } else { format!("({})", parts.join(" AND ")) };
            Clause::exact(sql, values)
        }
        Condition::State(state) => Clause::exact("+state = ?", [state_code(*state).into()]),
        Condition::Kind(kind) => Clause::exact("kind = ?", [codes::exchange_kind(*kind).into()]),
        Condition::Message { .. } => Clause { exact: false, ..Clause::exact("messages > 0", []) },
        Condition::Peer(..)
        | Condition::Parameter { .. }
        | Condition::Header { .. }
        | Condition::Cookie { .. }
        | Condition::Body { .. }
        | Condition::Anywhere(_) => Clause::unknown(),
    }
}

fn text_column(field: TextField) -> Option<&'static str> {
    Some(match field {
        TextField::Method => "method",
        TextField::Scheme => "iif(scheme = 0, 'http', 'https')",
        TextField::Host => "host",
        TextField::Url => "url",
        TextField::HttpVersion => "http_version",
        TextField::RequestType => "request_content_type",
        TextField::ResponseType => "response_content_type",
        TextField::Failure => "failure",
        TextField::FailureDetail => "failure_detail",
        TextField::Path => "wirescope_path(url, target)",
        _ => return None,
    })
}

fn number_column(field: NumberField) -> Option<&'static str> {
    Some(match field {
        NumberField::Seq => "seq",
        NumberField::Port => "port",
        NumberField::Status => "status",
        NumberField::RequestBytes => "request_body_bytes",
        NumberField::ResponseBytes => "response_body_bytes",
        NumberField::Messages => "messages",
        NumberField::Duration => "duration",
        NumberField::Wait => return None,
    })
}

pub(super) fn state_code(filter: StateFilter) -> i64 {
    match filter {
        StateFilter::Open => state::OPEN,
        StateFilter::Response => state::RESPONSE,
        StateFilter::Mock => state::MOCK,
        StateFilter::Upgrade => state::UPGRADE,
        StateFilter::Tunnel => state::TUNNEL,
        StateFilter::Failed => state::FAILED,
    }
}
