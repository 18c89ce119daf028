//! Figures of many exchanges: groups, a session at a glance, requests that were sent again.

use std::time::Duration;

use capture_store::SessionId;
use rmcp::{
    handler::server::{
        router::tool::ToolRouter,
        wrapper::{Json, Parameters},
    },
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use traffic_analysis::{find_retries, glance, group::group};

use crate::{
    aggregate::{AggregateParams, Aggregated, MAX_KEY_CHARS, OrderBy, aggregated, keys},
    budget::{cut, fit},
    catalogue::Family,
    error::ToolError,
    overview::Overview,
    scoped::{ScopeParams, Scoped, bounds, filter},
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::{Success, is_false, millis},
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "figures",
    toolset: Toolset::Analysis,
    summary: "Figures of many exchanges: groups, a session at a glance, requests that were sent again.",
    router,
    references: &[],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::figures_router()
}

fn twenty() -> u32 {
    20
}

fn sixty() -> f64 {
    60.0
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct RetriesParams {
    #[serde(flatten)]
    scope: ScopeParams,
    /// Seconds within which it is a retry.
    #[serde(default = "sixty")]
    #[schemars(range(min = 0.001, max = 86_400))]
    within: f64,
    /// Chains at most.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 200))]
    limit: u32,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RetriesFound {
    status: Success,
    /// The session, or sessions, looked at.
    session: String,
    /// Exchanges looked at.
    searched: u64,
    /// Requests that were sent again.
    chains: usize,
    /// method, url, first (id), at, attempts, outcomes, waits_ms (from an end to the next beginning), backoff, succeeded.
    columns: [&'static str; 9],
    /// The longest chains first.
    rows: Vec<Vec<Value>>,
    /// Whether not all could be looked at in time.
    #[serde(skip_serializing_if = "is_false")]
    incomplete: bool,
}

#[tool_router(router = figures_router, vis = "pub(crate)")]
impl Toolbox {
    /// Group exchanges by fields: counts, errors, bytes, percentiles of durations. With compare_to each group beside the same
    /// before, what got slower first.
    #[tool(
        name = "aggregate",
        title = "Group and count",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn aggregate(
        &self,
        Parameters(params): Parameters<AggregateParams>,
    ) -> Result<Json<Aggregated>, ToolError> {
        let keys = keys(&params.by)?;
        let Scoped { store, scope, session, leash: _leash } = self.scoped(&params.scope).await?;
        let other = match params.compare_to.as_deref() {
            Some(text) => Some(self.compared_with(&params.scope, text).await?),
            None => None,
        };
        let order =
            params.order_by.unwrap_or(if other.is_some() { OrderBy::P50Change } else { OrderBy::Count });
        if order.is_change() && other.is_none() {
            return Err(
                ToolError::invalid("order_by: there is nothing to compare with").hint("give compare_to")
            );
        }
        let budget = self.config().answer_bytes;
        blocking(move || {
            let now = group(&store, &scope, &keys, bounds())?;
            let before = other.map(|other| group(&other.store, &other.scope, &keys, bounds())).transpose()?;
            Ok(Json(aggregated(&params, session, (now, before), order, budget)))
        })
        .await
    }

    /// First look at a session in one small answer: hosts, errors, failures by cause, slowest routes, kinds of credentials.
    #[tool(
        name = "summarize",
        title = "Summarize a session",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn summarize(
        &self,
        Parameters(params): Parameters<ScopeParams>,
    ) -> Result<Json<Overview>, ToolError> {
        let Scoped { store, scope, session, leash: _leash } = self.scoped(&params).await?;
        blocking(move || Ok(Json(Overview::new(session, glance(&store, &scope, bounds())?)))).await
    }

    /// Find requests sent again after they failed: outcomes, waits in between and how they grow.
    #[tool(
        name = "find_retries",
        title = "Find retries",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn find_retries(
        &self,
        Parameters(params): Parameters<RetriesParams>,
    ) -> Result<Json<RetriesFound>, ToolError> {
        /// Outcomes and waits told of one chain.
        const MAX_TOLD: usize = 12;
        let Scoped { store, scope, session, leash: _leash } = self.scoped(&params.scope).await?;
        let budget = self.config().answer_bytes;
        blocking(move || {
            let within = Duration::from_secs_f64(params.within);
            let (chains, walked) = find_retries(&store, &scope, within, bounds())?;
            let row = |chain: &traffic_analysis::Retries| {
                let outcomes: Vec<_> =
                    chain.attempts.iter().take(MAX_TOLD).map(|attempt| attempt.outcome.clone()).collect();
                let waits: Vec<_> = chain
                    .waits()
                    .iter()
                    .take(MAX_TOLD)
                    .map(|wait| crate::view::duration_millis(*wait))
                    .collect();
                let first = chain.attempts.first();
                vec![
                    json!(chain.method),
                    json!(cut(&chain.url, MAX_KEY_CHARS)),
                    json!(first.map(|attempt| attempt.seq.to_string())),
                    json!(first.map(|attempt| millis(attempt.at))),
                    json!(chain.attempts.len()),
                    json!(outcomes),
                    json!(waits),
                    json!(chain.backoff.as_str()),
                    json!(chain.succeeded),
                ]
            };
            let rows = chains.iter().take(params.limit as usize).map(row).collect();
            let (rows, _) = fit(rows, budget);
            Ok(Json(RetriesFound {
                status: Success::Success,
                session,
                searched: walked.exchanges,
                chains: chains.len(),
                columns: [
                    "method",
                    "url",
                    "first",
                    "at",
                    "attempts",
                    "outcomes",
                    "waits_ms",
                    "backoff",
                    "succeeded",
                ],
                rows,
                incomplete: walked.next.is_some(),
            }))
        })
        .await
    }

    /// What `compare_to` names: a session under the same filter, or the same session under another filter.
    async fn compared_with(&self, scope: &ScopeParams, text: &str) -> Result<Scoped, ToolError> {
        let mut other = scope.clone();
        if text == "all" || text.parse::<SessionId>().is_ok() {
            other.session = Some(text.to_owned());
        } else {
            filter("compare_to", text)?;
            other.filter = Some(text.to_owned());
        }
        self.scoped(&other).await
    }
}
