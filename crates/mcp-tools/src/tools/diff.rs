//! How two exchanges differ, and how two sessions do.

use capture_store::{Seq, SessionId, Store};
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
use traffic_analysis::{
    Scope, Subject,
    diff::{
        Difference, Endpoint, EndpointFigures, Options, SessionsOptions, Shown, Side, SideFigures, endpoint,
        exchanges, sessions,
    },
};

use crate::{
    budget::{NextCall, fit},
    catalogue::Family,
    error::ToolError,
    scoped::{bounds, filter},
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::Success,
};

/// Pairs of an endpoint that are compared in one call.
const MAX_PAIRS: usize = 200;
/// Rows that can be skipped.
const MAX_SKIPPED: usize = 100_000;
/// Statuses and failures of one side in a row.
const MAX_OUTCOMES: usize = 5;

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "diff",
    toolset: Toolset::Replay,
    summary: "How two exchanges differ, and how two sessions do.",
    router,
    references: &[],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::diff_router()
}

/// What becomes of times, ids, tokens and framing that differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Volatile {
    /// Counted.
    #[default]
    Count,
    /// Listed.
    List,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct ExchangesParams {
    /// Like e412.
    #[schemars(length(max = 40))]
    left: String,
    /// As left.
    #[schemars(length(max = 40))]
    right: String,
    /// Times, ids.
    #[serde(default)]
    volatile: Volatile,
    /// Places: resp.json./a/*/b.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    ignore: Vec<String>,
    /// Rows.
    #[serde(default)]
    #[schemars(range(min = 0))]
    offset: u32,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ExchangesDiff {
    status: Success,
    /// Differences; 0: they are the same, but for what is volatile.
    total: u64,
    /// Times, ids, tokens and framing that differ.
    volatile: u64,
    /// place (`resp.json./a/b`, `req.header.x`), left, right; null: nothing there. With volatile: why.
    columns: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
    /// What could not be compared as it should.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    /// The call that continues; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<NextCall>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct SessionsParams {
    /// Like s3.
    #[schemars(length(max = 40))]
    left: String,
    /// As left.
    #[schemars(length(max = 40))]
    right: String,
    /// For both.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4000))]
    filter: Option<String>,
    /// GET a.test/users/{id}
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2000))]
    endpoint: Option<String>,
    /// Rows.
    #[serde(default)]
    #[schemars(range(min = 0))]
    offset: u32,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SessionsDiffed {
    status: Success,
    /// Rows in all.
    total: u64,
    /// Of endpoints: endpoint, differs (outcome, only_left, only_right, count, alike), count, outcomes and median ms as
    /// [left, right], and the first exchange of each. Of one endpoint: place, pairs that differ there, left, right, example.
    columns: Vec<&'static str>,
    /// The gravest first.
    rows: Vec<Vec<Value>>,
    /// Pairs of the endpoint: compared, differing, and how many have no partner, left and right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pairs: Option<Pairs>,
    /// What limits the answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    /// The call that continues; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<NextCall>,
}

/// How the exchanges of an endpoint were paired.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Pairs {
    compared: u64,
    differing: u64,
    unpaired: [u64; 2],
}

#[tool_router(router = diff_router, vis = "pub(crate)")]
impl Toolbox {
    /// What differs between two exchanges: headers, cookies, JSON by pointer.
    #[tool(
        name = "diff_exchanges",
        title = "Compare exchanges",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn diff_exchanges(
        &self,
        Parameters(params): Parameters<ExchangesParams>,
    ) -> Result<Json<ExchangesDiff>, ToolError> {
        let (left, right): (Seq, Seq) = (params.left.parse()?, params.right.parse()?);
        let store = self.fresh_store().await?;
        let budget = self.config().answer_bytes;
        blocking(move || two_exchanges(&store, (left, right), &params, budget).map(Json)).await
    }

    /// What differs between two sessions: by endpoint, or in one.
    #[tool(
        name = "diff_sessions",
        title = "Compare sessions",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn diff_sessions(
        &self,
        Parameters(params): Parameters<SessionsParams>,
    ) -> Result<Json<SessionsDiffed>, ToolError> {
        let (left, right): (SessionId, SessionId) = (params.left.parse()?, params.right.parse()?);
        let condition = params.filter.as_deref().map(|text| filter("filter", text)).transpose()?;
        let asked = params.endpoint.as_deref().map(named).transpose()?;
        let (store, budget) = (self.fresh_store().await?, self.config().answer_bytes);
        blocking(move || {
            let side = |session: SessionId| -> Result<Side<'_>, ToolError> {
                let scope = Scope::of_session(store.session(session)?.id);
                let scope = condition.iter().fold(scope, |scope, filter| scope.filtered(filter.clone()));
                Ok(Side { store: &store, scope })
            };
            let sides = (side(left)?, side(right)?);
            match asked {
                Some(asked) => one_endpoint(&sides, &asked, &params, budget),
                None => endpoints(&sides, &params, budget),
            }
            .map(Json)
        })
        .await
    }
}

fn two_exchanges(
    store: &Store,
    (left, right): (Seq, Seq),
    params: &ExchangesParams,
    budget: usize,
) -> Result<ExchangesDiff, ToolError> {
    let skipped = (params.offset as usize).min(MAX_SKIPPED);
    let mut options = Options::default();
    options.volatile = if params.volatile == Volatile::List { Shown::Listed } else { Shown::Counted };
    options.ignore.clone_from(&params.ignore);
    options.max_differences = skipped + 500;
    let of = |seq: Seq| -> Result<_, ToolError> { Ok(Subject::new(store, store.exchange(seq)?.summary)) };
    let diff = exchanges(&of(left)?, &of(right)?, &options)?;
    let listed = options.volatile == Shown::Listed;
    let rows = diff.differences.iter().skip(skipped).map(|difference| {
        let mut row = row(difference);
        if listed {
            row.push(difference.volatile.map(|why| why.as_str()).into());
        }
        row
    });
    let (rows, _) = fit(rows.collect::<Vec<_>>(), budget);
    let shown = skipped + rows.len();
    let all = diff.total + if listed { diff.volatile } else { 0 };
    let next = (!rows.is_empty() && (shown as u64) < all).then(|| next("diff_exchanges", params, shown));
    let mut columns = vec!["place", "left", "right"];
    columns.extend(listed.then_some("why"));
    Ok(ExchangesDiff {
        status: Success::Success,
        total: diff.total,
        volatile: diff.volatile,
        columns,
        rows,
        notes: diff.notes,
        next,
    })
}

fn row(difference: &Difference) -> Vec<Value> {
    vec![difference.place.as_str().into(), difference.left.clone().into(), difference.right.clone().into()]
}

fn next<P: Serialize>(tool: &str, params: &P, offset: usize) -> NextCall {
    let mut arguments = json!(params);
    arguments["offset"] = offset.into();
    NextCall::new(tool, arguments)
}

fn named(text: &str) -> Result<Endpoint, ToolError> {
    let refused = || {
        ToolError::invalid("endpoint: it is no method, host and path template")
            .hint("write it as the list names it: GET a.test/users/{id}, or GET /users/{id} where hosts are left out")
    };
    let (method, rest) = text.split_once(' ').ok_or_else(refused)?;
    let (host, template) = rest.split_at(rest.find('/').ok_or_else(refused)?);
    Ok(Endpoint::new(method, Some(host).filter(|host| !host.is_empty()), template))
}

fn endpoints(
    (left, right): &(Side<'_>, Side<'_>),
    params: &SessionsParams,
    budget: usize,
) -> Result<SessionsDiffed, ToolError> {
    let mut options = SessionsOptions::default();
    options.bounds = bounds();
    let diff = sessions(left, right, options)?;
    let rows =
        diff.endpoints.iter().skip(params.offset as usize).map(|(endpoint, told)| figures(endpoint, told));
    // A session has some thousand endpoints at most, and what does not fit comes with the next call.
    let (rows, _) = fit(rows.take(500).collect::<Vec<_>>(), budget);
    let shown = params.offset as usize + rows.len();
    let mut notes = Vec::new();
    if diff.hosts_ignored {
        notes.push("no host is in both sessions, so endpoints are compared without it".to_owned());
    }
    for (walked, name) in [(&diff.left, "left"), (&diff.right, "right")] {
        if let Some(last) = walked.next {
            notes.push(format!("time was up at {last} of the {name} session; a filter narrows it down"));
        }
    }
    if diff.beyond != (0, 0) {
        notes.push(format!("{} exchanges are of further endpoints", diff.beyond.0 + diff.beyond.1));
    }
    let next =
        (!rows.is_empty() && shown < diff.endpoints.len()).then(|| next("diff_sessions", params, shown));
    Ok(SessionsDiffed {
        status: Success::Success,
        total: diff.endpoints.len() as u64,
        columns: vec!["endpoint", "differs", "count", "outcomes", "ms", "first"],
        rows,
        pairs: None,
        notes,
        next,
    })
}

fn figures(endpoint: &Endpoint, told: &EndpointFigures) -> Vec<Value> {
    let outcomes = |side: &SideFigures| {
        let mut parts: Vec<(&String, &u64)> = side.outcomes.iter().collect();
        parts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let parts: Vec<String> = parts
            .into_iter()
            .take(MAX_OUTCOMES)
            .map(|(outcome, count)| format!("{outcome}x{count}"))
            .collect();
        parts.join(" ")
    };
    let ms =
        |side: &SideFigures| side.median.map(|median| u64::try_from(median.as_millis()).unwrap_or(u64::MAX));
    let first = |side: &SideFigures| side.examples.first().map(ToString::to_string);
    let (left, right) = (&told.left, &told.right);
    vec![
        endpoint.to_string().into(),
        told.verdict.as_str().into(),
        json!([left.count, right.count]),
        json!([outcomes(left), outcomes(right)]),
        json!([ms(left), ms(right)]),
        json!([first(left), first(right)]),
    ]
}

fn one_endpoint(
    (left, right): &(Side<'_>, Side<'_>),
    asked: &Endpoint,
    params: &SessionsParams,
    budget: usize,
) -> Result<SessionsDiffed, ToolError> {
    let diff = endpoint(left, right, asked, &Options::default(), MAX_PAIRS)?;
    let rows = diff.places.iter().skip(params.offset as usize).map(|place| {
        let first = &place.first;
        let example = json!([place.example.0.to_string(), place.example.1.to_string()]);
        vec![
            first.place.as_str().into(),
            place.pairs.into(),
            first.left.clone().into(),
            first.right.clone().into(),
            example,
        ]
    });
    let (rows, _) = fit(rows.collect::<Vec<_>>(), budget);
    let shown = params.offset as usize + rows.len();
    let mut notes = Vec::new();
    if diff.compared < diff.pairs {
        notes.push(format!("{} more pairs were not compared; a filter chooses", diff.pairs - diff.compared));
    }
    if diff.pairs == 0 && diff.unpaired == (0, 0) {
        notes.push("no exchange of either session is of this endpoint".to_owned());
    }
    let next = (!rows.is_empty() && shown < diff.places.len()).then(|| next("diff_sessions", params, shown));
    Ok(SessionsDiffed {
        status: Success::Success,
        total: diff.places.len() as u64,
        columns: vec!["place", "pairs", "left", "right", "example"],
        rows,
        pairs: Some(Pairs {
            compared: diff.compared,
            differing: diff.differing,
            unpaired: [diff.unpaired.0, diff.unpaired.1],
        }),
        notes,
        next,
    })
}
