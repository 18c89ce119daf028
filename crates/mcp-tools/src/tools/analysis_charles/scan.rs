//! Where traffic is looked for: a live capture or a recording, and how far.

use std::time::{Duration, SystemTime};

use capture_store::{Exchange, ExchangeSummary, Order, Query, Seq, SessionId, Store};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    captures::Capture,
    error::ToolError,
    item::{CaptureStatus, standing},
    live::{self, LiveSession, Span},
};

/// A plane by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PlaneName {
    /// A live capture.
    Live,
    /// A recording.
    History,
}

/// What is looked at.
pub(crate) struct Plane {
    pub(super) store: Store,
    sessions: Vec<LiveSession>,
    name: PlaneName,
    /// The capture, of live; the recording, of history.
    id: Option<String>,
    cursor: Option<Seq>,
    since: Option<SystemTime>,
    warnings: Vec<String>,
}

/// The exchanges looked at.
pub(crate) struct Scan {
    pub(super) items: Vec<ExchangeSummary>,
    /// Exchanges there are.
    pub(super) total: u64,
    /// Whether there are more than were looked at.
    pub(super) limited: bool,
    /// Where to look on.
    pub(super) next: Option<Seq>,
}

impl Plane {
    /// What a capture views.
    pub(super) fn live(capture: &Capture, sessions: Vec<LiveSession>, resets: u64) -> Self {
        let floor = |session: LiveSession| LiveSession { floor: session.floor.max(capture.start), ..session };
        let (status, mut warnings) = standing(capture, resets, 0);
        if status == CaptureStatus::ResetDetected && warnings.is_empty() {
            warnings.push("session_reset_detected".to_owned());
        }
        Self {
            store: capture.store.clone(),
            sessions: sessions.into_iter().map(floor).collect(),
            name: PlaneName::Live,
            id: Some(capture.id.clone()),
            cursor: None,
            since: None,
            warnings,
        }
    }

    /// A recording; nothing where there is none.
    pub(super) fn history(store: Store, session: Option<SessionId>) -> Self {
        let warnings = match session {
            Some(_) => Vec::new(),
            None => vec!["no_saved_recordings".to_owned()],
        };
        Self {
            store,
            sessions: session.iter().map(|id| LiveSession::new(*id, Seq(0), false)).collect(),
            name: PlaneName::History,
            id: session.map(|id| id.to_string()),
            cursor: None,
            since: None,
            warnings,
        }
    }

    pub(super) fn after_cursor(mut self, cursor: Option<Seq>) -> Self {
        self.cursor = cursor;
        self
    }

    /// Only what began in the last `seconds`.
    pub(super) fn since(mut self, seconds: Option<u32>) -> Self {
        let span = seconds.map(|seconds| Duration::from_secs(seconds.into()));
        self.since = span.and_then(|span| SystemTime::now().checked_sub(span));
        self
    }

    pub(super) fn name(&self) -> PlaneName {
        self.name
    }

    /// The recording.
    pub(super) fn path(&self) -> Option<String> {
        self.id.clone().filter(|_| self.name == PlaneName::History)
    }

    /// The capture.
    pub(super) fn capture_id(&self) -> Option<String> {
        self.id.clone().filter(|_| self.name == PlaneName::Live)
    }

    pub(super) fn sessions(&self) -> Vec<SessionId> {
        self.sessions.iter().map(|session| session.id).collect()
    }

    /// What a reader should know.
    pub(super) fn warnings(&self, scan: &Scan) -> Vec<String> {
        let mut warnings = self.warnings.clone();
        if scan.limited {
            let way = match (self.name, self.cursor) {
                (PlaneName::Live, Some(_)) => "go on at next_cursor",
                (PlaneName::Live, None) => {
                    "older ones were not looked at: raise scan_limit, or go through with cursor 0"
                }
                (PlaneName::History, _) => {
                    "later ones were not looked at: raise scan_limit, or narrow the filter with a session query"
                }
            };
            warnings.push(format!("scan_limit_reached: {way}"));
        }
        warnings
    }

    /// Looks at `limit` exchanges: of a recording the first, of a capture those after the cursor, else the newest.
    pub(super) fn scan(&self, limit: usize) -> Result<Scan, ToolError> {
        let mut query = Query::default();
        query.from = self.since;
        if let Some(cursor) = self.cursor {
            let tail = live::tail(&self.store, &self.sessions, cursor, &query, limit)?;
            let limited = tail.total > tail.items.len() as u64;
            return Ok(Scan { items: tail.items, total: tail.total, limited, next: Some(tail.next) });
        }
        if self.name == PlaneName::Live {
            query.order = Order::Descending;
        }
        let page = live::page(&self.store, &self.sessions, &query, Span { offset: 0, limit })?;
        let newest = page.items.iter().map(|item| item.seq).max();
        let next = match self.name {
            PlaneName::Live => newest.or_else(|| self.sessions.iter().map(|session| session.floor).max()),
            PlaneName::History => None,
        };
        let limited = page.total > page.items.len() as u64;
        Ok(Scan { items: page.items, total: page.total, limited, next })
    }

    /// One exchange of the plane.
    pub(super) fn exchange(&self, id: &str) -> Result<Exchange, ToolError> {
        let seq: Seq = id.parse()?;
        let missing = || {
            let place = self.id.as_deref().unwrap_or("any recording");
            ToolError::new("unknown_exchange", format!("traffic entry {seq} was not found in {place}"))
                .hint("query_live_capture_entries and analyze_recorded_traffic list the entries there are")
        };
        let exchange = self.store.exchange(seq).map_err(|error| match error.kind() {
            capture_store::ErrorKind::UnknownExchange(_) => missing(),
            _ => error.into(),
        })?;
        let ours = |session: &LiveSession| session.id == exchange.summary.session && seq > session.floor;
        if self.sessions.iter().any(ours) { Ok(exchange) } else { Err(missing()) }
    }
}
