//! What a replay is told as: a row for each exchange, what failed and differs first.

use capture_store::{Seq, SessionId, Store};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use traffic_analysis::replay::{Became, Changes, Outcome, Prepared, Skip, Summary, prepare};

use super::{MAX_PLACES, Mode, ReplayParams};
use crate::{
    budget::{NextCall, cut, fit},
    error::ToolError,
    view::{Success, is_false},
};

/// Characters of a URL in a row.
const MAX_URL_CHARS: usize = 200;

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Replayed {
    status: Success,
    mode: Mode,
    session_id: String,
    /// Exchanges chosen.
    pub(super) selected_count: u64,
    /// Of these, sent to their end.
    executed_count: u64,
    /// Of these, answered.
    success_count: u64,
    /// Failed.
    error_count: u64,
    /// Not sent, as they cannot be.
    skipped_count: u64,
    /// Answered as recorded, but for times, ids and tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    same_count: Option<u64>,
    /// Broken off or not sent any more, as the call was cancelled; or not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    unfinished: Option<Unfinished>,
    /// Null: to where they went.
    target_base_url: Option<String>,
    /// In execute, what failed and what differs first.
    items: Vec<Item>,
    /// Whether items were left out to keep the answer small.
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
    /// The call that shows the rest; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<NextCall>,
}

/// What was not done.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Unfinished {
    broken_off: u64,
    not_sent: u64,
    not_recorded: u64,
}

/// One exchange.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Item {
    seq: u64,
    exchange_id: String,
    method: String,
    original_url: String,
    /// Where it is not the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<String>,
    hostname: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    has_request_body: Option<bool>,
    /// The exchange of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    replay_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_before: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
    /// Whether the response is the recorded one, but for what is volatile.
    #[serde(skip_serializing_if = "Option::is_none")]
    same: Option<bool>,
    /// The first places that differ, for diff_exchanges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differs: Vec<String>,
    /// More than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    /// How it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Why it cannot be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<&'static str>,
}

impl Replayed {
    /// Of these arguments, before anything was done.
    pub(super) fn new(session: SessionId, params: &ReplayParams, selected_count: u64) -> Self {
        Self {
            status: Success::Success,
            mode: params.mode,
            session_id: session.to_string(),
            selected_count,
            executed_count: 0,
            success_count: 0,
            error_count: 0,
            skipped_count: 0,
            same_count: None,
            unfinished: None,
            target_base_url: params.target_base_url.clone(),
            items: Vec::new(),
            truncated: false,
            next: None,
        }
    }

    /// Says what would be sent.
    pub(super) fn plan(
        &mut self,
        store: &Store,
        seqs: &[Seq],
        changes: &Changes,
        (params, budget): (&ReplayParams, usize),
    ) -> Result<(), ToolError> {
        let mut items = Vec::new();
        for seq in seqs {
            items.push(match prepare(store, *seq, changes)? {
                Ok(prepared) => planned(&prepared),
                Err(skip) => {
                    self.skipped_count += 1;
                    skipped(store, *seq, skip)
                }
            });
        }
        (self.items, self.truncated) = fit(items, budget);
        if self.truncated && params.exchange_ids.is_empty() {
            let mut arguments = json!(params);
            arguments["offset"] = (params.offset + self.items.len() as u64).into();
            arguments["limit"] = (seqs.len() - self.items.len()).into();
            self.next = Some(NextCall::new("proxy_replay_session", arguments));
        }
        Ok(())
    }

    /// Says what was sent and what came.
    pub(super) fn tell(
        &mut self,
        summary: &Summary,
        mut outcomes: Vec<Outcome>,
        (recording, budget): (SessionId, usize),
    ) {
        self.executed_count = summary.answered + summary.failed;
        self.success_count = summary.answered;
        self.error_count = summary.failed;
        self.skipped_count = summary.skipped;
        self.same_count = Some(summary.same);
        let unfinished = Unfinished {
            broken_off: summary.broken_off,
            not_sent: summary.not_sent,
            not_recorded: summary.not_recorded,
        };
        let any = unfinished.broken_off + unfinished.not_sent + unfinished.not_recorded > 0;
        self.unfinished = any.then_some(unfinished);
        outcomes.sort_by_key(|outcome| (gravity(outcome), outcome.origin));
        (self.items, self.truncated) = fit(outcomes.iter().map(item).collect(), budget);
        if self.truncated {
            let arguments = json!({ "session_id": recording.to_string(), "filter": "listener:own" });
            self.next = Some(NextCall::new("proxy_query_session", arguments));
        }
    }
}

/// What an agent wants to see first.
fn gravity(outcome: &Outcome) -> u8 {
    match (&outcome.became, outcome.is_same()) {
        (Became::Failed(_), _) => 0,
        (Became::Answered(_), Some(false)) if outcome.status() != outcome.was => 1,
        (Became::Answered(_), Some(false)) => 2,
        (Became::Answered(_), None) => 3,
        (Became::Answered(_), Some(true)) => 5,
        _ => 4,
    }
}

fn item(outcome: &Outcome) -> Item {
    let mut item = Item {
        seq: outcome.origin.0,
        exchange_id: outcome.origin.to_string(),
        method: outcome.method.clone(),
        original_url: cut(&outcome.url, MAX_URL_CHARS),
        hostname: host(&outcome.url),
        replay_id: outcome.seq.map(|seq| seq.to_string()),
        status_before: outcome.was,
        status_code: outcome.status(),
        same: outcome.is_same(),
        attempts: (outcome.attempts > 1).then_some(outcome.attempts),
        ..Item::default()
    };
    if let Some(diff) = &outcome.diff {
        item.differs = diff.differences.iter().take(MAX_PLACES).map(|told| told.place.clone()).collect();
    }
    match &outcome.became {
        Became::Answered(answer) => {
            item.duration = Some(u64::try_from(answer.took.as_millis()).unwrap_or(u64::MAX));
        }
        Became::Failed(failure) => item.error = Some(cut(&failure.to_string(), MAX_URL_CHARS)),
        Became::Skipped(skip) => item.skipped = Some(skip.as_str()),
        _ => {}
    }
    item
}

fn planned(prepared: &Prepared) -> Item {
    let target = prepared.head.url();
    Item {
        seq: prepared.origin.0,
        exchange_id: prepared.origin.to_string(),
        method: prepared.head.method.as_str().to_owned(),
        original_url: cut(&prepared.recorded_url, MAX_URL_CHARS),
        hostname: prepared.head.host().to_owned(),
        has_request_body: Some(prepared.body_bytes > 0),
        target_url: (target != prepared.recorded_url).then(|| cut(&target, MAX_URL_CHARS)),
        ..Item::default()
    }
}

fn skipped(store: &Store, seq: Seq, skip: Skip) -> Item {
    let summary = store.exchange(seq).map(|exchange| exchange.summary).ok();
    let (method, url, hostname) =
        summary.map(|summary| (summary.method, summary.url, summary.host)).unwrap_or_default();
    Item {
        seq: seq.0,
        exchange_id: seq.to_string(),
        method,
        original_url: cut(&url, MAX_URL_CHARS),
        hostname,
        skipped: Some(skip.as_str()),
        ..Item::default()
    }
}

fn host(url: &str) -> String {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?']).next().unwrap_or(authority);
    proxy_core::head::split_authority(authority).0.to_owned()
}
