//! Waiting for exchanges, and asserting what came.

mod judge;
mod watching;

use std::{sync::Arc, time::Duration};

use capture_store::{Condition, Seq, SessionId, Store};
use rmcp::{
    RoleServer,
    handler::server::{
        router::tool::ToolRouter,
        wrapper::{Json, Parameters},
    },
    service::RequestContext,
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout_at};

use self::{
    judge::{Judged, Wanted},
    watching::{Phase, Watching},
};
use crate::{
    brief::Brief,
    budget::fit,
    catalogue::Family,
    error::{ToolError, chain},
    live::LiveSession,
    progress::Progress,
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::{Success, duration_millis},
};

/// Between two looks, however busy the recorder is.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "exchange_wait",
    toolset: Toolset::Capture,
    summary: "Wait for exchanges, and assert what came.",
    router,
    references: &[],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::exchange_wait_router()
}

fn one() -> u32 {
    1
}

fn thirty_seconds() -> u64 {
    30_000
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct WaitParams {
    /// Filter, like `host:api.test status:>=500`; any exchange without it.
    #[schemars(length(max = 2000))]
    filter: Option<String>,
    /// How far it must be.
    #[serde(default)]
    phase: Phase,
    /// Matches to wait for.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    count: u32,
    /// Milliseconds to wait at most.
    #[serde(default = "thirty_seconds")]
    #[schemars(range(min = 1, max = 600_000))]
    timeout_ms: u64,
    /// After this id (e0 for all); else from now on.
    #[schemars(length(min = 1, max = 40))]
    since: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Waited {
    status: Success,
    /// Whether `count` matches came.
    met: bool,
    matched: usize,
    exchanges: Vec<Brief>,
    waited_ms: u64,
    /// Exchanges that came and do not match.
    other_exchanges: u64,
    /// The newest of these, where nothing matched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    instead: Vec<Brief>,
    /// The `since` that goes on from here.
    next_since: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct ExpectParams {
    /// What is counted.
    #[schemars(length(max = 2000))]
    filter: Option<String>,
    /// Exactly.
    #[schemars(range(min = 0, max = 100_000))]
    count: Option<u32>,
    /// Least; else 1.
    #[schemars(range(min = 0, max = 100_000))]
    min: Option<u32>,
    /// Most; 0 for none.
    #[schemars(range(min = 0, max = 100_000))]
    max: Option<u32>,
    /// Filters met one after the other.
    #[serde(default)]
    #[schemars(length(max = 10))]
    order: Vec<String>,
    /// After this id; else all.
    #[schemars(length(min = 1, max = 40))]
    since: Option<String>,
    /// Not the live traffic.
    #[schemars(length(min = 1, max = 40))]
    session_id: Option<String>,
    /// Window for what is to come, or that nothing does.
    #[serde(default)]
    #[schemars(range(min = 0, max = 600_000))]
    timeout_ms: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Expected {
    status: Success,
    passed: bool,
    /// What was found of what was expected, in words.
    verdict: String,
    /// Matches in all.
    found: usize,
    /// The exchanges that show it: the matches, or those of `order`.
    evidence: Vec<Brief>,
    /// Filters of `order` that nothing matched in its turn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
    /// The newest exchanges that do not match, where it failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    instead: Vec<Brief>,
    waited_ms: u64,
    next_since: String,
}

#[tool_router(router = exchange_wait_router, vis = "pub(crate)")]
impl Toolbox {
    /// Wait until exchanges match a filter, rather than polling; at the time-out, tell what came instead.
    #[tool(
        name = "wait_for_exchange",
        title = "Wait for an exchange",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn wait_for_exchange(
        &self,
        Parameters(params): Parameters<WaitParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<Waited>, ToolError> {
        self.must_run()?;
        let begun = Instant::now();
        let condition = filter("filter", params.filter.as_deref())?;
        let store = self.store().await?;
        let since = self.since(params.since.as_deref(), &store).await?;
        let mut watching = Watching::new(store, vec![condition], params.phase, since);
        if params.since.is_none() {
            // What is under way may come to match.
            watching = watching.with_those_under_way(self.live()).await?;
        }
        let (count, patience) = (params.count as usize, Duration::from_millis(params.timeout_ms));
        let view = View { only: None, until: begun + patience };
        watching = self
            .watch(watching, &view, &context, Arc::new(move |watching| Ok(watching.matched(0) >= count)))
            .await?;
        let budget = self.config().answer_bytes;
        blocking(move || {
            let matched = watching.matched(0);
            let found = watching.briefs(0, count.max(1))?;
            let (exchanges, _) = fit(found, budget - budget / 4);
            Ok(Json(Waited {
                status: Success::Success,
                met: matched >= count,
                matched,
                exchanges,
                waited_ms: duration_millis(begun.elapsed()),
                other_exchanges: watching.others(),
                instead: if matched == 0 { watching.instead()? } else { Vec::new() },
                next_since: watching.cursor().to_string(),
            }))
        })
        .await
    }

    /// Assert how many exchanges match, or in which order filters are met, within a window; with evidence.
    #[tool(
        name = "expect",
        title = "Assert traffic",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn expect(
        &self,
        Parameters(params): Parameters<ExpectParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<Expected>, ToolError> {
        let begun = Instant::now();
        let wanted = Wanted::new(&params)?;
        let conditions = wanted.conditions()?;
        let only = params.session_id.as_deref().map(str::parse::<SessionId>).transpose()?;
        let store = self.store().await?;
        if let Some(session) = only {
            let named = store.clone();
            blocking(move || Ok(named.session(session).map(drop)?)).await?;
        }
        let since = params.since.as_deref().map(str::parse::<Seq>).transpose()?.unwrap_or(Seq(0));
        let watching = Watching::new(store, conditions, Phase::Ended, since);
        let view = View { only, until: begun + Duration::from_millis(params.timeout_ms) };
        let wanted = Arc::new(wanted);
        let judge = wanted.clone();
        let settled: Settled = Arc::new(move |watching| Ok(judge.judge(watching)?.is_settled(&judge)));
        let watching = self.watch(watching, &view, &context, settled).await?;
        let budget = self.config().answer_bytes;
        blocking(move || {
            let judged: Judged = wanted.judge(&watching)?;
            let evidence = watching.read(judged.evidence.iter().copied())?;
            let (evidence, _) = fit(evidence, budget - budget / 4);
            Ok(Json(Expected {
                status: Success::Success,
                passed: judged.passed,
                verdict: judged.verdict,
                found: watching.matched(0),
                evidence,
                missing: judged.missing,
                instead: if judged.passed { Vec::new() } else { watching.instead()? },
                waited_ms: duration_millis(begun.elapsed()),
                next_since: watching.cursor().to_string(),
            }))
        })
        .await
    }
}

/// Whether enough came.
type Settled = Arc<dyn Fn(&Watching) -> Result<bool, ToolError> + Send + Sync>;

/// What is watched, and until when.
struct View {
    /// This session instead of the live ones.
    only: Option<SessionId>,
    until: Instant,
}

impl Toolbox {
    /// Where to begin: after an id, or after what there is now.
    async fn since(&self, since: Option<&str>, store: &Store) -> Result<Seq, ToolError> {
        if let Some(since) = since {
            return Ok(since.parse()?);
        }
        self.fresh_store().await?;
        let store = store.clone();
        blocking(move || Ok(store.newest()?)).await
    }

    fn viewed(&self, only: Option<SessionId>) -> Vec<LiveSession> {
        match only {
            Some(id) => vec![LiveSession::new(id, Seq(0), false)],
            None => self.live(),
        }
    }

    /// Looks until it is settled, the time is over, the call is cancelled, or the server ends.
    async fn watch(
        &self,
        mut watching: Watching,
        view: &View,
        context: &RequestContext<RoleServer>,
        settled: Settled,
    ) -> Result<Watching, ToolError> {
        let mut commits = self.commits();
        let progress = context.extensions.get::<Progress>();
        loop {
            commits.mark_unchanged();
            self.fresh_store().await?;
            watching = watching.look(self.viewed(view.only)).await?;
            let (asked, looked) = (settled.clone(), watching);
            let (looked, done) = blocking(move || asked(&looked).map(|done| (looked, done))).await?;
            watching = looked;
            if done || Instant::now() >= view.until {
                return Ok(watching);
            }
            if let Some(progress) = progress {
                progress.say(format!("{} match, {} do not", watching.matched(0), watching.others()));
            }
            tokio::select! {
                // Without a recorder there is nothing to wait for but the time-out.
                _ = timeout_at(view.until, commits.changed()) => {}
                () = context.ct.cancelled() => return Ok(watching),
                () = self.closing() => return Ok(watching),
            }
            sleep(BETWEEN_LOOKS).await;
        }
    }
}

/// A filter as a condition; none for none.
fn filter(argument: &str, text: Option<&str>) -> Result<Option<Condition>, ToolError> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    capture_store::parse(text).map(Some).map_err(|error| {
        ToolError::invalid(format!("failed to read {argument}: {}", chain(&error)))
            .hint("write one like: host:api.test method:POST status:>=400 path:/login")
    })
}
