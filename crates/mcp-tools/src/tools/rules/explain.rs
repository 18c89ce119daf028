//! What rules would do to an exchange, and why.

use std::{collections::BTreeMap, time::SystemTime};

use capture_store::{BodySide, Seq, Store};
use proxy_core::{
    Limits,
    rules::{Described, DescribedBody, Explanation, Phase, RuleExplanation},
};
use rmcp::{
    handler::server::wrapper::{Json, Parameters},
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Toolbox,
    checks::{RuleResult, is_matched},
    convert,
};
use crate::{
    budget::{cut, fit},
    error::ToolError,
    toolbox::blocking,
    view::Success,
};

/// Characters of a body that the answer repeats.
const SHOWN_BODY: usize = 500;

fn yes() -> bool {
    true
}

/// Which exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// The one `request` describes.
    #[default]
    Simulate,
    /// The recorded one that `exchange_id` names.
    Exchange,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct TestParams {
    /// Which exchange.
    #[serde(default)]
    mode: Mode,
    /// With simulate: the request.
    #[serde(default)]
    #[schemars(schema_with = "request_schema")]
    request: Option<SimulatedRequest>,
    /// With exchange: the exchange, like e412.
    #[schemars(length(min = 1, max = 40))]
    exchange_id: Option<String>,
    /// Show rules that are disabled, too.
    #[serde(default = "yes")]
    include_disabled: bool,
    /// Show at most so many rules, in the order they run.
    #[schemars(range(min = 1, max = 10_000))]
    limit_rules: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SimulatedRequest {
    url: String,
    method: Option<String>,
    hostname: Option<String>,
    path: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
}

fn request_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "description": "With simulate: the request. `hostname` and `path` take the place of the URL's.",
        "properties": {
            "method": {"type": "string", "default": "GET"},
            "url": {"type": "string"},
            "hostname": {"type": "string"},
            "path": {"type": "string"},
            "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            "body": {"type": "string", "default": ""}
        }
    })
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Tested {
    status: Success,
    mode: Mode,
    result: TestResult,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct TestResult {
    request: RequestView,
    include_disabled: bool,
    /// Rules shown here.
    evaluated_count: u64,
    total_rules: u64,
    /// In the order they run.
    results: Vec<RuleResult>,
    /// Rules whose matcher holds, whether they are enabled or not.
    matched_count: u64,
    /// Rules that would apply.
    effective_match_count: u64,
    /// The rule that decides what the client gets: the one that answers, else the first that applies.
    effective_winner: Option<Winner>,
    /// What would be done, in order, over all rules.
    actions: Vec<ActionView>,
    /// Rules are left out because the answer would be too long, or because of limit_rules.
    truncated: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
struct RequestView {
    method: String,
    url: String,
    hostname: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Winner {
    rule_id: String,
    priority: i32,
    description: String,
    handler_type: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ActionView {
    rule_id: String,
    action: &'static str,
    /// request or response.
    phase: &'static str,
}

#[tool_router(router = explain_router, vis = "pub(crate)")]
impl Toolbox {
    /// Say what the rules would do to an exchange, and why: each rule, each check, what it asks for and what there is.
    /// Nothing is sent and nothing counted.
    #[tool(
        name = "proxy_test_rule_match",
        title = "Explain the rules",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    pub(crate) async fn proxy_test_rule_match(
        &self,
        Parameters(params): Parameters<TestParams>,
    ) -> Result<Json<Tested>, ToolError> {
        let (described, body) = match params.mode {
            Mode::Simulate => simulated(params.request)?,
            Mode::Exchange => {
                let id = params.exchange_id.as_deref().ok_or_else(|| {
                    ToolError::invalid("mode exchange needs exchange_id")
                        .hint("proxy_list_traffic lists exchanges")
                })?;
                let seq: Seq = id.parse()?;
                let store = self.fresh_store().await?;
                blocking(move || recorded(&store, seq)).await?
            }
        };
        let explanation = described.explain(&self.changes().rules, SystemTime::now());
        let head = described.request_head();
        let request = RequestView {
            method: head.method.to_string(),
            url: head.url(),
            hostname: head.host().to_owned(),
            path: head.target.split('?').next().unwrap_or_default().to_owned(),
            headers: head
                .headers
                .iter()
                .map(|field| (field.name_text().to_lowercase(), cut(&field.value_text(), SHOWN_BODY)))
                .collect(),
            body,
        };
        let result = self.tested(request, &explanation, params.include_disabled, params.limit_rules);
        Ok(Json(Tested { status: Success::Success, mode: params.mode, result }))
    }

    fn tested(
        &self,
        request: RequestView,
        explanation: &Explanation,
        include_disabled: bool,
        limit: Option<u32>,
    ) -> TestResult {
        let all = &explanation.rules;
        let shown = all.iter().filter(|rule| include_disabled || rule.enabled);
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let wanted: Vec<_> = shown.clone().take(limit).map(RuleResult::of).collect();
        let left_out = shown.count() > wanted.len();
        let (results, truncated) = fit(wanted, self.config().answer_bytes);
        TestResult {
            request,
            include_disabled,
            evaluated_count: results.len() as u64,
            total_rules: all.len() as u64,
            results,
            matched_count: all.iter().filter(|rule| is_matched(rule)).count() as u64,
            effective_match_count: all.iter().filter(|rule| rule.applies).count() as u64,
            effective_winner: self.winner(explanation),
            actions: explanation
                .actions
                .iter()
                .map(|step| ActionView {
                    rule_id: step.rule.clone(),
                    action: step.action,
                    phase: if step.phase == Phase::Request { "request" } else { "response" },
                })
                .collect(),
            truncated: truncated || left_out,
        }
    }

    fn winner(&self, explanation: &Explanation) -> Option<Winner> {
        let applying = || explanation.rules.iter().filter(|rule| rule.applies);
        let get = |rule: &RuleExplanation| self.changes().rules.get(&rule.id);
        let ends = |rule: &&RuleExplanation| get(rule).is_some_and(|active| active.rule().ends_the_round());
        let rule = applying().find(ends).or_else(|| applying().next())?;
        let handler = get(rule).map(|active| convert::handler(active.rule())).unwrap_or_default();
        Some(Winner {
            rule_id: rule.id.clone(),
            priority: rule.priority,
            description: rule.name.clone(),
            handler_type: handler.get("type").and_then(|kind| kind.as_str()).unwrap_or_default().to_owned(),
        })
    }
}

/// The request that the arguments describe, and the beginning of its body.
fn simulated(request: Option<SimulatedRequest>) -> Result<(Described, String), ToolError> {
    let request = request.ok_or_else(|| {
        ToolError::invalid("mode simulate needs request")
            .hint("give request.url, or mode exchange and exchange_id")
    })?;
    let wrong = |error: proxy_core::rules::ParsePatternError| ToolError::invalid(format!("request: {error}"));
    let mut url = request.url;
    if request.hostname.is_some() || request.path.is_some() {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", &url));
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let host = request.hostname.as_deref().unwrap_or(authority);
        let path = request.path.as_deref().unwrap_or(target);
        url = format!("{scheme}://{host}{path}");
    }
    let mut described = Described::get(&url).map_err(wrong)?;
    if let Some(method) = &request.method {
        described = described.method(method).map_err(wrong)?;
    }
    for (name, value) in &request.headers {
        described = described.header(name, value);
    }
    let shown = cut(&request.body, SHOWN_BODY);
    Ok((described.body(DescribedBody::Whole(request.body.into_bytes())), shown))
}

/// A recorded exchange, and the beginning of its request's body. Blocks.
fn recorded(store: &Store, seq: Seq) -> Result<(Described, String), ToolError> {
    let exchange = store.exchange(seq)?;
    let body = seen(store, seq, BodySide::Request)?;
    let shown = match &body {
        DescribedBody::Whole(bytes) => cut(&String::from_utf8_lossy(bytes), SHOWN_BODY),
        _ => String::new(),
    };
    let mut described = Described::of(exchange.request).body(body);
    if let Some(head) = exchange.response {
        described = described.response(head, seen(store, seq, BodySide::Response)?);
    }
    Ok((described, shown))
}

/// A body as rules would see it, under the limit they have.
fn seen(store: &Store, seq: Seq, side: BodySide) -> Result<DescribedBody, ToolError> {
    let Some(body) = store.body(seq, side)? else { return Ok(DescribedBody::Whole(Vec::new())) };
    let decoded = body.decode(Limits::default().max_held_body_bytes);
    Ok(match (decoded.problem, decoded.truncated) {
        (Some(_), _) => DescribedBody::Undecodable,
        (None, true) => DescribedBody::OverLimit,
        (None, false) => DescribedBody::Whole(decoded.bytes.into()),
    })
}
