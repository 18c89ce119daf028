//! Recorded requests sent again.

mod changes;
mod result;

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
use tokio_util::sync::CancellationToken;
use traffic_analysis::replay::{Replay, Settings};

use self::result::Replayed;
use crate::{
    catalogue::{Family, Reference},
    error::ToolError,
    live::Sort,
    progress::Progress,
    scoped::filter,
    toolbox::{Toolbox, blocking},
    tools::history::SessionFilter,
    toolsets::Toolset,
};

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
        let changes = changes::changes(&params)?;
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
