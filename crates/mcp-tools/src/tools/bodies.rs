//! Bodies: what is in them, found and given by part.

use std::ops::ControlFlow;

use capture_store::{BodySide, Condition, ExchangeSummary, Order, Pattern, Seq, Store};
use regex::Regex;
use rmcp::{
    handler::server::{
        router::tool::ToolRouter,
        tool::schema_for_output,
        wrapper::{Json, Parameters},
    },
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use traffic_analysis::{Subject, enclosing};

use crate::{
    budget::{NextCall, cut, fit},
    catalogue::Family,
    error::ToolError,
    parts::{BodyParams, BodyPart, Side, part},
    scoped::{ScopeParams, Scoped, bounds},
    slices::{self, expression},
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::{Success, is_false},
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "bodies",
    toolset: Toolset::Analysis,
    summary: "Bodies: what is in them, found and given by part.",
    router,
    references: &[],
};

/// Objects told of one body.
const MAX_OBJECTS: usize = 3;
/// Characters on either side of a hit that is not in JSON.
const CONTEXT_CHARS: usize = 120;

fn router() -> ToolRouter<Toolbox> {
    Toolbox::bodies_router()
}

fn ten() -> u32 {
    10
}

fn object_bytes() -> u32 {
    600
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct SearchParams {
    /// Text, in whatever case.
    #[schemars(length(min = 1, max = 1000))]
    text: String,
    /// It is a regular expression.
    #[serde(default, skip_serializing_if = "is_false")]
    regex: bool,
    /// One side's bodies only.
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<Side>,
    #[serde(flatten)]
    scope: ScopeParams,
    /// Exchanges at most.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
    /// Bytes of each object at most.
    #[serde(default = "object_bytes")]
    #[schemars(range(min = 100, max = 8192))]
    object_bytes: u32,
    /// Only before this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    before: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Searched {
    status: Success,
    /// The session, or sessions, looked at.
    session: String,
    /// Exchanges looked through.
    searched: u64,
    /// Bodies that could not be looked through (not decodable, cut): a missing hit proves nothing there.
    #[serde(skip_serializing_if = "is_zero")]
    skipped_bodies: u64,
    /// Newest first.
    hits: Vec<BodyHit>,
    /// The call that searches on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<NextCall>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes references")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A body that has the text.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BodyHit {
    /// The exchange.
    id: String,
    method: String,
    /// The URL, cut at 120 characters.
    url: String,
    side: Side,
    /// The JSON pointer of the text; absent where the body is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    /// The innermost object around it, cut to `object_bytes`: nested values as `{n}` and `[n]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<Value>,
    /// Where the text begins in a decoded body that is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<usize>,
    /// The text with what is around it there.
    #[serde(skip_serializing_if = "Option::is_none")]
    excerpt: Option<String>,
}

#[tool_router(router = bodies_router, vis = "pub(crate)")]
impl Toolbox {
    /// Search decoded bodies for a text: each hit is the JSON object around it with its pointer, newest first.
    #[tool(
        name = "search_bodies",
        title = "Search bodies",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn search_bodies(
        &self,
        Parameters(params): Parameters<SearchParams>,
    ) -> Result<Json<Searched>, ToolError> {
        let wanted = Wanted::new(&params)?;
        let before = params.before.as_deref().map(str::parse::<Seq>).transpose()?;
        let Scoped { store, scope, session, leash: _leash } = self.scoped(&params.scope).await?;
        let budget = self.config().answer_bytes;
        blocking(move || {
            let (mut found, mut seqs) = (Vec::new(), Vec::new());
            let looked_for = (&wanted.condition, Order::Descending, before);
            let walked = scope.search::<ToolError>(&store, looked_for, bounds(), |summary| {
                seqs.push(summary.seq);
                found.push(wanted.hits(&store, summary)?);
                let enough = seqs.len() >= params.limit as usize;
                Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
            // The hits of one exchange stay together, so that the next call begins after whole ones.
            let (kept, dropped) = fit(found, budget);
            let next = if dropped { Some(seqs[kept.len() - 1]) } else { walked.next };
            Ok(Json(Searched {
                status: Success::Success,
                session,
                searched: walked.exchanges,
                skipped_bodies: walked.skipped_bodies,
                hits: kept.into_iter().flatten().collect(),
                next: next.map(|seq| {
                    let mut arguments = json!(params);
                    arguments["before"] = seq.to_string().into();
                    NextCall::new("search_bodies", arguments)
                }),
            }))
        })
        .await
    }

    /// Show a part of a decoded body: bytes, lines, what a JSON pointer leads to, or the matches of a pattern. Images come as
    /// images.
    #[tool(
        name = "get_body",
        title = "Show a body",
        annotations(read_only_hint = true, open_world_hint = false),
        output_schema = schema_for_output::<BodyPart>()
    )]
    pub(crate) async fn get_body(
        &self,
        Parameters(params): Parameters<BodyParams>,
    ) -> Result<BodyPart, ToolError> {
        let seq: Seq = params.exchange_id.parse()?;
        let parts =
            [params.pointer.is_some(), params.lines.is_some(), params.pattern.is_some(), params.offset > 0];
        if parts.iter().filter(|given| **given).count() > 1 {
            return Err(ToolError::invalid("pointer, lines, pattern and offset exclude each other")
                .hint("give one of them"));
        }
        let store = self.fresh_store().await?;
        blocking(move || part(&store, seq, &params)).await
    }
}

/// What is searched for.
struct Wanted {
    condition: Condition,
    expression: Regex,
    sides: &'static [Side],
    object_bytes: usize,
}

impl Wanted {
    fn new(params: &SearchParams) -> Result<Self, ToolError> {
        let expression = if params.regex {
            expression("text", &params.text)?
        } else {
            expression("text", &regex::escape(&params.text))?
        };
        let pattern = if params.regex {
            Pattern::regex(&params.text)
                .map_err(|error| ToolError::invalid(format!("text: failed to {error}")))?
        } else {
            Pattern::contains(&params.text)
        };
        Ok(Self {
            condition: Condition::Body { side: params.side.map(BodySide::from), pattern },
            expression,
            sides: match params.side {
                None => &[Side::Request, Side::Response],
                Some(Side::Request) => &[Side::Request],
                Some(Side::Response) => &[Side::Response],
            },
            object_bytes: params.object_bytes as usize,
        })
    }

    fn hits(&self, store: &Store, summary: ExchangeSummary) -> Result<Vec<BodyHit>, ToolError> {
        let subject = Subject::new(store, summary);
        let mut hits = Vec::new();
        for side in self.sides {
            let Some(body) = subject.text((*side).into()) else { continue };
            let objects = subject.json((*side).into()).map(|json| {
                enclosing(json, &|text| self.expression.is_match(text), MAX_OBJECTS, self.object_bytes)
            });
            let objects = objects.unwrap_or_default();
            if objects.is_empty() {
                // Either no JSON, or found across its members: told as text.
                let (found, _) = slices::hits(&body.text, &self.expression, 1, CONTEXT_CHARS);
                hits.extend(found.into_iter().map(|hit| BodyHit {
                    offset: Some(hit.offset),
                    excerpt: Some(cut(&hit.text, self.object_bytes)),
                    ..BodyHit::of(&subject, *side)
                }));
            }
            hits.extend(objects.into_iter().map(|object| BodyHit {
                pointer: Some(object.pointer),
                object: Some(object.object),
                ..BodyHit::of(&subject, *side)
            }));
        }
        subject.check()?;
        Ok(hits)
    }
}

impl BodyHit {
    fn of(subject: &Subject<'_>, side: Side) -> Self {
        let summary = subject.summary();
        Self {
            id: summary.seq.to_string(),
            method: summary.method.clone(),
            url: cut(&summary.url, 120),
            side,
            pointer: None,
            object: None,
            offset: None,
            excerpt: None,
        }
    }
}
