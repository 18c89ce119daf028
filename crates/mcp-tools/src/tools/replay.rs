//! Recorded requests sent again.

use std::{collections::BTreeSet, time::Duration};

use capture_store::{Seq, SessionId, Store};
use rmcp::{
    handler::server::{
        router::tool::ToolRouter,
        tool::Extension,
        wrapper::{Json, Parameters},
    },
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use traffic_analysis::replay::{
    Became, Changes, Outcome, Prepared, Replay, Settings, Skip, Summary, prepare,
};

use crate::{
    budget::{NextCall, cut, fit},
    catalogue::{Family, Reference},
    error::ToolError,
    live::Sort,
    progress::Progress,
    scoped::filter,
    toolbox::{Toolbox, blocking},
    tools::history::SessionFilter,
    toolsets::Toolset,
    view::{Success, is_false},
};

/// Characters of a URL in a row.
const MAX_URL_CHARS: usize = 200;
/// Places of a response that a row names.
const MAX_PLACES: usize = 3;

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "replay",
    toolset: Toolset::Replay,
    summary: "Recorded requests sent again, through the engine, and what comes compared with what was recorded.",
    router,
    references: &[Reference::new(
        "proxy_replay_session",
        "proxy-mcp",
        "goes through the engine (rules, parent proxies, TLS options), byte for byte with bodies whole; several at once; each \
         result is an exchange of its own, found by `replay-of:e412`, and compared with the recorded one; an unknown session is \
         an error; what cannot be replayed is named with the reason",
    )],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::replay_router()
}

fn hundred() -> u32 {
    100
}

fn fifteen_seconds() -> u64 {
    15_000
}

fn four() -> u32 {
    4
}

/// Whether requests are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// Show what would be sent.
    #[default]
    DryRun,
    /// Send.
    Execute,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct ReplayParams {
    /// Its id, like s3.
    #[schemars(length(min = 1, max = 40))]
    session_id: String,
    /// dry_run shows, execute sends.
    #[serde(default)]
    mode: Mode,
    /// Exchanges at most.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 10_000))]
    limit: u32,
    /// Matches to skip.
    #[serde(default)]
    offset: u64,
    /// asc: oldest first.
    #[serde(default = "Sort::desc")]
    sort: Sort,
    #[serde(flatten)]
    parts: SessionFilter,
    /// host:a.test method:POST
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4000))]
    filter: Option<String>,
    /// Only these ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10_000))]
    exchange_ids: Vec<String>,
    /// Send there instead: https://staging.test.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2000))]
    target_base_url: Option<String>,
    /// For one response.
    #[serde(default = "fifteen_seconds")]
    #[schemars(range(min = 1, max = 600_000))]
    timeout_ms: u64,
    /// Requests at once.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 64))]
    concurrency: u32,
    /// Requests a second at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01, max = 10_000))]
    rate: Option<f64>,
    /// Further attempts after failures.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    retries: u32,
    /// "header NAME: VALUE", "param NAME=VALUE", "replace TEXT=BY", "var NAME=VALUE" for {{NAME}}.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    changes: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Replayed {
    status: Success,
    mode: Mode,
    session_id: String,
    /// Exchanges chosen.
    selected_count: u64,
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

#[tool_router(router = replay_router, vis = "pub(crate)")]
impl Toolbox {
    /// Send recorded requests again through the proxy's engine and compare what comes.
    #[tool(
        name = "proxy_replay_session",
        title = "Replay a session",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = false,
            open_world_hint = true
        )
    )]
    pub(crate) async fn proxy_replay_session(
        &self,
        Parameters(params): Parameters<ReplayParams>,
        Extension(progress): Extension<Progress>,
        cancelled: CancellationToken,
    ) -> Result<Json<Replayed>, ToolError> {
        self.replay_session(params, progress, cancelled).await.map(Json)
    }
}

impl Toolbox {
    async fn replay_session(
        &self,
        params: ReplayParams,
        progress: Progress,
        cancelled: CancellationToken,
    ) -> Result<Replayed, ToolError> {
        let session: SessionId = params.session_id.parse()?;
        let changes = changes(&params)?;
        let budget = self.config().answer_bytes;
        let store = self.fresh_store().await?;
        let (params, seqs) = {
            let store = store.clone();
            blocking(move || {
                let seqs = selected(&store, session, &params)?;
                Ok((params, seqs))
            })
            .await?
        };
        let mut answer = Replayed::new(session, &params, seqs.len() as u64);
        if params.mode == Mode::DryRun {
            return blocking(move || {
                answer.plan(&store, &seqs, &changes, (&params, budget))?;
                Ok(answer)
            })
            .await;
        }
        let running = self.must_run()?;
        let recording = running.recorder.session();
        let replay = Replay {
            sender: running.sender,
            origins: store.clone(),
            recorder: running.recorder,
            recorded: store,
            changes,
            settings: settings(&params),
        };
        let stop = async {
            tokio::select! {
                () = cancelled.cancelled() => {}
                () = self.closing() => {}
            }
        };
        let mut outcomes = Vec::new();
        let report = |outcome| {
            outcomes.push(outcome);
            progress.say(format!("{} of {} replayed", outcomes.len(), answer.selected_count));
        };
        let summary = Box::pin(replay.run(seqs, stop, report)).await?;
        answer.tell(&summary, outcomes, (recording, budget));
        Ok(answer)
    }
}

fn settings(params: &ReplayParams) -> Settings {
    let mut settings = Settings::default();
    settings.concurrency = params.concurrency as usize;
    settings.per_second = params.rate;
    settings.retries = params.retries;
    settings.patience = Duration::from_millis(params.timeout_ms);
    settings.compare.max_differences = MAX_PLACES;
    settings
}

impl Replayed {
    fn new(session: SessionId, params: &ReplayParams, selected_count: u64) -> Self {
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

    fn plan(
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

    fn tell(
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

/// The exchanges that are meant, in their order.
fn selected(store: &Store, session: SessionId, params: &ReplayParams) -> Result<Vec<Seq>, ToolError> {
    store.session(session)?;
    let named: BTreeSet<Seq> = params.exchange_ids.iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
    let mut query = params.parts.query(session, params.sort);
    query.condition = params.filter.as_deref().map(|text| filter("filter", text)).transpose()?;
    if named.is_empty() {
        (query.limit, query.offset) = (params.limit as usize, params.offset);
        return Ok(store.query(&query)?.items.into_iter().map(|item| item.seq).collect());
    }
    let mut seqs = Vec::new();
    for seq in &named {
        let exchange = store.exchange(*seq)?;
        if exchange.summary.session != session {
            let error = format!("exchange_ids: {seq} is in {}, not in {session}", exchange.summary.session);
            return Err(ToolError::invalid(error).hint("give its own session as session_id"));
        }
        (query.after, query.before) = (Some(Seq(seq.0.saturating_sub(1))), Some(Seq(seq.0 + 1)));
        query.after = query.after.filter(|seq| *seq > Seq(0));
        query.limit = 1;
        seqs.extend(store.query(&query)?.items.first().map(|item| item.seq));
    }
    if params.sort == Sort::desc() {
        seqs.reverse();
    }
    let offset = usize::try_from(params.offset).unwrap_or(usize::MAX);
    Ok(seqs.into_iter().skip(offset).take(params.limit as usize).collect())
}

fn changes(params: &ReplayParams) -> Result<Changes, ToolError> {
    let mut changes = Changes::default();
    if let Some(text) = &params.target_base_url {
        let target = text.parse().map_err(|error| {
            ToolError::invalid(format!("target_base_url: failed to {error}"))
                .hint("write a scheme, a host and perhaps a port and a path")
        })?;
        changes.target = Some(target);
    }
    for text in &params.changes {
        change(&mut changes, text)?;
    }
    Ok(changes)
}

/// Adds one change as it is written.
fn change(changes: &mut Changes, text: &str) -> Result<(), ToolError> {
    let refused = |hint: &str| {
        ToolError::invalid(format!("changes: {:?} cannot be read", cut(text, 80))).hint(hint.to_owned())
    };
    let (kind, what) = text.split_once(' ').unwrap_or((text, ""));
    if kind == "header" {
        let named = what.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_field = |(name, value): &(&str, &str)| {
            !name.is_empty() && name.bytes().all(is_token) && !value.contains(['\r', '\n', '\0'])
        };
        let (name, value) = named
            .filter(is_field)
            .ok_or_else(|| refused("write header X-Env: test, or header X-Env: to take it out"))?;
        changes.headers.push((name.to_owned(), (!value.is_empty()).then(|| value.to_owned())));
        return Ok(());
    }
    let pair = what.split_once('=').filter(|(name, _)| !name.is_empty());
    match (kind, pair) {
        ("param", Some((name, value))) => {
            changes.parameters.push((name.to_owned(), Some(value.to_owned())));
        }
        ("param", None) if !what.is_empty() && !what.starts_with('=') => {
            changes.parameters.push((what.to_owned(), None));
        }
        ("replace", Some((from, to))) => changes.replacements.push((from.to_owned(), to.to_owned())),
        ("var", Some((name, value))) => {
            changes.variables.insert(name.to_owned(), value.to_owned());
        }
        _ => {
            return Err(refused(
                "write header NAME: VALUE, param NAME=VALUE (param NAME takes it out), replace TEXT=BY, or var NAME=VALUE",
            ));
        }
    }
    Ok(())
}
