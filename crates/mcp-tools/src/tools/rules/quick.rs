//! Rules for the usual wishes, in one call each.

use std::{collections::BTreeMap, sync::Arc};

use proxy_core::rules::{Action, ActiveRule, Matcher, Preset, Rule, RuleErrorKind, Throttle};
use rmcp::{
    handler::server::wrapper::{Json, Parameters},
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Toolbox, convert, refused};
use crate::{error::ToolError, view::Success};

/// The id of the rule that slows everything down.
const THROTTLING: &str = "throttling";
/// Before what other rules do.
const THROTTLING_PRIORITY: i32 = -1_000_000;

fn fifty() -> i32 {
    50
}

fn ten() -> i32 {
    10
}

fn json_type() -> String {
    "application/json".to_owned()
}

/// Which side's head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum HeaderSide {
    /// The request's.
    #[default]
    Request,
    /// The response's.
    Response,
    /// Both.
    Both,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct InjectParams {
    /// Only for this host, in whatever case; *.example.com for those below.
    #[schemars(length(min = 1, max = 255))]
    hostname: Option<String>,
    /// Only for URLs in which this regex is found.
    #[schemars(length(min = 1, max = 2000))]
    url_pattern: Option<String>,
    /// Names and values; null removes a field.
    #[schemars(schema_with = "fields_schema")]
    headers: BTreeMap<String, Option<String>>,
    /// Whose head.
    #[serde(default)]
    direction: HeaderSide,
    /// Lower ones run first.
    #[serde(default = "fifty")]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    priority: i32,
}

fn fields_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "description": "Names and values; null removes a field."})
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct RewriteParams {
    /// Regex found in the whole URL.
    #[schemars(length(min = 1, max = 2000))]
    match_pattern: String,
    /// What stands there instead; $1 and ${name} are the regex's groups, $$ a dollar sign.
    #[schemars(length(max = 8000))]
    replace_with: String,
    /// Only for this host, in whatever case.
    #[schemars(length(min = 1, max = 255))]
    hostname: Option<String>,
    /// Lower ones run first.
    #[serde(default = "fifty")]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    priority: i32,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct MockParams {
    /// Only for this method.
    #[schemars(length(min = 1, max = 64))]
    method: Option<String>,
    /// Only for URLs in which this regex is found.
    #[schemars(length(min = 1, max = 2000))]
    url_pattern: Option<String>,
    /// Only for this host, in whatever case.
    #[schemars(length(min = 1, max = 255))]
    hostname: Option<String>,
    /// The status.
    #[schemars(range(min = 200, max = 999))]
    status: u16,
    /// The body.
    #[serde(default)]
    #[schemars(length(max = 1_000_000))]
    body: String,
    /// The body's type.
    #[serde(default = "json_type")]
    #[schemars(length(max = 200))]
    content_type: String,
    /// Lower ones run first.
    #[serde(default = "ten")]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    priority: i32,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct ThrottleParams {
    /// 56k, 256k, 3G, 4G, 5G, fibre or 100mbps, in whatever case; on and start for 3G; off and deactivate to end it.
    #[schemars(length(min = 1, max = 20))]
    preset: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Made {
    status: Success,
    rule_id: String,
    description: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Throttled {
    status: Success,
    message: String,
    /// The rule that does it; null when nothing is throttled.
    rule_id: Option<String>,
    down_bytes_per_second: Option<u64>,
    up_bytes_per_second: Option<u64>,
    /// A round trip.
    latency_ms: Option<u64>,
}

#[tool_router(router = quick_rules_router, vis = "pub(crate)")]
impl Toolbox {
    /// Set or remove header fields of requests, responses or both.
    #[tool(
        name = "proxy_inject_headers",
        title = "Set headers",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_inject_headers(
        &self,
        Parameters(params): Parameters<InjectParams>,
    ) -> Result<Json<Made>, ToolError> {
        if params.headers.is_empty() {
            return Err(
                ToolError::invalid("headers is empty").hint("give names and values; null removes a field")
            );
        }
        let sides: &[&str] = match params.direction {
            HeaderSide::Request => &["request_headers"],
            HeaderSide::Response => &["response_headers"],
            HeaderSide::Both => &["request_headers", "response_headers"],
        };
        let then = sides.iter().map(|side| json!({*side: {"set": params.headers}})).collect();
        let names: Vec<_> = params.headers.keys().map(String::as_str).collect();
        let description = format!("Set {}", names.join(", "));
        let when = when(None, params.url_pattern, params.hostname)?;
        self.made(&when, then, description, params.priority)
    }

    /// Rewrite URLs: replace what a regex finds in the whole URL, query included. Another host in the result is where the
    /// request goes.
    #[tool(
        name = "proxy_rewrite_url",
        title = "Rewrite URLs",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_rewrite_url(
        &self,
        Parameters(params): Parameters<RewriteParams>,
    ) -> Result<Json<Made>, ToolError> {
        let then = vec![json!({"rewrite_url": {"regex": params.match_pattern, "with": params.replace_with}})];
        let description = format!("Rewrite {} to {}", params.match_pattern, params.replace_with);
        let when = when(None, Some(params.match_pattern), params.hostname)?;
        self.made(&when, then, description, params.priority)
    }

    /// Answer requests with a response of your own; upstream is not asked.
    #[tool(
        name = "proxy_mock_response",
        title = "Mock a response",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    pub(crate) async fn proxy_mock_response(
        &self,
        Parameters(params): Parameters<MockParams>,
    ) -> Result<Json<Made>, ToolError> {
        let mock = json!({
            "status": params.status, "headers": {"Content-Type": params.content_type}, "body": params.body,
        });
        let place = params.url_pattern.as_deref().or(params.hostname.as_deref()).unwrap_or("everything");
        let description = format!("Mock {} for {place}", params.status);
        let when = when(params.method, params.url_pattern, params.hostname)?;
        self.made(&when, vec![json!({"mock": mock})], description, params.priority)
    }

    /// Slow all traffic down to a network by its usual name, or end that.
    #[tool(
        name = "throttling",
        title = "Throttle everything",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    pub(crate) async fn throttling(
        &self,
        Parameters(params): Parameters<ThrottleParams>,
    ) -> Result<Json<Throttled>, ToolError> {
        let preset = match params.preset.to_ascii_lowercase().as_str() {
            "off" | "deactivate" => None,
            "on" | "start" => Some(Preset::ThreeG),
            name => Some(Preset::named(name).ok_or_else(|| {
                ToolError::invalid(format!("there is no preset {:?}", crate::budget::cut(&params.preset, 20)))
                    .hint("56k, 256k, 3G, 4G, 5G, fibre, 100mbps, on, start, off, deactivate")
            })?),
        };
        let rules = &self.changes().rules;
        let Some(preset) = preset else {
            let message = match rules.remove(THROTTLING) {
                Ok(_) => "nothing is throttled any more",
                Err(error) if matches!(error.kind(), RuleErrorKind::UnknownId(_)) => "nothing was throttled",
                Err(error) => return Err(refused(error)),
            };
            return Ok(Json(throttled(message.to_owned(), None)));
        };
        let throttle = Throttle::from(preset);
        let action = Action::Throttle(throttle);
        let name = format!("Throttle to {}", preset.name());
        let rule = Rule::when(Matcher::any()).then(action.clone()).with_id(THROTTLING).named(name.clone());
        let made = match rules.get(THROTTLING) {
            None => rules.add(rule.with_priority(THROTTLING_PRIORITY)),
            Some(_) => rules.update(THROTTLING, |rule| {
                rule.name = name;
                rule.enabled = true;
                rule.then = vec![action];
                Ok(())
            }),
        };
        made.map_err(refused)?;
        Ok(Json(throttled(format!("everything is throttled to {}", preset.name()), Some(throttle))))
    }

    /// Adds a rule, and says what was made.
    fn made(
        &self,
        when: &Map<String, Value>,
        then: Vec<Value>,
        description: String,
        priority: i32,
    ) -> Result<Json<Made>, ToolError> {
        let rule = convert::rule(&Value::Object(when.clone()), then)?;
        let description = crate::budget::cut(&description, 200);
        let added: Arc<ActiveRule> =
            self.add_rule(rule.named(description.clone()).with_priority(priority))?;
        Ok(Json(Made { status: Success::Success, rule_id: added.id().to_owned(), description }))
    }
}

/// The usual matcher.
fn when(
    method: Option<String>,
    url_pattern: Option<String>,
    hostname: Option<String>,
) -> Result<Map<String, Value>, ToolError> {
    let parts = [("method", method), ("urlPattern", url_pattern), ("hostname", hostname)];
    let given =
        parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))).collect();
    convert::matcher(&given)
}

fn throttled(message: String, throttle: Option<Throttle>) -> Throttled {
    Throttled {
        status: Success::Success,
        message,
        rule_id: throttle.map(|_| THROTTLING.to_owned()),
        down_bytes_per_second: throttle.and_then(|throttle| throttle.down_bytes_per_second),
        up_bytes_per_second: throttle.and_then(|throttle| throttle.up_bytes_per_second),
        latency_ms: throttle.map(|throttle| throttle.latency_ms),
    }
}
