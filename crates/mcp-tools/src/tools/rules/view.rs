//! Rules as tools show them.

use proxy_core::rules::ActiveRule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::convert;
use crate::view::{is_false, millis};

/// A rule.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RuleView {
    id: String,
    priority: i32,
    enabled: bool,
    description: String,
    /// What an exchange must be like.
    matcher: MatcherView,
    /// What is done, in the reference server's words as far as they go.
    handler: HandlerView,
    /// What is done, all of it, as docs/rules.md has it.
    actions: Vec<Value>,
    /// It leaves out the rules after it when it applies.
    #[serde(skip_serializing_if = "is_false")]
    stop: bool,
    /// Exchanges it applied to.
    hit_count: u64,
    /// When it last applied.
    last_hit: Option<u64>,
    created_at: u64,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MatcherView {
    /// A method, or a list of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url_pattern: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_pattern: Option<String>,
    /// Names and the values they must have, or patterns as docs/rules.md has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_includes: Option<String>,
    /// The other parts, as docs/rules.md has them.
    #[serde(skip_serializing_if = "Map::is_empty")]
    others: Map<String, Value>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct HandlerView {
    /// passthrough, mock, forward or drop: the nearest.
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// The body of a mock: a text, or content as docs/rules.md has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
    /// The fields of a mock.
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forward_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transform_request: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transform_response: Option<Map<String, Value>>,
}

impl RuleView {
    pub(super) fn of(active: &ActiveRule) -> Self {
        let rule = active.rule();
        let written = convert::written(rule);
        let handler = serde_json::from_value(Value::Object(convert::handler(rule))).unwrap_or_default();
        Self {
            id: active.id().to_owned(),
            priority: rule.priority,
            enabled: rule.enabled,
            description: rule.name.clone(),
            matcher: MatcherView::of(&written["when"]),
            handler,
            actions: written["then"].as_array().cloned().unwrap_or_default(),
            stop: rule.stop,
            hit_count: active.hit_count(),
            last_hit: active.last_hit().map(millis),
            created_at: millis(active.created_at()),
        }
    }
}

impl MatcherView {
    fn of(when: &Value) -> Self {
        let mut more = when.as_object().cloned().unwrap_or_default();
        // A pattern of one key, and no other, has a name of its own.
        let mut named = |part: &str, kind: &str| {
            let value = more.get(part)?;
            let text = match value.as_object() {
                Some(map) if map.len() == 1 => map.get(kind)?.as_str()?,
                Some(_) => return None,
                None if kind.is_empty() => value.as_str()?,
                None => return None,
            };
            let text = text.to_owned();
            more.remove(part);
            Some(text)
        };
        let mut view = Self {
            url_pattern: named("url", "regex"),
            hostname: named("host", ""),
            path_pattern: named("path", "regex"),
            body_includes: named("body", "contains"),
            ..Self::default()
        };
        view.method = more.remove("method");
        if let Some(Value::Object(mut fields)) = more.remove("headers") {
            fields.values_mut().for_each(|value| {
                if let Some(exact) = only(value, "exact") {
                    *value = exact;
                }
            });
            view.headers = Some(fields);
        }
        view.others = more;
        view
    }
}

/// The value of a map's only key, if that is its name.
fn only(value: &Value, key: &str) -> Option<Value> {
    value.as_object().filter(|map| map.len() == 1)?.get(key).cloned()
}
