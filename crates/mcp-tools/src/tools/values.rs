//! A value in the traffic: where it is, in whatever encoding, where it came from and where it went.

use capture_store::Seq;
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
use traffic_analysis::trace::{Appearance, Needle, NeedleError, Sighting, TraceError, find, trace};

use crate::{
    budget::{NextCall, cut, fit},
    catalogue::Family,
    error::{ToolError, chain},
    scoped::{ScopeParams, Scoped, bounds},
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::{Success, is_false, millis},
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "values",
    toolset: Toolset::Analysis,
    summary: "A value in the traffic: where it is, in whatever encoding, where it came from and where it went.",
    router,
    references: &[],
};

/// Characters of a field's name.
const MAX_FIELD_CHARS: usize = 120;
/// Characters of a URL.
const MAX_URL_CHARS: usize = 200;
/// Rows of each list of a trace.
const MAX_TRACED_ROWS: usize = 30;

fn router() -> ToolRouter<Toolbox> {
    Toolbox::values_router()
}

fn twenty() -> u32 {
    20
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct FindParams {
    /// The value, not encoded.
    #[schemars(length(min = 1, max = 4096))]
    value: String,
    #[serde(flatten)]
    scope: ScopeParams,
    /// Rows at most.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 200))]
    limit: u32,
    /// Only after this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    after: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FoundValue {
    status: Success,
    /// The session, or sessions, looked at.
    session: String,
    /// Exchanges looked through.
    searched: u64,
    /// Bodies that could not be looked through (not decodable, cut): a missing find proves nothing there.
    #[serde(skip_serializing_if = "is_zero")]
    skipped_bodies: u64,
    /// Exchanges that have it.
    exchanges: u64,
    /// host, field (as columns take it), encoding (plain, percent, json, base64, jwt, hex), exchanges, first (id), example.
    columns: [&'static str; 6],
    /// The most frequent first.
    rows: Vec<Vec<Value>>,
    /// Rows left out; a filter narrows it down.
    #[serde(skip_serializing_if = "is_zero")]
    more: u64,
    /// The call that looks through the rest, when time was up.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<NextCall>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes references")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct TraceParams {
    /// The token or id.
    #[schemars(length(min = 1, max = 4096))]
    value: String,
    #[serde(flatten)]
    scope: ScopeParams,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Traced {
    status: Success,
    /// The session, or sessions, looked at.
    session: String,
    /// Exchanges looked through.
    searched: u64,
    /// Exchanges that have it.
    exchanges: u64,
    /// `response` when a response issued it, `request` when the client had it first; absent when it is nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'static str>,
    /// Where it first was: the response that issued it, or the client's first request with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<FirstSeen>,
    /// The first request that sent it, where a response issued it.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_sent: Option<FirstSeen>,
    /// host, field, encoding, exchanges, first (id), last (id).
    columns: [&'static str; 6],
    /// Where it was sent, in the order of the first time.
    sent: Vec<Vec<Value>>,
    /// Where else it came back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    received: Vec<Vec<Value>>,
    /// Rows left out.
    #[serde(skip_serializing_if = "is_zero")]
    more: u64,
    /// Whether not all could be looked through in time: narrow it by a filter.
    #[serde(skip_serializing_if = "is_false")]
    incomplete: bool,
}

/// One time a value passed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FirstSeen {
    /// The exchange.
    id: String,
    method: String,
    /// The URL, cut at 200 characters.
    url: String,
    /// When.
    at: u64,
    /// The field: a header, a cookie, a JSON pointer.
    field: String,
    encoding: &'static str,
}

impl FirstSeen {
    fn new(appearance: &Appearance) -> Self {
        Self {
            id: appearance.seq.to_string(),
            method: appearance.request.0.clone(),
            url: cut(&appearance.request.1, MAX_URL_CHARS),
            at: millis(appearance.at),
            field: cut(&appearance.place.field, MAX_FIELD_CHARS),
            encoding: appearance.place.encoding.as_str(),
        }
    }
}

#[tool_router(router = values_router, vis = "pub(crate)")]
impl Toolbox {
    /// Find a value anywhere in the traffic, also percent-, base64-, hex-, JSON-encoded and in JWTs: by host and field, one
    /// example each.
    #[tool(
        name = "find_value",
        title = "Find a value",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn find_value(
        &self,
        Parameters(params): Parameters<FindParams>,
    ) -> Result<Json<FoundValue>, ToolError> {
        let needle = needle(&params.value)?;
        let cursor = params.after.as_deref().map(str::parse::<Seq>).transpose()?;
        let Scoped { store, scope, session, leash: _leash } = self.scoped(&params.scope).await?;
        let budget = self.config().answer_bytes;
        blocking(move || {
            let found = find(&store, &scope, &needle, cursor, bounds()).map_err(refused)?;
            let row = |sighting: &Sighting| {
                let mut row = row(sighting);
                row[5] = cut(&sighting.place.excerpt, MAX_FIELD_CHARS).into();
                row
            };
            let rows = found.sightings.iter().take(params.limit as usize).map(row).collect();
            let (rows, _) = fit::<Vec<Value>>(rows, budget);
            Ok(Json(FoundValue {
                status: Success::Success,
                session,
                searched: found.walked.exchanges,
                skipped_bodies: found.walked.skipped_bodies,
                exchanges: found.exchanges,
                columns: ["host", "field", "encoding", "exchanges", "first", "example"],
                more: (found.sightings.len() - rows.len()) as u64,
                rows,
                next: found.walked.next.map(|seq| {
                    let mut arguments = json!(params);
                    arguments["after"] = seq.to_string().into();
                    NextCall::new("find_value", arguments)
                }),
            }))
        })
        .await
    }

    /// Trace a token or id: which response issued it, in which header, cookie or JSON pointer, and where it was sent after.
    #[tool(
        name = "trace_value",
        title = "Trace a value",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn trace_value(
        &self,
        Parameters(params): Parameters<TraceParams>,
    ) -> Result<Json<Traced>, ToolError> {
        let needle = needle(&params.value)?;
        let Scoped { store, scope, session, leash: _leash } = self.scoped(&params.scope).await?;
        let budget = self.config().answer_bytes;
        blocking(move || {
            let traced = trace(&store, &scope, &needle, bounds()).map_err(refused)?;
            let all = traced.sent.len() + traced.received.len();
            let rows = |sightings: &[Sighting]| {
                let rows = sightings.iter().take(MAX_TRACED_ROWS).map(row).collect();
                fit::<Vec<Value>>(rows, budget / 2).0
            };
            let (sent, received) = (rows(&traced.sent), rows(&traced.received));
            let origin =
                traced.first.as_ref().map(|_| if traced.issued.is_some() { "response" } else { "request" });
            Ok(Json(Traced {
                status: Success::Success,
                session,
                searched: traced.walked.exchanges,
                exchanges: traced.exchanges,
                origin,
                first: traced.first.as_ref().map(FirstSeen::new),
                first_sent: traced
                    .first_sent
                    .as_ref()
                    .filter(|_| traced.issued.is_some())
                    .map(FirstSeen::new),
                columns: ["host", "field", "encoding", "exchanges", "first", "last"],
                more: (all - sent.len() - received.len()) as u64,
                sent,
                received,
                incomplete: traced.walked.next.is_some(),
            }))
        })
        .await
    }
}

fn row(sighting: &Sighting) -> Vec<Value> {
    vec![
        json!(sighting.host),
        json!(cut(&sighting.place.field, MAX_FIELD_CHARS)),
        json!(sighting.place.encoding.as_str()),
        json!(sighting.count),
        json!(sighting.first.to_string()),
        json!(sighting.last.to_string()),
    ]
}

fn needle(value: &str) -> Result<Needle, ToolError> {
    Needle::new(value).map_err(|error| wrong(&error))
}

fn wrong(error: &NeedleError) -> ToolError {
    ToolError::invalid(format!("value: failed to {}", chain(error)))
        .hint("give a part of it that nothing else has")
}

fn refused(error: TraceError) -> ToolError {
    match error {
        TraceError::Store(error) => error.into(),
        TraceError::Needle(error) => wrong(&error),
        other => ToolError::new("internal", chain(&other)),
    }
}
